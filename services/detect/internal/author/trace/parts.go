// Package trace shows which parts of a rule's condition hold for an event, in
// the words of the rule. Parts are evaluated by expr's virtual machine, which
// defines what conditions mean.
package trace

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// The operations of a part.
const (
	And  = "and"
	Or   = "or"
	Not  = "not"
	Leaf = ""
)

// maxParts bounds the parts of one condition that are told apart; what is
// beyond is one part.
const maxParts = 2000

// Part is a condition or a part of one: what and, or and not join, down to
// leaves, which are compared as a whole.
type Part struct {
	Op   string
	Text string
	// From is the offset of a leaf in the condition, in characters.
	From int
	Kids []*Part

	expr *lang.Expr
}

// Split takes a condition apart.
func Split(e *lang.Expr, families event.Families) (*Part, error) {
	config := conf.CreateNew()
	config.MaxNodes = lang.MaxNodes
	tree, err := parser.ParseWithConfig(e.Source, config)
	if err != nil {
		return nil, fmt.Errorf("read condition: %w", err)
	}
	s := splitter{families: families}
	return s.part(tree.Node)
}

type splitter struct {
	families event.Families
	parts    int
}

func (s *splitter) part(n ast.Node) (*Part, error) {
	if s.parts++; s.parts < maxParts {
		switch n := n.(type) {
		case *ast.UnaryNode:
			if n.Operator == "not" || n.Operator == "!" {
				kid, err := s.part(n.Node)
				return &Part{Op: Not, Kids: []*Part{kid}}, err
			}
		case *ast.BinaryNode:
			if op := boolean(n.Operator); op != "" {
				return s.chain(n, op)
			}
		}
	}
	p := &Part{Text: n.String(), From: from(n)}
	var err error
	if p.expr, err = lang.Part(p.Text, s.families); err != nil {
		return nil, fmt.Errorf("read part %s: %w", p.Text, err)
	}
	return p, nil
}

func boolean(operator string) string {
	switch operator {
	case "and", "&&":
		return And
	case "or", "||":
		return Or
	}
	return ""
}

// chain flattens a chain of one operator, which the parser nests to the left.
func (s *splitter) chain(n *ast.BinaryNode, op string) (*Part, error) {
	var nodes []ast.Node
	var collect func(ast.Node)
	collect = func(m ast.Node) {
		if b, ok := m.(*ast.BinaryNode); ok && boolean(b.Operator) == op {
			collect(b.Left)
			collect(b.Right)
			return
		}
		nodes = append(nodes, m)
	}
	collect(n)
	out := &Part{Op: op}
	for _, m := range nodes {
		kid, err := s.part(m)
		if err != nil {
			return nil, err
		}
		out.Kids = append(out.Kids, kid)
	}
	return out, nil
}

// from is where the first token of a node stands.
func from(n ast.Node) int {
	f := first{at: n.Location().From}
	ast.Walk(&n, &f)
	return f.at
}

type first struct{ at int }

// Visit implements ast.Visitor.
func (f *first) Visit(n *ast.Node) { f.at = min(f.at, (*n).Location().From) }

// Leaves lists the leaves in the order of the text.
func (p *Part) Leaves() []*Part {
	if p.Op == Leaf {
		return []*Part{p}
	}
	var out []*Part
	for _, k := range p.Kids {
		out = append(out, k.Leaves()...)
	}
	return out
}
