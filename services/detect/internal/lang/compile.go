package lang

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/vagus-hub/vagus/schemas/event"
)

// The budgets of one expression. Evaluation time follows from them: patterns
// run in linear time and every text column is cut to a bounded size.
const (
	MaxSource  = 4 << 20 // bytes
	MaxNodes   = 250_000 // a list of 100,000 values and something around it
	MaxDepth   = 100     // brackets within brackets
	MaxPattern = 4 << 10 // bytes of one regular expression
	vmMemory   = 100_000 // elements that one evaluation in the VM may create
)

// Problem is one thing wrong with an expression. Line and Column count from 1,
// Column in characters.
type Problem struct {
	Line, Column int
	Message      string
}

// Problems is the error of Compile.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = fmt.Sprintf("%d:%d: %s", x.Line, x.Column, x.Message)
	}
	return strings.Join(lines, "\n")
}

// Expr is a checked expression.
type Expr struct {
	Source string
	// Root is the lowered tree.
	Root *Node
	// Lowered is false if Root has an Opaque node: then only the virtual
	// machine decides, and Root serves for the literals.
	Lowered bool
	// Columns are the columns that the expression reads, in order of id; with
	// AnyText all that event.text stands for.
	Columns []event.ColumnID
	// Keys are the keys of unmapped that it reads, sorted; unmapped is then
	// among the columns.
	Keys []string
	// AnyText says that it reads event.text.
	AnyText bool

	// The program is made at first use: most rules are lowered, and thousands
	// of syntax trees would only keep the garbage collector busy.
	once    sync.Once
	program *vm.Program
}

// environment is what expr checks against: every column under its column name.
var environment = sync.OnceValue(func() map[string]any {
	env := make(map[string]any, len(event.Columns))
	for i := range event.Columns {
		c := &event.Columns[i]
		env[c.Name] = Zero(c.Kind)
	}
	env[EnvKeys], env[EnvText] = map[string]string{}, []string{}
	return env
})

// Zero is what a rule sees of a column without a value.
func Zero(k event.Kind) any {
	switch {
	case k.Text():
		return ""
	case k == event.KindF32 || k == event.KindF64:
		return 0.0
	case k.Number():
		return 0
	case k == event.KindBool:
		return false
	case k == event.KindKeywords:
		return []string{}
	}
	return map[string]float64{}
}

// Compile checks and lowers an expression. A column that none of the families
// carries is an error, as is an expression that can never or must always be
// true. The error is of type Problems.
func Compile(source string, families event.Families) (*Expr, error) {
	e, err := Part(source, families)
	if err != nil {
		return nil, err
	}
	if e.Root.Op == Const {
		return nil, Problems{{1, 1, fmt.Sprintf("condition is always %v", !e.Root.Neg)}}
	}
	if p := contradiction(e.Root); p != "" {
		return nil, Problems{{1, 1, p}}
	}
	return e, nil
}

// Part is Compile for a part of a condition, which may be constant.
func Part(source string, families event.Families) (*Expr, error) {
	if len(source) > MaxSource {
		return nil, Problems{{1, 1, fmt.Sprintf("expression has %d bytes, at most %d are allowed", len(source), MaxSource)}}
	}
	if p := tooDeep(source); p != nil {
		return nil, p
	}
	c := checker{families: families, used: map[event.ColumnID]bool{}, keys: map[string]bool{}}
	c.source(source)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	program, err := expr.Compile(source, options()...)
	if err != nil {
		return nil, Problems{problem(err)}
	}
	e := &Expr{Source: source, Lowered: true}
	l := lowering{}
	e.Root = l.node(program.Node(), false)
	e.Root.Walk(func(n *Node) { e.Lowered = e.Lowered && n.Op != Opaque })
	for id := range event.Columns {
		if c.used[event.ColumnID(id)] || c.anyText && (InText(event.ColumnID(id)) || id == int(event.Unmapped)) && event.Columns[id].Families&families != 0 {
			e.Columns = append(e.Columns, event.ColumnID(id))
		}
	}
	e.Keys, e.AnyText = slices.Sorted(maps.Keys(c.keys)), c.anyText
	return e, nil
}

func options() []expr.Option {
	return append([]expr.Option{
		expr.Env(environment()), expr.AsBool(), expr.MaxNodes(MaxNodes), expr.Patch(flatten{}),
	}, functionOptions()...)
}

// Machine runs expressions in expr's virtual machine. Not safe for concurrent
// use.
type Machine struct{ vm vm.VM }

// Eval evaluates the expression against an environment that holds the
// expression's columns by column name. A failing evaluation is an error, which
// a matcher counts and treats as no match.
func (m *Machine) Eval(e *Expr, env map[string]any) (bool, error) {
	var failed error
	e.once.Do(func() { e.program, failed = expr.Compile(e.Source, options()...) })
	if failed != nil || e.program == nil {
		return false, fmt.Errorf("compile expression: %w", failed)
	}
	m.vm.MemoryBudget = vmMemory
	out, err := m.vm.Run(e.program, env)
	if err != nil {
		return false, fmt.Errorf("evaluate expression: %w", err)
	}
	v, _ := out.(bool)
	return v, nil
}

func problem(err error) Problem {
	var fe *file.Error
	if errors.As(err, &fe) {
		return Problem{max(fe.Line, 1), fe.Column + 1, fe.Message + operatorHint(fe.Message)}
	}
	return Problem{1, 1, err.Error() + operatorHint(err.Error())}
}

// flatten replaces dotted paths by the identifiers of the environment.
type flatten struct{}

// Visit implements ast.Visitor.
func (flatten) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.MemberNode); !ok {
		return
	}
	if path, ok := pathOf(*node); ok {
		if key, ok := keyOf(path); ok {
			ast.Patch(node, &ast.MemberNode{Node: &ast.IdentifierNode{Value: EnvKeys}, Property: &ast.StringNode{Value: key}})
			return
		}
		if path == anyTextPath {
			ast.Patch(node, &ast.IdentifierNode{Value: EnvText})
			return
		}
		if col, ok := event.ByPath(path); ok {
			ast.Patch(node, &ast.IdentifierNode{Value: col.Name})
		}
	}
}

// pathOf reads "a.b.c" off a chain of member nodes.
func pathOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value, true
	case *ast.ChainNode:
		return pathOf(n.Node)
	case *ast.MemberNode:
		prop, ok := n.Property.(*ast.StringNode)
		if !ok || n.Method {
			return "", false
		}
		base, ok := pathOf(n.Node)
		return base + "." + prop.Value, ok
	}
	return "", false
}

// contradiction finds conjunctions that demand two values of one column.
func contradiction(n *Node) string {
	if n.Op != And {
		return ""
	}
	allowed := map[Field]map[string]bool{}
	for _, k := range n.Kids {
		if k.Op != Eq || k.Neg || k.list() {
			continue
		}
		now := map[string]bool{}
		for _, l := range k.Lits {
			if l = Fold(l); allowed[k.Field] == nil || allowed[k.Field][l] {
				now[l] = true
			}
		}
		if len(now) == 0 {
			return fmt.Sprintf("condition can never be true: %s cannot equal two values at once", k.Path())
		}
		allowed[k.Field] = now
	}
	return ""
}

// tooDeep looks for brackets nested so deeply that parsers, which recurse,
// would need very much stack. Texts are skipped; where one is malformed the
// parser will say so.
func tooDeep(source string) Problems {
	depth, line, start := 0, 1, 0
	quote := byte(0)
	for i := 0; i < len(source); i++ {
		c := source[i]
		if c == '\n' {
			line, start = line+1, i+1
		}
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '(' || c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return Problems{{line, utf8.RuneCountInString(source[start:i]) + 1, fmt.Sprintf("brackets are nested more than %d deep", MaxDepth)}}
			}
		case c == ')' || c == ']' || c == '}':
			depth--
		}
	}
	return nil
}
