package detect

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// A partition that reads nothing although its log goes on says so and ends, so
// that it is begun again; one whose log has nothing for it goes on.
func TestAPartitionThatStandsStillEnds(t *testing.T) {
	b := testkit.Connect(t, testkit.Server(t))
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	opts := DefaultOptions()
	opts.Bus, opts.RulesDir, opts.Logger = b, rulesDir(t, map[string]string{"test/burst.yml": burst}), slog.New(slog.NewTextHandler(&said, nil))
	opts.CheckpointInterval = 10 * time.Millisecond
	svc, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	svc.stalled = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Silences are never known, as Run does not run: nothing is read.
		svc.correlate(ctx, 0)
	}()
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Signals(1), Data: []byte("for another partition")}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "what is for others is passed over", func() bool {
		svc.partsMu.Lock()
		defer svc.partsMu.Unlock()
		return svc.parts[0] != nil && svc.parts[0].at() == 1
	})
	select {
	case <-done:
		t.Fatal("it ended with nothing to read")
	default:
	}
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Signals(0), Data: []byte("for this one")}); err != nil {
		t.Fatal(err)
	}
	<-done
	if !strings.Contains(said.String(), "stands still") {
		t.Errorf("it said %q", said.String())
	}
}

// Only the time for which a checkpoint holds correlation up spaces them out, not
// the time for which it waits for correlation: a busy partition saves as often.
func TestABusyPartitionSavesAsOften(t *testing.T) {
	b := testkit.Connect(t, testkit.Server(t))
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	opts := DefaultOptions()
	opts.Bus, opts.RulesDir, opts.Logger = b, rulesDir(t, map[string]string{"test/burst.yml": burst}), slog.New(slog.DiscardHandler)
	svc, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	p := &partition{s: svc, log: svc.log, out: newOutbox(svc)}
	if err := p.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer svc.forget(p)
	p.position = 1
	const busy = time.Second
	p.mu.Lock()
	time.AfterFunc(busy, p.mu.Unlock)
	pause, err := p.save(t.Context())
	if err != nil || pause >= 20*busy {
		t.Errorf("the next checkpoint comes after %s (%v)", pause, err)
	}
}
