package derive

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// holds says whether an atom holds of a text; the empty text is an absent one.
func holds(n *lang.Node, v string) bool {
	yes := false
	if n.Fold {
		v = lang.Fold(v)
	}
	some := func(rel func(v, lit string) bool) bool {
		return slices.ContainsFunc(n.Lits, func(lit string) bool { return rel(v, lit) })
	}
	switch n.Op {
	case lang.Exists:
		yes = v != ""
	case lang.Eq:
		yes = slices.Contains(n.Lits, v)
	case lang.Contains:
		yes = some(strings.Contains)
	case lang.Prefix:
		yes = some(strings.HasPrefix)
	case lang.Suffix:
		yes = some(strings.HasSuffix)
	case lang.Wildcard:
		yes = some(func(v, lit string) bool { return lang.ParsePattern(lit).Match(v) })
	case lang.Match:
		yes = n.Re.MatchString(v)
	case lang.In:
		addr, err := netip.ParseAddr(v)
		yes = err == nil && slices.ContainsFunc(n.Nets, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	default:
		return true
	}
	return yes != n.Neg
}

func allHold(atoms []*lang.Node, v string) bool {
	return !slices.ContainsFunc(atoms, func(n *lang.Node) bool { return !holds(n, v) })
}

// word finds a text for which all atoms hold.
func word(k event.Kind, atoms []*lang.Node) (string, bool) {
	if allHold(atoms, "") {
		return "", true
	}
	for _, s := range words(atoms) {
		for _, v := range spelled(k, s) {
			if v != "" && allHold(atoms, v) {
				return v, true
			}
		}
	}
	return "", false
}

// spelled is how a text can stand in a column: addresses are completed.
func spelled(k event.Kind, s string) []string {
	if k != event.KindIP {
		return []string{s}
	}
	var out []string
	for _, tail := range []string{"", "7", "0.7", "0.0.7", "113.0.7", "203.0.113.7", "::7", ":7"} {
		if a, err := netip.ParseAddr(s + tail); err == nil {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// maxWords bounds the texts that are tried for a field.
const maxWords = 400

// words are texts that may fit: each demand's first literal put together in
// several ways, then with one of them replaced by its other literals.
func words(atoms []*lang.Node) (out []string) {
	var demands []*lang.Node
	for _, a := range atoms {
		if !a.Neg && a.Op != lang.Exists {
			demands = append(demands, a)
		}
	}
	if len(demands) == 0 {
		return []string{"something", "other-value", "203.0.113.7", "7", "Z", "a b"}
	}
	choice := make([]int, len(demands))
	add := func() bool {
		out = append(out, composed(demands, choice, "")...)
		out = append(out, composed(demands, choice, " ")...)
		return len(out) < maxWords
	}
	if !add() {
		return out
	}
	for i, d := range demands {
		for choice[i] = 1; choice[i] < forms(d); choice[i]++ {
			if !add() {
				return out
			}
		}
		choice[i] = 0
	}
	return out
}

// forms is how many literals, or samples, a demand has.
func forms(n *lang.Node) int {
	switch n.Op {
	case lang.Match:
		return patternForms
	case lang.In:
		return len(n.Nets)
	}
	return len(n.Lits)
}

// composed puts the chosen forms together: what must be equal alone, else what it
// begins with, what it holds, and what it ends with.
func composed(demands []*lang.Node, choice []int, between string) (out []string) {
	var head, tail string
	var body []string
	for i, d := range demands {
		s := form(d, choice[i])
		switch d.Op {
		case lang.Eq, lang.In:
			return []string{s}
		case lang.Prefix:
			if len(s) > len(head) {
				head = s
			}
		case lang.Suffix:
			if len(s) > len(tail) {
				tail = s
			}
		default:
			body = append(body, s)
		}
	}
	parts := slices.DeleteFunc(append(append([]string{head}, body...), tail), func(s string) bool { return s == "" })
	out = append(out, strings.Join(parts, between))
	if len(body) > 1 {
		slices.Reverse(body)
		out = append(out, head+strings.Join(body, between)+tail)
	}
	for _, b := range body { // one may hold all the others
		out = append(out, b, head+b+tail)
	}
	out = append(out, head, tail)
	// What stands around it may make the difference to a denial.
	for _, around := range []string{"x", "/x/"} {
		switch {
		case head == "" && tail == "":
			out = append(out, around+out[0]+around, around+out[0], out[0]+around)
		case head == "":
			out = append(out, around+out[0])
		case tail == "":
			out = append(out, out[0]+around)
		default:
			out = append(out, head+around+strings.Join(body, between)+tail)
		}
	}
	return out
}

func form(n *lang.Node, i int) string {
	switch n.Op {
	case lang.Match:
		return patternText(n.Re.String(), i)
	case lang.In:
		if n.Nets[i].IsSingleIP() {
			return n.Nets[i].Addr().String()
		}
		return n.Nets[i].Addr().Next().String()
	case lang.Wildcard:
		return plainText(n.Lits[i])
	}
	return n.Lits[i]
}

// plainText is a text that fits a wildcard pattern.
func plainText(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p) && strings.IndexByte(`*?\`, p[i+1]) >= 0:
			i++
			b.WriteByte(p[i])
		case c == '?':
			b.WriteByte('x')
		case c != '*':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// elements are texts of a list: one for each demand. What all must fulfil, and
// denials, must hold of each.
func elements(atoms []*lang.Node) (any, bool) {
	var demands, each []*lang.Node
	for _, a := range atoms {
		switch {
		case a.Op == lang.AllOf && a.Neg:
			demands = append(demands, lang.Opposite(a.Elem))
		case a.Op == lang.AllOf:
			each = append(each, a.Elem)
		case a.Op == lang.AtLeast && a.Neg: // whether there are few enough shows when it is run
		case a.Op == lang.AtLeast:
			for range min(a.Least, maxElements) {
				demands = append(demands, a.Elem)
			}
		case a.Neg:
			each = append(each, a)
		case !slices.ContainsFunc(demands, func(d *lang.Node) bool { return d == a }):
			demands = append(demands, a)
		}
	}
	var out []string
	for _, d := range demands {
		s, ok := word(event.KindString, append([]*lang.Node{d, {Op: lang.Exists}}, each...))
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	if out == nil {
		return nil, true
	}
	return out, true
}

// maxElements bounds the elements of a list.
const maxElements = 100

// scores are numbers by name.
func scores(atoms []*lang.Node) (any, bool) {
	out := map[string]float64{}
	for _, a := range atoms {
		if _, have := out[a.Text]; have || a.Op != lang.Score {
			continue
		}
		var same []*lang.Node
		for _, b := range atoms {
			if b.Op == lang.Score && b.Text == a.Text {
				n := *b
				n.Op = lang.Num
				same = append(same, &n)
			}
		}
		v, ok := amount(event.KindF64, same)
		if !ok {
			return nil, false
		}
		if f, isNumber := v.(float64); isNumber {
			out[a.Text] = f
		}
	}
	if len(out) == 0 {
		return nil, true
	}
	return out, true
}

// amount finds a number: near those that it is compared with.
func amount(k event.Kind, atoms []*lang.Node) (any, bool) {
	tries := []float64{0, 1, 2}
	for _, a := range atoms {
		for _, x := range a.Nums {
			tries = append(tries, x, x+1, x-1)
		}
	}
	for _, v := range tries {
		fits := (v >= 0 || k == event.KindF32 || k == event.KindF64 || strings.HasPrefix(k.String(), "i")) && (k != event.KindBool || v <= 1)
		for _, a := range atoms {
			yes := a.Op != lang.Num
			switch {
			case a.Op == lang.Exists:
				yes = v != 0
			case a.Op == lang.Num:
				yes = slices.ContainsFunc(a.Nums, func(x float64) bool { return a.Cmp.Holds(v, x) })
			}
			fits = fits && yes != a.Neg
		}
		switch {
		case !fits:
		case v == 0:
			return nil, true
		case k == event.KindBool:
			return true, true
		case k == event.KindF32 || k == event.KindF64:
			return v, true
		default:
			return int64(v), true
		}
	}
	return nil, false
}

// numeral finds a number by what its text must be.
func numeral(f lang.Field, atoms []*lang.Node) (any, bool) {
	if allHold(atoms, "") {
		return nil, true
	}
	kind := event.Columns[f.Col].Kind
	for _, s := range append(words(atoms), "1", "7", "443", "4444") {
		if !allHold(atoms, s) {
			continue
		}
		if kind == event.KindBool && s == "true" {
			return true, true
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 && strconv.FormatInt(n, 10) == s {
			if kind == event.KindF32 || kind == event.KindF64 {
				return float64(n), true
			}
			return n, true
		}
	}
	return nil, false
}
