package history

import (
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// viewed is a necessary condition of an atom whose field is no plain column. Of
// its negation nothing is known.
func viewed(n *lang.Node, f event.Family) cond {
	switch {
	case n.Neg || n.Op == lang.FieldEq:
		return always
	case n.View == lang.AsText:
		return asText(n, f)
	case n.View == lang.Key:
		return every([]cond{key(n), literally(n, inUnmapped)})
	case n.View == lang.Anywhere:
		return literally(n, func(texts []string) cond { return anywhere(texts, f) })
	}
	return always
}

// literally is the condition that the value holds one of the texts (without
// regard to case) of which every match holds one.
func literally(n *lang.Node, holds func(texts []string) cond) cond {
	w, ok := (&lang.Expr{Root: n}).Witness()
	if !ok {
		return always
	}
	var texts []string
	for _, l := range w.Literals {
		switch l.Kind {
		case lang.LitEq, lang.LitPrefix, lang.LitSuffix, lang.LitContains:
			texts = append(texts, l.Text)
		default:
			return always
		}
	}
	return holds(texts)
}

// key holds if unmapped may have the key, where the atom needs it.
func key(n *lang.Node) cond {
	if _, ok := (&lang.Expr{Root: n}).Witness(); !ok {
		return always // it may hold without the key
	}
	return inUnmapped([]string{n.Key})
}

// inUnmapped holds if one of the texts may stand in the JSON of unmapped. That
// is not parsed: it may be cut short, where ClickHouse would read nothing and
// rules read what is there. A text may stand there with escapes: what they may
// be within is left out, and for those by number the record is let through.
func inUnmapped(texts []string) cond {
	pieces := make([]string, len(texts))
	for i, s := range texts {
		for _, p := range strings.FieldsFunc(s, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' || r == '/' || r == 0xfffd }) {
			if len(p) > len(pieces[i]) {
				pieces[i] = p
			}
		}
		if pieces[i] == "" {
			return always
		}
	}
	value := name(event.Unmapped)
	return either([]cond{contains(value, pieces, true), contains(value, []string{`\u`}, false)})
}

// anywhere holds if one of the texts may stand in any text of the event.
func anywhere(texts []string, f event.Family) cond {
	kids := []cond{inUnmapped(texts)}
	address := false
	for _, s := range texts {
		address = address || strings.Trim(s, "0123456789abcdef:.") == ""
	}
	for i := range event.Columns {
		c := &event.Columns[i]
		if !lang.InText(c.ID) || !c.Families.Has(f) {
			continue
		}
		switch c.Kind {
		case event.KindIP:
			if address {
				kids = append(kids, present(c))
			}
		case event.KindKeywords:
			kids = append(kids, cond{sql: "arrayExists(x -> " + contains("x", texts, true).sql + ", " + name(c.ID) + ")"})
		default:
			kids = append(kids, contains(name(c.ID), texts, true))
		}
	}
	return either(kids)
}

// asText compares a number with texts: those that are numbers.
func asText(n *lang.Node, f event.Family) cond {
	col := &event.Columns[n.Col]
	if n.Op != lang.Eq || col.Kind == event.KindF32 || col.Kind == event.KindF64 || col.Kind == event.KindTime || !col.Families.Has(f) {
		return always
	}
	var nums []float64
	for _, s := range n.Lits {
		switch s {
		case "", "0", "false":
			nums = append(nums, 0)
			continue
		case "true":
			nums = append(nums, 1)
			continue
		}
		if v, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(v, 10) == s {
			if v > 1<<52 || v < -1<<52 {
				return always
			}
			nums = append(nums, float64(v))
		}
	}
	return numeric(&lang.Node{Op: lang.Num, Cmp: lang.EQ, Nums: nums}, col)
}
