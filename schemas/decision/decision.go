// Package decision holds what enforcement points fetch: who is to be blocked,
// limited or let through, until when and why.
package decision

import "time"

// Kind is what to do.
type Kind string

// The kinds. Allow wins over block: it is how a person exempts somebody.
const (
	Block Kind = "block"
	Limit Kind = "limit"
	Allow Kind = "allow"
)

// Scope is what the value names.
type Scope string

// The scopes that enforcement points ask about.
const (
	IP     Scope = "ip"      // an address or a CIDR range
	APIKey Scope = "api_key" // key id or hash, never the key
	User   Scope = "user"
	Model  Scope = "model"
	Agent  Scope = "agent"
	Tool   Scope = "tool"
)

// Decision is one standing decision. ID is deterministic (kind, scope, value),
// so that deciding twice is deciding once.
type Decision struct {
	ID        string    `json:"id"`
	Kind      Kind      `json:"kind"`
	Scope     Scope     `json:"scope"`
	Value     string    `json:"value"`
	Reason    string    `json:"reason"`
	Rate      int       `json:"rate,omitempty"` // requests per minute, for limit
	Alert     string    `json:"alert,omitempty"`
	Run       string    `json:"run,omitempty"`
	Step      string    `json:"step,omitempty"`
	By        string    `json:"by"` // playbook id or a person
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"` // zero: until taken back
}

// Active reports whether the decision stands at t.
func (d Decision) Active(t time.Time) bool { return d.ExpiresAt.IsZero() || t.Before(d.ExpiresAt) }
