package playbook

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/lang"
	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Limits of a playbook.
const (
	// MaxSteps counts steps at any depth.
	MaxSteps = 64
	// MaxDepth is how deep if steps nest.
	MaxDepth = 8
)

// Operations knows what connectors can do.
type Operations interface {
	Operation(name string) (*connector.Operation, bool)
	Names() []string
}

var stepID = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// ValidStep reports whether s can be the id of a step.
func ValidStep(s string) bool { return stepID.MatchString(s) }

// Parse reads and checks a playbook. name is only for messages and, when not
// empty, must agree with the id. All mistakes are reported, joined.
func Parse(name string, text []byte, ops Operations) (*Playbook, error) {
	p := &Playbook{Text: string(text), Path: name, Version: version(text), byID: map[string]*Step{}}
	f, err := spec.Parse(name, text, p)
	if err != nil {
		return nil, err
	}
	c := &checker{p: p, ops: ops, file: f}
	c.head()
	if len(p.Steps) == 0 {
		c.bad("steps", "is empty")
	}
	c.steps(p.Steps, "steps", 0, false)
	for i, t := range p.Tests {
		c.test(t, fmt.Sprintf("tests[%d]", i))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return p, nil
}

type checker struct {
	p     *Playbook
	ops   Operations
	file  *spec.File
	errs  []error
	seen  []string // ids of the steps before, in order
	count int
}

func (c *checker) bad(path, format string, args ...any) {
	if len(c.errs) < 50 {
		c.errs = append(c.errs, c.file.Errorf(path, format, args...))
	}
}

func (c *checker) scope() lang.Scope {
	return lang.Scope{Steps: c.seen, Vars: slices.Collect(maps.Keys(c.p.Vars))}
}

func (c *checker) head() {
	p := c.p
	if err := subjects.Check(p.ID); err != nil || strings.Contains(p.ID, ".") || strings.HasPrefix(p.ID, "_") {
		c.bad("id", "%q: want letters, digits, - and _", p.ID)
	} else if want := strings.TrimSuffix(path.Base(p.Path), path.Ext(p.Path)); want != p.ID {
		c.bad("id", "%q differs from the file's name %q", p.ID, want)
	}
	if p.Title == "" {
		c.bad("title", "is missing")
	}
	switch p.Status {
	case DryRun, Active:
	case "":
		p.Status = DryRun
	default:
		c.bad("status", "unknown %q%s", p.Status, spec.Suggest(string(p.Status), []string{"active", "dry_run"}))
	}
	lanes := []string{string(finding.Hunt), string(finding.Alerts), string(finding.Enforce)}
	if p.Lanes == nil {
		p.Lanes = lanes[1:]
	}
	for i, l := range p.Lanes {
		if !slices.Contains(lanes, l) {
			c.bad(fmt.Sprintf("lanes[%d]", i), "unknown lane %q%s", l, spec.Suggest(l, lanes))
		}
	}
	if p.On == "" {
		c.bad("on", "is missing: say which alerts start this, for example alert.level == \"high\"")
		return
	}
	var err error
	if p.Trigger, err = lang.Compile(p.On, c.scope(), true); err != nil {
		c.bad("on", "%v", err)
	}
}

// steps checks a list. approved says that a person has agreed before.
func (c *checker) steps(list []*Step, at string, depth int, approved bool) {
	if depth > MaxDepth {
		c.bad(at, "if steps nest deeper than %d", MaxDepth)
		return
	}
	for i, s := range list {
		where := fmt.Sprintf("%s[%d]", at, i)
		if s == nil {
			c.bad(where, "is empty")
			continue
		}
		if c.count++; c.count == MaxSteps+1 {
			c.bad(where, "more than %d steps", MaxSteps)
		}
		switch {
		case !stepID.MatchString(s.ID):
			c.bad(where, "id %q: want a short name of small letters, digits and _", s.ID)
		case c.p.byID[s.ID] != nil:
			c.bad(where+".id", "%q is used twice", s.ID)
		default:
			c.p.byID[s.ID] = s
		}
		c.step(s, where, depth, approved)
		if s.Approve != nil {
			approved = true
		}
		c.seen = append(c.seen, s.ID)
	}
}

func (c *checker) step(s *Step, at string, depth int, approved bool) {
	kinds := 0
	for _, set := range []bool{s.Action != "", s.If != "", s.Approve != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		c.bad(at, "want exactly one of action, if and approve")
		return
	}
	if s.If == "" && (s.Then != nil || s.Else != nil) {
		c.bad(at, "then and else belong to if")
	}
	if s.Action == "" && (s.Params != nil || s.Retry != nil || s.Undo != nil || s.OnError != "" || s.Timeout != 0) {
		c.bad(at, "params, timeout, retry, on_error and undo belong to action")
	}
	var err error
	switch {
	case s.If != "":
		if s.cond, err = lang.Compile(s.If, c.scope(), true); err != nil {
			c.bad(at+".if", "%v", err)
		}
		if len(s.Then) == 0 {
			c.bad(at, "if without then")
		}
		c.steps(s.Then, at+".then", depth+1, approved)
		c.steps(s.Else, at+".else", depth+1, approved)
	case s.Approve != nil:
		c.approve(s, at+".approve")
	default:
		c.action(s, at, approved)
	}
}

func (c *checker) approve(s *Step, at string) {
	a := s.Approve
	if a.Approvers == 0 {
		a.Approvers = 1
	}
	if a.Approvers < 1 || a.Approvers > 10 || len(a.Who) > 0 && len(a.Who) < a.Approvers {
		c.bad(at+".approvers", "%d: want 1 to 10, and not more than who lists", a.Approvers)
	}
	if a.Timeout == 0 {
		a.Timeout = spec.Duration(DefaultApproval)
	}
	if a.Question != "" {
		var err error
		if s.question, err = lang.ParseText(a.Question, c.scope()); err != nil {
			c.bad(at+".question", "%v", err)
		}
	}
}

func (c *checker) action(s *Step, at string, approved bool) {
	op, ok := c.ops.Operation(s.Action)
	if !ok {
		c.bad(at+".action", "unknown operation %q%s", s.Action, spec.Suggest(s.Action, c.ops.Names()))
		return
	}
	if err := op.CheckNames(slices.Collect(maps.Keys(s.Params))); err != nil {
		c.bad(at+".params", "%s: %v", s.Action, err)
	}
	tree, err := lang.ParseTree(map[string]any(s.Params), c.scope())
	var pe *lang.PathError
	switch {
	case errors.As(err, &pe):
		c.bad(at+".params"+pe.Path, "%v", pe)
	case err != nil:
		c.bad(at+".params", "%v", err)
	}
	s.params = tree
	switch s.OnError {
	case "":
		s.OnError = "stop"
	case "stop", "continue":
	default:
		c.bad(at+".on_error", "unknown %q%s", s.OnError, spec.Suggest(s.OnError, []string{"stop", "continue"}))
	}
	if r := s.Retry; r != nil && (r.Attempts < 0 || r.Attempts > 20) {
		c.bad(at+".retry.attempts", "%d: want 1 to 20", r.Attempts)
	}
	if s.Timeout == 0 {
		s.Timeout = spec.Duration(DefaultTimeout)
	}
	c.undo(s, op, at)
	if !op.Destructive || approved {
		return
	}
	if s.Undo == nil {
		c.bad(at, "%s acts without a person's approval, so it needs undo: {after: …} or undo: {on: manual}", s.Action)
	}
	if !slices.Equal(c.p.Lanes, []string{string(finding.Enforce)}) {
		c.bad(at, "%s acts without a person's approval, so the playbook must have lanes: [enforce], or an approve step before", s.Action)
	}
}

func (c *checker) undo(s *Step, op *connector.Operation, at string) {
	u := s.Undo
	if u == nil {
		return
	}
	if (u.After != "") == (u.On != "") {
		c.bad(at+".undo", "want after or on: manual")
		return
	}
	if u.On != "" && u.On != "manual" {
		c.bad(at+".undo.on", "unknown %q (manual)", u.On)
	}
	if op.Undo == "" {
		c.bad(at+".undo", "%s cannot be undone", s.Action)
	}
	if u.After == "" {
		return
	}
	var err error
	if s.after, err = lang.ParseText(u.After, c.scope()); err != nil {
		c.bad(at+".undo.after", "%v", err)
		return
	}
	if text, static := s.after.Static(); static {
		if d, err := spec.ParseDuration(text); err != nil || d < MinTTL || d > MaxTTL {
			c.bad(at+".undo.after", "%q: want a duration from %s to %s", text, MinTTL, MaxTTL)
		}
	}
}
