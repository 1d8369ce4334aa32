package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// approve is an approve step: ask, wait, decide. No answer means no.
func (s *session) approve(ctx context.Context, st *playbook.Step) (verdict, error) {
	sd := s.d.step(st.ID)
	if sd.State == "" {
		due := s.Now().Add(st.Approve.Timeout.Std())
		sd.DueAt = &due
		s.set(st, run.Waiting, st.Question(s.d.env(s.Now())), run.Transition{DueAt: &due})
		if err := s.commit(ctx); err != nil {
			return wait, err
		}
	}
	if sd.State == run.Waiting {
		ask := run.Approval{Question: sd.Reason, Who: st.Approve.Who, Needed: st.Approve.Approvers}
		state, by, reason, err := s.answer(ctx, st, sd, ask)
		if err != nil || state == run.Waiting {
			return wait, err
		}
		sd.DueAt = nil
		s.set(st, state, reason, run.Transition{By: by})
		if err := s.commit(ctx); err != nil {
			return wait, err
		}
		s.forget(ctx, st)
	}
	if sd.State != run.Succeeded {
		return s.end(sd.State, st.ID+": "+sd.Reason), nil
	}
	return onward, nil
}

// gate is the approval that the safety envelope puts before an action. It
// reports whether the action may be claimed; it is claimed by the caller.
func (s *session) gate(ctx context.Context, st *playbook.Step, sd *StepDoc) (bool, error) {
	ask := run.Approval{Question: sd.Gate + ": " + connector.Brief(st.Action, sd.Params), Needed: 1}
	state, by, reason, err := s.answer(ctx, st, sd, ask)
	if err != nil || state == run.Waiting {
		return false, err
	}
	sd.Gate, sd.DueAt = "", nil
	next := state
	if state == run.Succeeded {
		next = run.Pending
	}
	s.set(st, next, reason, run.Transition{By: by})
	if err := s.commit(ctx); err != nil {
		return false, err
	}
	s.forget(ctx, st)
	return state == run.Succeeded, nil
}

func approvalKey(uid, step string) string { return uid + "." + step }

// answer reads the question's record, making it when it is not there, and says
// succeeded, refused, timeout or still waiting.
func (s *session) answer(ctx context.Context, st *playbook.Step, sd *StepDoc, ask run.Approval) (state run.State, by, reason string, err error) {
	ask.Run, ask.Step, ask.Playbook, ask.Alert, ask.Title = s.d.UID, st.ID, s.d.Playbook, s.d.Alert.UID, s.d.Alert.Title
	ask.Entity, ask.AskedAt, ask.Deadline = s.d.entity(), s.Now(), *sd.DueAt
	k := approvalKey(s.d.UID, st.ID)
	entry, err := s.Approvals.Get(ctx, k)
	if errors.Is(err, bus.ErrNotFound) {
		_, err = s.Approvals.Create(ctx, k, ask)
		if errors.Is(err, bus.ErrExists) {
			entry, err = s.Approvals.Get(ctx, k)
		}
	}
	if err != nil {
		return run.Waiting, "", "", fmt.Errorf("approval %s: %w", k, err)
	}
	var yes []string
	for _, a := range entry.Value.Answers {
		if !a.At.Before(*sd.DueAt) {
			continue // too late
		}
		if !a.Approve {
			return run.Refused, a.By, strings.TrimSuffix("denied by "+a.By+": "+a.Reason, ": "), nil
		}
		if yes = append(yes, a.By); len(yes) >= ask.Needed {
			return run.Succeeded, strings.Join(yes, ", "), strings.TrimSuffix("approved by "+strings.Join(yes, ", ")+": "+a.Reason, ": "), nil
		}
	}
	if !s.Now().Before(*sd.DueAt) {
		return run.TimedOut, "", fmt.Sprintf("nobody approved by %s, so it is not done", sd.DueAt.UTC().Format(time.RFC3339)), nil
	}
	return run.Waiting, "", "", nil
}

// forget removes an answered question. A leftover is harmless and is removed
// by the janitor.
func (s *session) forget(ctx context.Context, st *playbook.Step) {
	if err := s.Approvals.Delete(ctx, approvalKey(s.d.UID, st.ID)); err != nil {
		s.Logger.Warn("answered question stays listed", "run", s.d.UID, "step", st.ID, "error", err)
	}
}

// Answer records a person's answer to a question. The same person counts once.
func (e *Engine) Answer(ctx context.Context, uid, step string, a run.Answer) error {
	if a.By == "" || len(a.By) > 128 || len(a.Reason) > 1024 {
		return fmt.Errorf("answer: %w: who answers is missing, or too long", ErrState)
	}
	if !validID(uid) || !playbook.ValidStep(step) {
		return fmt.Errorf("approval %.40q of run %.40q: %w", step, uid, ErrNotFound)
	}
	a.At = e.Now()
	_, err := kv.Change(ctx, e.Approvals, approvalKey(uid, step), func(v run.Approval, found bool) (run.Approval, error) {
		switch {
		case !found:
			return v, fmt.Errorf("approval %s of run %s: %w", step, uid, ErrNotFound)
		case !a.At.Before(v.Deadline):
			return v, fmt.Errorf("approval %s of run %s: %w: the deadline was %s", step, uid, ErrState, v.Deadline.UTC().Format(time.RFC3339))
		case len(v.Who) > 0 && !slices.Contains(v.Who, a.By):
			return v, fmt.Errorf("approval %s of run %s: %w: %s may not answer (%s may)", step, uid, ErrState, a.By, strings.Join(v.Who, ", "))
		case slices.ContainsFunc(v.Answers, func(o run.Answer) bool { return o.By == a.By }):
			return v, fmt.Errorf("approval %s of run %s: %w: %s has answered", step, uid, ErrState, a.By)
		}
		v.Answers = append(v.Answers, a)
		return v, nil
	})
	if err != nil {
		return err
	}
	e.poke(uid, a.At)
	return nil
}
