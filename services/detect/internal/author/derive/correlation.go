package derive

import (
	"fmt"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// maxEvents bounds the events of a derived test.
const maxEvents = 100_000

// correlation makes tests for a rule that brings matches together: as many as it
// wants, and one fewer.
func (d *deriver) correlation(known []*rule.Rule) ([]rule.Test, string) {
	c := d.rule.Correlate
	steps, why := d.steps(known)
	if why != "" {
		return nil, why
	}
	var enough, short []rule.TestEvent
	var name, less string
	switch c.Type {
	case rule.EventCount:
		n := wanted(c)
		name, less = describe(n, "event"), describe(n-1, "event")
		enough, short = repeated(c, steps[0], n), repeated(c, steps[0], n-1)
		if c.AtEnd() {
			short, less = repeated(c, steps[0], unwanted(c)), describe(unwanted(c), "event")
		}
	case rule.ValueCount:
		n := wanted(c)
		name, less = describe(n, "value"), "the same value again and again"
		enough, short = d.values(steps[0], n), repeated(c, steps[0], max(n, 2))
	case rule.ValueSum, rule.ValueAvg, rule.ValuePercentile:
		name, less = "a value beyond the threshold", "values below it"
		v := c.Threshold()
		enough, short = d.numbers(steps[0], v+1), d.numbers(steps[0], v/2)
		if c.AtEnd() {
			enough, short = short, enough
		}
	case rule.Temporal, rule.TemporalOrdered:
		name, less = "all steps", "one step alone"
		gap := min(c.Timespan/time.Duration(len(steps)+1), time.Minute)
		for i, e := range steps {
			if e.After = 0; i > 0 {
				e.After = gap
			}
			enough = append(enough, e)
		}
		short = enough[:1]
		if c.Count() == 1 {
			enough, short, name = enough[:1], nil, less
		}
	default:
		return nil, "tests of " + c.Type + " are not derived"
	}
	var out []rule.Test
	if t := (rule.Test{Name: name, Events: enough, Alerts: 1}); len(enough) > 0 && d.passes(t) {
		out = append(out, t)
	} else {
		return nil, "no events were found that the correlation fits"
	}
	if t := (rule.Test{Name: less, Events: short}); len(short) > 0 && d.passes(t) {
		return append(out, t), ""
	}
	return out, "no events were found that the correlation nearly fits"
}

// steps has a matching event of every step; all are alike in what they are
// grouped by.
func (d *deriver) steps(known []*rule.Rule) ([]rule.TestEvent, string) {
	c := d.rule.Correlate
	var rules []*rule.Rule
	for _, s := range c.Steps {
		r := s.Rule
		if i := slices.IndexFunc(known, func(k *rule.Rule) bool { return k.ID == s.ID }); r == nil && i >= 0 {
			r = known[i]
		}
		if r == nil || r.Correlate != nil || r.When == nil {
			return nil, "tests of correlations of correlations are not derived"
		}
		rules = append(rules, r)
	}
	if len(c.Steps) == 0 {
		rules = []*rule.Rule{d.rule}
	}
	var out []rule.TestEvent
	for _, r := range rules {
		e, ok := positive(r)
		if !ok {
			return nil, noPositive
		}
		out = append(out, e)
	}
	for _, k := range c.GroupBy {
		var same any
		for i := range out {
			if v, ok := has(out[i], k.Field(i)); ok && same == nil {
				same = v
			}
		}
		if same == nil {
			same = common(k.Field(0))
		}
		for i := range out {
			var ok bool
			if out[i], ok = with(out[i], k.Field(i), same); !ok {
				return nil, "the events of a step cannot have " + k.Field(i).Path()
			}
		}
	}
	return out, ""
}

// wanted is the least number for which the condition holds.
func wanted(c *rule.Correlate) int {
	for n := 1; n <= maxEvents; n++ {
		if c.Holds(float64(n)) {
			return n
		}
	}
	return 0
}

// unwanted is the least number for which it does not.
func unwanted(c *rule.Correlate) int {
	for n := 1; n <= maxEvents; n++ {
		if !c.Holds(float64(n)) {
			return n
		}
	}
	return 0
}

// repeated is an event n times within the timespan.
func repeated(c *rule.Correlate, e rule.TestEvent, n int) []rule.TestEvent {
	if n < 1 {
		return nil
	}
	e.Repeat, e.After = n, max(min(c.Timespan/time.Duration(2*n), time.Second), time.Millisecond)
	return []rule.TestEvent{e}
}

// values is an event n times with a different value of the field each time.
func (d *deriver) values(e rule.TestEvent, n int) []rule.TestEvent {
	c := d.rule.Correlate
	for _, f := range c.Field {
		var v any = "value-{n}"
		switch k := f.Kind(); {
		case k == event.KindIP && n < 250:
			v = "203.0.113.{n}"
		case !k.Text() || k == event.KindIP:
			return d.several(e, f, n)
		}
		var ok bool
		if e, ok = with(e, f, v); !ok {
			return nil
		}
	}
	return repeated(c, e, n)
}

// several writes the events of a value_count one by one.
func (d *deriver) several(e rule.TestEvent, f lang.Field, n int) (out []rule.TestEvent) {
	for i := 1; i <= n && n <= 50; i++ {
		var v any = int64(i)
		switch f.Kind() {
		case event.KindF32, event.KindF64:
			v = float64(i)
		case event.KindKeywords:
			v = []string{fmt.Sprint("value-", i)}
		}
		x, ok := with(e, f, v)
		if !ok {
			return nil
		}
		x.After = max(min(d.rule.Correlate.Timespan/time.Duration(2*n), time.Second), time.Millisecond)
		out = append(out, x)
	}
	return out
}

// numbers is as many events with a number as the correlation needs at least.
func (d *deriver) numbers(e rule.TestEvent, v float64) []rule.TestEvent {
	c := d.rule.Correlate
	f := c.Field[0]
	var value any = int64(v)
	switch {
	case f.View == lang.Key:
		value = fmt.Sprint(int64(v))
	case f.Kind() == event.KindF32 || f.Kind() == event.KindF64:
		value = v
	}
	e, ok := with(e, f, value)
	if !ok || v < 1 {
		return nil
	}
	return repeated(c, e, max(c.MinEvents, 1))
}
