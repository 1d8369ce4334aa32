package lang

import (
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/ast"

	"github.com/vagus-hub/vagus/schemas/event"
)

// lowering turns expr's checked tree into ours. What it does not know becomes
// an Opaque node, so it can never change an expression's meaning.
type lowering struct {
	list    Field // what # is an element of
	inside  bool  // within any(list, …)
	refused bool  // … something that does not distribute over "any"
}

func (l *lowering) node(n ast.Node, neg bool) *Node {
	switch n := n.(type) {
	case *ast.BoolNode:
		return constant(n.Value != neg)
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return l.node(n.Node, !neg)
		}
	case *ast.BinaryNode:
		if op, ok := boolean(n.Operator); ok {
			return l.chain(n, op, neg)
		}
		if out := l.compare(n); out != nil {
			return negate(out, neg)
		}
	case *ast.IdentifierNode:
		if f, ok := fieldOf(n); ok && f.Kind() == event.KindBool {
			return negate(&Node{Op: Num, Field: f, Cmp: EQ, Nums: []float64{1}}, neg)
		}
	case *ast.CallNode:
		if out := l.call(n); out != nil {
			return negate(out, neg)
		}
	case *ast.BuiltinNode:
		if out := l.quantified(n); out != nil {
			return negate(out, neg)
		}
	}
	l.refused = true
	return &Node{Op: Opaque, Neg: neg, Text: n.String()}
}

func boolean(operator string) (Op, bool) {
	switch operator {
	case "and", "&&":
		return And, true
	case "or", "||":
		return Or, true
	}
	return 0, false
}

// chain lowers a chain of one operator, which the parser nests to the left.
func (l *lowering) chain(n *ast.BinaryNode, op Op, neg bool) *Node {
	var kids []*Node
	for {
		kids = append(kids, l.node(n.Right, neg))
		left, ok := n.Left.(*ast.BinaryNode)
		if next, same := boolean(operatorOf(left)); ok && same && next == op {
			n = left
			continue
		}
		kids = append(kids, l.node(n.Left, neg))
		break
	}
	slices.Reverse(kids)
	if neg {
		op = And + Or - op
	}
	return join(op, kids)
}

func operatorOf(n *ast.BinaryNode) string {
	if n == nil {
		return ""
	}
	return n.Operator
}

// Opposite is the tree that holds where n does not.
func Opposite(n *Node) *Node { return negate(n, true) }

// negate is De Morgan's law over a lowered tree.
func negate(n *Node, neg bool) *Node {
	if !neg {
		return n
	}
	if n.Op == And || n.Op == Or {
		kids := make([]*Node, len(n.Kids))
		for i, k := range n.Kids {
			kids[i] = negate(k, true)
		}
		return join(And+Or-n.Op, kids)
	}
	out := *n
	out.Neg = !out.Neg
	return &out
}

// fieldOf is the field that an operand reads.
func fieldOf(n ast.Node) (Field, bool) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return fieldOf(n.Node)
	case *ast.IdentifierNode:
		if n.Value == EnvText {
			return AnyText, true
		}
		col, ok := event.ByName(n.Value)
		if !ok {
			return Field{}, false
		}
		return Field{Col: col.ID}, true
	case *ast.MemberNode:
		base, isName := n.Node.(*ast.IdentifierNode)
		key, isText := n.Property.(*ast.StringNode)
		if isName && isText && base.Value == EnvKeys {
			return UnmappedKey(key.Value), true
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == "text" && len(n.Arguments) == 1 {
			if f, ok := fieldOf(n.Arguments[0]); ok && f.View == Plain && (f.Kind().Number() || f.Kind() == event.KindBool) {
				f.View = AsText
				return f, true
			}
		}
	}
	return Field{}, false
}

// operand is fieldOf, with # read as an element of the list at hand.
func (l *lowering) operand(n ast.Node) (Field, bool) {
	if p, ok := n.(*ast.PointerNode); ok && l.inside && p.Name == "" {
		return l.list, true
	}
	f, ok := fieldOf(n)
	if ok && l.inside {
		l.refused = true
	}
	return f, ok
}

var flipped = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

func (l *lowering) compare(n *ast.BinaryNode) *Node {
	if n.Operator == "in" {
		return l.in(n)
	}
	if out := l.counted(n); out != nil {
		return out
	}
	if out := l.scored(n); out != nil {
		return out
	}
	left, ok := l.operand(n.Left)
	right, also := l.operand(n.Right)
	switch {
	case ok && also:
		if left.single() && right.single() {
			return fieldAtom(left, n.Operator, right)
		}
	case ok:
		return atom(left, n.Operator, n.Right, l.inside)
	case also:
		if op := flipped[n.Operator]; op != "" {
			return atom(right, op, n.Left, l.inside)
		}
	}
	return nil
}

// fieldAtom compares the texts of two fields.
func fieldAtom(left Field, operator string, right Field) *Node {
	n := &Node{Op: FieldEq, Field: left, Other: right, Rel: Eq}
	switch operator {
	case "==":
	case "!=":
		n.Neg = true
	case "contains":
		n.Rel = Contains
	case "startsWith":
		n.Rel = Prefix
	case "endsWith":
		n.Rel = Suffix
	default:
		return nil
	}
	return n
}

func atom(f Field, operator string, value ast.Node, element bool) *Node {
	if f.single() || element && f.list() {
		s, ok := value.(*ast.StringNode)
		if !ok {
			return nil
		}
		lits := []string{s.Value}
		switch operator {
		case "==":
			return textAtom(f, Eq, lits, false)
		case "!=":
			return negate(textAtom(f, Eq, lits, false), true)
		case "contains":
			return textAtom(f, Contains, lits, false)
		case "startsWith":
			return textAtom(f, Prefix, lits, false)
		case "endsWith":
			return textAtom(f, Suffix, lits, false)
		case "matches":
			if re, err := regexp.Compile(s.Value); err == nil {
				return &Node{Op: Match, Field: f, Re: re}
			}
		}
		return nil
	}
	if b, ok := value.(*ast.BoolNode); ok && f.Kind() == event.KindBool {
		n := &Node{Op: Num, Field: f, Cmp: EQ, Nums: []float64{1}}
		switch operator {
		case "==":
			return negate(n, !b.Value)
		case "!=":
			return negate(n, b.Value)
		}
		return nil
	}
	v, ok := number(value)
	if !ok || !f.Kind().Number() {
		return nil
	}
	n := &Node{Op: Num, Field: f, Nums: []float64{v}}
	switch operator {
	case "==", "!=":
		n.Cmp, n.Neg = EQ, operator == "!="
	case "<":
		n.Cmp = LT
	case "<=":
		n.Cmp = LE
	case ">":
		n.Cmp = GT
	case ">=":
		n.Cmp = GE
	default:
		return nil
	}
	return n
}

// textAtom also decides what the empty literal means: every text contains it,
// but a list needs an element to.
func textAtom(f Field, op Op, lits []string, fold bool) *Node {
	own := make([]string, len(lits))
	for i, s := range lits {
		if own[i] = s; fold {
			own[i] = Fold(s)
		}
		if s == "" && op != Eq && op != Wildcard {
			if f.single() {
				return constant(true)
			}
			return &Node{Op: Exists, Field: f}
		}
	}
	if len(own) == 0 {
		return constant(false)
	}
	return &Node{Op: op, Field: f, Lits: own, Fold: fold}
}

func (l *lowering) in(n *ast.BinaryNode) *Node {
	if f, ok := l.operand(n.Left); ok {
		if f.single() || l.inside && f.list() {
			if lits, ok := constantTexts(n.Right); ok {
				return textAtom(f, Eq, lits, false)
			}
			return nil
		}
		if nums, ok := numbers(n.Right); ok && f.Kind().Number() {
			if len(nums) == 0 {
				return constant(false)
			}
			return &Node{Op: Num, Field: f, Cmp: EQ, Nums: nums}
		}
		return nil
	}
	f, ok := l.operand(n.Right)
	s, text := n.Left.(*ast.StringNode)
	if ok && text && !l.inside && f.list() {
		return textAtom(f, Eq, []string{s.Value}, false)
	}
	return nil
}

func (l *lowering) call(n *ast.CallNode) *Node {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || len(n.Arguments) == 0 {
		return nil
	}
	f, ok := l.operand(n.Arguments[0])
	if !ok {
		return nil
	}
	if id.Value == "exists" {
		if l.inside || f.Kind() == event.KindScores {
			return nil
		}
		return &Node{Op: Exists, Field: f}
	}
	if id.Value == "cidr" {
		return cidrAtom(f, n.Arguments[1:])
	}
	fn, known := textFuncByName(id.Value)
	if !known || !f.single() && !f.list() {
		return nil
	}
	var lits []string
	var kids []*Node
	for _, a := range n.Arguments[1:] {
		more, ok := constantTexts(a)
		if !ok {
			other, isField := l.operand(a)
			if !isField || !f.single() || !other.single() || fn.op == Wildcard {
				return nil
			}
			kids = append(kids, &Node{Op: FieldEq, Field: f, Other: other, Rel: fn.op, Fold: fn.fold})
		}
		lits = append(lits, more...)
	}
	if !fn.every {
		if len(kids) == 0 {
			return fn.atom(f, lits)
		}
		return join(Or, append(kids, fn.atom(f, lits)))
	}
	if l.inside {
		return nil
	}
	for _, s := range lits {
		kids = append(kids, fn.atom(f, []string{s}))
	}
	return join(And, kids)
}

// atom makes the atom for one of the literals. Patterns that are plain
// relations become these.
func (t textFunc) atom(f Field, lits []string) *Node {
	if t.op != Wildcard {
		return textAtom(f, t.op, lits, t.fold)
	}
	if len(lits) == 0 {
		return constant(false)
	}
	kids := make([]*Node, len(lits))
	for i, s := range lits {
		if op, text, ok := ParsePattern(s).simple(); ok {
			kids[i] = textAtom(f, op, []string{text}, t.fold)
		} else {
			kids[i] = textAtom(f, Wildcard, []string{s}, t.fold)
		}
	}
	return join(Or, kids)
}

func cidrAtom(f Field, args []ast.Node) *Node {
	if !f.single() {
		return nil
	}
	n := &Node{Op: In, Field: f}
	for _, a := range args {
		s, ok := a.(*ast.StringNode)
		if !ok {
			return nil
		}
		net, err := netip.ParsePrefix(s.Value)
		if err != nil {
			return nil
		}
		n.Nets = append(n.Nets, net)
	}
	return n
}

// exact bounds the integers that a float64 holds and compares exactly.
const exact = 1 << 53

func number(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), n.Value > -exact && n.Value < exact
	case *ast.FloatNode:
		return n.Value, math.Abs(n.Value) < exact
	case *ast.UnaryNode:
		if n.Operator == "-" {
			v, ok := number(n.Node)
			return -v, ok
		}
	}
	return 0, false
}

func numbers(n ast.Node) ([]float64, bool) {
	var out []float64
	switch n := n.(type) {
	case *ast.ArrayNode:
		for _, e := range n.Nodes {
			v, ok := number(e)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	case *ast.ConstantNode:
		ints, ok := n.Value.(map[int]struct{})
		if !ok {
			return nil, false
		}
		for _, k := range slices.Sorted(maps.Keys(ints)) {
			if k <= -exact || k >= exact {
				return nil, false
			}
			out = append(out, float64(k))
		}
		return out, true
	}
	return nil, false
}

func sortedKeys(m map[string]struct{}) []string { return slices.Sorted(maps.Keys(m)) }
