// Package rule holds the model of detection rules and loads it from YAML. All
// checks happen here, each with the line and column it is about, so that the
// rest of the service only ever sees rules that make sense.
package rule

import (
	"fmt"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// Rule is a checked rule. It is never changed once loaded.
type Rule struct {
	ID             string
	Title          string
	Description    string
	Level          finding.Level
	Status         string // experimental, test or stable
	Lane           finding.Lane
	Tags           []string
	References     []string
	FalsePositives []string
	Disabled       bool
	Source         Source
	When           *lang.Expr // nil: the rule only correlates others
	Correlate      *Correlate // nil: every match counts
	Alert          Alert
	Exceptions     []Exception
	Tests          []Test

	// Parent is the correlation that the rule is a step of, Step which one.
	Parent *Rule
	Step   int

	// Version is a hash of the file's bytes.
	Version string
	// File is where the rule was read from.
	File string
}

// Source is the routing of a rule, as data: empty lists mean any.
type Source struct {
	Classes  []uint32
	Families event.Families
	Products []string // source ids
}

// Alert is how a finding looks.
type Alert struct {
	Title      Template
	EntityType string
	EntityPath event.ColumnID
	// EntityAlias is an alias of the correlation that stands for EntityPath.
	EntityAlias string
	// EntityScope holds the column within which EntityPath is unique, such as
	// the namespace of a pod: the entity is then "scope/value". At most one.
	EntityScope []event.ColumnID
	Fields      []event.ColumnID
	// Entities are the others concerned, by role; at most 8.
	Entities []Entity
	// Risk replaces the computed risk; 0: it is computed.
	Risk int
	// Dedup is what alerts of a rule without correlation are counted and
	// suppressed by, instead of the entity.
	Dedup []event.ColumnID
	// Suppress is how long, in event time after an alert, further matches of
	// the group amend it rather than raise another.
	Suppress time.Duration
}

// DefaultSuppress applies where a rule says nothing, unless its timespan is
// longer.
const DefaultSuppress = 10 * time.Minute

// Exception takes known good events out of a rule.
type Exception struct {
	When    *lang.Expr
	Reason  string
	Owner   string
	Expires time.Time // zero: never; compared with event time
}

// Test is an inline test.
type Test struct {
	Name         string
	Line, Column int
	Events       []TestEvent
	// Alerts is how many alerts there are at the end: raised and not retracted.
	Alerts   int
	Entities []string // nil: not checked
	Expect   Expect
}

// Expect is what else is expected of the alerts; what is nil is not checked.
type Expect struct {
	Titles    []string
	Level     string            // of every alert
	Count     []int             // events of each alert, in order of time
	Fields    map[string]string // what every alert shows, by path
	Amended   *int              // alerts that were amended
	Retracted *int              // alerts that were raised and taken back
}

// TestEvent is one or several events of a test.
type TestEvent struct {
	After time.Duration // since the one before
	// At is when it happens, since the start of the test; nil: see After. It
	// may be earlier than that of the events before: then the event is late.
	At     *time.Duration
	Repeat int // at least 1
	Family event.Family
	Fields []TestField
	// Records are raw records instead of an event: written out, or in a file
	// that is named relative to the rule's own, or <source>/testdata/<file> of
	// the built-in sources. Mapping is the source they are mapped as. Fields
	// are set on top.
	Raw, Samples, Mapping string
	Line, Column          int
}

// TestField sets a column. In texts, {n} stands for the number of the repeat,
// from 1.
type TestField struct {
	Column *event.Column
	Value  any // string, int64, float64, bool, []string, map[string]float64
}

// GroupBy is what alerts of the rule are counted and suppressed by.
func (r *Rule) GroupBy() []GroupKey {
	if r.Correlate != nil {
		return r.Correlate.GroupBy
	}
	ids := r.Alert.Dedup
	if len(ids) == 0 {
		ids = append(slices.Clip(r.Alert.EntityScope), r.Alert.EntityPath)
	}
	var out []GroupKey
	for _, id := range ids {
		out = append(out, GroupKey{event.Columns[id].Path, []lang.Field{{Col: id}}})
	}
	return out
}

// Shown lists the columns that a signal must carry for the alert.
func (r *Rule) Shown() []event.ColumnID {
	seen := map[event.ColumnID]bool{}
	var out []event.ColumnID
	add := func(ids ...event.ColumnID) {
		for _, id := range ids {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	if r.Alert.EntityAlias == "" {
		add(r.Alert.EntityPath)
	}
	add(r.Alert.EntityScope...)
	for _, e := range r.Alert.Entities {
		add(e.Path)
		add(e.Scope...)
	}
	add(r.Alert.Fields...)
	add(riskColumns...)
	add(r.Alert.Title.columns()...)
	return out
}

// StateKey says which state of the correlator belongs to the rule: a change of
// anything in it starts afresh.
func (r *Rule) StateKey() string {
	s := fmt.Sprint(r.ID, r.GroupBy(), r.Alert.Suppress)
	if c := r.Correlate; c != nil {
		s += fmt.Sprint(c.Type, c.Window, c.Ordered, c.Field, c.Percentile, c.Timespan, c.Baseline, c.Season, c.Learning, c.Lateness,
			c.Condition, c.MinEvents, c.MinValue)
		for _, step := range c.Steps {
			s += "," + step.Name + "=" + step.ID
		}
		// What was learned of other events is no measure.
		if c.Memory() > 0 && r.When != nil {
			s += r.When.Source
		}
	}
	return s
}

// Problem is something wrong with a file. Warnings do not keep a rule from
// loading.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Warning bool   `json:"warning,omitempty"`
	// Code is the kind of problem for machines, "" for those of the loader.
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
}

// String is the form that editors and CI understand.
func (p Problem) String() string {
	kind := "error"
	if p.Warning {
		kind = "warning"
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, kind, p.Message)
}

// Failed reports whether one of the problems is an error.
func Failed(problems []Problem) bool {
	for _, p := range problems {
		if !p.Warning {
			return true
		}
	}
	return false
}
