// Package playtest runs the inline tests of playbooks with the engine that
// ships, a clock that tests move, and targets that only record.
package playtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Host is where all connectors live in tests: https://Host/<connector id>.
const Host = "target.example.com"

// Seen is one request that a target got.
type Seen struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Target records requests and answers them from a script.
type Target struct {
	mu     sync.Mutex
	script []playbook.TestResponse
	seen   []Seen
}

// RoundTrip records a request.
func (t *Target) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, Seen{r.Method, r.URL.EscapedPath(), r.Header, body})
	status, answer := http.StatusOK, []byte("{}")
	for i := range t.script {
		s := &t.script[i]
		if s.Times < 0 || s.Step != "" && !strings.Contains(key(r.Header), "/"+s.Step) {
			continue
		}
		if s.Times > 0 {
			if s.Times--; s.Times == 0 {
				s.Times = -1
			}
		}
		status = s.Status
		if s.Body != nil {
			if answer, err = json.Marshal(s.Body); err != nil {
				return nil, err
			}
		}
		break
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(answer)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// key finds the idempotency key among the headers: <run>/<step>….
func key(h http.Header) string {
	for _, vs := range h {
		for _, v := range vs {
			if len(v) > 33 && v[32] == '/' {
				return v
			}
		}
	}
	return ""
}

// Requests returns what was seen so far.
func (t *Target) Requests() []Seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// nowhere is a publisher for tests.
type nowhere struct{}

// Publish accepts everything.
func (nowhere) Publish(context.Context, bus.Msg) (bus.Ack, error) { return bus.Ack{}, nil }

// bench is one test's world.
type bench struct {
	now       time.Time
	engine    *engine.Engine
	decisions *kv.Mem[decision.Decision]
	target    *Target
	pb        *playbook.Playbook
	uid       string
	due       time.Time
}

// Run runs one test and returns what differs, nil when it passes.
func Run(ctx context.Context, specs []*connector.Spec, pb *playbook.Playbook, t playbook.Test) ([]string, error) {
	b := &bench{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), decisions: kv.NewMem[decision.Decision](), pb: pb}
	b.target = &Target{script: slices.Clone(t.Responses)}
	clock := func() time.Time { return b.now }
	conf := map[string]map[string]string{}
	for _, id := range t.Connectors {
		i := slices.IndexFunc(specs, func(s *connector.Spec) bool { return s.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("test %q: unknown connector %q", t.Name, id)
		}
		conf[id] = settings(specs[i])
	}
	set, err := connector.New(connector.Options{
		Specs: specs, Config: conf, Transport: b.target, Now: clock,
		Natives: map[string]connector.Native{"vagus": &feed.Connector{Writer: &feed.Writer{Store: b.decisions, Now: clock}}},
	})
	if err != nil {
		return nil, fmt.Errorf("test %q: %w", t.Name, err)
	}
	b.engine = engine.New(engine.Settings{
		Runs: kv.NewMem[engine.Doc](), Texts: kv.NewMem[string](), Budgets: kv.NewMem[engine.Budget](), Approvals: kv.NewMem[run.Approval](),
		Publisher: nowhere{}, Actor: set, Playbooks: []*playbook.Playbook{pb}, Vars: map[string]map[string]string{pb.ID: t.Vars},
		Envelope: engine.Envelope{Protected: t.Protected}, Now: clock,
	})
	started, err := b.engine.Start(ctx, b.alert(t.Alert), "")
	if err != nil {
		return nil, fmt.Errorf("test %q: %w", t.Name, err)
	}
	if len(started) > 0 {
		b.uid = started[0]
	}
	if err := b.advance(ctx); err != nil {
		return nil, fmt.Errorf("test %q: %w", t.Name, err)
	}
	diff, err := b.compare(ctx, t.Expect)
	if err != nil {
		return nil, err
	}
	for i, ev := range t.Then {
		if err := b.event(ctx, ev); err != nil {
			return append(diff, fmt.Sprintf("then[%d]: %v", i, err)), nil
		}
		if ev.Expect == nil {
			continue
		}
		more, err := b.compare(ctx, *ev.Expect)
		if err != nil {
			return nil, err
		}
		for _, d := range more {
			diff = append(diff, fmt.Sprintf("then[%d]: %s", i, d))
		}
	}
	return diff, nil
}

// settings makes up what a connector needs.
func settings(s *connector.Spec) map[string]string {
	out := map[string]string{}
	for k, c := range s.Config {
		switch {
		case k == "url":
			out[k] = "https://" + Host + "/" + s.ID
		case c.Secret:
			// Any variable that is always there will do.
			out[k] = "env:PATH"
		case c.Required:
			out[k] = "test"
		}
	}
	return out
}

func (b *bench) alert(t playbook.TestAlert) finding.Alert {
	or := func(v, def string) string {
		if v == "" {
			return def
		}
		return v
	}
	a := finding.Alert{
		Status: finding.Status(or(t.Status, string(finding.Raised))), Revision: 1, Rule: or(t.Rule, "test.rule"), Level: finding.Level(or(t.Level, "high")),
		Lane: finding.Lane(or(t.Lane, "enforce")), Title: or(t.Title, "Test alert"), Reason: or(t.Reason, "because"),
		Entity: finding.Entity(t.Entity), Fields: t.Fields, Tags: t.Tags, Sources: []string{"test"}, Count: max(t.Count, 1),
		FirstSeen: b.now.Add(-time.Minute), LastSeen: b.now, RaisedAt: b.now,
	}
	a.UID = finding.UID(a.Rule, a.Entity.Type, a.Entity.Value)
	return a
}

func (b *bench) advance(ctx context.Context) error {
	if b.uid == "" {
		return nil
	}
	// A run that wants to go on at once does; the bound only catches a fault.
	for range 1000 {
		next, err := b.engine.Advance(ctx, b.uid)
		if err != nil {
			return err
		}
		if b.due = next; next.IsZero() || next.After(b.now) {
			return nil
		}
	}
	return fmt.Errorf("the run does not come to rest")
}

func (b *bench) event(ctx context.Context, ev playbook.TestEvent) error {
	answer := func(a *playbook.TestAnswer, yes bool) error {
		return b.engine.Answer(ctx, b.uid, a.Step, run.Answer{By: a.By, Approve: yes})
	}
	var err error
	switch {
	case ev.Approve != nil:
		err = answer(ev.Approve, true)
	case ev.Deny != nil:
		err = answer(ev.Deny, false)
	case ev.Undo != "":
		err = b.engine.Undo(ctx, b.uid, ev.Undo, "tester", "")
	}
	if err != nil {
		return err
	}
	if err := b.advance(ctx); err != nil {
		return err
	}
	// Time passes from one due moment to the next.
	for end := b.now.Add(ev.Wait.Std()); ; {
		if b.due.IsZero() || b.due.After(end) {
			b.now = end
			return nil
		}
		b.now = b.due
		if err := b.advance(ctx); err != nil {
			return err
		}
	}
}
