package sigma

import (
	"maps"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// facts are columns whose value the conditions around a comparison fix: path →
// values, in lower case. A rule that says EventID: 4663 is about these events
// alone, so a field need not be looked for where only others have it.
type facts map[string]map[string]bool

// with adds what a conjunction fixes to what is fixed around it.
func (g *generator) with(t *tree) facts {
	out := maps.Clone(g.facts)
	if out == nil {
		out = facts{}
	}
	var walk func(t *tree)
	walk = func(t *tree) {
		switch {
		case t.op == opAnd:
			for _, k := range t.kids {
				walk(k)
			}
		case t.op == opAtom:
			if path, values := g.fixes(t.atom); values != nil && out[path] == nil {
				out[path] = values
			}
		}
	}
	walk(t)
	return out
}

// fixes says which values a comparison allows its column, if it is a mere list
// of texts and there is only one place where the field can be.
func (g *generator) fixes(a *atom) (path string, values map[string]bool) {
	if a.field == "" || len(a.mods) > 0 || a.all {
		return "", nil
	}
	places := g.o.places(a.field)
	if len(places) != 1 || !places[0].bare() {
		return "", nil
	}
	values = map[string]bool{}
	for i := range a.values {
		s, plain := parsePattern(a.values[i].text).plain()
		if !plain || a.values[i].kind == null || g.absent(s) {
			return "", nil
		}
		values[strings.ToLower(s)] = true
	}
	return places[0].Path, values
}

// bare says that the place is a column that holds the field as it is.
func (pl *place) bare() bool {
	return pl.Path != "" && pl.When == "" && len(pl.Map) == 0 && pl.Prefix+pl.Suffix == "" && kindOf(pl.Path).Text()
}

// possible leaves out the places where a field cannot be, by what is fixed, and
// conditions that hold by it. If none is left the rule contradicts itself, which
// the check of its condition will say.
func (g *generator) possible(a *atom, places target) target {
	if len(g.facts) == 0 {
		return places
	}
	var out target
	for _, pl := range places {
		if pl.When != "" {
			switch always, never := g.decides(pl.when); {
			case never:
				continue
			case always:
				pl.When = ""
			}
		}
		if len(places) > 1 && pl.bare() && g.contradicts(a, pl.Path) {
			continue
		}
		out = append(out, pl)
	}
	if len(out) == 0 {
		return places
	}
	return out
}

// decides says whether what is fixed makes a condition of a table always or
// never true.
func (g *generator) decides(when *lang.Node) (always, never bool) {
	if when.Op != lang.Eq || when.View != lang.Plain {
		return false, false
	}
	fixed := g.facts[when.Path()]
	if fixed == nil {
		return false, false
	}
	inside, outside := false, false
	for v := range fixed {
		in := slices.ContainsFunc(when.Lits, func(l string) bool { return strings.EqualFold(l, v) })
		exact := when.Fold || strings.ToUpper(v) == v // else the case decides
		inside, outside = inside || in, outside || !in || !exact
	}
	if when.Neg {
		return !inside, !outside
	}
	return !outside, !inside
}

// contradicts says that a comparison with texts cannot hold of a column whose
// value is fixed.
func (g *generator) contradicts(a *atom, path string) bool {
	fixed := g.facts[path]
	if fixed == nil || len(a.mods) > 0 {
		return false
	}
	for i := range a.values {
		s, plain := parsePattern(a.values[i].text).plain()
		if !plain || a.values[i].kind == null || g.absent(s) || fixed[strings.ToLower(s)] {
			return false
		}
	}
	return true
}
