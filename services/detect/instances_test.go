package detect

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// instance is a Service with a connection of its own.
type instance struct {
	*Service
	bus  *bus.Bus
	end  func() error
	once sync.Once
}

// join starts one more instance.
func join(t *testing.T, s *bus.Server, dir string) *instance {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Server: s})
	if err != nil {
		t.Fatal(err)
	}
	opts := DefaultOptions()
	opts.Bus, opts.RulesDir, opts.Logger, opts.PollInterval = b, dir, slog.New(slog.DiscardHandler), 50*time.Millisecond
	opts.CheckpointInterval, opts.TickInterval, opts.Heartbeat, opts.Expiry = 50*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond, 600*time.Millisecond
	svc, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	i := &instance{Service: svc, bus: b, end: func() error { cancel(); return <-done }}
	t.Cleanup(i.stop)
	return i
}

// stop ends the instance as Ctrl-C does.
func (i *instance) stop() { i.once.Do(func() { _ = i.end(); i.bus.Close() }) }

// kill ends it in the middle of whatever it does: nothing it had begun gets any
// further than the bus has it already.
func (i *instance) kill() { i.once.Do(func() { i.bus.Conn().Close(); _ = i.end(); i.bus.Close() }) }

// owned waits until so many instances live and share everything.
func owned(t *testing.T, b *bus.Bus, instances int) {
	t.Helper()
	testkit.Eventually(t, "everything has an owner", func() bool {
		list, err := ReadInstances(t.Context(), b)
		by := map[string]string{}
		for _, i := range list {
			if len(i.Owns) == 0 {
				return false
			}
			for _, item := range i.Owns {
				by[item] = i.ID
			}
		}
		return err == nil && len(list) == instances && len(by) == len(items())
	})
}

// last is the newest revision of each alert.
func last(list []finding.Alert) map[string]finding.Alert {
	out := map[string]finding.Alert{}
	for _, a := range list {
		if a.Revision > out[a.UID].Revision {
			out[a.UID] = a
		}
	}
	return out
}

// Correlation goes on where it was when its owner stops, and when it is killed;
// a process that only seemed dead changes nothing afterwards.
func TestAPartitionMovesWithItsState(t *testing.T) {
	server := testkit.Server(t)
	b := testkit.Connect(t, server)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	first := join(t, server, dir)
	owned(t, b, 1)
	const groups = 40
	n := 0
	more := func(second, count int) {
		for g := range groups {
			n++
			publish(t, b, strconv.Itoa(n), failures("192.0.2."+strconv.Itoa(g), second, count))
		}
	}
	more(0, 2)
	second := join(t, server, dir)
	owned(t, b, 2)
	more(2, 1)
	third := join(t, server, dir)
	owned(t, b, 3)
	first.stop()
	owned(t, b, 2)
	more(3, 1)
	second.kill()
	more(4, 1)
	testkit.Eventually(t, "the alerts", func() bool { return len(last(alerts(t, b))) == groups })
	owned(t, b, 1)
	third.stop()
	for uid, a := range last(alerts(t, b)) {
		if a.Count != 5 || len(a.EventUIDs) != 5 {
			t.Errorf("%s: %d events, %d uids", uid, a.Count, len(a.EventUIDs))
		}
	}
	if got := len(alerts(t, b)); got != groups {
		t.Errorf("%d alert messages for %d groups", got, groups)
	}
}

// The clocks of ticks are those of the blocks up to their floor, whoever
// matched them.
func TestTicks(t *testing.T) {
	server := testkit.Server(t)
	b := testkit.Connect(t, server)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	one, two := join(t, server, dir), join(t, server, dir)
	owned(t, b, 2)
	const blocks = 60
	for i := range blocks {
		publish(t, b, strconv.Itoa(i), failures("192.0.2.1", i, 1))
		if i == blocks/2 {
			one.kill()
		}
	}
	lastTick := func() (tk tick) {
		for rec, err := range b.ReadFrom(t.Context(), subjects.StreamSignals, []string{subjects.SignalsTick}, 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
			before := tk
			tk = readTick(t, rec.Data)
			if tk.Floor < before.Floor || len(before.Sources) > 0 && tk.Sources[0].Clock < before.Sources[0].Clock {
				t.Fatalf("a tick goes back: %+v after %+v", tk, before)
			}
			// One source, one block a second: the clock follows from the floor.
			if want := time.Date(2026, 3, 1, 0, 0, int(tk.Floor)-1, 0, time.UTC).UnixMilli(); tk.Sources[0].Clock != want {
				t.Fatalf("floor %d: the clock is %d, want %d", tk.Floor, tk.Sources[0].Clock, want)
			}
		}
		return tk
	}
	testkit.Eventually(t, "the last block's tick", func() bool { return lastTick().Floor == blocks })
	two.stop()
	// A new leader goes on from there.
	three := join(t, server, dir)
	publish(t, b, "more", failures("192.0.2.1", blocks, 1))
	testkit.Eventually(t, "one more tick", func() bool { return lastTick().Floor == blocks+1 })
	three.stop()
}

func readTick(t *testing.T, data []byte) (tk tick) {
	t.Helper()
	if err := json.Unmarshal(data, &tk); err != nil {
		t.Fatal(err)
	}
	return tk
}
