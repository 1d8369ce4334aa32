//go:build linux || darwin

package livetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

const newAgent = `id: test.new-agent
title: A client has a new agent
description: An address uses a user agent that it did not use in thirty days.
level: medium
status: test
source: {class: http_activity, product: nginx.access}
when: http_response.code < 500
correlate: {type: new_value, group_by: src_endpoint.ip, field: http_request.user_agent, timespan: 30d, learning: 7d}
alert: {title: "{src_endpoint.ip} uses {http_request.user_agent}", entity: {type: ip, path: src_endpoint.ip}, fields: [http_request.user_agent], suppress: 1h}
`

const tooMany = `id: test.too-many
title: A client asks more than it does
description: Far more requests in an hour than usual.
level: medium
status: test
source: {class: http_activity, product: nginx.access}
when: http_response.code < 500
correlate: {type: rate_anomaly, group_by: src_endpoint.ip, timespan: 1h, baseline: 10d, learning: 3d, condition: {gte: 8}}
alert: {title: "{src_endpoint.ip} asked {count} times", entity: {type: ip, path: src_endpoint.ip}, suppress: 1h}
`

// seeded is a hub's bus with instances of detect that may read history.
type seeded struct {
	t   *testing.T
	srv *bus.Server
	b   *bus.Bus
	db  *clickhouse.Client
	// open is how instances reach history; nil: as a reader of db.
	open func(context.Context) (*clickhouse.Client, error)
	n    int
}

// join starts an instance and returns what stops it.
func (s *seeded) join() func() {
	s.t.Helper()
	b, err := bus.Connect(s.t.Context(), bus.Options{Server: s.srv})
	if err != nil {
		s.t.Fatal(err)
	}
	opts := detect.DefaultOptions()
	opts.Bus, opts.Logger = b, slog.New(slog.DiscardHandler)
	opts.CheckpointInterval, opts.TickInterval, opts.SeedInterval, opts.SilenceInterval = 50*time.Millisecond, 20*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	opts.Heartbeat, opts.Expiry = 30*time.Millisecond, 600*time.Millisecond
	if opts.ClickHouse = s.open; s.open == nil {
		opts.ClickHouse = func(ctx context.Context) (*clickhouse.Client, error) {
			return clickhouse.Open(ctx, historytest.DSN(s.db))
		}
	}
	d, err := detect.New(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
		b.Close()
	}
}

// send publishes n requests that an address makes now, and stores them.
func (s *seeded) send(ip, agent string, n int) {
	s.t.Helper()
	b := block.NewBuilder(event.FamilyNetwork)
	for i := range n {
		requests(b, ip, agent, 200, time.Now().Truncate(time.Millisecond).Add(time.Duration(i)*time.Millisecond), 1)
	}
	data := b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "nginx.access", Received: time.Now().UnixMilli()})
	historytest.Insert(s.t, s.db, data)
	s.n++
	if _, err := s.b.Publish(s.t.Context(), bus.Msg{Subject: subjects.Events("network"), ID: fmt.Sprint(s.n), Data: data}); err != nil {
		s.t.Fatal(err)
	}
}

// matched waits until everything sent is matched.
func (s *seeded) matched() {
	s.t.Helper()
	testkit.Eventually(s.t, "all blocks are matched", func() bool {
		pos, err := s.b.Position(s.t.Context(), subjects.StreamEvents, detect.Durable)
		return err == nil && pos.Pending+uint64(pos.AckPending) == 0
	})
}

func (s *seeded) alerts() map[string]finding.Alert {
	s.t.Helper()
	return (&told{b: s.b}).published(s.t)
}

// seeds counts the messages that told partitions of the past.
func (s *seeded) seeds() int {
	s.t.Helper()
	n := 0
	for p := range subjects.SignalPartitions {
		for _, err := range s.b.ReadFrom(s.t.Context(), subjects.StreamSignals, []string{subjects.SignalsSeed(p)}, 1, 0) {
			if err != nil {
				s.t.Fatal(err)
			}
			n++
		}
	}
	return n
}

// push pushes rules.
func (s *seeded) push(files map[string]string) {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	var out bytes.Buffer
	c := detect.ContentCommand(detect.CommandOptions{Bus: func(context.Context) (*bus.Bus, error) { return testkit.Connect(s.t, s.srv), nil }})
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs([]string{"push", dir, "-m", "test"})
	if err := c.ExecuteContext(s.t.Context()); err != nil {
		s.t.Fatal(err, out.String())
	}
}

// learned waits for what the running service says of its rules.
func (s *seeded) learned(what string, is func(map[string]detect.Learning) bool) map[string]detect.Learning {
	s.t.Helper()
	var h detect.Health
	testkit.Eventually(s.t, what, func() bool {
		var err error
		h, err = detect.ReadHealth(s.t.Context(), s.b)
		return err == nil && is(h.Learning)
	})
	return h.Learning
}

// A rule that is pushed into a running hub knows at once what the stored events
// tell: a known value raises nothing and a new one does, as in a backtest from
// that moment on. Restarts and further instances change nothing, and history is
// not read again.
func TestPushedRulesLearnFromHistory(t *testing.T) {
	srv := testkit.Server(t)
	s := &seeded{t: t, srv: srv, b: testkit.Connect(t, srv), db: historytest.Open(t)}
	if err := s.b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	// Twelve days: four requests an hour each of twenty clients. One began only
	// yesterday.
	past := block.NewBuilder(event.FamilyNetwork)
	now := time.Now()
	for hour := 12 * 24; hour > 0; hour-- {
		for i := range 20 {
			requests(past, fmt.Sprintf("192.0.2.%d", i), "curl/8", 200, now.Add(-time.Duration(hour)*time.Hour+time.Duration(i)*time.Second), 4)
		}
		if hour < 24 {
			requests(past, "198.51.100.1", "curl/8", 200, now.Add(-time.Duration(hour)*time.Hour), 4)
		}
	}
	requests(past, "192.0.2.3", "monthly-report/2", 200, now.Add(-9*24*time.Hour), 1)
	historytest.Insert(t, s.db, past.AppendTo(nil, block.Header{Source: "nginx.access"}))

	stop := s.join()
	defer func() { stop() }()
	s.send("203.0.113.1", "curl/8", 1)
	s.matched()
	s.push(map[string]string{"test/new-agent.yml": newAgent, "test/too-many.yml": tooMany})
	pushed := time.Now()
	h := s.learned("both rules are told of their past", func(l map[string]detect.Learning) bool {
		return l["test.new-agent"].State == detect.Seeded && l["test.too-many"].State == detect.Seeded
	})
	if since := now.Sub(h["test.new-agent"].Since); since < 29*24*time.Hour {
		t.Errorf("new-agent knows only %s", since)
	}
	seeds := s.seeds()
	if seeds != 2*subjects.SignalPartitions {
		t.Errorf("%d messages of seeds", seeds)
	}

	want := map[string]string{}
	check := func(when string) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d alerts %s, of %v", len(want), when, s.alerts()), func() bool { return len(s.alerts()) >= len(want) })
		s.matched()
		got := map[string]string{}
		for _, a := range s.alerts() {
			got[a.Rule+" "+a.Entity.Value] = a.RuleTitle
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s, want (-), got (+):\n%s", when, diff)
		}
	}
	const fresh, many = "A client has a new agent", "A client asks more than it does"
	s.send("192.0.2.1", "curl/8", 1)           // known
	s.send("192.0.2.3", "monthly-report/2", 1) // known, long ago
	s.send("198.51.100.1", "python/3", 1)      // new, of a client that is not known for long
	s.send("192.0.2.2", "python/3", 1)         // new
	s.send("192.0.2.5", "curl/8", 60)          // a moment as busy as fifteen hours
	want["test.new-agent 192.0.2.2"], want["test.too-many 192.0.2.5"] = fresh, many
	check("after the push")

	stop()
	stop = s.join()
	second := s.join()
	defer second()
	testkit.Eventually(t, "two instances", func() bool {
		list, err := detect.ReadInstances(t.Context(), s.b)
		return err == nil && len(list) == 2
	})
	s.send("192.0.2.2", "python/3", 1) // known by now, and suppressed
	s.send("192.0.2.3", "monthly-report/2", 1)
	s.send("192.0.2.4", "python/3", 1)
	want["test.new-agent 192.0.2.4"] = fresh
	check("after a restart, with two instances")
	if n := s.seeds(); n != seeds {
		t.Errorf("history was told again: %d messages after %d", n, seeds)
	}

	// A backtest from the push on says the same.
	var rules []*rule.Rule
	for _, text := range []string{newAgent, tooMany} {
		list, problems := rule.LoadFiles([]rule.File{{Name: "test.yml", Data: []byte(text)}})
		if rule.Failed(problems) {
			t.Fatal(problems)
		}
		rules = append(rules, list...)
	}
	b, err := history.Run(t.Context(), s.db, history.NewSet(rules), rules, history.Options{From: pushed.Add(-2 * time.Minute), To: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	live, backtest := map[string]finding.Alert{}, map[string]finding.Alert{}
	// The alerts still go on: live has not told what they come to.
	begun := func(a finding.Alert) finding.Alert {
		a.Version, a.LastSeen, a.Count, a.Value, a.EventUIDs = "", time.Time{}, 0, 0, nil
		return a
	}
	for uid, a := range s.alerts() {
		live[uid] = begun(a)
	}
	for _, a := range b.Alerts {
		backtest[a.UID] = begun(roundTrip(t, seen(a)))
	}
	if diff := cmp.Diff(backtest, live); diff != "" {
		t.Errorf("backtest (-), live (+):\n%s", diff)
	}
}

// As long as history cannot be read a rule learns from what comes, and the
// service says so, why, and how long it will raise nothing. Once it can be read,
// the rule is told.
func TestRulesThatCannotReadHistory(t *testing.T) {
	srv := testkit.Server(t)
	s := &seeded{t: t, srv: srv, b: testkit.Connect(t, srv), db: historytest.Open(t)}
	if err := s.b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	down.Store(true)
	s.open = func(ctx context.Context) (*clickhouse.Client, error) {
		if down.Load() {
			return nil, errors.New("it is not up yet")
		}
		return clickhouse.Open(ctx, historytest.DSN(s.db))
	}
	defer s.join()()
	s.push(map[string]string{"test/new-agent.yml": newAgent})
	s.send("192.0.2.1", "curl/8", 1)
	const id = "test.new-agent"
	l := s.learned("the rule learns by itself", func(l map[string]detect.Learning) bool { return l[id].State == detect.Learns })[id]
	if l.Why != "it is not up yet" || l.Until.Sub(l.Since) != 7*24*time.Hour || time.Since(l.Since) > time.Minute {
		t.Errorf("%+v", l)
	}
	down.Store(false)
	s.learned("the rule is told", func(l map[string]detect.Learning) bool { return l[id].State == detect.Seeded })
}
