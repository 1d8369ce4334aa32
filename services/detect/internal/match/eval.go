package match

import (
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// scope is what predicates read: one row of one block, with buffers for folded
// texts. One goroutine owns it.
type scope struct {
	block  *block.Block
	row    int
	fields *fields
	cols   []*block.Column // by slot
	folds  []folded        // by slot
	stamp  uint64          // differs for every row of every block
	opened uint64          // blocks so far

	machine lang.Machine
	env     map[string]any
}

// folded is the folded text of a column in the row with the stamp.
type folded struct {
	stamp uint64
	text  []byte
}

// open starts on a block, whose columns of the virtual fields must be filled.
func (s *scope) open(b *block.Block) {
	s.block = b
	s.opened++
	if n := s.fields.count(); len(s.cols) < n {
		s.cols, s.folds = make([]*block.Column, n), make([]folded, n)
	}
	for id := range event.NumColumns {
		s.cols[id] = b.Column(event.ColumnID(id))
	}
	for i := range s.fields.virtual {
		s.cols[event.NumColumns+i] = s.fields.virtual[i].col
	}
	s.stamp++
}

func (s *scope) seek(row int) {
	s.row = row
	s.stamp++
}

// text is what rules see of a text column.
func (s *scope) text(id slot) string {
	c := s.cols[id]
	if c == nil {
		return ""
	}
	return c.Text(s.row)
}

func (s *scope) fold(id slot) string {
	f := &s.folds[id]
	if f.stamp != s.stamp {
		f.text = lang.AppendFold(f.text[:0], s.text(id))
		f.stamp = s.stamp
	}
	return view(f.text)
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// predicate decides for the scope's row.
type predicate func(s *scope) bool

// compile turns a lowered tree into closures. Conjunctions and disjunctions
// try the cheap parts first; that cannot change the result, since no predicate
// fails. Opaque nodes do not occur (see Expr.Lowered).
func (x *fields) compile(n *lang.Node) predicate {
	switch n.Op {
	case lang.Const:
		v := !n.Neg
		return func(*scope) bool { return v }
	case lang.And, lang.Or:
		kids := slices.Clone(n.Kids)
		slices.SortStableFunc(kids, func(a, b *lang.Node) int { return price(a) - price(b) })
		preds := make([]predicate, len(kids))
		for i, k := range kids {
			preds[i] = x.compile(k)
		}
		if n.Op == lang.And {
			return func(s *scope) bool {
				for _, p := range preds {
					if !p(s) {
						return false
					}
				}
				return true
			}
		}
		return func(s *scope) bool {
			for _, p := range preds {
				if p(s) {
					return true
				}
			}
			return false
		}
	}
	p := x.shared(n)
	if n.Neg {
		return func(s *scope) bool { return !p(s) }
	}
	return p
}

// dear is from what price on the result of an atom is kept for other rules that
// have the same atom, and for following rows with the same value.
const dear = 20

// verdict is what an expensive atom said last.
type verdict struct {
	about uint64 // the value: see scope.identity
	holds bool
}

// shared compiles an atom without its negation. Expensive ones exist once,
// however many rules have them.
func (x *fields) shared(n *lang.Node) predicate {
	if price(n) < dear || n.View == lang.Anywhere || n.Op == lang.FieldEq {
		return x.compileAtom(n)
	}
	positive := *n
	positive.Neg = false
	key := positive.String()
	if p := x.atoms[key]; p != nil {
		return p
	}
	p, col, last := x.compileAtom(n), x.slot(n.Field), verdict{}
	x.atoms[key] = func(s *scope) bool {
		if about := s.identity(col); about != last.about {
			last = verdict{about, p(s)}
		}
		return last.holds
	}
	return x.atoms[key]
}

// identity is a number that only rows of the same block with the same value of
// a field share.
func (s *scope) identity(col slot) uint64 {
	if c := s.cols[col]; c != nil && c.Kind() == event.KindKeyword {
		return s.opened<<32 | uint64(c.Keys()[s.row])
	}
	return s.opened<<32 | 1<<31 | uint64(s.row)
}

// price orders predicates by what they cost.
func price(n *lang.Node) int {
	sum := 0
	switch n.Op {
	case lang.And, lang.Or:
		for _, k := range n.Kids {
			sum += price(k)
		}
	case lang.Num, lang.Exists, lang.Const:
		return 1
	case lang.Score:
		return 3
	case lang.AllOf, lang.AtLeast:
		return 5 + price(n.Elem)
	case lang.Eq, lang.Prefix, lang.Suffix, lang.FieldEq:
		return 2 + len(n.Lits)/8
	case lang.In:
		return 4
	case lang.Wildcard:
		return 20 + 10*len(n.Lits)
	case lang.Contains:
		return 5 + 3*len(n.Lits)
	case lang.Match:
		return 200
	default:
		return 1000
	}
	return sum
}

func (x *fields) compileAtom(n *lang.Node) predicate {
	if n.View == lang.Anywhere {
		return x.compileAnywhere(n)
	}
	col := x.slot(n.Field)
	switch n.Op {
	case lang.Exists:
		return func(s *scope) bool { c := s.cols[col]; return c != nil && !c.Absent(s.row) }
	case lang.FieldEq:
		other, rel := x.slot(n.Other), relation(n.Rel)
		if n.Fold {
			return func(s *scope) bool { return rel(s.fold(col), s.fold(other)) }
		}
		return func(s *scope) bool { return rel(s.text(col), s.text(other)) }
	case lang.In:
		nets := n.Nets
		return func(s *scope) bool { return within(s, col, nets) }
	case lang.Num:
		return compileNum(n, col)
	case lang.Score:
		return compileScore(n, col)
	case lang.AllOf:
		test := compileText(n.Elem)
		return func(s *scope) bool {
			c := s.cols[col]
			return c == nil || count(c, s.row, n.Elem.Fold, func(v string) bool { return !test(v) }, 1) == 0
		}
	case lang.AtLeast:
		test := compileText(n.Elem)
		return func(s *scope) bool {
			c := s.cols[col]
			return c != nil && count(c, s.row, n.Elem.Fold, test, n.Least) == n.Least
		}
	}
	test := compileText(n)
	if n.Kind() == event.KindKeywords {
		return func(s *scope) bool {
			c := s.cols[col]
			return c != nil && oneOf(c, s.row, n.Fold, test)
		}
	}
	if n.Fold {
		return func(s *scope) bool { return test(s.fold(col)) }
	}
	if n.Op == lang.Match {
		p := newPattern(n)
		return func(s *scope) bool { return p.match(s, col) }
	}
	return func(s *scope) bool { return test(s.text(col)) }
}

// oneOf tests the elements of a list.
func oneOf(c *block.Column, row int, fold bool, test func(string) bool) bool {
	return count(c, row, fold, test, 1) == 1
}

// count is how many elements of a list fulfil a test, up to a number.
func count(c *block.Column, row int, fold bool, test func(string) bool, most int) int {
	dict, keys := c.Dict(), c.ListKeys()
	n := 0
	for from, to := c.List(row); from < to && n < most; from++ {
		v := dict.At(int(keys[from]))
		if fold {
			v = lang.Fold(v)
		}
		if test(v) {
			n++
		}
	}
	return n
}

// compileScore compares a score; the last of a name counts, an absent one is
// zero.
func compileScore(n *lang.Node, col slot) predicate {
	name, cmp, nums := n.Text, n.Cmp, n.Nums
	return func(s *scope) bool {
		v := 0.0
		if c := s.cols[col]; c != nil {
			dict, keys := c.Dict(), c.ListKeys()
			for from, to := c.List(s.row); from < to; from++ {
				if dict.At(int(keys[from])) == name {
					v = c.Score(from)
				}
			}
		}
		return slices.ContainsFunc(nums, func(x float64) bool { return cmp.Holds(v, x) })
	}
}

// compileAnywhere tests every text of the event.
func (x *fields) compileAnywhere(n *lang.Node) predicate {
	values := x.values()
	if n.Op == lang.Exists {
		return func(s *scope) bool { return s.anyText(values, false, func(string) bool { return true }) }
	}
	test := compileText(n)
	return func(s *scope) bool { return s.anyText(values, n.Fold, test) }
}

// anyText tests the texts of event.text that are not empty.
func (s *scope) anyText(values slot, fold bool, test func(string) bool) bool {
	some := func(v string) bool { return v != "" && test(v) }
	for _, id := range textColumns {
		c := s.cols[id]
		if c == nil {
			continue
		}
		if c.Kind() == event.KindKeywords {
			if oneOf(c, s.row, fold, some) {
				return true
			}
			continue
		}
		v := ""
		if fold {
			v = s.fold(slot(id))
		} else {
			v = c.Text(s.row)
		}
		if some(v) {
			return true
		}
	}
	c := s.cols[values]
	return c != nil && oneOf(c, s.row, fold, some)
}

// relation is the relation of two texts that an operation stands for.
func relation(op lang.Op) func(x, v string) bool {
	switch op {
	case lang.Contains:
		return strings.Contains
	case lang.Prefix:
		return strings.HasPrefix
	case lang.Suffix:
		return strings.HasSuffix
	}
	return func(x, v string) bool { return x == v }
}

// manyLits is from how many texts on one pass over the value is cheaper than one
// search each.
const manyLits = 16

var litKind = map[lang.Op]lang.LitKind{lang.Eq: lang.LitEq, lang.Contains: lang.LitContains, lang.Prefix: lang.LitPrefix, lang.Suffix: lang.LitSuffix}

func neverSeen([]byte) float64 { return 0 }

// compileText returns the test of one value, folded if the atom is.
func compileText(n *lang.Node) func(v string) bool {
	lits := n.Lits
	if len(lits) > 8 && n.Op == lang.Eq {
		set := make(map[string]struct{}, len(lits))
		for _, l := range lits {
			set[l] = struct{}{}
		}
		return func(v string) bool { _, ok := set[v]; return ok }
	}
	switch n.Op {
	case lang.Match:
		return newPattern(n).matchText
	case lang.Wildcard:
		patterns := make([]lang.Pattern, len(lits))
		for i, l := range lits {
			patterns[i] = lang.ParsePattern(l)
		}
		return func(v string) bool {
			return slices.ContainsFunc(patterns, func(p lang.Pattern) bool { return p.Match(v) })
		}
	}
	if len(lits) >= manyLits {
		all := make([]literal, len(lits))
		for i, l := range lits {
			all[i] = literal{kind: litKind[n.Op], text: []byte(l)}
		}
		t := newTextIndex(all, neverSeen)
		return func(v string) bool { return t.any(v) }
	}
	rel := relation(n.Op)
	if len(lits) == 1 {
		l := lits[0]
		return func(v string) bool { return rel(v, l) }
	}
	return func(v string) bool {
		for _, l := range lits {
			if rel(v, l) {
				return true
			}
		}
		return false
	}
}

func compileNum(n *lang.Node, col slot) predicate {
	cmp, nums := n.Cmp, n.Nums
	absent := false
	for _, x := range nums {
		absent = absent || cmp.Holds(0, x)
	}
	return func(s *scope) bool {
		c := s.cols[col]
		if c == nil {
			return absent
		}
		v := c.Float(s.row)
		for _, x := range nums {
			if cmp.Holds(v, x) {
				return true
			}
		}
		return false
	}
}

func within(s *scope, col slot, nets []netip.Prefix) bool {
	c := s.cols[col]
	if c == nil {
		return false
	}
	addr := netip.Addr{}
	if c.Kind() == event.KindIP {
		addr = c.IP(s.row)
	} else if a, err := netip.ParseAddr(c.Text(s.row)); err == nil {
		addr = a.Unmap()
	}
	for _, net := range nets {
		if addr.IsValid() && net.Contains(addr) {
			return true
		}
	}
	return false
}
