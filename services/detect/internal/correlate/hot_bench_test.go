package correlate

import (
	"math/rand/v2"
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
