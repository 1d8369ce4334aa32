// Package run holds what respond publishes: playbook runs and the transitions
// of their steps. The transitions are the audit log.
package run

import "time"

// State is where a run or a step is.
type State string

// The states. A run is active until every step is finished and every undo that
// is due has been done.
const (
	Pending   State = "pending"   // not begun
	Started   State = "started"   // begun; after a crash it is tried again with the same idempotency key
	Waiting   State = "waiting"   // for an approval, a time or an undo that is not due yet
	Succeeded State = "succeeded" // done, effect confirmed as far as the target can tell
	Failed    State = "failed"
	Skipped   State = "skipped"
	Refused   State = "refused"  // an approver or the safety envelope said no
	TimedOut  State = "timeout"  // nobody approved in time: fail closed
	Undone    State = "undone"   // the action was taken back
	DryRun    State = "dry_run"  // would have acted
	Canceled  State = "canceled" // by a person
)

// Finished reports whether the state is final for a step's forward action.
func (s State) Finished() bool {
	switch s {
	case Succeeded, Failed, Skipped, Refused, TimedOut, Undone, DryRun, Canceled:
		return true
	}
	return false
}

// Transition is one change of a run or of one of its steps.
type Transition struct {
	Run         string            `json:"run"` // deterministic: playbook and alert
	Seq         int               `json:"seq"` // 1, 2, … within the run
	At          time.Time         `json:"at"`
	Playbook    string            `json:"playbook"`
	Version     string            `json:"version"` // hash of the playbook's text
	Alert       string            `json:"alert"`   // alert uid
	Incident    string            `json:"incident,omitempty"`
	Entity      string            `json:"entity,omitempty"` // type:value
	Step        string            `json:"step,omitempty"`   // empty: the run itself
	Kind        string            `json:"kind,omitempty"`   // action, if, approve, undo
	Action      string            `json:"action,omitempty"` // connector.operation
	State       State             `json:"state"`
	Attempt     int               `json:"attempt,omitempty"`
	Idempotency string            `json:"idempotency_key,omitempty"`
	Reason      string            `json:"reason,omitempty"` // why: condition, who approved, what failed
	By          string            `json:"by,omitempty"`     // engine or a person
	DueAt       *time.Time        `json:"due_at,omitempty"` // approval deadline or undo time
	Detail      map[string]string `json:"detail,omitempty"` // request and response in brief, without secrets
}
