package detect

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/rulegen"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// While rules are loaded again and again, every event is matched and every
// alert raised.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	b := testkit.Bus(t)
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	s, stop := start(t, b, dir)
	stopped := make(chan struct{})
	var reloads int
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stopped:
				return
			default:
			}
			if err := s.Reload(); err != nil {
				t.Error(err)
			}
			reloads++
		}
	})
	const groups = 120
	for g := range groups {
		publish(t, b, strconv.Itoa(g), failures("192.0.2."+strconv.Itoa(g), 0, 5))
	}
	testkit.Eventually(t, "every alert", func() bool { return len(alerts(t, b)) == groups })
	close(stopped)
	wg.Wait()
	stop()
	// More, when the bus delivers a block again because the machine was busy.
	if got := s.counters.events.Load(); got < 5*groups || reloads == 0 {
		t.Errorf("%d events of %d with %d reloads", got, 5*groups, reloads)
	}
}

// BenchmarkReload measures, with 3000 rules in place and blocks of 1000 events
// coming all the time, from the publish of a block to its acknowledgement:
// undisturbed, and while the rules are loaded and swapped.
func BenchmarkReload(b *testing.B) {
	rules, err := rulegen.Rules(3000, 1)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "generated"), 0o700); err != nil {
		b.Fatal(err)
	}
	for _, r := range rules {
		if err := os.WriteFile(filepath.Join(dir, strings.Replace(r.ID, ".", "/", 1)+".yml"), generated(r), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	opts := DefaultOptions()
	opts.Bus, opts.RulesDir, opts.Logger, opts.PollInterval = testkit.Bus(b), dir, slog.New(slog.DiscardHandler), 0
	s, err := New(opts)
	if err != nil {
		b.Fatal(err)
	}
	if n := len(s.matcher.Load().rules); n != len(rules) {
		b.Fatalf("%d rules of %d, %v", n, len(rules), s.set.problems[:min(len(s.set.problems), 3)])
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	gen, sent := rulegen.NewGenerator(rulegen.Natural, 1), uint64(0)
	// round sends blocks until stop and returns how long each took, sorted.
	round := func(stop func() bool) []time.Duration {
		var took []time.Duration
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for !stop() {
			data := gen.Block(1000)
			begin := time.Now()
			sent++
			if _, err := opts.Bus.Publish(ctx, bus.Msg{Subject: subjects.Events("host"), ID: strconv.FormatUint(sent, 10), Data: data}); err != nil {
				b.Fatal(err)
			}
			for s.counters.blocks.Load() < sent {
				time.Sleep(200 * time.Microsecond)
			}
			took = append(took, time.Since(begin))
			<-tick.C
		}
		slices.Sort(took)
		return took
	}
	report := func(name string, took []time.Duration) {
		for part, i := range map[string]int{"p50": len(took) / 2, "p99": len(took) * 99 / 100, "max": len(took) - 1} {
			b.ReportMetric(float64(took[i].Microseconds())/1000, name+"-"+part+"-ms")
		}
	}
	round(func() bool { return sent > 20 })
	for b.Loop() {
		until := time.Now().Add(2 * time.Second)
		report("quiet", round(func() bool { return time.Now().After(until) }))
		var reloading atomic.Bool
		reloading.Store(true)
		var took time.Duration
		go func() {
			defer reloading.Store(false)
			begin := time.Now()
			if err := s.Reload(); err != nil {
				b.Error(err)
			}
			took = time.Since(begin)
		}()
		report("reloading", round(func() bool { return !reloading.Load() }))
		b.ReportMetric(float64(took.Milliseconds()), "reload-ms")
	}
	if got := s.counters.events.Load(); got != sent*1000 {
		b.Errorf("%d events matched of %d", got, sent*1000)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// generated is a generated rule as a file.
func generated(r *rule.Rule) []byte {
	source := ""
	for _, c := range event.Classes {
		if slices.Contains(r.Source.Classes, c.UID) {
			source = ", class: " + c.Name
		}
	}
	if len(r.Source.Products) > 0 {
		source += ", product: " + r.Source.Products[0]
	}
	families := ""
	for f, name := range event.FamilyNames {
		if r.Source.Families.Has(event.Family(f)) {
			families += ", " + name
		}
	}
	return fmt.Appendf(nil, "id: %s\ntitle: generated\ndescription: Generated.\nlevel: low\nstatus: test\nsource: {%s}\nwhen: |-\n  %s\nalert: {title: generated, entity: {type: host, path: device.hostname}}\n",
		r.ID, strings.TrimPrefix(source+", family: ["+strings.TrimPrefix(families, ", ")+"]", ", "), r.When.Source)
}
