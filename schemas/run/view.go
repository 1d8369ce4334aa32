package run

import "time"

// Run is the state of one playbook run, as the respond service's API shows it.
type Run struct {
	UID       string     `json:"uid"`
	Playbook  string     `json:"playbook"`
	Version   string     `json:"version"`
	Alert     string     `json:"alert"`
	Title     string     `json:"title"` // the alert's
	Incident  string     `json:"incident,omitempty"`
	Entity    string     `json:"entity,omitempty"` // type:value
	State     State      `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	DueAt     *time.Time `json:"due_at,omitempty"` // what the run waits for at the latest
	Steps     []Step     `json:"steps,omitempty"`  // in the playbook's order; only those reached
}

// Step is the state of one step of a run.
type Step struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind"`             // action, if, approve
	Action  string         `json:"action,omitempty"` // connector.operation
	State   State          `json:"state"`
	Reason  string         `json:"reason,omitempty"`
	Attempt int            `json:"attempt,omitempty"`
	Params  map[string]any `json:"params,omitempty"`
	Result  map[string]any `json:"result,omitempty"`
	Undo    State          `json:"undo,omitempty"`    // waiting, pending (a person may), started, undone, failed
	UndoAt  *time.Time     `json:"undo_at,omitempty"` // zero unless it happens by itself
	DueAt   *time.Time     `json:"due_at,omitempty"`  // retry or approval deadline
}

// Approval is a question that waits for people.
type Approval struct {
	Run       string    `json:"run"`
	Step      string    `json:"step"`
	Playbook  string    `json:"playbook"`
	Alert     string    `json:"alert"`
	Title     string    `json:"title"`
	Entity    string    `json:"entity,omitempty"`
	Question  string    `json:"question"`      // what would be done, and why it needs a person
	Who       []string  `json:"who,omitempty"` // who may answer; empty: anybody
	Needed    int       `json:"needed"`        // how many different people must approve
	AskedAt   time.Time `json:"asked_at"`
	Deadline  time.Time `json:"deadline"` // afterwards: timeout, nothing is done
	Answers   []Answer  `json:"answers,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
}

// Answer is one person's answer to an Approval.
type Answer struct {
	By      string    `json:"by"`
	Approve bool      `json:"approve"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// Incident groups the alerts of one entity that follow each other closely.
type Incident struct {
	UID       string    `json:"uid"` // deterministic: first alert and entity
	Revision  int       `json:"revision"`
	Entity    string    `json:"entity"` // type:value
	Title     string    `json:"title"`  // of the first alert of the highest level
	Level     string    `json:"level"`  // highest of its alerts
	Status    string    `json:"status"` // open
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Count     int       `json:"count"`  // alerts
	Alerts    []string  `json:"alerts"` // uids, at most 200, oldest first
	Rules     []string  `json:"rules"`
	Sources   []string  `json:"sources,omitempty"`
	Tags      []string  `json:"tags,omitempty"`
}
