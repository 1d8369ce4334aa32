// Package pages writes documentation of rules: a page for each, an index with
// what they cover of ATLAS, ATT&CK and OWASP, and a layer for the ATT&CK
// Navigator.
package pages

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// Rule is the page of a rule in Markdown.
func Rule(r *rule.Rule) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s\n", plain(r.Title))
	line("%s\n", plain(r.Description))
	line("| | |\n|---|---|")
	row := func(key string, values ...string) {
		if s := strings.Join(values, ", "); s != "" {
			line("| %s | %s |", key, s)
		}
	}
	row("id", "`"+r.ID+"`")
	row("level", string(r.Level))
	row("status", r.Status)
	row("lane", string(r.Lane))
	if r.Disabled {
		row("enabled", "no")
	}
	row("tags", tags(r.Tags)...)
	if r.When != nil {
		row("reads", source(r.Source))
	}
	row("alert about", fmt.Sprintf("%s `%s`", r.Alert.EntityType, entity(r)))
	row("suppressed for", r.Alert.Suppress.String())
	row("file", "`"+r.File+"`")
	if r.When != nil {
		line("\n## Condition\n\n```\n%s\n```", fence(r.When.Source))
	}
	correlation(r, line)
	if len(r.Exceptions) > 0 {
		line("\n## Exceptions\n\n| condition | reason | owner | until |\n|---|---|---|---|")
		for _, x := range r.Exceptions {
			until := "always"
			if !x.Expires.IsZero() {
				until = x.Expires.Format("2006-01-02")
			}
			line("| %s | %s | %s | %s |", code(x.When.Source), plain(x.Reason), plain(x.Owner), until)
		}
	}
	list(line, "False positives", r.FalsePositives)
	list(line, "References", r.References)
	if len(r.Tests) > 0 {
		line("\n## Tests\n")
		for _, t := range r.Tests {
			line("- %s: %d alerts", plain(t.Name), t.Alerts)
		}
	}
	return b.String()
}

func correlation(r *rule.Rule, line func(string, ...any)) {
	c := r.Correlate
	if c == nil {
		return
	}
	line("\n## Correlation\n\n%s, %s window", c, c.Window)
	var keys []string
	for _, k := range c.GroupBy {
		keys = append(keys, "`"+k.Name+"`")
	}
	if len(keys) > 0 {
		line("\nGrouped by %s.", strings.Join(keys, ", "))
	}
	for i, s := range c.Steps {
		if s.Rule == nil {
			line("\n%d. rule [`%s`](%s)", i+1, s.ID, File(s.ID))
			continue
		}
		line("\n%d. **%s** (%s)\n\n```\n%s\n```", i+1, plain(s.Name), source(s.Rule.Source), fence(s.Rule.When.Source))
	}
}

func list(line func(string, ...any), title string, items []string) {
	if len(items) == 0 {
		return
	}
	line("\n## %s\n", title)
	for _, s := range items {
		line("- %s", plain(s))
	}
}

func entity(r *rule.Rule) string {
	if r.Alert.EntityAlias != "" {
		return r.Alert.EntityAlias
	}
	return event.Columns[r.Alert.EntityPath].Path
}

// tags are ids with their names.
func tags(ids []string) []string {
	var out []string
	for _, t := range ids {
		s := "`" + t + "`"
		if n := taxonomy.Name(t); n != "" {
			s += " " + plain(n)
		}
		out = append(out, s)
	}
	return out
}

func source(s rule.Source) string {
	var classes []string
	for _, uid := range s.Classes {
		if c, ok := event.ClassByUID(uid); ok {
			classes = append(classes, c.Name)
		}
	}
	out := "families " + lang.FamilyNames(s.Families)
	if len(classes) > 0 {
		out += "; classes " + strings.Join(classes, ", ")
	}
	if len(s.Products) > 0 {
		out += "; sources " + strings.Join(s.Products, ", ")
	}
	return out
}

// File is the name of a rule's page.
func File(id string) string { return id + ".md" }

// plain takes the meaning of Markdown from a text: rules are files of others.
func plain(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer("<", "&lt;", "|", `\|`, "[", `\[`, "]", `\]`, "`", "\\`", "*", `\*`, "!", `\!`).Replace(s)
}

func fence(s string) string { return strings.ReplaceAll(s, "```", "` ` `") }

func code(s string) string {
	return "`` " + strings.ReplaceAll(strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "``", "` `"), "|", `\|`) + " ``"
}

// order sorts rules by level, worst first, then by id.
func order(rules []*rule.Rule) []*rule.Rule {
	out := slices.Clone(rules)
	slices.SortFunc(out, func(a, b *rule.Rule) int {
		if d := finding.Level(b.Level).SeverityID() - finding.Level(a.Level).SeverityID(); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
