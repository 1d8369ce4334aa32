package detect

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// A source that is expected and never sends raises an alert through the bus;
// the state outlives a restart, which raises nothing again.
func TestSilentSource(t *testing.T) {
	b := testkit.Bus(t)
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	run := func() (*Service, func()) {
		opts := DefaultOptions()
		opts.Bus, opts.RulesDir, opts.Logger, opts.SilenceInterval = b, dir, slog.New(slog.DiscardHandler), 10*time.Millisecond
		opts.Silence = Silence{Least: time.Millisecond, Factor: 1, Sources: map[string]SilentSource{"nginx.access": {Expect: 60_000}}}
		s, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return s, func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	s, stop := run()
	publish(t, b, "1", failures("192.0.2.1", 0, 2))
	testkit.Eventually(t, "the block", func() bool { return s.counters.blocks.Load() == 1 })
	testkit.Eventually(t, "an alert", func() bool { return len(alerts(t, b)) > 0 })
	testkit.Eventually(t, "the health", func() bool {
		h, err := ReadHealth(t.Context(), b)
		return err == nil && len(h.Silent) == 1 && len(h.Blind["test.burst"]) == 1
	})
	stop()
	a := alerts(t, b)
	if first := a[0]; first.Rule != "source-silent" || first.Entity.Value != "nginx.access" || first.Status != finding.Raised {
		t.Errorf("%+v", first)
	}
	before := len(a)
	s, stop = run()
	testkit.Eventually(t, "the restored state", func() bool { l := s.leader.Load(); return l != nil && l.silentNow.Load() == 1 })
	stop()
	if a := alerts(t, b); len(a) != before {
		t.Errorf("%d alerts after a restart, %d before: %+v", len(a), before, a[len(a)-1])
	}
}
