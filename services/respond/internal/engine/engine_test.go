package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
)

const head = "id: pb\ntitle: Test\nstatus: active\nlanes: [enforce]\non: \"true\"\nvars: {ttl: 10m}\nsteps:\n"

const full = head + `
  - id: shut
    action: gate.shut
    params: {who: "{{ entity.value }}", note: "{{ now }}"}
    undo: {after: "{{ vars.ttl }}"}
  - id: check
    if: steps.shut.result.ok == true
    then:
      - {id: ask, approve: {timeout: 5m, question: "Go on with {{ entity.value }}?"}}
      - {id: try, action: gate.flaky, retry: {attempts: 4, backoff: 2s}}
    else:
      - {id: never, action: gate.say}
  - id: last
    action: gate.say
    params: {text: "{{ steps.shut.state }}"}
`

func TestRuns(t *testing.T) {
	type states = map[string]run.State
	for name, tt := range map[string]struct {
		steps      string
		status     string
		env        Envelope
		fails      map[string]int
		answer     string // by, or !by to deny
		until      time.Duration
		unset      bool
		want       states
		calls      []string
		reasonStep string
		reason     string
	}{
		"an action is done and taken back after its time": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}", until: 11 * time.Minute,
			want: states{"": run.Succeeded, "a": run.Undone}, calls: []string{"shut", "open"},
		},
		"before its time it stays": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}", until: 9 * time.Minute,
			want: states{"": run.Waiting, "a": run.Succeeded}, calls: []string{"shut"},
		},
		"a dry run does nothing": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}", status: "dry_run",
			want: states{"": run.Succeeded, "a": run.DryRun},
		},
		"retried until it works": {
			steps: "  - {id: a, action: gate.flaky, retry: {attempts: 3, backoff: 1s}}", fails: map[string]int{"flaky": 2}, until: time.Minute,
			want: states{"": run.Succeeded, "a": run.Succeeded}, calls: []string{"flaky", "flaky", "flaky"},
		},
		"retried as often as allowed": {
			steps: "  - {id: a, action: gate.flaky, retry: {attempts: 2, backoff: 1s}}\n  - {id: b, action: gate.say}", fails: map[string]int{"flaky": 9}, until: time.Minute,
			want: states{"": run.Failed, "a": run.Failed}, calls: []string{"flaky", "flaky"}, reasonStep: "a", reason: "busy",
		},
		"an error that lasts is not retried; on_error continue goes on": {
			steps: "  - {id: a, action: gate.broken, on_error: continue}\n  - {id: b, action: gate.say}",
			want:  states{"": run.Succeeded, "a": run.Failed, "b": run.Succeeded}, calls: []string{"broken", "say"},
		},
		"a failure behind an action leaves its undo in force": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}\n  - {id: b, action: gate.broken}", until: 11 * time.Minute,
			want: states{"": run.Failed, "a": run.Undone, "b": run.Failed}, calls: []string{"shut", "broken", "open"},
		},
		"an undo is retried": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}", fails: map[string]int{"open": 4}, until: 20 * time.Minute,
			want: states{"": run.Succeeded, "a": run.Undone}, calls: []string{"shut", "open", "open", "open", "open", "open"},
		},
		"not configured is skipped": {
			steps: "  - {id: a, action: gate.say}", unset: true,
			want: states{"": run.Succeeded, "a": run.Skipped}, reasonStep: "a", reason: "connector gate is not configured",
		},
		"protected address": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {on: manual}}", env: Envelope{Protected: []string{"192.0.2.0/28"}},
			want: states{"": run.Refused, "a": run.Refused}, reasonStep: "a", reason: "192.0.2.1 is protected (192.0.2.0/28)",
		},
		"a range around a protected address": {
			steps: "  - {id: a, action: gate.shut, params: {who: 198.51.100.0/25}, undo: {on: manual}}", env: Envelope{Protected: []string{"198.51.100.9"}},
			want: states{"": run.Refused, "a": run.Refused},
		},
		"a range that is too wide": {
			steps: "  - {id: a, action: gate.shut, params: {who: 0.0.0.0/0}, undo: {on: manual}}",
			want:  states{"": run.Refused, "a": run.Refused}, reasonStep: "a", reason: "wider",
		},
		"not an address": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ alert.title }}\"}, undo: {on: manual}}",
			want:  states{"": run.Refused, "a": run.Refused}, reasonStep: "a", reason: "not an address",
		},
		"an empty value": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ alert.fields['none'] }}\"}, undo: {on: manual}}",
			want:  states{"": run.Failed, "a": run.Failed}, reasonStep: "a", reason: "empty",
		},
		"approved": {
			steps: "  - {id: q, approve: {}}\n  - {id: a, action: gate.say}", answer: "alice",
			want: states{"": run.Succeeded, "q": run.Succeeded, "a": run.Succeeded}, calls: []string{"say"}, reasonStep: "q", reason: "approved by alice",
		},
		"denied": {
			steps: "  - {id: q, approve: {}}\n  - {id: a, action: gate.say}", answer: "!bob",
			want: states{"": run.Refused, "q": run.Refused}, reasonStep: "q", reason: "denied by bob",
		},
		"no answer means no": {
			steps: "  - {id: q, approve: {timeout: 5m}}\n  - {id: a, action: gate.say}", until: 6 * time.Minute,
			want: states{"": run.TimedOut, "q": run.TimedOut},
		},
		"two are needed and one is not enough": {
			steps: "  - {id: q, approve: {approvers: 2}}\n  - {id: a, action: gate.say}", answer: "alice",
			want: states{"": run.Started, "q": run.Waiting},
		},
		"else": {
			steps: "  - {id: c, if: alert.count > 5, then: [{id: a, action: gate.say}], else: [{id: b, action: gate.say}]}",
			want:  states{"": run.Succeeded, "c": run.Succeeded, "b": run.Succeeded}, calls: []string{"say"},
		},
		"a condition that breaks": {
			steps: "  - {id: c, if: 'alert.tags[3] == \"x\"', then: [{id: a, action: gate.say}]}",
			want:  states{"": run.Failed, "c": run.Failed},
		},
		"the budget is used up: a person decides": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {on: manual}}", env: Envelope{Budgets: map[string]Limit{"block": {0, time.Hour}}}, answer: "alice",
			want: states{"": run.Succeeded, "a": run.Succeeded}, calls: []string{"shut"},
		},
		"the budget is used up and nobody answers": {
			steps: "  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {on: manual}}", env: Envelope{Budgets: map[string]Limit{"block": {0, time.Hour}}}, until: 2 * time.Hour,
			want: states{"": run.TimedOut, "a": run.TimedOut},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.configured = !tt.unset
			for k, v := range tt.fails {
				w.fails[k] = v
			}
			text := head + tt.steps
			if tt.status != "" {
				text = strings.Replace(text, "active", tt.status, 1)
			}
			e := w.engine(tt.env, text)
			uids, err := e.Start(t.Context(), alert(1), "")
			if err != nil || len(uids) != 1 {
				t.Fatal(uids, err)
			}
			uid := uids[0]
			if err := w.settle(e, uid, w.now); err != nil {
				t.Fatal(err)
			}
			if tt.answer != "" {
				by, denied := strings.CutPrefix(tt.answer, "!")
				step := "q"
				if w.doc(uid).Steps["q"] == nil {
					step = "a"
				}
				if err := e.Answer(t.Context(), uid, step, run.Answer{By: by, Approve: !denied}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.settle(e, uid, w.now.Add(tt.until)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, w.states(uid)); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.calls, w.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if got := w.doc(uid).Steps[tt.reasonStep]; got != nil && !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("reason %q, want %q in it", got.Reason, tt.reason)
			}
			if len(w.doc(uid).Outbox) != 0 {
				t.Error("the stored outbox is not empty at rest")
			}
		})
	}
}

// TestCrashAnywhere kills the process before and after every effect it has on
// the outside world, in turn, and lets the next one go on.
func TestCrashAnywhere(t *testing.T) {
	drive := func(w *world, uid *string) error {
		e := w.engine(Envelope{Budgets: map[string]Limit{"block": {5, time.Hour}}}, full)
		uids, err := e.Start(t.Context(), alert(1), "inc")
		if err != nil {
			return err
		}
		*uid = uids[0]
		if err := w.settle(e, *uid, w.now); err != nil {
			return err
		}
		if w.doc(*uid).Steps["ask"].State == run.Waiting {
			err := e.Answer(t.Context(), *uid, "ask", run.Answer{By: "alice", Approve: true})
			// A crash may have recorded the answer.
			if err != nil && !errors.Is(err, ErrState) {
				return err
			}
		}
		return w.settle(e, *uid, w.now.Add(time.Hour))
	}
	fails := func(w *world) { w.fails["flaky"], w.fails["open"] = 2, 1 }
	whole := newWorld(t)
	fails(whole)
	var uid string
	if err := drive(whole, &uid); err != nil {
		t.Fatal(err)
	}
	for _, before := range []bool{true, false} {
		for at := 1; at <= whole.ops; at++ {
			t.Run(fmt.Sprintf("%d before=%v", at, before), func(t *testing.T) {
				w := newWorld(t)
				fails(w)
				w.crashAt, w.before = at, before
				if err := drive(w, &uid); !errors.Is(err, errCrash) {
					t.Fatalf("no crash: %v", err)
				}
				w.crashAt = 0
				if err := drive(w, &uid); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(whole.states(uid), w.states(uid)); diff != "" {
					t.Errorf("states (-without crash +with):\n%s", diff)
				}
				if diff := cmp.Diff(keys(whole.effects), keys(w.effects)); diff != "" {
					t.Errorf("idempotency keys (-without crash +with):\n%s", diff)
				}
				for k, n := range w.effects {
					if n > 2 {
						t.Errorf("key %s was sent %d times by one crash", k, n)
					}
				}
				for i, tr := range w.order {
					if tr.Seq != i+1 {
						t.Fatalf("transition %d has number %d: the log has a gap or a repeat", i+1, tr.Seq)
					}
				}
				last := w.order[len(w.order)-1]
				if last.Step != "" || last.State != run.Succeeded {
					t.Errorf("last transition is %q %s", last.Step, last.State)
				}
			})
		}
	}
}

func keys(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return sorted(out)
}

func TestStartOnce(t *testing.T) {
	w := newWorld(t)
	e := w.engine(Envelope{}, full)
	for range 3 {
		if _, err := e.Start(t.Context(), alert(1), ""); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*finding.Alert){
		"amended":   func(a *finding.Alert) { a.Status = finding.Amended },
		"retracted": func(a *finding.Alert) { a.Status = finding.Retracted },
		"lane":      func(a *finding.Alert) { a.Lane = finding.Hunt },
	} {
		a := alert(2)
		change(&a)
		if uids, err := e.Start(t.Context(), a, ""); err != nil || len(uids) != 0 {
			t.Errorf("%s alert started %v, %v", name, uids, err)
		}
	}
	if all, err := e.Views(t.Context()); err != nil || len(all) != 1 {
		t.Fatalf("%d runs, %v", len(all), err)
	}
}

func TestBudgetCounts(t *testing.T) {
	w := newWorld(t)
	e := w.engine(Envelope{Budgets: map[string]Limit{"block": {2, 10 * time.Minute}}},
		head+"  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {on: manual}}")
	try := func(n int) run.State {
		t.Helper()
		uids, err := e.Start(t.Context(), alert(n), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.settle(e, uids[0], w.now); err != nil {
			t.Fatal(err)
		}
		return w.doc(uids[0]).Steps["a"].State
	}
	got := []run.State{try(1), try(2), try(3)}
	w.now = w.now.Add(11 * time.Minute)
	got = append(got, try(4))
	if diff := cmp.Diff([]run.State{run.Succeeded, run.Succeeded, run.Waiting, run.Succeeded}, got); diff != "" {
		t.Error(diff)
	}
}

func TestManualUndo(t *testing.T) {
	w := newWorld(t)
	e := w.engine(Envelope{}, head+"  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {on: manual}}")
	uids, err := e.Start(t.Context(), alert(1), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.settle(e, uids[0], w.now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := w.states(uids[0])["a"]; got != run.Succeeded {
		t.Fatalf("after a day it is %s", got)
	}
	if err := e.Undo(t.Context(), uids[0], "b", "alice", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown step: %v", err)
	}
	if err := e.Undo(t.Context(), uids[0], "a", "alice", "false alarm"); err != nil {
		t.Fatal(err)
	}
	if err := w.settle(e, uids[0], w.now); err != nil {
		t.Fatal(err)
	}
	last := w.order[len(w.order)-1]
	if last.State != run.Undone || last.By != "alice" || !strings.Contains(last.Reason, "false alarm") {
		t.Errorf("last transition: %+v", last)
	}
	if err := e.Undo(t.Context(), uids[0], "a", "alice", ""); !errors.Is(err, ErrState) {
		t.Errorf("twice: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	w := newWorld(t)
	e := w.engine(Envelope{}, head+"  - {id: q, approve: {who: [alice, bob, carol], approvers: 2, timeout: 5m}}\n  - {id: a, action: gate.say}")
	uids, err := e.Start(t.Context(), alert(1), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.settle(e, uids[0], w.now); err != nil {
		t.Fatal(err)
	}
	answer := func(by string) error {
		return e.Answer(t.Context(), uids[0], "q", run.Answer{By: by, Approve: true})
	}
	for _, tt := range []struct {
		by   string
		want error
	}{{"mallory", ErrState}, {"", ErrState}, {"alice", nil}, {"alice", ErrState}, {"bob", nil}} {
		if err := answer(tt.by); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.by, err, tt.want)
		}
	}
	// The engine was away when the deadline passed: answers in time count.
	w.now = w.now.Add(time.Hour)
	if err := answer("carol"); !errors.Is(err, ErrState) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := w.settle(e, uids[0], w.now); err != nil {
		t.Fatal(err)
	}
	if got := w.states(uids[0])[""]; got != run.Succeeded {
		t.Errorf("run is %s", got)
	}
	if left, _ := w.approvals.List(t.Context()); len(left) != 0 {
		t.Errorf("%d questions stay", len(left))
	}
}

// TestOldVersion: a run ends with the playbook it began with.
func TestOldVersion(t *testing.T) {
	w := newWorld(t)
	uids, err := w.engine(Envelope{}, head+"  - {id: q, approve: {}}\n  - {id: a, action: gate.say}").Start(t.Context(), alert(1), "")
	if err != nil {
		t.Fatal(err)
	}
	e := w.engine(Envelope{}, head+"  - {id: other, action: gate.broken}")
	if err := w.settle(e, uids[0], w.now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]run.State{"": run.Started, "q": run.Waiting}, w.states(uids[0])); diff != "" {
		t.Error(diff)
	}
}

// TestScheduler runs many runs at once with real timers on a fake clock.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fails["flaky"] = 3
		e := w.engine(Envelope{}, head+"  - {id: a, action: gate.shut, params: {who: \"{{ entity.value }}\"}, undo: {after: 10m}}\n  - {id: b, action: gate.flaky}")
		e.Now, e.Workers = time.Now, 1 // the world is not made for concurrent calls
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		for n := range 20 {
			if _, err := e.Start(ctx, alert(n+1), ""); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		all, err := e.Views(t.Context())
		if err != nil || len(all) != 20 {
			t.Fatal(len(all), err)
		}
		for _, v := range all {
			if v.State != run.Succeeded {
				t.Errorf("%s: %s %s", v.Entity, v.State, v.Reason)
			}
		}
		if n, err := e.Prune(t.Context(), time.Time{}, 15); n != 5 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if n, err := e.Prune(t.Context(), time.Now().Add(time.Second), 1000); n != 15 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
	})
}
