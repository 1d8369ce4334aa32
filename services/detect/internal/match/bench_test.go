package match

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/rulegen"
	"github.com/vagus-hub/vagus/services/internal/block"
)

const (
	benchRows   = 8192
	benchBlocks = 16
)

func benchSetup(tb testing.TB, mix rulegen.Mix, rules, blocks, rows int) ([]*rule.Rule, []*block.Block) {
	tb.Helper()
	rs, err := rulegen.Rules(rules, 7)
	if err != nil {
		tb.Fatal(err)
	}
	g := rulegen.NewGenerator(mix, 11)
	out := make([]*block.Block, blocks)
	for i := range out {
		out[i] = new(block.Block)
		if err := block.Decode(g.Block(rows), out[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return rs, out
}

// BenchmarkMatch measures detection alone, on one core: 131,072 different
// events in 16 decoded blocks. "cold" forgets all values between blocks.
func BenchmarkMatch(b *testing.B) {
	for _, mix := range []rulegen.Mix{rulegen.Natural, rulegen.Balanced, rulegen.Process} {
		for _, n := range []int{10, 100, 1000, 3000, 12000} {
			for _, cold := range []bool{false, true} {
				if cold && n != 3000 {
					continue
				}
				name := fmt.Sprintf("%s/rules=%d", mix, n)
				if cold {
					name += "/cold"
				}
				b.Run(name, func(b *testing.B) { benchMatch(b, mix, n, cold) })
			}
		}
	}
}

func benchMatch(b *testing.B, mix rulegen.Mix, n int, cold bool) {
	rules, blocks := benchSetup(b, mix, n, benchBlocks, benchRows)
	m := New(rules)
	emit := func(*rule.Rule, int) {}
	for _, x := range blocks {
		m.Match(x, emit)
	}
	before := m.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if cold {
			clear(m.index.cache)
		}
		m.Match(blocks[i%len(blocks)], emit)
	}
	b.StopTimer()
	events := float64(b.N) * benchRows
	s := m.Stats()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/events, "ns/event")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.Candidates-before.Candidates)/events, "candidates/event")
	b.ReportMetric(float64(s.Matches-before.Matches)/events, "matches/event")
	b.ReportMetric(float64(s.Scanned-before.Scanned)/events, "scans/event")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGrowth is what 12,000 rules cost beside 3,000. Both take turns at each
// block, and of each block the least processor time counts, so that it hardly
// matters what else the machine does. Four times as many rules match, too.
func BenchmarkGrowth(b *testing.B) {
	for _, mix := range []rulegen.Mix{rulegen.Natural, rulegen.Balanced, rulegen.Process} {
		b.Run(string(mix), func(b *testing.B) {
			var matchers [2]*Matcher
			var blocks []*block.Block
			for i, n := range []int{3000, 12_000} {
				var rules []*rule.Rule
				rules, blocks = benchSetup(b, mix, n, benchBlocks, benchRows)
				matchers[i] = New(rules)
			}
			emit := func(*rule.Rule, int) {}
			var least [2][benchBlocks]time.Duration
			for round := 0; round < 5 || b.Loop(); round++ {
				for k, x := range blocks {
					for i, m := range matchers {
						begin := processorTime()
						m.Match(x, emit)
						if d := processorTime() - begin; round == 1 || round > 1 && d < least[i][k] {
							least[i][k] = d // round 0 fills the caches
						}
					}
				}
			}
			var cost, matches [2]float64
			for i, m := range matchers {
				for _, d := range least[i] {
					cost[i] += float64(d.Nanoseconds())
				}
				matches[i] = float64(m.Stats().Matches)
			}
			b.ReportMetric(cost[0]/benchBlocks/benchRows, "ns/event")
			b.ReportMetric(cost[1]/cost[0], "x-cost")
			b.ReportMetric(matches[1]/matches[0], "x-matches")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processorTime is what the process has used of the processor.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNew measures building the index of 3,000 rules.
func BenchmarkNew(b *testing.B) {
	rules, _ := benchSetup(b, rulegen.Natural, 3000, 0, 0)
	b.ResetTimer()
	for range b.N {
		New(rules)
	}
}

func TestGeneratedRulesMatchAsNaive(t *testing.T) {
	total := 0
	for _, mix := range []rulegen.Mix{rulegen.Balanced, rulegen.Process} {
		rules, blocks := benchSetup(t, mix, 400, 2, 300)
		m := New(rules)
		for _, b := range blocks {
			got := indexed(m, b)
			if diff := cmp.Diff(naive(t, rules, b), got); diff != "" {
				t.Fatalf("%s: naive (-) index (+):\n%s", mix, diff)
			}
			total += len(got)
		}
		if n := len(m.Always()); n > 0 {
			t.Errorf("%s: %d generated rules have no witness", mix, n)
		}
	}
	if total == 0 {
		t.Error("no generated rule matched: the test proves nothing")
	}
}

// Events that match nothing cost no allocation once buffers and caches are warm.
func TestNoAllocationWithoutMatch(t *testing.T) {
	rules, blocks := benchSetup(t, rulegen.Balanced, 1000, 1, 2000)
	m := New(rules)
	emit := func(*rule.Rule, int) {}
	m.Match(blocks[0], emit)
	if n := testing.AllocsPerRun(5, func() { m.Match(blocks[0], emit) }); n > 2 {
		t.Errorf("%v allocations for 2,000 events", n)
	}
}
