package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// automaton is all that a rate's automaton is, to be compared.
func automaton(m *machine) []string {
	b := m.usual
	out := []string{fmt.Sprint("since ", m.since, " newest ", m.newest, " elapsed ", m.elapsed, " bucket ", b.begun, b.bucket, b.n, b.total, b.from, b.known)}
	if b.n > 0 {
		out = append(out, fmt.Sprint("at hand ", b.first, b.last))
	}
	for k := int64(1); k <= b.known; k++ {
		out = append(out, fmt.Sprint("past ", b.bucket-k, " ", *b.slot(b.bucket - k)))
	}
	for i, f := range m.fires {
		out = append(out, fmt.Sprint("fire ", f.at, f.until, f.first, f.last, f.count, f.value, f.usual, f.scale, f.crossing.uid, f.from, f.uids[max(0, len(f.uids)-maxShown):],
			m.open != nil && i == len(m.fires)-1 && m.newest < f.until))
	}
	return out
}

// What is left of a rate after events that came late, in whatever order and
// whatever was judged meanwhile, is what a walk over all that is not settled
// leaves.
func TestLateEventsOfARate(t *testing.T) {
	for _, condition := range []string{"gte 1", "gte 3", "lte -1", "lt 1"} {
		for _, sums := range []bool{false, true} {
			for _, suppress := range []time.Duration{0, 7 * minute, 40 * minute} {
				for _, baseline := range []time.Duration{4 * minute, 20 * minute, 300 * minute} {
					name := fmt.Sprint(condition, " sums ", sums, " suppress ", suppress, " baseline ", baseline)
					t.Run(name, func(t *testing.T) {
						fired := 0
						for seed := range uint64(*seeds) {
							fired += lateRates(t, seed, minute, condition, sums, suppress, baseline)
						}
						if fired == 0 {
							t.Error("it never fires")
						}
					})
				}
			}
		}
	}
}

// The same of what is usual for the hour of the week, with buckets of half a day,
// so that late events change what is usual a week later.
func TestLateEventsOfAnHourOfTheWeek(t *testing.T) {
	for _, condition := range []string{"gte 1", "lt 1"} {
		for _, suppress := range []time.Duration{0, 40 * time.Hour} {
			t.Run(fmt.Sprint(condition, " suppress ", suppress), func(t *testing.T) {
				fired := 0
				for seed := range 2 * uint64(*seeds) {
					fired += lateRates(t, seed, 12*time.Hour, condition, false, suppress, 8*7*24*time.Hour)
				}
				if fired == 0 {
					t.Error("it never fires")
				}
			})
		}
	}
}

// lateRates plays one history with buckets of a span, of which 12 hours are those
// of a week.
func lateRates(t *testing.T, seed uint64, span time.Duration, condition string, sums bool, suppress, baseline time.Duration) (fired int) {
	r := rand.New(rand.NewPCG(seed, uint64(suppress+baseline)))
	x := testRule("t.rate", rule.RateAnomaly, span, suppress, when(condition), func(c *rule.Correlate) {
		c.Baseline, c.Learning, c.Lateness = baseline, time.Duration(r.IntN(4))*span, 60*span
		if span == 12*time.Hour {
			c.Season = rule.HourOfWeek
		}
		if !sums {
			c.Field = nil
		}
	})
	c := New([]*rule.Rule{x}, quiet)
	emit := func(finding.Alert) {}
	newest, late := int64(1_700_000_000_000), []int64{2, 9, 30}[r.IntN(3)]*span.Milliseconds()
	for n := range 500 {
		// Busy minutes, and pauses.
		switch r.IntN(40) {
		case 0:
			newest += r.Int64N(10) * span.Milliseconds()
		case 1, 2, 3:
			newest += r.Int64N(span.Milliseconds() * 3 / 2)
		default:
			newest += r.Int64N(span.Milliseconds() * 2 / 15)
		}
		ms := newest
		if n > 0 && r.IntN(3) == 0 {
			ms -= r.Int64N(late)
		}
		e := signal(x.ID, "192.0.2.1", ms-ms%(span.Milliseconds()/120), n, "")
		e.Number, e.Source, e.Received = float64(r.IntN(14)-2), "s"+fmt.Sprint(r.IntN(3)), newest
		c.Add(&e, emit)
		s := c.rules[x.ID]
		if s.newest == 0 {
			continue // a number that says nothing
		}
		g := c.groups.at(s.newest)
		h := c.heavies[g.heavy]
		switch r.IntN(60) {
		case 0:
			c.judge(s, g, h, newest-r.Int64N(2*late))
		case 1:
			c.foldTo(s, g, newest-late-r.Int64N(4*late), emit)
		}
		fired = max(fired, len(h.tail.fires))
		if r.IntN(4) > 0 {
			continue
		}
		got, verdicts := automaton(&h.tail), slices.Clone(h.verdicts.list)
		c.rerun(s, g)
		if diff := gocmp.Diff(automaton(&h.tail), got); diff != "" {
			t.Fatalf("seed %d, %d events: all over again (-), as it went (+):\n%s", seed, n, diff)
		}
		for _, v := range verdicts {
			if k, ok := h.verdicts.place(v.bucket); ok && h.verdicts.list[k] != v {
				t.Fatalf("seed %d, %d events: %+v, want %+v", seed, n, v, h.verdicts.list[k])
			}
		}
		if want := int64(len(h.verdicts.list)) * verdictBytes; c.values != want {
			t.Fatalf("verdicts take %d bytes, but %d are told", want, c.values)
		}
	}
	return fired
}
