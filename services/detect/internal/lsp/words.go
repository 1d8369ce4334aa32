package lsp

import (
	"fmt"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// function is what conditions can call, with what to insert as a snippet.
type function struct{ name, signature, doc, snippet string }

// functions documents what docs/rules.md lists; a test compares the names with
// those of the language.
var functions = []function{
	{"ieq", "ieq(x, v…)", "x equals one of the texts, ASCII case ignored.", `ieq($1, "$2")`},
	{"iin", "iin(x, [v…])", "x equals one of the texts, ASCII case ignored.", `iin($1, ["$2"])`},
	{"icontains", "icontains(x, v…)", "x contains one of the texts, ASCII case ignored.", `icontains($1, "$2")`},
	{"icontains_all", "icontains_all(x, v…)", "x contains all of the texts, ASCII case ignored.", `icontains_all($1, "$2", "$3")`},
	{"istartsWith", "istartsWith(x, v…)", "x starts with one of the texts, ASCII case ignored.", `istartsWith($1, "$2")`},
	{"iendsWith", "iendsWith(x, v…)", "x ends with one of the texts, ASCII case ignored.", `iendsWith($1, "$2")`},
	{"contains_any", "contains_any(x, v…)", "x contains one of the texts; case matters.", `contains_any($1, "$2")`},
	{"contains_all", "contains_all(x, v…)", "x contains all of the texts; case matters.", `contains_all($1, "$2", "$3")`},
	{"startsWith_any", "startsWith_any(x, v…)", "x starts with one of the texts; case matters.", `startsWith_any($1, "$2")`},
	{"endsWith_any", "endsWith_any(x, v…)", "x ends with one of the texts; case matters.", `endsWith_any($1, "$2")`},
	{"wildcard", "wildcard(x, v…)", "x fits one of the patterns, in which * is any text and ? a character; case matters.", `wildcard($1, "$2")`},
	{"iwildcard", "iwildcard(x, v…)", "x fits one of the patterns, in which * is any text and ? a character; ASCII case ignored.", `iwildcard($1, "$2")`},
	{"cidr", "cidr(x, network…)", "The address x lies in one of the networks.", `cidr($1, "$2")`},
	{"exists", "exists(x)", "The event has a value for x; empty and zero are none.", `exists($1)`},
	{"text", "text(x)", "A number or truth value as decimal text.", `text($1)`},
	{"date_part", "date_part(x, part)", "A part of a time: minute, hour, day, week (ISO 8601), month or year; in UTC, or as a text has it. 0 without a time. Evaluated by the virtual machine.", `date_part($1, "$2")`},
	{"any", "any(list, # …)", "One element of a list fulfils the condition on #.", `any($1, # == "$2")`},
	{"all", "all(list, # …)", "Every element of a list fulfils the condition on #.", `all($1, # == "$2")`},
	{"none", "none(list, # …)", "No element of a list fulfils the condition on #.", `none($1, # == "$2")`},
	{"len", "len(x)", "The number of characters or elements. Evaluated by the virtual machine, so slower.", `len($1)`},
	{"lower", "lower(x)", "x in lower case. Evaluated by the virtual machine: prefer the functions that begin with i.", `lower($1)`},
}

// operators are the words of conditions.
var operators = []string{"and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches", "true", "false"}

func functionByName(name string) (function, bool) {
	for _, f := range functions {
		if f.name == name {
			return f, true
		}
	}
	return function{}, false
}

// fieldType is what a rule sees of a column.
func fieldType(c *event.Column) string {
	switch k := c.Kind; {
	case k == event.KindIP:
		return "address (text)"
	case k == event.KindTime:
		return "time (ms since 1970)"
	case k.Text():
		return "text"
	case k == event.KindBool:
		return "true or false"
	case k == event.KindKeywords:
		return "list of texts"
	case k == event.KindScores:
		return "numbers by name"
	}
	return "number (" + c.Kind.String() + ")"
}

func fieldDoc(c *event.Column) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** — %s\n\n%s\n\nFamilies: %s", c.Path, fieldType(c), c.Doc, lang.FamilyNames(c.Families))
	for _, x := range [][2]string{{"OCSF", c.OCSF}, {"OpenTelemetry", c.OTel}, {"ECS", c.ECS}, {"Privacy", c.Privacy}} {
		if x[1] != "" {
			fmt.Fprintf(&b, "  \n%s: `%s`", x[0], x[1])
		}
	}
	return b.String()
}

func classDoc(c *event.Class) string {
	var acts []string
	for _, a := range c.Activities {
		acts = append(acts, fmt.Sprintf("%d %s", a.ID, a.Name))
	}
	return fmt.Sprintf("**%s** — OCSF class %d, family %s\n\nactivity_id: %s", c.Name, c.UID, c.Family, strings.Join(acts, ", "))
}

func tagDoc(tag string) string {
	name := taxonomy.Name(tag)
	if name == "" {
		return ""
	}
	s := fmt.Sprintf("**%s** — %s", tag, name)
	if t := taxonomy.Tactics(tag); t != nil {
		s += "\n\nTactics: " + strings.Join(t, ", ")
	}
	return s
}
