package sigma

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// maxValues bounds the values of one atom after all modifiers.
const maxValues = 20_000

// atom writes one comparison: over the places where the field can be.
func (g *generator) atom(a *atom, within treeOp) string {
	if a.has("expand") {
		full, ok := g.expand(a)
		if !ok {
			return "false"
		}
		a = full
	}
	places := target{{Path: anyText}}
	if a.field != "" {
		g.misspelt(a)
		places = g.possible(a, g.o.places(a.field))
	} else if len(a.mods) == 0 {
		a = &atom{at: a.at, mods: []string{"contains"}, all: a.all, values: a.values}
	}
	rest, nulls := g.split(a)
	op := opOr
	if a.all {
		op = opAnd
	}
	var parts []string
	if nulls {
		parts = append(parts, g.absence(places, op))
	}
	if len(rest.values) > 0 {
		w := within
		if nulls {
			w = op
		}
		parts = append(parts, g.anywhere(rest, places, w))
	}
	return join(op, parts, within)
}

// split takes the values that mean absence out of an atom.
func (g *generator) split(a *atom) (rest *atom, nulls bool) {
	if a.has("exists") {
		if len(a.values) == 1 && a.values[0].text == "false" {
			return &atom{at: a.at}, true
		}
		return a, false
	}
	out := *a
	out.values = nil
	for _, v := range a.values {
		if v.kind == null || (len(a.mods) == 0 || len(a.mods) == 1 && a.mods[0] == "cased") && g.absent(v.text) {
			nulls = true
			continue
		}
		out.values = append(out.values, v)
	}
	return &out, nulls
}

// absent reports whether a value means that there is none.
func (g *generator) absent(s string) bool { return s == "" || slices.Contains(g.o.Absent, s) }

// absence writes that the field is in none of its places.
func (g *generator) absence(places target, within treeOp) string {
	parts := make([]string, 0, len(places))
	for i := range places {
		switch pl := &places[i]; {
		case pl.Const != nil:
			parts = append(parts, "false")
		case pl.When != "":
			parts = append(parts, "not ("+guard(pl.When)+" and exists("+pl.existence()+"))")
		default:
			parts = append(parts, "not exists("+pl.existence()+")")
		}
	}
	return join(opAnd, parts, within)
}

// existence is the column that tells whether the place has a value.
func (pl *place) existence() string {
	if len(pl.Account) == 2 {
		return pl.Account[1]
	}
	return pl.Path
}

// anywhere writes the comparison over each of the places.
func (g *generator) anywhere(a *atom, places target, within treeOp) string {
	parts := make([]string, 0, len(places))
	inner := within
	if len(places) > 1 {
		inner = opOr
	}
	for i := range places {
		pl := &places[i]
		if pl.Path != "" && pl.Path != anyText && len(g.shown) < maxShown && !slices.Contains(g.shown, pl.Path) {
			g.shown = append(g.shown, pl.Path)
		}
		w := inner
		if pl.When != "" {
			w = opAnd
		}
		s := g.at(a, pl, w)
		if pl.When != "" {
			s = "(" + guard(pl.When) + " and " + s + ")"
		}
		parts = append(parts, s)
	}
	return join(opOr, parts, within)
}

// maxShown bounds the columns that an alert carries along.
const maxShown = 12

// at writes the comparison over one place.
func (g *generator) at(a *atom, pl *place, within treeOp) string {
	for _, m := range a.mods {
		switch m {
		case "exists":
			return g.exists(a, pl)
		case "re":
			return g.matches(a, pl, within)
		case "cidr":
			return g.cidr(a, pl)
		case "fieldref":
			return g.fieldRef(a, pl, within)
		case "gt", "gte", "lt", "lte":
			return g.compare(a, pl, m, within)
		case "minute", "hour", "day", "week", "month", "year":
			return g.time(a, pl, m, within)
		}
	}
	return g.values(a, pl, within)
}

func (g *generator) exists(a *atom, pl *place) string {
	if len(a.values) != 1 || a.values[0].text != "true" {
		return g.unsupported(a.at, "exists takes true or false")
	}
	if pl.Const != nil {
		return "true"
	}
	return "exists(" + pl.existence() + ")"
}

// matches writes regular expressions. The specification's flavour is a part of
// what RE2 takes, but what RE2 refuses is met as well.
func (g *generator) matches(a *atom, pl *place, within treeOp) string {
	op := opOr
	if a.all {
		op = opAnd
	}
	var parts []string
	for i := range a.values {
		v := &a.values[i]
		re := regexpOf(a, v)
		if _, err := regexp.Compile(re); err != nil {
			return g.unsupported(v, "regular expression: %v (RE2 syntax)", err)
		}
		if len(re) > lang.MaxPattern {
			return g.unsupported(v, "regular expression of %d bytes, at most %d are allowed", len(re), lang.MaxPattern)
		}
		parts = append(parts, matching(pl, re))
	}
	return join(op, parts, within)
}

// matching writes that a place matches a pattern.
func matching(pl *place, re string) string {
	switch k := kindOf(pl.Path); {
	case len(pl.Account) == 2:
		return "(" + pl.Account[0] + ` + "\\" + ` + pl.Account[1] + ") matches " + quote(re)
	case k == event.KindKeywords:
		return "any(" + pl.Path + ", # matches " + quote(re) + ")"
	}
	return textual(pl.Path) + " matches " + quote(re)
}

// textual is the text of a path's value.
func textual(path string) string {
	if k := kindOf(path); k.Number() || k == event.KindBool || k == event.KindF32 || k == event.KindF64 {
		return "text(" + path + ")"
	}
	return path
}

func (g *generator) cidr(a *atom, pl *place) string {
	var nets []string
	for i := range a.values {
		v := &a.values[i]
		net, err := netip.ParsePrefix(v.text)
		if err != nil {
			addr, e := netip.ParseAddr(v.text)
			if e != nil {
				return g.unsupported(v, "%q is not a network such as 192.0.2.0/24", v.text)
			}
			net = netip.PrefixFrom(addr, addr.BitLen())
		}
		nets = append(nets, net.Masked().String())
	}
	if k := kindOf(pl.Path); len(pl.Account) > 0 || k == event.KindKeywords || !k.Text() {
		return g.unsupported(a.at, "cidr on %s, which holds no address", a.field)
	}
	return "cidr(" + pl.Path + ", " + quotes(nets) + ")"
}

// fieldRef compares with another field of the same event. Two absent fields
// are not equal.
func (g *generator) fieldRef(a *atom, pl *place, within treeOp) string {
	fn := "ieq"
	switch {
	case a.has("contains"):
		fn = "icontains"
	case a.has("startswith"):
		fn = "istartsWith"
	case a.has("endswith"):
		fn = "iendsWith"
	}
	op := opOr
	if a.all {
		op = opAnd
	}
	var parts []string
	for i := range a.values {
		for _, other := range g.o.places(a.values[i].text) {
			left, right := *pl, other
			if len(left.Account) == 2 {
				left = place{Path: left.Account[1]}
			}
			if len(right.Account) == 2 {
				right = place{Path: right.Account[1]}
			}
			if left.Const != nil || right.Const != nil || kindOf(left.Path) == event.KindKeywords || !kindOf(right.Path).Text() {
				return g.unsupported(&a.values[i], "comparing %s with %s, which are not both texts", a.field, a.values[i].text)
			}
			s := "exists(" + right.Path + ") and " + fn + "(" + textual(left.Path) + ", " + right.Path + ")"
			if right.When != "" {
				s = guard(right.When) + " and " + s
			}
			parts = append(parts, "("+s+")")
		}
	}
	return join(op, parts, within)
}

// values writes the comparison with texts and numbers.
func (g *generator) values(a *atom, pl *place, within treeOp) string {
	pats := g.patterns(a)
	if g.failed {
		return "false"
	}
	return g.place(pl, pats, a, within)
}

// patterns applies the modifiers to the values.
func (g *generator) patterns(a *atom) (out []pattern) {
	for i := range a.values {
		v := &a.values[i]
		pats := []pattern{parsePattern(v.text)}
		for _, m := range a.mods {
			var next []pattern
			for _, p := range pats {
				more, why := modify(p, m)
				if why != "" {
					g.unsupported(v, "%s", why)
					return nil
				}
				next = append(next, more...)
			}
			pats = next
		}
		if out = append(out, pats...); len(out) > maxValues {
			g.unsupported(a.at, "%s has more than %d values", a.field, maxValues)
			return nil
		}
	}
	return out
}

// modify applies one modifier to a value; why says that it cannot.
func modify(p pattern, mod string) (out []pattern, why string) {
	switch mod {
	case "contains":
		return []pattern{star().then(p).then(star())}, ""
	case "startswith":
		return []pattern{p.then(star())}, ""
	case "endswith":
		return []pattern{star().then(p)}, ""
	case "windash":
		return windash(p), ""
	case "cased":
		return []pattern{p}, ""
	case "i", "m", "s":
		return nil, "modifier " + mod + " without re"
	}
	s, ok := p.plain()
	if !ok {
		return nil, "wildcards in a value that is encoded"
	}
	switch mod {
	case "wide":
		return []pattern{literal(utf16Text(s, false, false))}, ""
	case "utf16be":
		return []pattern{literal(utf16Text(s, true, false))}, ""
	case "utf16":
		return []pattern{literal(utf16Text(s, false, true))}, ""
	case "base64":
		return []pattern{literal(base64.StdEncoding.EncodeToString([]byte(s)))}, ""
	case "base64offset":
		for _, v := range base64Offset(s) {
			out = append(out, literal(v))
		}
		return out, ""
	}
	return nil, "modifier " + mod + " cannot be used here"
}

// mapValues translates values that the column spells in another way.
func mapValues(pats []pattern, pl *place) []pattern {
	if len(pl.Map) == 0 && pl.Prefix+pl.Suffix == "" {
		return pats
	}
	out := make([]pattern, len(pats))
	for i, p := range pats {
		out[i] = p
		if s, ok := p.plain(); ok {
			for from, to := range pl.Map {
				if strings.EqualFold(from, s) {
					out[i] = literal(to)
				}
			}
		}
		if pl.Prefix+pl.Suffix != "" {
			out[i] = star().then(literal(pl.Prefix)).then(out[i]).then(literal(pl.Suffix)).then(star())
		}
	}
	return out
}
