package engine

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

// Envelope is what the engine holds every playbook to, whoever wrote it.
type Envelope struct {
	// Budgets bound how many actions of a kind are done in a window without a
	// person. Further ones wait for an approval.
	Budgets map[string]Limit
	// Protected are values no destructive action may name: "type:value"
	// (namespace:kube-system, api_key:abc, user:root), or an address or CIDR.
	Protected []string
	// WidestV4 and WidestV6 are the shortest prefixes that may be named;
	// 0 means 24 and 56.
	WidestV4, WidestV6 int
}

// Limit is a number of actions within a window.
type Limit struct {
	Max    int
	Window time.Duration
}

// Validate finds mistakes in the settings.
func (v Envelope) Validate() error {
	for _, p := range v.Protected {
		if _, ok := prefix(p); !ok && !strings.Contains(p, ":") {
			return fmt.Errorf("protected %q: want type:value, an address or a CIDR range", p)
		}
	}
	for k, l := range v.Budgets {
		if l.Max < 0 || l.Window <= 0 {
			return fmt.Errorf("budget %s: want a number and a window", k)
		}
	}
	return nil
}

func prefix(s string) (netip.Prefix, bool) { return decision.Prefix(s) }

// refuse says why a target must not be touched, or nothing.
func (v Envelope) refuse(targets []connector.Target) string {
	for _, t := range targets {
		if t.Value == "" {
			return "refused: the " + t.Type + " to act on is empty"
		}
		p, isNet := prefix(t.Value)
		if t.Type == "ip" {
			if !isNet {
				return fmt.Sprintf("refused: %q is not an address", t.Value)
			}
			widest := orDefault(v.WidestV4, 24)
			if p.Addr().Is6() {
				widest = orDefault(v.WidestV6, 56)
			}
			if p.Bits() < widest {
				return fmt.Sprintf("refused: %s is wider than /%d", p, widest)
			}
		}
		for _, guard := range v.Protected {
			if guard == t.Type+":"+t.Value {
				return "refused: " + guard + " is protected"
			}
			if g, ok := prefix(guard); ok && isNet && g.Overlaps(p) {
				return fmt.Sprintf("refused: %s is protected (%s)", t.Value, guard)
			}
		}
	}
	return ""
}

// Refuse is the check for what a person decides by hand.
func (v Envelope) Refuse(typ, value string) string {
	return v.refuse([]connector.Target{{Type: typ, Value: value}})
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

// Budget is the stored record of a kind's recent actions.
type Budget struct {
	Taken []Taken `json:"taken"`
}

// Taken is one counted action.
type Taken struct {
	Key string    `json:"key"` // idempotency key: counted once
	At  time.Time `json:"at"`
}

// take counts an action against its budget. It returns why the action must
// wait for a person, or nothing.
func (s *session) take(ctx context.Context, kind, id string) (full string, err error) {
	limit, ok := s.Envelope.Budgets[kind]
	if !ok {
		return "", nil
	}
	now := s.Now()
	_, err = kv.Change(ctx, s.Budgets, "budget."+kind, func(b Budget, _ bool) (Budget, error) {
		full = ""
		keep := b.Taken[:0:0]
		for _, t := range b.Taken {
			if t.Key == id {
				return b, kv.ErrKeep
			}
			if now.Sub(t.At) < limit.Window {
				keep = append(keep, t)
			}
		}
		if len(keep) >= limit.Max {
			full = fmt.Sprintf("budget used up: %d %s actions in %s", len(keep), kind, limit.Window)
			return b, kv.ErrKeep
		}
		b.Taken = append(keep, Taken{Key: id, At: now})
		return b, nil
	})
	if err != nil {
		return "", fmt.Errorf("budget %s: %w", kind, err)
	}
	return full, nil
}
