package lang

// Clause is a part of a conjunction that literals stand for: every event for
// which Node holds, holds one of the literals. If it is Exact, every event that
// holds one fulfils Node, so that Node need not be evaluated.
type Clause struct {
	Witness
	Node  *Node
	Exact bool
	// Refused turns it round: no event for which Node holds, holds one of the
	// literals, and Cost is the share of events that hold none.
	Refused bool
}

// maxTerms bounds the alternatives that an expression is split into.
const maxTerms = 16

// Terms splits an expression into alternatives, each a conjunction of parts:
// the expression holds if all parts of one alternative do. What is no
// alternative at the top stays whole.
func (n *Node) Terms() [][]*Node {
	var exact []*Node
	var out [][]*Node
	for _, k := range n.split(Or) {
		if k.Op != And && k.exact() {
			exact = append(exact, k)
			continue
		}
		out = append(out, k.split(And))
	}
	if len(exact) > 0 {
		out = append(out, join(Or, exact).split(And))
	}
	if len(out) > maxTerms {
		return [][]*Node{n.split(And)}
	}
	return out
}

func (n *Node) split(op Op) []*Node {
	if n.Op == op {
		return n.Kids
	}
	return []*Node{n}
}

// ClauseOf returns what literals say of a part; false if there are none.
func ClauseOf(n *Node) (Clause, bool) {
	if n.Neg {
		positive := *n
		positive.Neg = false
		if w, ok := witness(&positive); ok && positive.exact() {
			w.Cost = 1 - min(w.Cost, 0.95)
			return Clause{Witness: w, Node: n, Exact: true, Refused: true}, true
		}
	}
	w, ok := witness(n)
	if !ok {
		return Clause{}, false
	}
	return Clause{Witness: w, Node: n, Exact: n.exact()}, true
}

// exact says that the node's literals decide it: the index compares folded
// texts, so the case of letters must not matter.
func (n *Node) exact() bool {
	switch n.Op {
	case Or:
		for _, k := range n.Kids {
			if !k.exact() {
				return false
			}
		}
		return true
	case Eq, Contains, Prefix, Suffix:
		if n.Neg || n.View == Anywhere {
			return false
		}
		for _, s := range n.Lits {
			if s == "" || !n.Fold && Letters(s) {
				return false
			}
		}
		return true
	}
	return false
}

// Letters reports whether a text has ASCII letters.
func Letters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c >= 'a' && c <= 'z' {
			return true
		}
	}
	return false
}
