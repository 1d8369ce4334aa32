package lang

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/vagus-hub/vagus/schemas/event"
)

// checker finds what expr's own type check would report badly or not at all:
// unknown paths with a suggestion, columns that the rule's families lack,
// values that must be constant.
type checker struct {
	families event.Families
	used     map[event.ColumnID]bool
	keys     map[string]bool // of unmapped
	anyText  bool            // event.text is read
	vars     []string
	loops    int // predicates around the node at hand
	text     file.Source
	problems Problems
}

func (c *checker) source(s string) {
	config := conf.CreateNew()
	config.MaxNodes = MaxNodes
	tree, err := parser.ParseWithConfig(s, config)
	if err != nil {
		c.problems = Problems{problem(err)}
		return
	}
	c.text = tree.Source
	c.visit(tree.Node)
}

func (c *checker) report(n ast.Node, format string, args ...any) {
	fe := (&file.Error{Location: leftmost(n).Location()}).Bind(c.text)
	c.problems = append(c.problems, Problem{fe.Line, fe.Column + 1, fmt.Sprintf(format, args...)})
}

func (c *checker) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		c.path(n, n.Value)
	case *ast.MemberNode:
		if path, ok := pathOf(n); ok {
			c.path(n, path)
			return
		}
		c.visit(n.Node)
		c.visit(n.Property)
	case *ast.ChainNode:
		c.visit(n.Node)
	case *ast.UnaryNode:
		c.visit(n.Node)
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.SliceNode:
		c.visitAll(n.Node, n.From, n.To)
	case *ast.CallNode:
		c.call(n)
	case *ast.BuiltinNode:
		for _, name := range disabledBuiltins {
			if n.Name == name {
				c.report(n, "function %s is not available in rules: results depend on the event alone and stay small", name)
			}
		}
		c.visitAll(n.Arguments...)
	case *ast.PredicateNode:
		// A loop within a loop could take seconds on a hostile event.
		if c.loops++; c.loops > 1 {
			c.report(n.Node, "loops such as any() must not be nested")
		}
		c.visit(n.Node)
		c.loops--
	case *ast.ConditionalNode:
		c.visitAll(n.Cond, n.Exp1, n.Exp2)
	case *ast.VariableDeclaratorNode:
		c.visit(n.Value)
		c.vars = append(c.vars, n.Name)
		c.visit(n.Expr)
		c.vars = c.vars[:len(c.vars)-1]
	case *ast.SequenceNode:
		c.visitAll(n.Nodes...)
	case *ast.ArrayNode:
		c.visitAll(n.Nodes...)
	case *ast.MapNode:
		c.visitAll(n.Pairs...)
	case *ast.PairNode:
		c.visitAll(n.Key, n.Value)
	}
}

func (c *checker) visitAll(nodes ...ast.Node) {
	for _, n := range nodes {
		if n != nil {
			c.visit(n)
		}
	}
}

// binary walks long chains of one operator without recursing on the left.
func (c *checker) binary(n *ast.BinaryNode) {
	for {
		switch n.Operator {
		case "matches":
			c.pattern(n.Right)
		case "..":
			c.report(n, "a range a..b may only stand after in")
		}
		if r, ok := n.Right.(*ast.BinaryNode); ok && n.Operator == "in" && r.Operator == ".." {
			c.visitAll(r.Left, r.Right)
		} else {
			c.visit(n.Right)
		}
		left, ok := n.Left.(*ast.BinaryNode)
		if !ok {
			c.visit(n.Left)
			return
		}
		n = left
	}
}

func (c *checker) pattern(n ast.Node) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		c.report(n, "the pattern of matches must be a constant text")
		return
	}
	if len(s.Value) > MaxPattern {
		c.report(n, "pattern has %d bytes, at most %d are allowed", len(s.Value), MaxPattern)
		return
	}
	if _, err := regexp.Compile(s.Value); err != nil {
		c.report(n, "%s (RE2 syntax)%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "), patternHint(err.Error()))
	}
}

func (c *checker) path(at ast.Node, path string) {
	for _, v := range c.vars {
		if path == v || strings.HasPrefix(path, v+".") {
			return
		}
	}
	if path == "$env" || strings.HasPrefix(path, "$env.") {
		c.report(at, "$env is not available in rules: write the path of a field")
		return
	}
	if path == anyTextPath {
		c.anyText = true
		return
	}
	if key, ok := strings.CutPrefix(path, unmappedDot); ok && key != "" {
		c.used[event.Unmapped], c.keys[key] = true, true
		return
	}
	col, ok := event.ByPath(path)
	if base, _, found := strings.Cut(path, "."); !ok && found {
		// scores.name is a look-up in a map.
		if m, isCol := event.ByPath(base); isCol && m.Kind == event.KindScores {
			col, ok = m, true
		}
	}
	if !ok {
		c.report(at, "unknown field %s%s", path, FieldHint(path))
		return
	}
	if col.Families&c.families == 0 {
		c.report(at, "field %s does not occur in the families %s (it occurs in %s)", path, FamilyNames(c.families), FamilyNames(col.Families))
		return
	}
	c.used[col.ID] = true
}

// FieldHint says, as the end of a sentence, which field a path that is none may
// mean: one of a similar name, or the one that ECS, OpenTelemetry or OCSF call so.
// "" if nothing is near.
func FieldHint(path string) string {
	if col, ok := event.ByName(path); ok && col.Path != path {
		return fmt.Sprintf(": write %s", col.Path)
	}
	var under, ends, all []string
	for i := range event.Columns {
		p := event.Columns[i].Path
		all = append(all, p)
		if strings.HasPrefix(p, path+".") {
			under = append(under, p)
		}
		if c := &event.Columns[i]; path == c.ECS || path == c.OTel || path == c.OCSF {
			return ": here it is " + p
		}
		if strings.HasSuffix(p, "."+path) {
			ends = append(ends, p)
		}
	}
	switch {
	case len(under) > 0:
		return fmt.Sprintf(": it is a group of fields (%s)", strings.Join(under[:min(len(under), 4)], ", "))
	case len(ends) == 1:
		return ": did you mean " + ends[0] + "?"
	case len(ends) > 1:
		return ": give the whole path (" + strings.Join(ends[:min(len(ends), 6)], ", ") + ")"
	}
	return DidYouMean(path, all)
}

func (c *checker) call(n *ast.CallNode) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		c.visit(n.Callee)
		if len(c.problems) == 0 {
			c.report(n, "only functions by name can be called")
		}
		return
	}
	f, isText := textFuncByName(id.Value)
	switch {
	case isText:
		c.textCall(n, f)
	case id.Value == "cidr":
		c.cidrCall(n)
	case id.Value == "date_part":
		c.dateCall(n)
	case id.Value == "exists":
		if len(n.Arguments) != 1 {
			c.report(n, "exists takes one field")
		}
	case id.Value == "text":
		if len(n.Arguments) != 1 {
			c.report(n, "text takes one number")
		}
	default:
		names := functionNames()
		for _, b := range builtin.Builtins {
			names = append(names, b.Name)
		}
		c.report(n, "unknown function %s%s", id.Value, DidYouMean(id.Value, names))
	}
	c.visitAll(n.Arguments...)
}

func (c *checker) textCall(n *ast.CallNode, f textFunc) {
	if len(n.Arguments) < 2 {
		c.report(n, "%s takes a field and at least one text", f.name)
		return
	}
	for _, a := range n.Arguments[1:] {
		if _, ok := constantTexts(a); !ok && (f.op == Wildcard || !isField(a)) {
			c.report(a, "%s compares with constant texts, lists of them, or a field", f.name)
		}
	}
}

// isField says that an argument is written as a field.
func isField(n ast.Node) bool {
	path, ok := pathOf(n)
	if !ok || path == anyTextPath {
		return false
	}
	_, isKey := strings.CutPrefix(path, unmappedDot)
	col, isCol := event.ByPath(path)
	return isKey || isCol && col.Kind.Text()
}

func (c *checker) cidrCall(n *ast.CallNode) {
	if len(n.Arguments) < 2 {
		c.report(n, `cidr takes an address and at least one network, such as cidr(src_endpoint.ip, "192.0.2.0/24")`)
		return
	}
	for _, a := range n.Arguments[1:] {
		s, ok := a.(*ast.StringNode)
		if !ok {
			c.report(a, "networks of cidr must be constant texts")
			continue
		}
		if _, err := netip.ParsePrefix(s.Value); err != nil {
			c.report(a, "%q is not a network: write it as 192.0.2.0/24 or 2001:db8::/32", s.Value)
		}
	}
}

func leftmost(n ast.Node) ast.Node {
	for {
		m, ok := n.(*ast.MemberNode)
		if !ok {
			return n
		}
		n = m.Node
	}
}

// constantTexts reads a text, a list of texts, or what the optimiser made of
// one.
func constantTexts(n ast.Node) ([]string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return []string{n.Value}, true
	case *ast.ArrayNode:
		var out []string
		for _, e := range n.Nodes {
			s, ok := e.(*ast.StringNode)
			if !ok {
				return nil, false
			}
			out = append(out, s.Value)
		}
		return out, true
	case *ast.ConstantNode:
		switch v := n.Value.(type) {
		case map[string]struct{}:
			return sortedKeys(v), true
		case []string:
			return v, true
		case string:
			return []string{v}, true
		case []any:
			out, err := texts(v)
			return out, err == nil
		}
	}
	return nil, false
}

// FamilyNames writes a set of families.
func FamilyNames(set event.Families) string {
	var names []string
	for i, n := range event.FamilyNames {
		if set.Has(event.Family(i)) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}
