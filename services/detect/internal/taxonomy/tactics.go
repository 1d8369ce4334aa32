package taxonomy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// AttackVersion is the release of ATT&CK whose ids are known.
const AttackVersion = "19"

// All lists every known id, sorted.
func All() []string {
	out := slices.Collect(maps.Keys(names()))
	seen := map[string]bool{}
	for id, v := range attacks() {
		out = append(out, id)
		if _, t, _ := strings.Cut(v, "\t"); strings.HasPrefix(id, "attack.ta") && !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	out = slices.DeleteFunc(out, func(id string) bool { return superseded()[id] != "" })
	slices.Sort(out)
	return out
}

// Tactics are the tactics of a technique as tags, of ATLAS or ATT&CK; none if
// it is unknown.
func Tactics(technique string) []string {
	var list string
	if strings.HasPrefix(technique, "attack.") {
		_, list, _ = strings.Cut(attacks()[technique], "\t")
	} else if list = atlas()[technique]; list == "" {
		if parts := strings.Split(technique, "."); len(parts) == 4 { // a sub-technique
			list = atlas()[strings.Join(parts[:3], ".")]
		}
	}
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// IsTactic reports whether a tag names a tactic.
func IsTactic(tag string) bool {
	if id, ok := strings.CutPrefix(tag, "atlas.aml."); ok {
		return strings.HasPrefix(id, "ta")
	}
	id, ok := strings.CutPrefix(tag, "attack.")
	return ok && (strings.HasPrefix(id, "ta") && len(id) == 6 && id[2] >= '0' && id[2] <= '9' || !attack4.MatchString(id))
}

// tactic brings both forms of an ATT&CK tactic to one.
func tactic(tag string) string {
	if strings.HasPrefix(tag, "attack.ta") {
		if _, name, ok := strings.Cut(attacks()[tag], "\t"); ok {
			return name
		}
	}
	return tag
}

// knownTactics are ATT&CK's tactics by name.
var knownTactics = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for id, v := range attacks() {
		if _, name, _ := strings.Cut(v, "\t"); strings.HasPrefix(id, "attack.ta") {
			out[name] = true
		}
	}
	return out
})

// Doubts says what about a rule's tags is odd, by index: an ATT&CK id that is
// not in the known release, and a tactic that none of the techniques belongs
// to.
func Doubts(tags []string) map[int]string {
	out := map[int]string{}
	for _, scheme := range []string{"attack.", "atlas."} {
		of := map[string]bool{}
		var techniques []string
		for i, t := range tags {
			if !strings.HasPrefix(t, scheme) || IsTactic(t) {
				continue
			}
			own := Tactics(t)
			if own == nil && scheme == "attack." && strings.HasPrefix(t, "attack.t") {
				out[i] = fmt.Sprintf("tag %s: not in ATT&CK %s, the release that is known here; was it revoked?", t, AttackVersion)
			}
			for _, v := range own {
				of[v] = true
			}
			if own != nil {
				techniques = append(techniques, t)
			}
		}
		for i, t := range tags {
			if scheme == "attack." && strings.HasPrefix(t, scheme) && IsTactic(t) && !knownTactics()[tactic(t)] {
				out[i] = fmt.Sprintf("tag %s: no tactic of ATT&CK %s, the release that is known here", t, AttackVersion)
				continue
			}
			if strings.HasPrefix(t, scheme) && IsTactic(t) && len(techniques) > 0 && !of[tactic(t)] {
				out[i] = fmt.Sprintf("tag %s: %s belongs to %s, not to this tactic", t, strings.Join(techniques, ", "),
					strings.Join(slices.Sorted(maps.Keys(of)), ", "))
			}
		}
	}
	return out
}
