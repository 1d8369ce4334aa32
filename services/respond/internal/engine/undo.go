package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// undoAttempts is how often an undo is tried: more often than an action,
// because nobody waits for it and forgetting it leaves somebody locked out.
const undoAttempts = 20

func cutAction(action string) (name, operation string) {
	name, operation, _ = strings.Cut(action, ".")
	return name, operation
}

// nextUndo finds the earliest undo that happens by itself.
func (s *session) nextUndo() (at *time.Time, step string) {
	s.pb.All(func(st *playbook.Step) {
		sd := s.d.Steps[st.ID]
		if sd == nil || sd.Undo == nil {
			return
		}
		if u := sd.Undo; (u.State == run.Waiting || u.State == run.Started) && u.At != nil && (at == nil || u.At.Before(*at)) {
			at, step = u.At, st.ID
		}
	})
	return at, step
}

// undos does what is due, last action first.
func (s *session) undos(ctx context.Context) error {
	var due []*playbook.Step
	now := s.Now()
	s.pb.All(func(st *playbook.Step) {
		sd := s.d.Steps[st.ID]
		if sd == nil || sd.Undo == nil {
			return
		}
		if u := sd.Undo; u.State == run.Started || u.State == run.Waiting && u.At != nil && !now.Before(*u.At) {
			due = append(due, st)
		}
	})
	for i := len(due) - 1; i >= 0; i-- {
		if err := s.undo(ctx, due[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) undo(ctx context.Context, st *playbook.Step) error {
	sd := s.d.step(st.ID)
	u := sd.Undo
	op, ok := s.Actor.Operation(st.Action)
	name, _ := cutAction(st.Action)
	action := ""
	if ok && op.Undo != "" {
		action = name + "." + op.Undo
	}
	note := func(state run.State, reason string, t run.Transition) {
		u.State = state
		t.Step, t.Kind, t.Action, t.State, t.Reason = st.ID, "undo", action, state, reason
		t.Attempt, t.Idempotency, t.By = u.Attempt, s.key(st.ID, true), u.By
		s.note(s.d, t)
	}
	why := u.Reason
	if why == "" {
		why = "its time is over"
	}
	u.Attempt++
	note(run.Started, why, run.Transition{})
	if err := s.commit(ctx); err != nil {
		return err
	}
	var res connector.Result
	err := error(&connector.Error{Err: fmt.Errorf("operation %s has no undo any more", st.Action)})
	if action != "" {
		res, err = s.do(ctx, st, sd, action, true)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ce *connector.Error
	switch {
	case err == nil:
		if r, ok := res.Data["reason"].(string); ok && r != "" {
			why += "; " + r
		}
		sd.State = run.Undone
		note(run.Undone, why, run.Transition{Detail: res.Detail})
		s.stats.undone.Add(1)
	case errors.As(err, &ce) && ce.Retry && u.Attempt < undoAttempts:
		at := s.Now().Add(max(st.Backoff(u.Attempt), ce.After))
		u.At = &at
		note(run.Waiting, fmt.Sprintf("attempt %d failed: %v", u.Attempt, err), run.Transition{DueAt: &at, Detail: ce.Detail})
	default:
		note(run.Failed, err.Error(), run.Transition{})
		s.Logger.Error("undo failed: take it back by hand", "run", s.d.UID, "step", st.ID, "action", st.Action, "error", err)
		s.stats.failures.Add(1)
	}
	return s.commit(ctx)
}

// Undo takes a step back now because a person asked for it. The run does it at
// its next advance, which is started here.
func (e *Engine) Undo(ctx context.Context, uid, step, by, reason string) error {
	defer e.lock(uid)()
	s, err := e.open(ctx, uid)
	if err != nil {
		return err
	}
	sd := s.d.Steps[step]
	if sd == nil || sd.Undo == nil {
		return fmt.Errorf("undo %s of run %s: %w: nothing to take back", step, uid, ErrNotFound)
	}
	if u := sd.Undo; u.State != run.Pending && u.State != run.Waiting && u.State != run.Failed {
		return fmt.Errorf("undo %s of run %s: %w: it is %s", step, uid, ErrState, u.State)
	}
	now := s.Now()
	sd.Undo.State, sd.Undo.At, sd.Undo.By, sd.Undo.Attempt = run.Waiting, &now, by, 0
	sd.Undo.Reason = strings.TrimSpace("asked by " + by + ": " + reason)
	rev, err := s.Runs.Update(ctx, key(uid), *s.d, s.rev)
	if err != nil {
		return fmt.Errorf("undo %s of run %s: %w", step, uid, err)
	}
	s.rev = rev
	e.poke(uid, now)
	return nil
}
