package playbook

import (
	"fmt"

	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Test is one inline test: an alert comes in, things happen, and states,
// requests and decisions are compared.
type Test struct {
	Name       string            `yaml:"name"`
	Alert      TestAlert         `yaml:"alert"`
	Connectors []string          `yaml:"connectors"` // configured ones; native ones always are
	Vars       map[string]string `yaml:"vars"`
	Protected  []string          `yaml:"protected"` // type:value or CIDR
	Responses  []TestResponse    `yaml:"responses"` // answers of the targets; default 200 {}
	Expect     Expect            `yaml:"expect"`    // right after the alert
	Then       []TestEvent       `yaml:"then"`
}

// TestAlert is what the alert has; the rest is made up.
type TestAlert struct {
	Level  string            `yaml:"level"` // default high
	Lane   string            `yaml:"lane"`  // default enforce
	Status string            `yaml:"status"`
	Rule   string            `yaml:"rule"`
	Title  string            `yaml:"title"`
	Reason string            `yaml:"reason"`
	Entity TestEntity        `yaml:"entity"`
	Fields map[string]string `yaml:"fields"`
	Tags   []string          `yaml:"tags"`
	Count  int64             `yaml:"count"`
}

// TestEntity is the alert's subject.
type TestEntity struct {
	Type  string `yaml:"type"`
	Value string `yaml:"value"`
	Name  string `yaml:"name"`
}

// TestResponse answers requests of a step, in order of appearance; the last
// one that fits stays.
type TestResponse struct {
	Step   string `yaml:"step"`
	Status int    `yaml:"status"`
	Body   any    `yaml:"body"`
	Times  int    `yaml:"times"` // how many requests it answers; 0: all
}

// TestEvent is something that happens later.
type TestEvent struct {
	Wait    spec.Duration `yaml:"wait"`
	Approve *TestAnswer   `yaml:"approve"`
	Deny    *TestAnswer   `yaml:"deny"`
	Undo    string        `yaml:"undo"` // a person asks to undo this step
	Expect  *Expect       `yaml:"expect"`
}

// TestAnswer answers an approval.
type TestAnswer struct {
	Step string `yaml:"step"`
	By   string `yaml:"by"`
}

// Expect is what must be so. What is not named is not compared, except that
// requests and decisions, when given, are complete.
type Expect struct {
	Run       string            `yaml:"run"`       // state; none: no run
	Steps     map[string]string `yaml:"steps"`     // id → state
	Reasons   map[string]string `yaml:"reasons"`   // id → part of its reason
	Requests  []ExpectRequest   `yaml:"requests"`  // so far, in order
	Decisions []string          `yaml:"decisions"` // in force: "block ip:192.0.2.1"
}

// ExpectRequest is one HTTP request a target must have seen.
type ExpectRequest struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"` // those named; * means any value
	Body    map[string]any    `yaml:"body"`    // those keys, deep
}

func (c *checker) test(t Test, at string) {
	if t.Name == "" {
		c.bad(at, "name is missing")
	}
	if t.Expect.Run == "" {
		c.bad(at, "expect.run is missing (a state, or none)")
	}
	states := func(e *Expect, where string) {
		for id := range e.Steps {
			if c.p.byID[id] == nil {
				c.bad(where+".steps."+id, "unknown step%s", spec.Suggest(id, c.seen))
			}
		}
	}
	states(&t.Expect, at+".expect")
	for i, ev := range t.Then {
		if ev.Expect != nil {
			states(ev.Expect, fmt.Sprintf("%s.then[%d].expect", at, i))
		}
	}
}
