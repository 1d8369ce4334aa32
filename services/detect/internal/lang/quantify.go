package lang

import (
	"github.com/expr-lang/expr/ast"

	"github.com/vagus-hub/vagus/schemas/event"
)

// quantified lowers any, none and all over the elements of a list.
func (l *lowering) quantified(n *ast.BuiltinNode) *Node {
	if n.Name != "any" && n.Name != "none" && n.Name != "all" {
		return nil
	}
	element, ok := l.elements(n)
	if !ok {
		return nil
	}
	switch n.Name {
	case "all":
		return every(element)
	case "none":
		if out := some(element); out != nil {
			return negate(out, true)
		}
		return nil
	}
	return some(element)
}

// elements lowers the predicate of a loop over a list to a tree whose atoms are
// about one element, with the list for their field.
func (l *lowering) elements(n *ast.BuiltinNode) (*Node, bool) {
	if len(n.Arguments) != 2 || l.inside {
		return nil, false
	}
	f, ok := fieldOf(n.Arguments[0])
	pred, isPred := n.Arguments[1].(*ast.PredicateNode)
	if !ok || !isPred || !f.list() {
		return nil, false
	}
	sub := lowering{list: f, inside: true}
	out := sub.node(pred.Node, false)
	out.Walk(func(k *Node) { sub.refused = sub.refused || k.Op == Const || k.Op == In })
	return out, !sub.refused
}

// plainElement says that a loop other than any can be lowered: over a column, and
// by an atom about the text of an element. (Exists is what "contains an empty
// text" became: it is about the list.)
func plainElement(n *Node) bool {
	return n.View == Plain && n.Op != Exists && n.Op != And && n.Op != Or
}

// some says that one element fulfils a tree; nil if that cannot be said.
func some(n *Node) *Node {
	switch {
	case n.Op == Or:
		kids := make([]*Node, len(n.Kids))
		for i, k := range n.Kids {
			if kids[i] = some(k); kids[i] == nil {
				return nil
			}
		}
		return join(Or, kids)
	case n.Op == And:
		return nil // any(x, a and b) is not any(x, a) and any(x, b)
	case !n.Neg:
		return n
	case !plainElement(n):
		return nil
	}
	return negate(every(negate(n, true)), true)
}

// every says that all elements fulfil a tree; nil if that cannot be said.
func every(n *Node) *Node {
	switch {
	case n.Op == And:
		kids := make([]*Node, len(n.Kids))
		for i, k := range n.Kids {
			if kids[i] = every(k); kids[i] == nil {
				return nil
			}
		}
		return join(And, kids)
	case !plainElement(n):
		return nil
	case n.Neg:
		return n // that an element fulfils it, turned round
	}
	return &Node{Op: AllOf, Field: n.Field, Elem: n}
}

// maxLeast bounds the numbers that counts are compared with.
const maxLeast = 1 << 20

// counted lowers count(list, …) compared with a whole number.
func (l *lowering) counted(n *ast.BinaryNode) *Node {
	call, isCall := n.Left.(*ast.BuiltinNode)
	value, operator := n.Right, n.Operator
	if !isCall {
		call, isCall = n.Right.(*ast.BuiltinNode)
		value, operator = n.Left, flipped[n.Operator]
	}
	if !isCall || call.Name != "count" {
		return nil
	}
	v, ok := number(value)
	least := int(v)
	if !ok || float64(least) != v || least < -maxLeast || least > maxLeast {
		return nil
	}
	element, ok := l.elements(call)
	if !ok {
		return nil
	}
	switch operator {
	case ">=":
		return orMachine(element, atLeast(element, least), least, n)
	case ">":
		return orMachine(element, atLeast(element, least+1), least+1, n)
	case "<":
		return not(atLeast(element, least))
	case "<=":
		return not(atLeast(element, least+1))
	case "==", "!=":
		a, b := atLeast(element, least), not(atLeast(element, least+1))
		if a == nil || b == nil {
			return nil
		}
		return negate(join(And, []*Node{a, b}), operator == "!=")
	}
	return nil
}

func not(n *Node) *Node {
	if n == nil {
		return nil
	}
	if n.Op == Const {
		return constant(n.Neg)
	}
	return negate(n, true)
}

// atLeast says that so many elements fulfil a tree; nil if that cannot be said.
func atLeast(n *Node, least int) *Node {
	switch {
	case least <= 0:
		return constant(true)
	case least == 1:
		return some(n)
	case n.Neg || !plainElement(n):
		return nil
	}
	return &Node{Op: AtLeast, Field: n.Field, Elem: n, Least: least}
}

// orMachine leaves a count that cannot be said to the virtual machine, beside
// what it needs: one element that fulfils the tree.
func orMachine(element, out *Node, least int, n *ast.BinaryNode) *Node {
	if out != nil || least < 1 {
		return out
	}
	if out = some(element); out == nil {
		return nil
	}
	return join(And, []*Node{out, {Op: Opaque, Text: n.String()}})
}

// scored lowers a comparison of a score, scores.name > 0.5.
func (l *lowering) scored(n *ast.BinaryNode) *Node {
	f, key, ok := scoreOf(n.Left)
	value, operator := n.Right, n.Operator
	if !ok {
		f, key, ok = scoreOf(n.Right)
		value, operator = n.Left, flipped[n.Operator]
	}
	v, isNumber := number(value)
	cmp, known := map[string]Cmp{"==": EQ, "!=": EQ, "<": LT, "<=": LE, ">": GT, ">=": GE}[operator]
	if !ok || !isNumber || !known {
		return nil
	}
	if l.inside {
		l.refused = true
	}
	return &Node{Op: Score, Field: f, Text: key, Cmp: cmp, Nums: []float64{v}, Neg: operator == "!="}
}

func scoreOf(n ast.Node) (f Field, key string, ok bool) {
	m, isMember := n.(*ast.MemberNode)
	if !isMember {
		return Field{}, "", false
	}
	base, isName := m.Node.(*ast.IdentifierNode)
	name, isText := m.Property.(*ast.StringNode)
	if !isName || !isText {
		return Field{}, "", false
	}
	col, known := event.ByName(base.Value)
	if !known || col.Kind != event.KindScores {
		return Field{}, "", false
	}
	return Field{Col: col.ID}, name.Value, true
}
