package lang

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Op is the operation of a node.
type Op uint8

// The operations. And, Or and Const aside, all are atoms over one column
// (FieldEq: two), and only atoms carry Neg. Text atoms over a list hold if one
// element fulfils them; AllOf and AtLeast say so of more.
const (
	Const    Op = iota // Neg: false, else true
	And                // all of Kids
	Or                 // one of Kids
	Eq                 // text equals one of Lits
	Contains           // text contains one of Lits
	Prefix             // text starts with one of Lits
	Suffix             // text ends with one of Lits
	Match              // text matches Re
	In                 // address lies in one of Nets
	Num                // number compared with one of Nums by Cmp
	FieldEq            // the texts of two fields stand in the relation Rel
	Exists             // the column has a value
	Wildcard           // text fits one of Lits, patterns with * and ?
	AllOf              // every element of the list fulfils Elem
	AtLeast            // at least Least elements of the list do
	Score              // the score named Text compared with one of Nums by Cmp
	Opaque             // something only the virtual machine evaluates
)

var opNames = [...]string{"const", "and", "or", "eq", "contains", "prefix", "suffix", "match", "cidr", "num", "field_eq", "exists", "wildcard", "all", "count", "score", "opaque"}

// Cmp is how numbers are compared.
type Cmp uint8

// The comparisons; not-equal is a negated EQ.
const (
	EQ Cmp = iota
	LT
	LE
	GT
	GE
)

var cmpNames = [...]string{"==", "<", "<=", ">", ">="}

// Node is a node of a lowered expression in negation normal form. Text atoms
// on a list column hold if they hold for one element.
type Node struct {
	Op   Op
	Neg  bool
	Fold bool // ASCII letters compare without case
	Field
	Other Field    // FieldEq: the second text
	Rel   Op       // FieldEq: Eq, Contains, Prefix or Suffix
	Lits  []string // folded if Fold
	Re    *regexp.Regexp
	Nets  []netip.Prefix
	Cmp   Cmp
	Nums  []float64
	Kids  []*Node
	Elem  *Node  // AllOf, AtLeast: a text atom over one element, never negated
	Least int    // AtLeast: 2 or more
	Text  string // source of Opaque; name of a Score
}

// String writes the tree for people (`rules explain`).
func (n *Node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *Node) write(b *strings.Builder) {
	switch n.Op {
	case Const:
		fmt.Fprint(b, !n.Neg)
		return
	case And, Or:
		b.WriteByte('(')
		for i, k := range n.Kids {
			if i > 0 {
				b.WriteString(" " + opNames[n.Op] + " ")
			}
			k.write(b)
		}
		b.WriteByte(')')
		return
	}
	if n.Neg {
		b.WriteString("not ")
	}
	path := n.Path()
	name := opNames[n.Op]
	if n.Fold {
		name = "i" + name
	}
	switch n.Op {
	case Opaque:
		fmt.Fprintf(b, "vm{%s}", n.Text)
	case AllOf:
		fmt.Fprintf(b, "all(%s)", n.Elem)
	case AtLeast:
		fmt.Fprintf(b, "count(%s) >= %d", n.Elem, n.Least)
	case Score:
		fmt.Fprintf(b, "%s[%q] %s %v", path, n.Text, cmpNames[n.Cmp], n.Nums)
	case Exists:
		fmt.Fprintf(b, "exists(%s)", path)
	case FieldEq:
		if n.Rel == Eq && !n.Fold {
			fmt.Fprintf(b, "%s == %s", path, n.Other.Path())
			return
		}
		name = opNames[n.Rel]
		if n.Fold {
			name = "i" + name
		}
		fmt.Fprintf(b, "%s %s %s", path, name, n.Other.Path())
	case Match:
		fmt.Fprintf(b, "%s matches %q", path, n.Re.String())
	case In:
		fmt.Fprintf(b, "cidr(%s, %v)", path, n.Nets)
	case Num:
		fmt.Fprintf(b, "%s %s %v", path, cmpNames[n.Cmp], n.Nums)
	default:
		fmt.Fprintf(b, "%s %s %q", path, name, n.Lits)
	}
}

// Walk calls f for the node and everything below it.
func (n *Node) Walk(f func(*Node)) {
	f(n)
	for _, k := range n.Kids {
		k.Walk(f)
	}
}

func constant(v bool) *Node { return &Node{Op: Const, Neg: !v} }

// join builds an And or Or: nested ones of the same kind are flattened,
// constants folded, and text atoms that differ only in their literals merged.
func join(op Op, kids []*Node) *Node {
	stop := op == Or // the constant that decides
	flat := make([]*Node, 0, len(kids))
	for _, k := range kids {
		switch {
		case k.Op == op:
			flat = append(flat, k.Kids...)
		case k.Op == Const:
			if !k.Neg == stop {
				return constant(stop)
			}
		default:
			flat = append(flat, k)
		}
	}
	flat = merge(op, flat)
	switch len(flat) {
	case 0:
		return constant(!stop)
	case 1:
		return flat[0]
	}
	return &Node{Op: op, Kids: flat}
}

type mergeKey struct {
	op    Op
	fold  bool
	field Field
}

// merge unites "x op a or x op b" (and, by De Morgan, the negated "and").
func merge(op Op, kids []*Node) []*Node {
	seen := map[mergeKey]*Node{}
	out := kids[:0]
	for _, k := range kids {
		if k.Op < Eq || k.Op > Suffix && k.Op != Wildcard || k.Neg != (op == And) {
			out = append(out, k)
			continue
		}
		key := mergeKey{k.Op, k.Fold, k.Field}
		if first := seen[key]; first != nil {
			first.Lits = append(first.Lits, k.Lits...)
			continue
		}
		own := *k
		own.Lits = append([]string(nil), k.Lits...)
		seen[key] = &own
		out = append(out, &own)
	}
	return out
}
