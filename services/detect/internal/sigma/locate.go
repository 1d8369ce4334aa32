package sigma

import (
	"strconv"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// maxPlaces bounds what Locate returns of a rule with very many values.
const maxPlaces = 20_000

// Locate implements rule.Format.
func (Format) Locate(data []byte, id string) []rule.Place {
	p := &problems{}
	for _, d := range p.parse(data) {
		if d.ruleID() == id {
			return p.places(d)
		}
	}
	return nil
}

// nativeKeys are the keys that stand for another one of a native rule.
var nativeKeys = map[string]string{"logsource": "source", "detection": "when", "correlation": "correlate", "falsepositives": "false_positives"}

// places lists where the parts of a document stand.
func (p *problems) places(d *document) []rule.Place {
	var out []rule.Place
	for i := range d.at.pairs {
		key, value := &d.at.pairs[i].key, &d.at.pairs[i].value
		path := key.text
		if native := nativeKeys[path]; native != "" {
			path = native
		}
		out = append(out, at(path, key, value))
	}
	_, kept := p.knownTags(d)
	for i, n := range kept {
		out = append(out, at("tags["+strconv.Itoa(i)+"]", n, n))
	}
	t, err := builtin()
	if err != nil || d.detection == nil {
		return out
	}
	if o := t.find(d.source); o != nil {
		g := &generator{p: p, o: o}
		g.locate(&out, d.detection)
	}
	return out
}

// at is a place of which nothing but where it stands is known.
func at(path string, key, value *node) rule.Place {
	return rule.Place{Path: path, KeyLine: key.line, KeyColumn: key.column, Line: value.line, Column: value.column}
}

// locate lists the comparisons of a detection: a place for each of their values
// and each column that it is looked for in.
func (g *generator) locate(out *[]rule.Place, t *tree) {
	for _, k := range t.kids {
		g.locate(out, k)
	}
	if t.op != opAtom {
		return
	}
	a := *t.atom
	places := target{{Path: anyText}}
	if a.field != "" {
		places = g.o.places(a.field)
	} else if len(a.mods) == 0 {
		a.mods = []string{"contains"}
	}
	for i := range places {
		for j := range a.values {
			one := a
			one.values = a.values[j : j+1]
			for _, text := range g.written(&one, &places[i]) {
				for _, path := range places[i].paths() {
					if len(*out) >= maxPlaces {
						return
					}
					x := at("when", a.at, &a.values[j])
					x.Field, x.Text = path, text
					*out = append(*out, x)
				}
			}
		}
	}
}

// paths are the columns that the place compares.
func (pl *place) paths() []string {
	switch {
	case len(pl.Account) == 2:
		return pl.Account
	case pl.Path == "":
		return nil
	}
	return []string{pl.Path}
}

// written is how the one value of a comparison stands in the expression; there
// are several where modifiers make variants of it.
func (g *generator) written(a *atom, pl *place) []string {
	v := &a.values[0]
	for _, m := range a.mods {
		switch m {
		case "re":
			return []string{regexpOf(a, v)}
		case "exists":
			return []string{""}
		case "fieldref", "gt", "gte", "lt", "lte", "minute", "hour", "day", "week", "month", "year", "expand", "cidr":
			return []string{v.text}
		}
	}
	g.failed = false
	pats := mapValues(g.patterns(a), pl)
	out := make([]string, 0, len(pats))
	for _, p := range pats {
		f, s := p.form()
		switch {
		case !a.has("cased") && p.foreign():
			s = p.regexp(false)
		case f == isRegexp:
			s = p.written()
		}
		out = append(out, s)
	}
	return out
}

// regexpOf is the regular expression of a value, with the flags of its atom.
func regexpOf(a *atom, v *node) string {
	flags := ""
	for _, m := range a.mods {
		if m == "i" || m == "m" || m == "s" {
			flags += m
		}
	}
	if flags != "" {
		return "(?" + flags + ")" + v.text
	}
	return v.text
}
