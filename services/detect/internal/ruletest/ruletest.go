// Package ruletest runs the inline tests of rules through the same matcher and
// correlator that the service runs.
package ruletest

import (
	"fmt"
	"log/slog"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Options is what tests may need beyond the rule.
type Options struct {
	// Rules are the others of the set, which a correlation may name.
	Rules []*rule.Rule
	// Normalize maps records of a source, for tests with raw records; see
	// detect.CommandOptions. Nil: such tests fail with a hint.
	Normalize func(source string, data []byte, received int64, emit func(payload []byte) error) error
	// Read reads a file of samples that the rule in a file names.
	Read func(ruleFile, name string) ([]byte, error)
}

// Result is the outcome of one test.
type Result struct {
	Rule    string   `json:"rule"`
	Test    string   `json:"test"`
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Column  int      `json:"column,omitempty"`
	OK      bool     `json:"ok"`
	Message string   `json:"message,omitempty"`
	Alerts  []string `json:"alerts,omitempty"` // titles
	// Actual is what the events led to.
	Actual Outcome `json:"-"`
}

// Outcome is the state of the rule's alerts after a test's events.
type Outcome struct {
	// Alerts are those that were raised and not taken back, in the order in
	// which they were raised, as they are at the end.
	Alerts []finding.Alert
	// Raised has the same and those that were taken back, as they were raised.
	Raised             []finding.Alert
	Amended, Retracted int
}

// Run runs the tests of a rule.
func Run(r *rule.Rule, opts Options) []Result {
	out := make([]Result, 0, len(r.Tests))
	for i := range r.Tests {
		t := &r.Tests[i]
		res := Result{Rule: r.ID, Test: t.Name, File: r.File, Line: t.Line, Column: t.Column}
		got, err := Play(r, t.Events, opts)
		if err != nil {
			res.Message = err.Error()
			out = append(out, res)
			continue
		}
		res.Actual = got
		for _, a := range got.Alerts {
			res.Alerts = append(res.Alerts, a.Title)
		}
		res.Message = compare(t, got)
		res.OK = res.Message == ""
		out = append(out, res)
	}
	return out
}

// Alerts returns the alerts that the events raise.
func Alerts(r *rule.Rule, events []rule.TestEvent) ([]finding.Alert, error) {
	got, err := Play(r, events, Options{})
	return got.Raised, err
}

// Play lets events happen and returns what the rule makes of them when time has
// gone on without any others.
func Play(r *rule.Rule, events []rule.TestEvent, opts Options) (Outcome, error) {
	rules := rule.Needed(r, opts.Rules)
	m := match.New(rule.Matched(rules))
	s := states{rule: r.ID, at: map[string]int{}}
	c := correlate.NewLocal(rules, slog.New(slog.DiscardHandler), s.take)
	err := blocks(r.File, events, opts, func(b *block.Block) {
		m.Match(b, func(r *rule.Rule, row int) {
			for _, f := range c.Feeds().Of(r) {
				sig := match.Signal(&f, b, row)
				c.Add(&sig)
			}
		})
		for row := range b.Rows() {
			c.Seen(match.Source(b, row), match.Time(b, row), match.Received(b, row))
		}
		c.Tick()
	})
	c.Flush()
	return s.outcome(), err
}

// states follows what becomes of a rule's alerts.
type states struct {
	rule    string
	raised  []finding.Alert
	now     []finding.Alert // by the same index
	at      map[string]int  // by uid
	amended map[int]bool
}

func (s *states) take(a finding.Alert) {
	if a.Rule != s.rule {
		return
	}
	i, known := s.at[a.UID]
	if !known {
		i = len(s.now)
		s.at[a.UID] = i
		s.raised, s.now = append(s.raised, a), append(s.now, a)
	}
	s.now[i] = a
	if a.Status == finding.Amended {
		if s.amended == nil {
			s.amended = map[int]bool{}
		}
		s.amended[i] = true
	}
}

func (s *states) outcome() Outcome {
	out := Outcome{Raised: s.raised, Amended: len(s.amended)}
	for _, a := range s.now {
		if a.Status == finding.Retracted {
			out.Retracted++
			continue
		}
		out.Alerts = append(out.Alerts, a)
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
