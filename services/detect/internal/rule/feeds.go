package rule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// Feed says what a match of a rule gives to a rule that counts it: to itself,
// or to a correlation that names it. Each match is a signal for each feed.
type Feed struct {
	Rule  *Rule // whose state takes the signal
	Step  int   // which of its steps the match is
	Group []lang.Field
	Value []lang.Field
	Shown []event.ColumnID
	// Slot is the time within which a value counts once; 0: each time.
	Slot time.Duration
}

// Feeds are the feeds of a set of rules. They are never changed once made.
type Feeds struct {
	events map[string][]Feed // by id of the rule that matches
	alerts map[string][]Feed // by id of the rule that raises
}

// NewFeeds links the rules of a set. References that lead nowhere feed nothing;
// Link names them.
func NewFeeds(rules []*Rule) *Feeds {
	f := &Feeds{events: map[string][]Feed{}, alerts: map[string][]Feed{}}
	quiet := map[string]bool{} // raise nothing of their own
	correlation := map[string]bool{}
	for _, r := range rules {
		correlation[r.ID] = r.Correlate != nil
		if c := r.Correlate; c != nil && !c.Generate && !r.Disabled {
			for _, s := range c.Steps {
				quiet[s.ID] = true
			}
		}
	}
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		if r.When != nil && !quiet[r.ID] {
			f.events[r.ID] = append(f.events[r.ID], newFeed(r, 0))
		}
		if r.Correlate == nil {
			continue
		}
		// Who names a correlation means its alerts: no event matches it by itself.
		ofAlerts := func(s Step) bool { return s.Rule == nil && (r.Correlate.Type == Chain || correlation[s.ID]) }
		// An alert that repeats may be taken back, and what it repeats then counts.
		each := slices.ContainsFunc(r.Correlate.Steps, ofAlerts)
		for i, s := range r.Correlate.Steps {
			into, id := f.events, s.ID
			if s.Rule != nil {
				id = s.Rule.ID
			}
			if ofAlerts(s) {
				into = f.alerts
			}
			feed := newFeed(r, i)
			if each {
				feed.Slot = 0
			}
			into[id] = append(into[id], feed)
		}
	}
	return f
}

func newFeed(r *Rule, step int) Feed {
	f := Feed{Rule: r, Step: step, Shown: r.Shown()}
	keys := r.GroupBy()
	for i := range keys {
		f.Group = append(f.Group, keys[i].Field(step))
	}
	if r.Correlate != nil {
		f.Value, f.Slot = r.Correlate.Field, r.Correlate.Slot()
	}
	return f
}

// Numeric says that the value is a number that is calculated with.
func (f *Feed) Numeric() bool { return f.Rule.Correlate != nil && f.Rule.Correlate.Numeric() }

// Of lists what a match of the rule feeds.
func (f *Feeds) Of(r *Rule) []Feed { return f.events[r.ID] }

// OfAlert lists what an alert of the rule with the id feeds.
func (f *Feeds) OfAlert(id string) []Feed { return f.alerts[id] }

// Bound is how many signals of one group in one block of events tell all: of
// further matches only the number and the time of the last is needed. 0: each
// is needed.
func (f *Feed) Bound(most int) int {
	c := f.Rule.Correlate
	switch {
	case c == nil:
		return most
	case c.Type == EventCount && c.Window == Sliding && c.Count() > 0:
		return max(most, 2*c.Count())
	}
	return 0
}

// Matched lists what a matcher must look for: the rules that have a condition
// and the steps that have one of their own.
func Matched(rules []*Rule) []*Rule {
	out := make([]*Rule, 0, len(rules))
	for _, r := range rules {
		if r.When != nil {
			out = append(out, r)
		}
		if r.Correlate == nil {
			continue
		}
		for _, s := range r.Correlate.Steps {
			if s.Rule != nil {
				out = append(out, s.Rule)
			}
		}
	}
	return out
}

// Needed lists a rule and those of known that it names, at whatever distance.
func Needed(r *Rule, known []*Rule) []*Rule {
	by := map[string]*Rule{}
	for _, k := range known {
		by[k.ID] = k
	}
	out := []*Rule{r}
	seen := map[string]bool{r.ID: true}
	for i := 0; i < len(out); i++ {
		if out[i].Correlate == nil {
			continue
		}
		for _, s := range out[i].Correlate.Steps {
			if k := by[s.ID]; k != nil && !seen[s.ID] {
				seen[s.ID] = true
				out = append(out, k)
			}
		}
	}
	return out
}

// Link checks what rules say of one another. Known are rules that are there
// besides.
func Link(rules []*Rule, known ...*Rule) []Problem {
	all := map[string]*Rule{}
	var ids []string
	for _, r := range slices.Concat(known, rules) {
		all[r.ID] = r
		ids = append(ids, r.ID)
	}
	var out []Problem
	for _, r := range rules {
		if r.Correlate == nil {
			continue
		}
		report := func(s Step, format string, args ...any) {
			out = append(out, Problem{File: r.File, Line: s.Line, Column: s.Column, Message: fmt.Sprintf(format, args...)})
		}
		for _, s := range r.Correlate.Steps {
			if s.ID == "" {
				continue
			}
			of := all[s.ID]
			switch {
			case of == nil:
				report(s, "correlate: there is no rule %s%s", s.ID, lang.DidYouMean(s.ID, ids))
			case of.Disabled && !r.Disabled:
				report(s, "correlate: rule %s is not enabled", s.ID)
			case reaches(all, of, r.ID, map[*Rule]bool{}):
				report(s, "correlate: rule %s correlates this rule in turn", s.ID)
			case of.Correlate != nil || r.Correlate.Type == Chain:
				r.linkAlerts(of, s, report)
			case of.When != nil:
				r.linkColumns(of, s, report)
			}
		}
		if len(r.Correlate.Steps) > 0 {
			out = append(out, r.linkShown(all)...)
		}
	}
	return out
}

// linkColumns checks that the events of a rule have what they are grouped by and
// what is measured.
func (r *Rule) linkColumns(of *Rule, s Step, report func(Step, string, ...any)) {
	step := slices.IndexFunc(r.Correlate.Steps, func(x Step) bool { return x.Name == s.Name })
	for i := range r.Correlate.GroupBy {
		f := r.Correlate.GroupBy[i].Field(step)
		if event.Columns[f.Col].Families&of.Source.Families == 0 {
			report(s, "correlate: events of rule %s have no field %s to group by (an alias may name another)", s.ID, f.Path())
		}
	}
	for _, f := range r.Correlate.Field {
		if event.Columns[f.Col].Families&of.Source.Families == 0 {
			report(s, "correlate: events of rule %s have no field %s, so that none of them counts", s.ID, f.Path())
		}
	}
}

// tells are the paths whose values the alerts of a rule tell.
func (r *Rule) tells() map[string]bool {
	told := map[string]bool{}
	for _, k := range r.GroupBy() {
		told[k.Name] = true
	}
	for _, id := range r.Shown() {
		told[event.Columns[id].Path] = true
	}
	return told
}

// linkShown warns of what an alert on alerts says and none of these tells.
func (r *Rule) linkShown(all map[string]*Rule) (out []Problem) {
	steps := r.Correlate.Steps
	told := map[string]bool{}
	for _, k := range r.GroupBy() {
		told[k.Name] = true
	}
	for _, s := range steps {
		of := all[s.ID]
		if of == nil || of.Correlate == nil && r.Correlate.Type != Chain {
			return nil // events have all fields of their family
		}
		maps.Copy(told, of.tells())
	}
	for _, id := range r.Shown() {
		if path := event.Columns[id].Path; !told[path] && !slices.Contains(riskColumns, id) {
			out = append(out, Problem{File: r.File, Line: steps[0].Line, Column: steps[0].Column, Warning: true,
				Message: fmt.Sprintf("alert: %s stays empty, as no alert of the rules that it correlates tells it: add it to their alert.fields", path)})
		}
	}
	return out
}

// linkAlerts checks that the alerts of a rule tell what they are grouped by and
// what is measured.
func (r *Rule) linkAlerts(of *Rule, s Step, report func(Step, string, ...any)) {
	told := of.tells()
	step := slices.IndexFunc(r.Correlate.Steps, func(x Step) bool { return x.Name == s.Name })
	fields := slices.Clone(r.Correlate.Field)
	for i := range r.Correlate.GroupBy {
		fields = append(fields, r.Correlate.GroupBy[i].Field(step))
	}
	for _, f := range fields {
		switch {
		case told[f.Path()]:
		case f.View == lang.Key:
			report(s, "correlate: alerts of rule %s do not tell %s: they tell keys of unmapped only if the rule groups by them", s.ID, f.Path())
		default:
			report(s, "correlate: alerts of rule %s do not tell %s: add it to its alert.fields", s.ID, f.Path())
		}
	}
}

// reaches says whether a rule correlates, at whatever distance, the rule id.
func reaches(all map[string]*Rule, r *Rule, id string, seen map[*Rule]bool) bool {
	if r == nil || seen[r] {
		return false
	}
	seen[r] = true
	if r.ID == id {
		return true
	}
	if r.Correlate == nil {
		return false
	}
	return slices.ContainsFunc(r.Correlate.Steps, func(s Step) bool { return s.ID != "" && reaches(all, all[s.ID], id, seen) })
}
