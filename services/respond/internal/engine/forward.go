package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// verdict is how a list of steps ended.
type verdict int

const (
	onward verdict = iota // all over: go on
	wait                  // something is not due yet
	ended                 // the run ends here; outcome is set
)

// forward walks the steps from the top; finished ones are passed over.
func (s *session) forward(ctx context.Context) error {
	v, err := s.walk(ctx, s.pb.Steps)
	if err != nil {
		return err
	}
	if v == onward && s.d.Outcome == "" {
		s.d.Outcome = run.Succeeded
	}
	return nil
}

func (s *session) walk(ctx context.Context, steps []*playbook.Step) (verdict, error) {
	for _, st := range steps {
		var v verdict
		var err error
		switch st.Kind() {
		case "if":
			v, err = s.branch(ctx, st)
		case "approve":
			v, err = s.approve(ctx, st)
		default:
			v, err = s.action(ctx, st)
		}
		if err != nil || v != onward {
			return v, err
		}
	}
	return onward, nil
}

// set changes a step's state and notes the transition.
func (s *session) set(st *playbook.Step, state run.State, reason string, t run.Transition) {
	sd := s.d.step(st.ID)
	sd.State, sd.Reason = state, reason
	t.Step, t.Kind, t.Action, t.State, t.Reason = st.ID, st.Kind(), st.Action, state, reason
	if st.Kind() == "action" {
		t.Attempt = sd.Attempt
		if t.Attempt > 0 {
			t.Idempotency = s.key(st.ID, false)
		}
	}
	s.note(s.d, t)
}

// key is the idempotency key of a step: run, step and direction, so that it is
// the same on every attempt and after every crash.
func (s *session) key(step string, undo bool) string {
	k := s.d.UID + "/" + step
	if undo {
		k += "/undo"
	}
	return k
}

// end gives the run its outcome.
func (s *session) end(state run.State, reason string) verdict {
	s.d.Outcome, s.d.OutcomeReason = state, reason
	return ended
}

func (s *session) branch(ctx context.Context, st *playbook.Step) (verdict, error) {
	sd := s.d.step(st.ID)
	if sd.State == "" {
		yes, err := st.Cond().Bool(s.d.env(s.Now()))
		switch {
		case err != nil:
			s.set(st, run.Failed, err.Error(), run.Transition{})
		case yes:
			sd.Branch = "then"
			s.set(st, run.Succeeded, "true: "+st.If, run.Transition{})
		default:
			sd.Branch = "else"
			s.set(st, run.Succeeded, "false: "+st.If, run.Transition{})
		}
		if err := s.commit(ctx); err != nil {
			return wait, err
		}
	}
	switch {
	case sd.State == run.Failed:
		return s.end(run.Failed, st.ID+": "+sd.Reason), nil
	case sd.Branch == "then":
		return s.walk(ctx, st.Then)
	}
	return s.walk(ctx, st.Else)
}

// action brings one action from wherever it is to its end, or to a wait.
func (s *session) action(ctx context.Context, st *playbook.Step) (verdict, error) {
	sd := s.d.step(st.ID)
	op, known := s.Actor.Operation(st.Action)
	if sd.State == "" {
		claim, err := s.prepare(ctx, st, sd, op, known)
		if err != nil {
			return wait, err
		}
		if !claim {
			if err := s.commit(ctx); err != nil {
				return wait, err
			}
		}
	}
	if sd.State == run.Waiting && sd.Gate != "" {
		ok, err := s.gate(ctx, st, sd)
		if err != nil || !ok && sd.State == run.Waiting {
			return wait, err
		}
	}
	if sd.State.Finished() {
		return s.after(st, sd), nil
	}
	if sd.State == run.Waiting && sd.DueAt != nil && s.Now().Before(*sd.DueAt) {
		return wait, nil
	}
	return s.perform(ctx, st, sd, op)
}

// after decides whether the run goes on behind a finished action.
func (s *session) after(st *playbook.Step, sd *StepDoc) verdict {
	switch sd.State {
	case run.Failed:
		if st.OnError == "continue" {
			return onward
		}
		return s.end(run.Failed, st.ID+": "+sd.Reason)
	case run.Refused, run.TimedOut:
		return s.end(sd.State, st.ID+": "+sd.Reason)
	}
	return onward
}

// prepare decides whether an action may be claimed now. When not, the step got
// another state.
func (s *session) prepare(ctx context.Context, st *playbook.Step, sd *StepDoc, op *connector.Operation, known bool) (bool, error) {
	fail := func(format string, args ...any) (bool, error) {
		s.set(st, run.Failed, fmt.Sprintf(format, args...), run.Transition{})
		return false, nil
	}
	if !known {
		return fail("operation %s is not known any more", st.Action)
	}
	params, err := st.RenderParams(s.d.env(s.Now()))
	if err == nil {
		params, err = op.Check(params)
	}
	if err != nil {
		return fail("%v", err)
	}
	sd.Params = params
	if !s.Actor.Configured(st.Action) {
		name, _ := cutAction(st.Action)
		s.set(st, run.Skipped, "connector "+name+" is not configured", run.Transition{})
		return false, nil
	}
	if op.Destructive {
		if why := s.Envelope.refuse(op.TargetsOf(params)); why != "" {
			s.set(st, run.Refused, why, run.Transition{})
			return false, nil
		}
	}
	if s.pb.Status != playbook.Active {
		s.set(st, run.DryRun, "the playbook's status is dry_run", run.Transition{Detail: map[string]string{"would": connector.Brief(st.Action, params)}})
		return false, nil
	}
	full, err := s.take(ctx, op.Kind, s.key(st.ID, false))
	if err != nil {
		return false, err
	}
	if full != "" {
		due := s.Now().Add(playbook.DefaultApproval)
		sd.Gate, sd.DueAt = full, &due
		s.set(st, run.Waiting, full, run.Transition{DueAt: &due})
		return false, nil
	}
	return true, nil
}

// perform claims the action, does it and stores the outcome.
func (s *session) perform(ctx context.Context, st *playbook.Step, sd *StepDoc, op *connector.Operation) (verdict, error) {
	if op == nil {
		s.set(st, run.Failed, "operation "+st.Action+" is not known any more", run.Transition{})
		if err := s.commit(ctx); err != nil {
			return wait, err
		}
		return s.after(st, sd), nil
	}
	now := s.Now()
	reason := ""
	if sd.State == run.Started {
		reason = "again after a restart, with the same idempotency key"
	}
	sd.Attempt++
	sd.DueAt = nil
	if sd.Expires == nil {
		ttl, err := st.UndoAfter(s.d.env(now))
		if err != nil {
			s.set(st, run.Failed, "undo: "+err.Error(), run.Transition{})
			if err := s.commit(ctx); err != nil {
				return wait, err
			}
			return s.after(st, sd), nil
		}
		if ttl > 0 {
			at := now.Add(ttl)
			sd.Expires = &at
		}
	}
	s.set(st, run.Started, reason, run.Transition{})
	if err := s.commit(ctx); err != nil {
		return wait, err
	}
	res, err := s.do(ctx, st, sd, st.Action, false)
	if ctx.Err() != nil {
		// Stopping: whether it was done is not known. It stays claimed.
		return wait, ctx.Err()
	}
	if err == nil {
		s.succeed(st, sd, op, res)
	} else {
		s.failed(st, sd, err)
	}
	if err := s.commit(ctx); err != nil {
		return wait, err
	}
	if !sd.State.Finished() {
		return wait, nil
	}
	return s.after(st, sd), nil
}

func (s *session) do(ctx context.Context, st *playbook.Step, sd *StepDoc, action string, undo bool) (connector.Result, error) {
	name, operation := cutAction(action)
	c := connector.Call{
		Connector: name, Operation: operation, Params: sd.Params, Key: s.key(st.ID, undo), Run: s.d.UID, Step: st.ID,
		Playbook: s.d.Playbook, Alert: s.d.Alert.UID, Reason: s.d.Alert.Title, Undo: undo,
	}
	if undo {
		c.Prior = sd.Result
	}
	if sd.Expires != nil {
		c.ExpiresAt = *sd.Expires
	}
	dctx, cancel := context.WithTimeout(ctx, st.Timeout.Std())
	defer cancel()
	s.stats.actions.Add(1)
	return s.Actor.Do(dctx, c)
}

func (s *session) succeed(st *playbook.Step, sd *StepDoc, op *connector.Operation, res connector.Result) {
	sd.Result = res.Data
	t := run.Transition{Detail: res.Detail}
	reason := ""
	if st.Undo != nil && op.Undo != "" {
		sd.Undo = &UndoDoc{State: run.Pending}
		reason = "can be taken back by a person"
		if sd.Expires != nil {
			sd.Undo = &UndoDoc{State: run.Waiting, At: sd.Expires}
			t.DueAt = sd.Expires
			reason = "taken back at " + sd.Expires.UTC().Format(time.RFC3339)
		}
	}
	s.set(st, run.Succeeded, reason, t)
}

func (s *session) failed(st *playbook.Step, sd *StepDoc, err error) {
	var ce *connector.Error
	if !errors.As(err, &ce) {
		ce = &connector.Error{Err: err}
	}
	s.stats.failures.Add(1)
	if ce.Retry && sd.Attempt < st.Attempts() {
		at := s.Now().Add(max(st.Backoff(sd.Attempt), ce.After))
		sd.DueAt = &at
		s.set(st, run.Waiting, "attempt "+strconv.Itoa(sd.Attempt)+" failed: "+err.Error(), run.Transition{DueAt: &at, Detail: ce.Detail})
		return
	}
	s.set(st, run.Failed, err.Error(), run.Transition{Detail: ce.Detail})
}
