package detect

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// A publisher of nats.go waits for the connection's last status, which a full
// channel drops: then its goroutine stays after Close.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

const burst = `
id: test.burst
title: Burst
description: Five failures of one address within a minute.
level: high
status: test
source: {class: http_activity}
when: http_response.code == 401
correlate: {type: event_count, group_by: src_endpoint.ip, timespan: 1m, condition: {gte: 5}}
alert: {title: "{src_endpoint.ip} failed {count} times", entity: {type: ip, path: src_endpoint.ip}}
`

func rulesDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// failures is a block of n refused requests of one address, from second on.
func failures(ip string, second, n int) []byte {
	b := block.NewBuilder(event.FamilyNetwork)
	for i := range n {
		ms := time.Date(2026, 3, 1, 0, 0, second+i, 0, time.UTC).UnixMilli()
		b.SetUUID(event.EventUID, block.UID(ip, uint32(second+i)))
		b.SetInt(event.Time, ms)
		b.SetInt(event.ReceivedAt, ms)
		b.SetString(event.Source, "nginx.access")
		b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		b.SetInt(event.HTTPResponseCode, 401)
		b.SetIP(event.SrcEndpointIP, netip.MustParseAddr(ip))
		b.EndRow()
	}
	return b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "nginx.access"})
}

func publish(t *testing.T, b *bus.Bus, id string, data []byte) {
	t.Helper()
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Events("network"), ID: id, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// start runs a service until the returned function is called.
func start(t *testing.T, b *bus.Bus, dir string) (*Service, func()) {
	t.Helper()
	return startWith(t, b, dir, DefaultOptions())
}

func startWith(t *testing.T, b *bus.Bus, dir string, opts Options) (*Service, func()) {
	t.Helper()
	opts.Bus, opts.RulesDir, opts.Logger = b, dir, slog.New(slog.DiscardHandler)
	opts.CheckpointInterval, opts.PollInterval = 20*time.Millisecond, 20*time.Millisecond
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

func alerts(t *testing.T, b *bus.Bus) []finding.Alert {
	t.Helper()
	var out []finding.Alert
	for rec, err := range b.ReadFrom(t.Context(), subjects.StreamAlerts, nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var a finding.Alert
		if err := json.Unmarshal(rec.Data, &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func TestEventToAlert(t *testing.T) {
	b := testkit.Bus(t)
	s, stop := start(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}))
	publish(t, b, "1", failures("192.0.2.1", 0, 4))
	publish(t, b, "2", failures("192.0.2.2", 0, 3))
	publish(t, b, "3", failures("192.0.2.1", 4, 1))
	testkit.Eventually(t, "an alert", func() bool { return len(alerts(t, b)) == 1 })
	a := alerts(t, b)[0]
	if a.Title != "192.0.2.1 failed 5 times" || a.Entity.Value != "192.0.2.1" || a.Level != finding.High || len(a.EventUIDs) != 5 {
		t.Errorf("got %+v", a)
	}
	if !strings.Contains(a.Reason, "5 matching events of src_endpoint.ip 192.0.2.1 within 4s") {
		t.Errorf("reason %q", a.Reason)
	}
	stop()
	if got := s.counters.signals.Load(); got != 8 {
		t.Errorf("%d signals", got)
	}

	// A restart goes on where the state was: two more of the second address
	// complete its window, and nothing is raised twice.
	_, stop = start(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}))
	publish(t, b, "4", failures("192.0.2.2", 3, 2))
	testkit.Eventually(t, "a second alert", func() bool { return len(alerts(t, b)) == 2 })
	stop()
	if got := alerts(t, b); len(got) != 2 || got[1].Entity.Value != "192.0.2.2" {
		t.Errorf("got %+v", got)
	}
}

func TestReloadKeepsTheOldVersionOfABadFile(t *testing.T) {
	b := testkit.Bus(t)
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	s, stop := start(t, b, dir)
	defer stop()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("test/burst.yml", strings.Replace(burst, "http_response.code", "http_response.kode", 1))
	write("test/other.yml", strings.Replace(burst, "test.burst", "test.other", 1))
	testkit.Eventually(t, "the reload", func() bool { return len(s.matcher.Load().rules) == 2 })
	publish(t, b, "1", failures("192.0.2.1", 0, 5))
	testkit.Eventually(t, "both rules' alerts", func() bool { return len(alerts(t, b)) == 2 })
}

func TestSignalsAreBounded(t *testing.T) {
	for timespan, want := range map[string]uint64{
		"2h": 10, // all in a slot of two minutes, of which ten travel on
		"1m": 50, // a slot of a second has one: none may be placed elsewhere
	} {
		t.Run(timespan, func(t *testing.T) {
			b := testkit.Bus(t)
			dir := rulesDir(t, map[string]string{"test/burst.yml": strings.Replace(burst, "timespan: 1m", "timespan: "+timespan, 1)})
			opts := DefaultOptions()
			opts.Bus, opts.RulesDir, opts.Logger, opts.MaxSignals = b, dir, slog.New(slog.DiscardHandler), 10
			s, err := New(opts)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			publish(t, b, "1", failures("192.0.2.1", 0, 50))
			testkit.Eventually(t, "the block", func() bool { return s.counters.blocks.Load() == 1 })
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := s.counters.signals.Load(); got != want || s.counters.capped.Load() != 50-want || s.counters.matches.Load() != 50 {
				t.Errorf("signals %d capped %d matches %d", got, s.counters.capped.Load(), s.counters.matches.Load())
			}
		})
	}
}

func TestCorruptBlockIsADeadLetter(t *testing.T) {
	b := testkit.Bus(t)
	_, stop := start(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}))
	defer stop()
	publish(t, b, "1", []byte("not a block"))
	publish(t, b, "2", failures("192.0.2.1", 0, 5))
	testkit.Eventually(t, "the alert of the next block", func() bool { return len(alerts(t, b)) == 1 })
	n := 0
	for range b.ReadFrom(t.Context(), subjects.StreamDead, nil, 1, 0) {
		n++
	}
	if n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
