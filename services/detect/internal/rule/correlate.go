package rule

import (
	"fmt"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// The types of correlation. The first seven are Sigma's.
const (
	EventCount      = "event_count"
	ValueCount      = "value_count"
	ValueSum        = "value_sum"
	ValueAvg        = "value_avg"
	ValuePercentile = "value_percentile"
	Temporal        = "temporal"
	TemporalOrdered = "temporal_ordered"
	Absence         = "absence"
	NewValue        = "new_value"
	RateAnomaly     = "rate_anomaly"
	Chain           = "chain"
)

// Types lists the types of correlation.
var Types = []string{EventCount, ValueCount, ValueSum, ValueAvg, ValuePercentile, Temporal, TemporalOrdered, Absence, NewValue, RateAnomaly, Chain}

// The kinds of window.
const (
	Sliding  = "sliding"  // the timespan before each event
	Tumbling = "tumbling" // from one multiple of the timespan since 1970 to the next
	Session  = "session"  // as long as no pause is longer than the timespan
)

// The seasons of a baseline.
const (
	NoSeason   = "none"
	HourOfWeek = "hour_of_week"
)

// MaxSteps bounds what a correlation brings together.
const MaxSteps = 16

// Correlate says how matches are brought together, in event time.
type Correlate struct {
	Type   string
	Window string
	// Steps are what is correlated. Empty: the rule's own condition.
	Steps []Step
	// Ordered says that the steps must happen in their order.
	Ordered bool
	// GroupBy is what the events must have in common; empty: nothing.
	GroupBy []GroupKey
	// Field is what is counted, summed or remembered; several are a combination.
	// They are columns or keys of unmapped.
	Field []lang.Field
	// Percentile is between 0 and 100 (value_percentile).
	Percentile float64
	// Timespan is the length of a window, the pause that ends a session, how
	// long a value is remembered (new_value), or the length of what is compared
	// (rate_anomaly).
	Timespan time.Duration
	// Baseline is how far back rate_anomaly looks, Season with what it compares.
	Baseline time.Duration
	Season   string
	// Learning is how long a group must have been known before it can raise.
	Learning time.Duration
	// Lateness is how much older than the newest of its source an event may be
	// and still be placed exactly.
	Lateness time.Duration
	// Condition must hold of what is measured; all of them.
	Condition []Comparison
	// MinEvents is the number of events that an average or a percentile needs,
	// MinValue the least that rate_anomaly raises for.
	MinEvents int
	MinValue  float64
	// Generate says that the rules that are named raise alerts of their own too.
	Generate bool
}

// Step is one of the things that a correlation brings together: another rule,
// or a condition of its own.
type Step struct {
	Name string
	// ID is that of another rule; empty: Rule is the step's own.
	ID   string
	Rule *Rule
	// Line and Column say where the step is written.
	Line, Column int
}

// GroupKey is one part of what events have in common.
type GroupKey struct {
	// Name is a path or an alias.
	Name string
	// Fields has the column, or key of unmapped, of each step; one alone serves
	// for all.
	Fields []lang.Field
}

// Field is where the step has the value.
func (k *GroupKey) Field(step int) lang.Field {
	if step < len(k.Fields) {
		return k.Fields[step]
	}
	return k.Fields[0]
}

// Comparison holds what is measured against a number.
type Comparison struct {
	Op    string // gte, gt, lte, lt, eq or neq
	Value float64
}

// Ops lists the comparisons.
var Ops = []string{"gte", "gt", "lte", "lt", "eq", "neq"}

// Holds compares.
func (c Comparison) Holds(v float64) bool {
	switch c.Op {
	case "gte":
		return v >= c.Value
	case "gt":
		return v > c.Value
	case "lte":
		return v <= c.Value
	case "lt":
		return v < c.Value
	case "eq":
		return v == c.Value
	}
	return v != c.Value
}

// Holds reports whether all comparisons hold.
func (c *Correlate) Holds(v float64) bool {
	for _, x := range c.Condition {
		if !x.Holds(v) {
			return false
		}
	}
	return true
}

// reachable reports whether some count from 1 on fits the condition. Around each
// threshold lies one if there is one at all.
func (c *Correlate) reachable() bool {
	for _, x := range c.Condition {
		for _, v := range [...]float64{1, x.Value - 1, x.Value, x.Value + 1} {
			if v >= 1 && c.Holds(v) {
				return true
			}
		}
	}
	return false
}

// slots is how finely the timespan is divided where not every event is looked at.
const slots = 60

// Slot is the time within which a value of a sliding value_count, or a step of a
// temporal correlation, counts once: a sixtieth of the timespan. 0: each event
// counts. What must come in order counts each time.
func (c *Correlate) Slot() time.Duration {
	if c.Type != Temporal && (c.Type != ValueCount || c.Window != Sliding || c.AtEnd()) {
		return 0
	}
	return max(c.Timespan/slots, time.Millisecond)
}

// Memory is how far back what a new_value or a rate_anomaly rests on reaches; 0
// for other types.
func (c *Correlate) Memory() time.Duration {
	switch c.Type {
	case NewValue:
		return max(c.Timespan, c.Learning)
	case RateAnomaly:
		return max(c.Baseline+c.Timespan, c.Learning)
	}
	return 0
}

// AtEnd says that a window can be judged only when it is complete: fewer may
// become more.
func (c *Correlate) AtEnd() bool {
	return slices.ContainsFunc(c.Condition, func(x Comparison) bool { return x.Op != "gte" && x.Op != "gt" })
}

// Threshold is the number that alerts show.
func (c *Correlate) Threshold() float64 {
	if len(c.Condition) == 0 {
		return 0
	}
	return c.Condition[0].Value
}

// Count is the whole number of events at which a gte or gt condition is
// reached; 0 if the condition is another.
func (c *Correlate) Count() int {
	if len(c.Condition) != 1 || c.AtEnd() {
		return 0
	}
	n := int(c.Condition[0].Value)
	if c.Condition[0].Op == "gt" || float64(n) < c.Condition[0].Value {
		n++
	}
	return max(n, 1)
}

// Numeric says that the field is a number that is calculated with.
func (c *Correlate) Numeric() bool {
	switch c.Type {
	case ValueSum, ValueAvg, ValuePercentile:
		return true
	}
	return c.Type == RateAnomaly && len(c.Field) > 0
}

// String describes the correlation in a line.
func (c *Correlate) String() string {
	s := c.Type
	for i, x := range c.Condition {
		if i > 0 {
			s += " and"
		}
		s += fmt.Sprintf(" %s %g", x.Op, x.Value)
	}
	return s + " within " + c.Timespan.String()
}
