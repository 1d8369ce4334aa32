package match

import (
	"bytes"
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
	block *block.Block
	row   int
	cols  [event.NumColumns]*block.Column
	folds [event.NumColumns]folded
	stamp uint64 // differs for every row of every block

	machine lang.Machine
	env     map[string]any
}

// folded is the folded text of a column in the row with the stamp.
type folded struct {
	stamp uint64
	text  []byte
}

func (s *scope) open(b *block.Block) {
	s.block = b
	for id := range s.cols {
		s.cols[id] = b.Column(event.ColumnID(id))
	}
	s.stamp++
}

func (s *scope) seek(row int) {
	s.row = row
	s.stamp++
}

// text is what rules see of a text column.
func (s *scope) text(id event.ColumnID) string {
	c := s.cols[id]
	if c == nil {
		return ""
	}
	return c.Text(s.row)
}

func (s *scope) fold(id event.ColumnID) string {
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
func compile(n *lang.Node) predicate {
	switch n.Op {
	case lang.Const:
		v := !n.Neg
		return func(*scope) bool { return v }
	case lang.And, lang.Or:
		kids := slices.Clone(n.Kids)
		slices.SortStableFunc(kids, func(a, b *lang.Node) int { return price(a) - price(b) })
		preds := make([]predicate, len(kids))
		for i, k := range kids {
			preds[i] = compile(k)
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
	p := compileAtom(n)
	if n.Neg {
		return func(s *scope) bool { return !p(s) }
	}
	return p
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
	case lang.Eq, lang.Prefix, lang.Suffix, lang.FieldEq:
		return 2 + len(n.Lits)/8
	case lang.In:
		return 4
	case lang.Contains:
		return 5 + 3*len(n.Lits)
	case lang.Match:
		return 200
	default:
		return 1000
	}
	return sum
}

func compileAtom(n *lang.Node) predicate {
	col := n.Col
	switch n.Op {
	case lang.Exists:
		return func(s *scope) bool { c := s.cols[col]; return c != nil && !c.Absent(s.row) }
	case lang.FieldEq:
		other := n.Col2
		return func(s *scope) bool { return s.text(col) == s.text(other) }
	case lang.In:
		nets := n.Nets
		return func(s *scope) bool { return within(s, col, nets) }
	case lang.Num:
		return compileNum(n)
	}
	test := compileText(n)
	if event.Columns[col].Kind == event.KindKeywords {
		return func(s *scope) bool {
			c := s.cols[col]
			if c == nil {
				return false
			}
			dict, keys := c.Dict(), c.ListKeys()
			for from, to := c.List(s.row); from < to; from++ {
				v := dict.At(int(keys[from]))
				if n.Fold {
					v = lang.Fold(v)
				}
				if test(v) {
					return true
				}
			}
			return false
		}
	}
	if n.Fold {
		return func(s *scope) bool { return test(s.fold(col)) }
	}
	if n.Op == lang.Match {
		return compileMatch(n, test)
	}
	return func(s *scope) bool { return test(s.text(col)) }
}

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
	rel := func(v, l string) bool { return v == l }
	switch n.Op {
	case lang.Match:
		return n.Re.MatchString
	case lang.Contains:
		rel = strings.Contains
	case lang.Prefix:
		rel = strings.HasPrefix
	case lang.Suffix:
		rel = strings.HasSuffix
	}
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

// maxGuard bounds the texts of a guard: more of them cost what they save.
const maxGuard = 24

// compileMatch runs the pattern only if the texts that it needs are there:
// Go's regexp costs microseconds, most of all without case.
func compileMatch(n *lang.Node, test func(string) bool) predicate {
	col := n.Col
	var guards [][]string
	for _, g := range n.Guards() {
		if len(g) <= maxGuard {
			guards = append(guards, g)
		}
	}
	if len(guards) == 0 {
		return func(s *scope) bool { return test(s.text(col)) }
	}
	return func(s *scope) bool {
		v := s.fold(col)
		for _, set := range guards {
			if !containsAny(v, set) {
				return false
			}
		}
		return test(s.text(col))
	}
}

// containsAny looks for one text after the other: the vector search of package
// strings beats a single pass for all of them by far, also for forty texts.
func containsAny(v string, texts []string) bool {
	for _, t := range texts {
		if strings.Contains(v, t) {
			return true
		}
	}
	return false
}

func compileNum(n *lang.Node) predicate {
	col, cmp, nums := n.Col, n.Cmp, n.Nums
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

func within(s *scope, col event.ColumnID, nets []netip.Prefix) bool {
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

// FillEnv sets the columns of an expression in an environment for the virtual
// machine. Texts are copied, since an environment may outlive its block.
func FillEnv(env map[string]any, b *block.Block, row int, columns []event.ColumnID) {
	for _, id := range columns {
		col := &event.Columns[id]
		c := b.Column(id)
		if c == nil {
			env[col.Name] = lang.Zero(col.Kind)
			continue
		}
		switch k := col.Kind; {
		case k.Text():
			env[col.Name] = strings.Clone(c.Text(row))
		case k == event.KindF32 || k == event.KindF64:
			env[col.Name] = c.Float(row)
		case k.Number():
			env[col.Name] = int(c.Int(row))
		case k == event.KindBool:
			env[col.Name] = c.Int(row) != 0
		case k == event.KindKeywords:
			env[col.Name] = Texts(c, row)
		default:
			scores := map[string]float64{}
			for i, to := c.List(row); i < to; i++ {
				scores[string(bytes.Clone(c.Dict().Bytes(int(c.ListKeys()[i]))))] = c.Score(i)
			}
			env[col.Name] = scores
		}
	}
}

// Texts copies the list in a row of a keywords column.
func Texts(c *block.Column, row int) []string {
	from, to := c.List(row)
	out := make([]string, 0, to-from)
	for ; from < to; from++ {
		out = append(out, strings.Clone(c.Dict().At(int(c.ListKeys()[from]))))
	}
	return out
}
