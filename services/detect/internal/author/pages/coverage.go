package pages

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// Covered is a technique with the rules that are about it.
type Covered struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Tactics []string `json:"tactics,omitempty"`
	Rules   []string `json:"rules"`
}

// Schemes are the taxonomies of coverage, by the beginning of their tags.
var Schemes = []string{"atlas", "attack", "owasp", "nist"}

// Coverage lists, for each scheme, the ids that rules are tagged with. Tactics
// alone are left out.
func Coverage(rules []*rule.Rule) map[string][]Covered {
	byID := map[string][]string{}
	for _, r := range order(rules) {
		for _, t := range r.Tags {
			if !r.Disabled && !taxonomy.IsTactic(t) && !slices.Contains(byID[t], r.ID) {
				byID[t] = append(byID[t], r.ID)
			}
		}
	}
	out := map[string][]Covered{}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		scheme, _, _ := strings.Cut(id, ".")
		out[scheme] = append(out[scheme], Covered{id, taxonomy.Name(id), taxonomy.Tactics(id), byID[id]})
	}
	return out
}

// Index is the page that lists the rules and what they cover.
func Index(rules []*rule.Rule) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Detection rules\n\n%d rules. Levels: %s.\n", len(rules), levels(rules))
	line("| rule | level | lane | status | what |\n|---|---|---|---|---|")
	for _, r := range order(rules) {
		line("| [%s](%s) | %s | %s | %s | %s |", r.ID, File(r.ID), r.Level, r.Lane, r.Status, plain(r.Title))
	}
	covered := Coverage(rules)
	names := map[string]string{"atlas": "MITRE ATLAS", "attack": "MITRE ATT&CK", "owasp": "OWASP", "nist": "NIST AI 100-2"}
	for _, scheme := range Schemes {
		list := covered[scheme]
		if len(list) == 0 {
			continue
		}
		line("\n## %s\n", names[scheme])
		if scheme == "atlas" || scheme == "attack" {
			matrix(line, list)
			continue
		}
		line("| id | name | rules |\n|---|---|---|")
		for _, c := range list {
			line("| `%s` | %s | %s |", c.ID, plain(c.Name), links(c.Rules))
		}
	}
	return b.String()
}

func levels(rules []*rule.Rule) string {
	n := map[finding.Level]int{}
	for _, r := range rules {
		n[r.Level]++
	}
	var out []string
	for _, l := range slices.Backward(finding.Levels[:]) {
		if n[l] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[l], l))
		}
	}
	return strings.Join(out, ", ")
}

func links(ids []string) string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprintf("[%s](%s)", id, File(id)))
	}
	return strings.Join(out, ", ")
}

// matrix lists techniques by tactic, as the matrices of MITRE do.
func matrix(line func(string, ...any), list []Covered) {
	line("| tactic | technique | rules |\n|---|---|---|")
	byTactic := map[string][]Covered{}
	for _, c := range list {
		tactics := c.Tactics
		if len(tactics) == 0 {
			tactics = []string{""}
		}
		for _, t := range tactics {
			byTactic[t] = append(byTactic[t], c)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(byTactic)) {
		for i, c := range byTactic[t] {
			tactic := ""
			if i == 0 {
				tactic = tacticName(t)
			}
			line("| %s | `%s` %s | %s |", tactic, c.ID, plain(c.Name), links(c.Rules))
		}
	}
}

func tacticName(t string) string {
	if n := taxonomy.Name(t); n != "" {
		return plain(n)
	}
	_, name, _ := strings.Cut(t, ".")
	if name == "" {
		return "(unknown)"
	}
	return plain(strings.ReplaceAll(name, "-", " "))
}

// Navigator is a layer of the ATT&CK Navigator (layer format 4.5) with the
// number of rules of each technique as its score.
func Navigator(rules []*rule.Rule) ([]byte, error) {
	type technique struct {
		ID      string `json:"techniqueID"`
		Score   int    `json:"score"`
		Comment string `json:"comment"`
		Enabled bool   `json:"enabled"`
	}
	list := []technique{}
	most := 1
	for _, c := range Coverage(rules)["attack"] {
		id := strings.ToUpper(strings.TrimPrefix(c.ID, "attack."))
		if !strings.HasPrefix(id, "T") {
			continue // groups and software are no cells
		}
		list = append(list, technique{id, len(c.Rules), strings.Join(c.Rules, ", "), true})
		most = max(most, len(c.Rules))
	}
	return json.MarshalIndent(map[string]any{
		"name": "Vagus rules", "domain": "enterprise-attack",
		"versions":    map[string]string{"layer": "4.5", "attack": taxonomy.AttackVersion, "navigator": "5.1.0"},
		"description": "Techniques that detection rules are tagged with; the score is the number of rules.",
		"techniques":  list,
		"gradient":    map[string]any{"colors": []string{"#ffffff", "#66b1ff"}, "minValue": 0, "maxValue": most},
	}, "", "  ")
}
