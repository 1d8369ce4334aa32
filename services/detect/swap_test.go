package detect

import (
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/rulegen"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// swapRules makes n rules of which half are the same for every seed.
func swapRules(tb testing.TB, n int, seed uint64) (all, kept []*rule.Rule) {
	tb.Helper()
	title, err := rule.ParseTemplate("{process.path}")
	if err != nil {
		tb.Fatal(err)
	}
	generate := func(seed uint64, prefix string) []*rule.Rule {
		out, err := rulegen.Rules(n/2, seed)
		if err != nil {
			tb.Fatal(err)
		}
		for _, r := range out {
			r.ID = prefix + r.ID
			r.Level, r.Lane, r.Version, r.Alert.Title = finding.Low, finding.Alerts, "ab12cd34ef56", title
		}
		return out
	}
	kept = generate(1, "a.kept-")
	return append(generate(seed, fmt.Sprintf("b.%d-", seed)), kept...), kept
}

func (s *Service) swap(rules []*rule.Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.install(&set{rules: rules})
}

// Rules that stay lose no event and count none twice while the set around them
// is exchanged under load, nor does what they had counted get lost.
func TestSwapUnderLoad(t *testing.T) {
	const rounds, blocks, rows, addresses = 4, 6, 256, 5
	b := testkit.Bus(t)
	opts := DefaultOptions()
	opts.MaxSignals = rows // every match is a signal
	s, stop := startWith(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}), opts)
	counting := s.set.rules
	all, kept := swapRules(t, 3000, 100)
	s.swap(append(all, counting...))

	want, reference := map[string]int{}, match.New(kept)
	g := rulegen.NewGenerator(rulegen.Process, 5)
	n := 0
	load := func() {
		for range blocks {
			var x block.Block
			data := g.Block(rows)
			if err := block.Decode(data, &x); err != nil {
				t.Fatal(err)
			}
			reference.Match(&x, func(r *rule.Rule, row int) {
				want[r.ID+" "+x.Column(event.EventUID).Text(row)]++
			})
			if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Events("host"), ID: fmt.Sprint("load-", n), Data: data}); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	for round := range rounds {
		all, _ := swapRules(t, 3000, uint64(round))
		for i := range addresses {
			publish(t, b, fmt.Sprint("before-", round, "-", i), failures(fmt.Sprintf("192.0.2.%d", round*addresses+i), 0, 3))
		}
		load()
		s.swap(append(all, counting...))
		load()
		for i := range addresses {
			publish(t, b, fmt.Sprint("after-", round, "-", i), failures(fmt.Sprintf("192.0.2.%d", round*addresses+i), 3, 2))
		}
	}
	if len(want) < 500 {
		t.Fatalf("%d matches: the test proves little", len(want))
	}
	expected := uint64(n + 2*rounds*addresses)
	testkit.Eventually(t, "every block is matched", func() bool { return s.counters.blocks.Load() == expected })
	bursts := func() map[string]int {
		out := map[string]int{}
		for _, a := range alerts(t, b) {
			if a.Rule == "test.burst" {
				out[a.Entity.Value]++
			}
		}
		return out
	}
	testkit.Eventually(t, "an alert of every address", func() bool { return len(bursts()) == rounds*addresses })
	stop()
	for address, n := range bursts() {
		if n != 1 {
			t.Errorf("%d alerts of %s", n, address)
		}
	}
	got := map[string]int{}
	var reader finding.SignalReader
	for p := range subjects.SignalPartitions {
		for rec, err := range b.ReadFrom(t.Context(), subjects.StreamSignals, []string{subjects.Signals(p)}, 1, 0) {
			if err == nil {
				err = reader.Read(rec.Data, func(sig *finding.Signal) { got[sig.Rule+" "+sig.EventUID.String()]++ })
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	ids := map[string]bool{}
	for _, r := range kept {
		ids[r.ID] = true
	}
	maps.DeleteFunc(got, func(k string, _ int) bool {
		var id string
		_, _ = fmt.Sscan(k, &id)
		return !ids[id]
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("expected signals (-), signals (+):\n%s", diff)
	}
}

// BenchmarkSwap measures the longest time that a block of 2,048 events takes
// while the set of 3,000 rules is exchanged again and again, and without.
func BenchmarkSwap(b *testing.B) {
	opts := DefaultOptions()
	opts.Bus, opts.Logger = testkit.Bus(b), slog.New(slog.DiscardHandler)
	s, err := New(opts)
	if err != nil {
		b.Fatal(err)
	}
	g := rulegen.NewGenerator(rulegen.Natural, 5)
	blocks := make([]block.Block, 16)
	for i := range blocks {
		if err := block.Decode(g.Block(2048), &blocks[i]); err != nil {
			b.Fatal(err)
		}
	}
	sets := make([][]*rule.Rule, 2)
	for i := range sets {
		sets[i], _ = swapRules(b, 3000, uint64(i+10))
	}
	s.swap(sets[0])
	turn := 0
	longest := func(until func(turn int) bool) float64 {
		var most time.Duration
		for from := turn; !until(turn - from); turn++ {
			start := time.Now()
			s.matcher.Load().matcher.Match(&blocks[turn%len(blocks)], func(*rule.Rule, int) {})
			most = max(most, time.Since(start))
		}
		return float64(most.Microseconds()) / 1000
	}
	longest(func(n int) bool { return n == len(blocks) })
	var calm, swapping float64
	for b.Loop() {
		calm = max(calm, longest(func(n int) bool { return n == 500 }))
		done := make(chan struct{})
		var installed time.Duration
		go func() {
			defer close(done)
			start := time.Now()
			for i := range 4 {
				s.swap(sets[i%2])
			}
			installed = time.Since(start) / 4
		}()
		swapping = max(swapping, longest(func(n int) bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		}))
		b.ReportMetric(float64(installed.Milliseconds()), "ms/swap")
	}
	b.ReportMetric(calm, "ms-longest-block")
	b.ReportMetric(swapping, "ms-longest-block-in-swaps")
}
