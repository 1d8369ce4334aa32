package sigma

import (
	"maps"
	"slices"
	"strings"
)

// Logsource names where a rule's events come from; each part may be empty.
type Logsource struct{ Category, Product, Service string }

// Place is where the values of a field are.
type Place struct {
	// Path is a column, or a key of unmapped; empty if the field is constant.
	Path string
	// Note says what else there is to know: when the column holds the field, what
	// stands around it, or its constant value.
	Note string
}

// Places tells where a field of a logsource is; false if no events are known for
// the logsource.
func Places(l Logsource, field string) ([]Place, bool) {
	o := l.origin()
	if o == nil {
		return nil, false
	}
	var out []Place
	for _, pl := range o.places(field) {
		if len(pl.Account) == 2 {
			out = append(out, Place{pl.Account[0], `the part before \`}, Place{pl.Account[1], `the part behind \`})
			continue
		}
		p := Place{Path: pl.Path}
		var notes []string
		if pl.Const != nil {
			notes = append(notes, "always "+*pl.Const)
		}
		if pl.When != "" {
			notes = append(notes, "if "+pl.When)
		}
		if pl.Prefix+pl.Suffix != "" {
			notes = append(notes, "as "+pl.Prefix+"…"+pl.Suffix)
		}
		for _, from := range slices.Sorted(maps.Keys(pl.Map)) {
			notes = append(notes, from+" is "+pl.Map[from])
		}
		p.Note = strings.Join(notes, ", ")
		out = append(out, p)
	}
	return out, true
}

func (l Logsource) origin() *origin {
	t, err := builtin()
	if err != nil {
		return nil
	}
	return t.find(logsource{category: l.Category, product: l.Product, service: l.Service})
}

// Fields lists the fields of a logsource that the tables have.
func Fields(l Logsource) []string {
	o := l.origin()
	if o == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(o.Fields))
}

// Logsources lists the logsources of which events are known.
func Logsources() []Logsource {
	t, err := builtin()
	if err != nil {
		return nil
	}
	out := make([]Logsource, len(t.origins))
	for i, o := range t.origins {
		out[i] = Logsource{o.Category, o.Product, o.Service}
	}
	return out
}

// Modifiers lists what may stand behind a field.
func Modifiers() []string { return slices.Clone(modifiers) }

// Keys lists the keys of a document.
func Keys() []string { return slices.Clone(known) }

// Describe says which events a logsource means, "" if none are known.
func Describe(l Logsource) string {
	o := l.origin()
	if o == nil {
		return ""
	}
	var parts []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+strings.Join(list, ", "))
		}
	}
	add("class", o.Class)
	add("from", o.Sources)
	if o.When != "" {
		parts = append(parts, "where "+o.When)
	}
	if len(parts) == 0 {
		return "all events"
	}
	return "events: " + strings.Join(parts, "; ")
}
