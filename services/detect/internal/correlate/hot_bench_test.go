package correlate

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// BenchmarkHotGroup is what one more event costs in a group whose window holds
// 12,000 events and does not fire: one key that is used all the time. "late" has
// every tenth event up to the lateness late, which is a twelfth of the window.
func BenchmarkHotGroup(b *testing.B) {
	const (
		gap  = 10 * time.Millisecond
		span = 120 * time.Second
		late = 10 * time.Second
	)
	var hot []*rule.Rule
	add := func(name, kind, condition string, change ...func(*rule.Correlate)) {
		r := testRule("hot."+name, kind, span, 10*minute, when(condition), func(c *rule.Correlate) { c.Lateness = late })
		for _, f := range change {
			f(r.Correlate)
		}
		hot = append(hot, r)
	}
	add("count", rule.EventCount, "gte 100000")
	add("values", rule.ValueCount, "gte 5000")
	add("sum", rule.ValueSum, "gt 1e9")
	add("average", rule.ValueAvg, "gt 1e9")
	add("percentile", rule.ValuePercentile, "gt 1e9", func(c *rule.Correlate) { c.Percentile = 95 })
	add("temporal", rule.Temporal, "")
	add("ordered", rule.TemporalOrdered, "")
	add("tumbling", rule.ValueSum, "gt 1e9", windowed(rule.Tumbling))
	for _, r := range hot {
		for _, share := range []int{0, 10} {
			name := r.ID[len("hot."):] + map[int]string{0: "/in order", 10: "/late"}[share]
			b.Run(name, func(b *testing.B) {
				c := New([]*rule.Rule{r}, quiet)
				emit := func(finding.Alert) { b.Error("an alert") }
				rnd := rand.New(rand.NewPCG(1, 1))
				n := 0
				next := func() {
					at := 1_700_000_000_000 + int64(n)*gap.Milliseconds()
					s := signal(r.ID, "192.0.2.1", at, n, "v"+strconv.Itoa(n%4000))
					s.Number, s.Received = float64(n%100+1), at
					if share > 0 && rnd.IntN(share) == 0 {
						s.Time -= rnd.Int64N(late.Milliseconds())
					}
					// The steps never come together, or not in their order.
					switch r.Correlate.Type {
					case rule.Temporal:
						s.Step = n % 2
					case rule.TemporalOrdered:
						s.Step = min(n%20_000, 2)
						if s.Step < 2 {
							s.Step = 1 - s.Step
						}
					}
					c.Add(&s, emit)
					if n++; n%1000 == 0 {
						c.Ticks([]Tick{{Source: "s", Clock: at, At: at}}, emit)
					}
				}
				for range 20_000 {
					next()
				}
				for b.Loop() {
					next()
				}
				if st := c.Stats(); st.Cut > 0 || st.Late > 0 {
					b.Fatalf("%+v", st)
				}
			})
		}
	}
}

// BenchmarkLateAmongAlerts is what an event costs that comes five minutes late on
// average to a group of 12,000 events that nothing has settled yet, and that fired
// every other minute: what comes out of a backlog while a part of it is held up.
func BenchmarkLateAmongAlerts(b *testing.B) {
	const (
		gap  = 50 * time.Millisecond
		span = 5 * time.Second
	)
	late := func(c *rule.Correlate) { c.Lateness = time.Hour }
	events := func(c *rule.Correlate) { c.Field = nil }
	usual := func(c *rule.Correlate) { c.Baseline, c.Learning = ten, minute }
	rules := map[string]*rule.Rule{
		"count":    testRule("late.count", rule.EventCount, span, 2*minute, when("gte 4"), late),
		"each":     testRule("late.each", rule.EventCount, span, 0, when("gte 1"), late),
		"values":   testRule("late.values", rule.ValueCount, span, 2*minute, when("gte 4"), late),
		"sum":      testRule("late.sum", rule.ValueSum, span, 2*minute, when("gt 400"), late),
		"temporal": testRule("late.temporal", rule.Temporal, span, 2*minute, late),
		"ordered":  testRule("late.ordered", rule.TemporalOrdered, span, 2*minute, late),
		"absence":  testRule("late.absence", rule.Absence, span, 2*minute, late),
		"tumbling": testRule("late.tumbling", rule.EventCount, span, 2*minute, when("gte 4"), late, windowed(rule.Tumbling)),
		"session":  testRule("late.session", rule.EventCount, span, 2*minute, when("gte 4"), late, windowed(rule.Session)),
		"new":      testRule("late.new", rule.NewValue, span, 2*minute, late),
		"seldom":   testRule("late.seldom", rule.NewValue, minute, 0, late),
		"rate":     testRule("late.rate", rule.RateAnomaly, span, 2*minute, when("gte 0"), late, events, usual),
		"drop":     testRule("late.drop", rule.RateAnomaly, span, 2*minute, when("lte 0"), late, events, usual),
		"numbers":  testRule("late.numbers", rule.RateAnomaly, span, 2*minute, when("gte 0.5"), late, usual),
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		r := rules[name]
		b.Run(name, func(b *testing.B) {
			c := New([]*rule.Rule{r}, quiet)
			alerts := 0
			emit := func(finding.Alert) { alerts++ }
			rnd := rand.New(rand.NewPCG(1, 1))
			const n, begin = 12_000, 1_700_000_000_000
			add := func(k int, at int64) {
				s := signal(r.ID, "192.0.2.1", at, k, "v"+strconv.Itoa(rnd.IntN(400)))
				s.Number, s.Received = float64(rnd.IntN(100)+1), begin+n*gap.Milliseconds()
				if r.Correlate.Steps != nil {
					s.Step = rnd.IntN(len(r.Correlate.Steps))
				}
				c.Add(&s, emit)
			}
			for k := range n {
				add(k, begin+int64(k)*gap.Milliseconds())
			}
			if alerts == 0 && name != "absence" && name != "drop" { // which only time tells
				b.Fatal("no alerts")
			}
			k := n
			for b.Loop() {
				add(k, begin+rnd.Int64N(n*gap.Milliseconds()))
				k++
			}
		})
	}
}
