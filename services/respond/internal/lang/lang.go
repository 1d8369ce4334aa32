// Package lang holds the expressions and templates of playbooks: expr-lang
// over a fixed typed environment, checked when a playbook is loaded.
//
// Values that come from events are hostile. A template never builds a
// document: it fills one scalar of a structure, and the structure is encoded
// afterwards, so that no value can break out of its place.
package lang

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Limits of one expression or template.
const (
	// MaxText is the longest expression or template, in bytes.
	MaxText = 4 << 10
	// MaxNodes bounds the size of an expression's tree.
	MaxNodes = 256
	// MaxResult is the longest text a template may give, in bytes.
	MaxResult = 16 << 10
	memory    = 100_000
)

// Pair is a path with its value, as expressions see it.
type Pair struct {
	Path  string `expr:"path"`
	Value string `expr:"value"`
}

// Entity is the subject of the alert, as expressions see it.
type Entity struct {
	Type  string `expr:"type"`
	Value string `expr:"value"`
	Name  string `expr:"name"`
}

// Alert is the alert, as expressions see it.
type Alert struct {
	UID       string            `expr:"uid"`
	Status    string            `expr:"status"`
	Revision  int               `expr:"revision"`
	Rule      string            `expr:"rule"`
	RuleTitle string            `expr:"rule_title"`
	Version   string            `expr:"version"`
	Level     string            `expr:"level"`
	Severity  int               `expr:"severity"` // 1 informational to 5 critical
	Lane      string            `expr:"lane"`
	Title     string            `expr:"title"`
	Reason    string            `expr:"reason"`
	Entity    Entity            `expr:"entity"`
	Group     []Pair            `expr:"group"`
	Fields    map[string]string `expr:"fields"` // absent: ""
	Tags      []string          `expr:"tags"`
	Sources   []string          `expr:"sources"`
	Count     int               `expr:"count"`
	Value     float64           `expr:"value"`
	Threshold float64           `expr:"threshold"`
	FirstSeen time.Time         `expr:"first_seen"`
	LastSeen  time.Time         `expr:"last_seen"`
	RaisedAt  time.Time         `expr:"raised_at"`
	EventUIDs []string          `expr:"event_uids"`
	Risk      int               `expr:"risk"`
}

// Step is what later steps see of an earlier one.
type Step struct {
	State  string         `expr:"state"`
	Reason string         `expr:"reason"`
	Result map[string]any `expr:"result"`
}

// Env is what playbook expressions may use.
type Env struct {
	Alert    Alert             `expr:"alert"`
	Entity   Entity            `expr:"entity"`
	Steps    map[string]Step   `expr:"steps"`
	Vars     map[string]string `expr:"vars"`
	Run      string            `expr:"run"`
	Incident string            `expr:"incident"`
	Now      time.Time         `expr:"now"`
}

// AlertOf converts an alert.
func AlertOf(a finding.Alert) Alert {
	out := Alert{
		UID: a.UID, Status: string(a.Status), Revision: a.Revision, Rule: a.Rule, RuleTitle: a.RuleTitle, Version: a.Version,
		Level: string(a.Level), Severity: a.Level.SeverityID(), Lane: string(a.Lane), Title: a.Title, Reason: a.Reason,
		Entity: Entity(a.Entity), Fields: a.Fields, Tags: a.Tags, Sources: a.Sources, Count: int(a.Count),
		Value: a.Value, Threshold: a.Threshold, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen, RaisedAt: a.RaisedAt, EventUIDs: a.EventUIDs, Risk: a.Risk,
	}
	for _, p := range a.Group {
		out.Group = append(out.Group, Pair(p))
	}
	return out
}

// Scope is what a text may use: an environment and which steps came before.
type Scope struct {
	// Env is a value of the environment's type; nil means Env.
	Env any
	// Steps are the ids that may be used; nil allows none.
	Steps []string
	// Vars are the names of variables.
	Vars []string
}

func (s Scope) options() []expr.Option {
	return []expr.Option{
		expr.Env(env(s)), expr.MaxNodes(MaxNodes),
		// The clock comes from the engine, so that a repeat gives the same.
		expr.DisableBuiltin("now"),
	}
}

// Expr is a checked expression. Safe for concurrent use.
type Expr struct {
	text string
	prog *vm.Program
}

// Compile checks text in scope. With boolean the result must be a bool.
func Compile(text string, scope Scope, boolean bool) (*Expr, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("expression: %d bytes, at most %d", len(text), MaxText)
	}
	check := &checker{scope: scope}
	opts := append(scope.options(), expr.Patch(check))
	if boolean {
		opts = append(opts, expr.AsBool())
	}
	prog, err := expr.Compile(text, opts...)
	if err == nil {
		err = check.err
	}
	if err != nil {
		return nil, fmt.Errorf("expression %q: %s", short(text), readable(err, env(scope)))
	}
	return &Expr{text: text, prog: prog}, nil
}

var noField = regexp.MustCompile(`^type lang\.(\w+) has no field (\w+)`)
var unknownName = regexp.MustCompile(`^unknown name (\w+)`)

// readable is the first line of an error, in the words of a playbook.
func readable(err error, env any) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	if m := unknownName.FindStringSubmatch(first); m != nil {
		return first + spec.Suggest(m[1], fields(reflect.TypeOf(env)))
	}
	m := noField.FindStringSubmatch(first)
	if m == nil {
		return first
	}
	types := map[string]any{"Alert": Alert{}, "Entity": Entity{}, "Step": Step{}, "Pair": Pair{}}
	t, ok := types[m[1]]
	if !ok {
		return first
	}
	return strings.ToLower(m[1]) + " has no " + m[2] + spec.Suggest(m[2], fields(reflect.TypeOf(t)))
}

func fields(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		out = append(out, t.Field(i).Tag.Get("expr"))
	}
	return out
}

func env(s Scope) any {
	if s.Env == nil {
		return Env{}
	}
	return s.Env
}

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// checker finds mistakes that types cannot: unknown steps and variables, and
// ranges, which would let an expression loop longer than its input.
type checker struct {
	scope Scope
	err   error
}

// Visit looks at one node.
func (c *checker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if n.Operator == ".." && c.err == nil {
			c.err = fmt.Errorf("ranges are not allowed")
		}
	case *ast.MemberNode:
		id, ok := n.Node.(*ast.IdentifierNode)
		key, isString := n.Property.(*ast.StringNode)
		if !ok || c.err != nil || c.scope.Env != nil {
			return
		}
		var known []string
		switch id.Value {
		case "steps":
			known = c.scope.Steps
		case "vars":
			known = c.scope.Vars
		default:
			return
		}
		if !isString {
			c.err = fmt.Errorf("%s: name the member with a constant", id.Value)
			return
		}
		for _, k := range known {
			if k == key.Value {
				return
			}
		}
		c.err = fmt.Errorf("%s.%s is not defined before this%s", id.Value, key.Value, spec.Suggest(key.Value, known))
	}
}

// Eval runs the expression; its time and memory are bounded.
func (e *Expr) Eval(env any) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("expression %q: %v", short(e.text), r)
		}
	}()
	machine := vm.VM{MemoryBudget: memory}
	v, err = machine.Run(e.prog, env)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("expression %q: %s", short(e.text), first)
	}
	return v, nil
}

// Bool runs a boolean expression.
func (e *Expr) Bool(env any) (bool, error) {
	v, err := e.Eval(env)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("expression %q: gives %T, want true or false", short(e.text), v)
	}
	return b, nil
}

// plain makes v JSON data: maps, slices, strings, numbers, bools and nil.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("value %T: %w", v, err)
	}
	if len(b) > MaxResult {
		return nil, fmt.Errorf("value: %d bytes, at most %d", len(b), MaxResult)
	}
	var out any
	return out, json.Unmarshal(b, &out)
}
