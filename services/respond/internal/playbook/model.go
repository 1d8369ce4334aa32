// Package playbook reads playbooks: which alerts start them and which steps
// they take. What it returns is checked: expressions have the right types,
// operations exist, and what takes something away can be taken back.
package playbook

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/vagus-hub/vagus/services/respond/internal/lang"
	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Status says whether a playbook acts.
type Status string

// A playbook is tried dry until a person promotes it.
const (
	DryRun Status = "dry_run"
	Active Status = "active"
)

// Playbook is one file.
type Playbook struct {
	ID          string            `yaml:"id"`
	Title       string            `yaml:"title"`
	Description string            `yaml:"description"`
	Status      Status            `yaml:"status"`
	On          string            `yaml:"on"`    // boolean expression over alert
	Lanes       []string          `yaml:"lanes"` // default alert and enforce
	Vars        map[string]string `yaml:"vars"`  // defaults; the configuration may set others
	Tags        []string          `yaml:"tags"`
	References  []string          `yaml:"references"`
	Steps       []*Step           `yaml:"steps"`
	Tests       []Test            `yaml:"tests"`

	// Version is a hash of the text.
	Version string `yaml:"-"`
	// Text is the file.
	Text string `yaml:"-"`
	// Path is the file's name.
	Path string `yaml:"-"`
	// Trigger is On, compiled.
	Trigger *lang.Expr `yaml:"-"`
	byID    map[string]*Step
}

// Step is one step: exactly one of Action, If and Approve is set.
type Step struct {
	ID    string `yaml:"id"`
	Title string `yaml:"title"`

	Action  string         `yaml:"action"` // connector.operation
	Params  map[string]any `yaml:"params"`
	Timeout spec.Duration  `yaml:"timeout"`  // of one attempt; default 30s
	Retry   *Retry         `yaml:"retry"`    // default 3 attempts, 1s
	OnError string         `yaml:"on_error"` // stop (default) or continue
	Undo    *Undo          `yaml:"undo"`

	If   string  `yaml:"if"`
	Then []*Step `yaml:"then"`
	Else []*Step `yaml:"else"`

	Approve *Approve `yaml:"approve"`

	cond     *lang.Expr
	params   *lang.Tree
	after    *lang.Text
	question *lang.Text
}

// Retry says how often an action is tried. Waits double from Backoff, up to
// five minutes.
type Retry struct {
	Attempts int           `yaml:"attempts"`
	Backoff  spec.Duration `yaml:"backoff"`
}

// Undo says when an action is taken back: After a time by itself, or On manual
// only when a person asks.
type Undo struct {
	After string `yaml:"after"` // duration or template, for example {{ vars.ttl }}
	On    string `yaml:"on"`    // manual
}

// Approve asks people. No answer in time means no.
type Approve struct {
	Who       []string      `yaml:"who"`       // names; empty: anybody with access
	Approvers int           `yaml:"approvers"` // different people needed; default 1
	Timeout   spec.Duration `yaml:"timeout"`   // default 1h
	Question  string        `yaml:"question"`  // template
}

// Defaults of steps.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultAttempts = 3
	DefaultBackoff  = time.Second
	DefaultApproval = time.Hour
	// MinTTL keeps a typing mistake from undoing an action at once.
	MinTTL = time.Second
	// MaxTTL is the longest time after which an undo happens by itself.
	MaxTTL = 90 * 24 * time.Hour
)

// Kind is action, if or approve.
func (s *Step) Kind() string {
	switch {
	case s.Approve != nil:
		return "approve"
	case s.If != "":
		return "if"
	}
	return "action"
}

// Cond is the condition of an if step.
func (s *Step) Cond() *lang.Expr { return s.cond }

// RenderParams fills the parameters.
func (s *Step) RenderParams(env lang.Env) (map[string]any, error) {
	v, err := s.params.Render(env)
	if err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	return m, nil
}

// UndoAfter is the time until the action is taken back, 0 when it is not by
// itself.
func (s *Step) UndoAfter(env lang.Env) (time.Duration, error) {
	if s.after == nil {
		return 0, nil
	}
	text, err := s.after.String(env)
	if err != nil {
		return 0, err
	}
	d, err := spec.ParseDuration(text)
	if err != nil {
		return 0, err
	}
	return min(max(d, MinTTL), MaxTTL), nil
}

// Question is what an approver is asked.
func (s *Step) Question(env lang.Env) string {
	if s.question == nil {
		return s.Title
	}
	text, err := s.question.String(env)
	if err != nil {
		return s.Title
	}
	return text
}

// Attempts is how often the action may be tried.
func (s *Step) Attempts() int {
	if s.Retry != nil && s.Retry.Attempts > 0 {
		return s.Retry.Attempts
	}
	return DefaultAttempts
}

// Backoff is the wait before attempt n+1, n starting at 1.
func (s *Step) Backoff(n int) time.Duration {
	b := DefaultBackoff
	if s.Retry != nil && s.Retry.Backoff > 0 {
		b = s.Retry.Backoff.Std()
	}
	for i := 1; i < n && b < 5*time.Minute; i++ {
		b *= 2
	}
	return min(b, 5*time.Minute)
}

// Step finds a step by id.
func (p *Playbook) Step(id string) *Step { return p.byID[id] }

// All calls f for every step in the file's order.
func (p *Playbook) All(f func(*Step)) { all(p.Steps, f) }

func all(steps []*Step, f func(*Step)) {
	for _, s := range steps {
		f(s)
		all(s.Then, f)
		all(s.Else, f)
	}
}

// VarsWith are the variables with the operator's values.
func (p *Playbook) VarsWith(set map[string]string) map[string]string {
	out := make(map[string]string, len(p.Vars))
	for k, v := range p.Vars {
		if o, ok := set[k]; ok {
			v = o
		}
		out[k] = v
	}
	return out
}

func version(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
