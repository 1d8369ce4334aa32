// Package finding holds what detection publishes: signals, which are single
// rule matches and travel in a binary form, many to a message, and alerts,
// which are OCSF Detection Findings (class 2004) in the making and travel as
// JSON.
package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Pair is one path with its value.
type Pair struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Status says what happened to an alert.
type Status string

// The statuses of an alert.
const (
	Raised    Status = "raised"
	Amended   Status = "amended"
	Retracted Status = "retracted"
)

// Level is Sigma's level.
type Level string

// The levels, least first.
const (
	Informational Level = "informational"
	Low           Level = "low"
	Medium        Level = "medium"
	High          Level = "high"
	Critical      Level = "critical"
)

// Levels lists the levels, least first.
var Levels = [...]Level{Informational, Low, Medium, High, Critical}

// SeverityID is the level as OCSF severity_id (1 to 5; 0 if unknown).
func (l Level) SeverityID() int {
	for i, v := range Levels {
		if v == l {
			return i + 1
		}
	}
	return 0
}

// Lane says how far a rule may go.
type Lane string

// The lanes: stored only, shown to people, may start automatic playbooks.
const (
	Hunt    Lane = "hunt"
	Alerts  Lane = "alert"
	Enforce Lane = "enforce"
)

// Alert is the state of a finding after a change. UID is deterministic, so that
// the same change published twice is the same message.
type Alert struct {
	UID       string            `json:"uid"`
	Status    Status            `json:"status"`
	Revision  int               `json:"revision"` // 1 when raised, +1 per amendment
	Rule      string            `json:"rule"`
	RuleTitle string            `json:"rule_title"`
	Version   string            `json:"version"`
	Level     Level             `json:"level"`
	Lane      Lane              `json:"lane"`
	Title     string            `json:"title"`              // filled template
	Reason    string            `json:"reason"`             // why it fired, in one sentence with the numbers
	Entity    Entity            `json:"entity"`             // the subject
	Entities  []Involved        `json:"entities,omitempty"` // everybody concerned, by role; the subject is not repeated
	Risk      int               `json:"risk,omitempty"`     // 0 to 100: how soon somebody should look
	Group     []Pair            `json:"group,omitempty"`
	Fields    map[string]string `json:"fields,omitempty"` // facts of the last event, for playbooks and people
	Tags      []string          `json:"tags,omitempty"`   // atlas.aml.t0051, attack.t1059, owasp.llm01-2025, nist.…
	Sources   []string          `json:"sources,omitempty"`
	Count     int64             `json:"count"`               // events in the window when it fired, or so far
	Value     float64           `json:"value,omitempty"`     // what the correlation measured
	Threshold float64           `json:"threshold,omitempty"` // what it was held against
	Time      time.Time         `json:"time,omitzero"`       // event time at which the condition came to hold
	FirstSeen time.Time         `json:"first_seen"`
	LastSeen  time.Time         `json:"last_seen"`
	RaisedAt  time.Time         `json:"raised_at"`            // received time of the signal that crossed the threshold
	Until     time.Time         `json:"until,omitzero"`       // it fires until then, in event time: further matches amend it
	Muted     *Muted            `json:"muted,omitempty"`      // why nobody is told
	EventUIDs []string          `json:"event_uids,omitempty"` // at most 100, the newest
	Traceback string            `json:"traceback,omitempty"`
	Before    *Before           `json:"-"` // of an amendment, for rules that correlate alerts; it does not travel
}

// Before is what was told of an alert before it was amended.
type Before struct {
	Time    time.Time
	Fields  map[string]string
	Sources []string
}

// Entity is the subject of an alert: what a playbook acts upon.
type Entity struct {
	Type  string `json:"type"`  // ip, api_key, user, pod, host, model, agent, …
	Value string `json:"value"` // as in the event
	Name  string `json:"name,omitempty"`
}

// Role says what an entity is to an alert.
type Role string

// The roles of entities.
const (
	Actor  Role = "actor"  // who did it
	Target Role = "target" // what it was done to
	Origin Role = "source" // where it came from
)

// Roles lists them.
var Roles = [...]Role{Actor, Target, Origin}

// Involved is an entity with its role.
type Involved struct {
	Role Role `json:"role"`
	Entity
}

// What mutes alerts.
const (
	BySilence    = "silence"
	ByInhibition = "inhibition"
)

// Muted says what keeps an alert from being told. The alert is stored all the
// same. When it ends while the alert still fires, the last revision is
// published once more as amended, with Ended set.
type Muted struct {
	By     string    `json:"by"`             // silence or inhibition
	ID     string    `json:"id"`             // of the silence, or name of the inhibition
	Reason string    `json:"reason"`         // comment and creator, or the alert that inhibits
	Ended  time.Time `json:"ended,omitzero"` // when it was over
}

// Told says whether people and playbooks may know of the alert.
func (a *Alert) Told() bool { return a.Muted == nil || !a.Muted.Ended.IsZero() }

// Unmuted says whether this is the message that a muted alert is to be told now.
func (a *Alert) Unmuted() bool { return a.Muted != nil && !a.Muted.Ended.IsZero() }

// UID makes a deterministic 32-digit id from its parts.
func UID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x1f")))
	return hex.EncodeToString(sum[:16])
}
