// Package taxonomy knows the ids that rules may be tagged with.
package taxonomy

import (
	_ "embed" // the id lists
	"fmt"
	"regexp"
	"strings"
	"sync"
)

//go:embed ids.txt
var idList string

//go:embed superseded.txt
var supersededList string

//go:embed attack.txt
var attackList string

//go:embed atlas_tactics.txt
var atlasTacticsList string

var (
	names      = sync.OnceValue(func() map[string]string { return parse(idList) })
	superseded = sync.OnceValue(func() map[string]string { return parse(supersededList) })
	attacks    = sync.OnceValue(func() map[string]string { return parse(attackList) }) // name, tab, tactics
	atlas      = sync.OnceValue(func() map[string]string { return parse(atlasTacticsList) })
)

func parse(list string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(list) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok && !strings.HasPrefix(id, "#") {
			out[id] = name
		}
	}
	return out
}

// ATT&CK grows every half a year, so that its tags are checked by form alone;
// see Doubt for those that are unknown.
var attack = regexp.MustCompile(`^attack\.(t\d{4}(\.\d{3})?|ta\d{4}|[sgm]\d{4}|[a-z][a-z-]{3,})$`)

// Name is the name of an id, "" if it is unknown.
func Name(tag string) string {
	if n := names()[tag]; n != "" {
		return n
	}
	name, _, _ := strings.Cut(attacks()[tag], "\t")
	return name
}

// Check says what is wrong with a tag; nil if nothing is. The text ends with
// the nearest known id where there is one.
func Check(tag string, nearest func(written string, known []string) string) error {
	scheme, _, ok := strings.Cut(tag, ".")
	if !ok || tag != strings.ToLower(tag) {
		return fmt.Errorf("tag %s: write it in lower case as scheme.id, such as atlas.aml.t0051 or attack.t1059.001", tag)
	}
	switch scheme {
	case "attack":
		if !attack.MatchString(tag) {
			return fmt.Errorf("tag %s: not an ATT&CK id (attack.t1059.001, attack.ta0002, attack.execution)", tag)
		}
		return nil
	case "atlas", "owasp", "nist":
	default:
		return fmt.Errorf("tag %s: unknown scheme %s (known: atlas, attack, owasp, nist)", tag, scheme)
	}
	if to := superseded()[tag]; to != "" {
		return fmt.Errorf("tag %s: superseded by %s", tag, to)
	}
	if names()[tag] != "" {
		return nil
	}
	var same []string
	for id := range names() {
		if strings.HasPrefix(id, scheme+".") {
			same = append(same, id)
		}
	}
	return fmt.Errorf("tag %s: unknown id%s", tag, nearest(tag, same))
}

// attack4 is what follows "attack." in ids that are no tactic by name.
var attack4 = regexp.MustCompile(`^[tsgm]\d{4}(\.\d{3})?$`)
