package correlate

import "fmt"

// Limits bound the state. Beyond them the groups that were touched longest ago
// are forgotten, counted and logged with the rule.
type Limits struct {
	// Groups is the number of groups of one rule.
	Groups int `yaml:"max_groups"`
	// Bytes is about the memory of all rules together.
	Bytes int64 `yaml:"max_memory"`
	// Events is the number of events of one group; older ones are forgotten. A
	// rule whose threshold is higher keeps twice its threshold.
	Events int `yaml:"max_events"`
}

// The bounds of the limits. Events and keys have 32 bits for their place.
const (
	minBytes  = 1 << 20
	maxBytes  = 4 << 30
	minEvents = 64
	maxEvents = 1 << 20
	maxGroups = 50_000_000
)

// DefaultLimits are those of a correlator that has them all to itself.
func DefaultLimits() Limits { return Limits{Groups: 1_000_000, Bytes: 512 << 20, Events: 16_384} }

// Check finds limits that cannot be kept.
func (l Limits) Check() error {
	switch {
	case l.Groups < 1 || l.Groups > maxGroups:
		return fmt.Errorf("max_groups is %d, want 1 to %d", l.Groups, maxGroups)
	case l.Bytes < minBytes || l.Bytes > maxBytes:
		return fmt.Errorf("max_memory is %d, want %d (1 MiB) to %d (4 GiB) bytes", l.Bytes, minBytes, maxBytes)
	case l.Events < minEvents || l.Events > maxEvents:
		return fmt.Errorf("max_events is %d, want %d to %d", l.Events, minEvents, maxEvents)
	}
	return nil
}

// SetLimits changes the bounds; they take effect as state grows.
func (c *Correlator) SetLimits(l Limits) { c.limits = l }
