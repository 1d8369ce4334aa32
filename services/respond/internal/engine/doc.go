// Package engine runs playbooks durably.
//
// # What is stored, and in which order
//
// A run is one document in a KV bucket, changed only by compare-and-set. Every
// change carries the transitions it means in the document's outbox; they are
// published, with the message id "<run>:<seq>", before anything else happens.
// An action is first claimed (state started, parameters fixed, attempt
// counted), then done, then its outcome stored. A process that dies between
// any two of these is continued by the next one: transitions are published
// again under the same id, and a claimed action is done again with the same
// idempotency key and the same parameters. Waits (retry, approval, undo) are
// times in the document, so they survive too.
package engine

import (
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/respond/internal/lang"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Doc is the stored state of a run.
type Doc struct {
	UID      string            `json:"uid"`
	Playbook string            `json:"playbook"`
	Version  string            `json:"version"` // a run ends with the text it began with, which is kept apart
	Vars     map[string]string `json:"vars,omitempty"`
	Alert    finding.Alert     `json:"alert"`
	Incident string            `json:"incident,omitempty"`

	State     run.State  `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	DueAt     *time.Time `json:"due_at,omitempty"`
	// Outcome is the final state once all forward steps are over and undos
	// are still due.
	Outcome       run.State `json:"outcome,omitempty"`
	OutcomeReason string    `json:"outcome_reason,omitempty"`

	Seq    int                 `json:"seq"`
	Outbox []run.Transition    `json:"outbox,omitempty"`
	Steps  map[string]*StepDoc `json:"steps,omitempty"`
}

// StepDoc is the stored state of a step.
type StepDoc struct {
	State   run.State      `json:"state"`
	Reason  string         `json:"reason,omitempty"`
	Attempt int            `json:"attempt,omitempty"`
	Params  map[string]any `json:"params,omitempty"`
	Result  map[string]any `json:"result,omitempty"`
	Branch  string         `json:"branch,omitempty"` // if: then or else
	Gate    string         `json:"gate,omitempty"`   // why an action waits for a person
	DueAt   *time.Time     `json:"due_at,omitempty"` // retry, or approval deadline
	Expires *time.Time     `json:"expires,omitempty"`
	Undo    *UndoDoc       `json:"undo,omitempty"`
}

// UndoDoc is the stored state of an undo: pending (only when a person asks),
// waiting, started, undone or failed.
type UndoDoc struct {
	State   run.State  `json:"state"`
	At      *time.Time `json:"at,omitempty"`
	Attempt int        `json:"attempt,omitempty"`
	By      string     `json:"by,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

// over reports whether nothing more happens by itself.
func (d *Doc) over() bool { return d.State.Finished() }

func (d *Doc) step(id string) *StepDoc {
	if d.Steps == nil {
		d.Steps = map[string]*StepDoc{}
	}
	s := d.Steps[id]
	if s == nil {
		s = &StepDoc{}
		d.Steps[id] = s
	}
	return s
}

func (d *Doc) entity() string {
	if d.Alert.Entity.Type == "" {
		return ""
	}
	return d.Alert.Entity.Type + ":" + d.Alert.Entity.Value
}

// env is what expressions see.
func (d *Doc) env(now time.Time) lang.Env {
	a := lang.AlertOf(d.Alert)
	e := lang.Env{Alert: a, Entity: a.Entity, Steps: map[string]lang.Step{}, Vars: d.Vars, Run: d.UID, Incident: d.Incident, Now: now}
	for id, s := range d.Steps {
		e.Steps[id] = lang.Step{State: string(s.State), Reason: s.Reason, Result: s.Result}
	}
	return e
}

// View is the document as the API shows it; pb may be nil.
func (d *Doc) View(pb *playbook.Playbook) run.Run {
	v := run.Run{
		UID: d.UID, Playbook: d.Playbook, Version: d.Version, Alert: d.Alert.UID, Title: d.Alert.Title, Incident: d.Incident,
		Entity: d.entity(), State: d.State, Reason: d.Reason, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, DueAt: d.DueAt,
	}
	if pb == nil {
		return v
	}
	pb.All(func(s *playbook.Step) {
		sd := d.Steps[s.ID]
		if sd == nil || sd.State == "" {
			return
		}
		out := run.Step{
			ID: s.ID, Kind: s.Kind(), Action: s.Action, State: sd.State, Reason: sd.Reason, Attempt: sd.Attempt,
			Params: sd.Params, Result: sd.Result, DueAt: sd.DueAt,
		}
		if sd.Undo != nil {
			out.Undo, out.UndoAt = sd.Undo.State, sd.Undo.At
		}
		v.Steps = append(v.Steps, out)
		if sd.State == run.Waiting && sd.DueAt != nil && v.DueAt == nil {
			v.DueAt = sd.DueAt
		}
	})
	return v
}
