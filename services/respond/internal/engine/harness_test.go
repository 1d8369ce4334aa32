package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testConnector = `
id: gate
title: Gate
native: gate
operations:
  shut:
    kind: block
    destructive: true
    params: {who: {required: true}, note: {}}
    targets: {ip: who}
    undo: open
  open: {kind: release, params: {who: {}, note: {}}}
  say: {kind: notify, params: {text: {type: any}}}
  flaky: {kind: notify}
  broken: {kind: notify}
`

// world is everything outside of the engine: it survives crashes.
type world struct {
	t          testing.TB
	now        time.Time
	runs       *kv.Mem[Doc]
	texts      *kv.Mem[string]
	budgets    *kv.Mem[Budget]
	approvals  *kv.Mem[run.Approval]
	stream     map[string]run.Transition // by message id, as the bus dedups
	order      []run.Transition
	seqs       map[string]int
	effects    map[string]int    // idempotency key → times the target acted on it
	calls      []string          // every call that reached the target
	params     map[string]string // key → parameters, to see that repeats agree
	fails      map[string]int    // operation → how often it fails before it works
	configured bool
	op         *connector.Set

	ops, crashAt int // crash at that operation of the outside world; 0: never
	before       bool
}

var errCrash = errors.New("crashed")

// boundary counts an effect on the outside world and maybe dies around it.
func (w *world) boundary(do func() error) error {
	w.ops++
	if w.crashAt != 0 && w.ops > w.crashAt {
		return errCrash
	}
	if w.ops == w.crashAt && w.before {
		return errCrash
	}
	err := do()
	if w.ops == w.crashAt {
		return errCrash
	}
	return err
}

func newWorld(t testing.TB) *world {
	sp, err := connector.Parse("gate.yml", []byte(testConnector))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), runs: kv.NewMem[Doc](), texts: kv.NewMem[string](), budgets: kv.NewMem[Budget](),
		approvals: kv.NewMem[run.Approval](), stream: map[string]run.Transition{}, seqs: map[string]int{}, effects: map[string]int{},
		params: map[string]string{}, fails: map[string]int{}, configured: true,
	}
	w.op, err = connector.New(connector.Options{Specs: []*connector.Spec{sp}, Natives: map[string]connector.Native{"gate": w}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Do is the target: it acts once per idempotency key, as far as it can tell.
func (w *world) Do(_ context.Context, c connector.Call) (connector.Result, error) {
	err := w.boundary(func() error {
		w.calls = append(w.calls, c.Operation)
		if c.Operation == "broken" {
			return errors.New("no such thing")
		}
		if w.fails[c.Operation] > 0 {
			w.fails[c.Operation]--
			return &connector.Error{Retry: true, Err: errors.New("busy")}
		}
		p, _ := json.Marshal(c.Params)
		if was, ok := w.params[c.Key]; ok && was != string(p) {
			w.t.Errorf("key %s was sent with %s and then with %s", c.Key, was, p)
		}
		w.params[c.Key] = string(p)
		w.effects[c.Key]++
		return nil
	})
	return connector.Result{Data: map[string]any{"ok": true}}, err
}

// Publish is the bus: the same id is stored once.
func (w *world) Publish(_ context.Context, m bus.Msg) (bus.Ack, error) {
	return bus.Ack{}, w.boundary(func() error {
		var t run.Transition
		if err := json.Unmarshal(m.Data, &t); err != nil {
			return err
		}
		if was, ok := w.stream[m.ID]; ok {
			if was.State != t.State || was.Step != t.Step {
				w.t.Errorf("message %s was %s %s and then %s %s", m.ID, was.Step, was.State, t.Step, t.State)
			}
			return nil
		}
		if w.seqs[t.Run]++; t.Seq != w.seqs[t.Run] {
			w.t.Errorf("transition %d published at place %d of its run", t.Seq, w.seqs[t.Run])
		}
		w.stream[m.ID] = t
		w.order = append(w.order, t)
		return nil
	})
}

// crashing is a store whose writes may be the last thing that happens.
type crashing[T any] struct {
	*kv.Mem[T]
	w *world
}

// Create may crash before or after.
func (c crashing[T]) Create(ctx context.Context, k string, v T) (rev uint64, err error) {
	err = c.w.boundary(func() (err error) { rev, err = c.Mem.Create(ctx, k, v); return err })
	return rev, err
}

// Update may crash before or after.
func (c crashing[T]) Update(ctx context.Context, k string, v T, r uint64) (rev uint64, err error) {
	err = c.w.boundary(func() (err error) { rev, err = c.Mem.Update(ctx, k, v, r); return err })
	return rev, err
}

// Delete may crash before or after.
func (c crashing[T]) Delete(ctx context.Context, k string) error {
	return c.w.boundary(func() error { return c.Mem.Delete(ctx, k) })
}

// actor lets tests take the connector's configuration away.
type actor struct {
	*connector.Set
	w *world
}

// Configured is what the test says.
func (a actor) Configured(string) bool { return a.w.configured }

// engine starts a process over the world.
func (w *world) engine(env Envelope, books ...string) *Engine {
	w.t.Helper()
	var list []*playbook.Playbook
	for _, b := range books {
		pb, err := playbook.Parse("pb.yml", []byte(b), w.op)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, pb)
	}
	return New(Settings{
		Runs: crashing[Doc]{w.runs, w}, Texts: crashing[string]{w.texts, w}, Budgets: crashing[Budget]{w.budgets, w}, Approvals: crashing[run.Approval]{w.approvals, w},
		Publisher: w, Actor: actor{w.op, w}, Playbooks: list, Envelope: env, Now: func() time.Time { return w.now },
	})
}

func alert(n int) finding.Alert {
	return finding.Alert{
		UID: finding.UID("alert", fmt.Sprint(n)), Status: finding.Raised, Level: finding.High, Lane: finding.Enforce, Title: "Burst",
		Entity: finding.Entity{Type: "ip", Value: fmt.Sprintf("192.0.2.%d", n)}, Fields: map[string]string{"user.name": "alice"},
	}
}

func (w *world) doc(uid string) Doc {
	w.t.Helper()
	e, err := w.runs.Get(context.Background(), key(uid))
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Value
}

// settle advances until nothing is due before the time.
func (w *world) settle(e *Engine, uid string, until time.Time) error {
	for range 1000 {
		next, err := e.Advance(context.Background(), uid)
		if err != nil {
			return err
		}
		if next.IsZero() || next.After(until) {
			if until.After(w.now) {
				w.now = until
			}
			return nil
		}
		if next.After(w.now) {
			w.now = next
		}
	}
	return errors.New("does not come to rest")
}

func (w *world) states(uid string) map[string]run.State {
	d := w.doc(uid)
	out := map[string]run.State{"": d.State}
	for id, s := range d.Steps {
		out[id] = s.State
	}
	return out
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
