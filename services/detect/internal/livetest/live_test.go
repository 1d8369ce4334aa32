//go:build linux || darwin

package livetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

const rulesFolder = "../../../../rules"

// keyed groups by and counts what has no column of its own.
const keyed = `id: test.keyed
title: Tickets for many services
description: Somebody asks for tickets of many services.
level: high
status: test
source: {family: identity, product: microsoft.security}
when: metadata.event_code == "4769"
correlate: {type: value_count, group_by: [unmapped.TargetSid], field: 'unmapped["Service Name"]', timespan: 5m, condition: {gte: 3}}
alert: {title: "{unmapped.TargetSid} asks for {value} services", entity: {type: user, path: unmapped.TargetSid}}
tests:
  - name: three services
    events:
      - {repeat: 3, after: 10s, metadata.event_code: "4769", unmapped: '{"TargetSid":"S-1-5-21-7","Service Name":"svc\u002f{n}"}'}
      - {repeat: 3, after: 10s, metadata.event_code: "4769", unmapped: '{"TargetSid":"S-1-5-21-8","Service Name":"svc"}'}
      - {repeat: 3, after: 10s, metadata.event_code: "4769", unmapped: '{"TargetSid":"S-1-5-21-{n}","Service Name":"other{n}"}'}
    expect: {alerts: 1, entity: S-1-5-21-7}
`

// content are the shipped rules and keyed.
func content(t *testing.T) fs.FS {
	t.Helper()
	out := fstest.MapFS{"test/keyed.yml": {Data: []byte(keyed)}}
	shipped := os.DirFS(rulesFolder)
	err := fs.WalkDir(shipped, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(shipped, p)
		out[p] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start of the events; retention does not matter to the tables of the test.
var start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// seen is the part of an alert that must be the same: what fired, for whom, when,
// and what it came to in the end. How often it was told on the way, and which of
// its events the text shows, is how far live had come; and when it was raised is
// when live came to know.
func seen(a finding.Alert) finding.Alert {
	return finding.Alert{
		UID: a.UID, Rule: a.Rule, RuleTitle: a.RuleTitle, Version: a.Version, Level: a.Level, Lane: a.Lane, Tags: a.Tags,
		Entity: a.Entity, Group: a.Group, Threshold: a.Threshold, Time: a.Time, FirstSeen: a.FirstSeen,
		LastSeen: a.LastSeen, Until: a.Until, Count: a.Count, Value: a.Value, Sources: a.Sources, EventUIDs: a.EventUIDs,
	}
}

// live gives the blocks to a running service, lets quiet days follow, and
// returns the alerts, once all of want are there.
func live(t *testing.T, m *maker, want map[string]finding.Alert) map[string]finding.Alert {
	t.Helper()
	b := testkit.Bus(t)
	opts := detect.DefaultOptions()
	opts.Bus, opts.Content, opts.Logger = b, content(t), slog.New(slog.DiscardHandler)
	opts.CheckpointInterval, opts.PollInterval = 50*time.Millisecond, 0
	s, err := detect.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	alerts := told{b: b}
	sent := 0
	send := func(until int) {
		for ; sent < until; sent++ {
			if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Events(m.families[sent].String()), ID: fmt.Sprint(sent), Data: m.payloads[sent]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Alerts that other rules correlate come back through the bus, and must not
	// be overtaken by hours of events: no real source sends these in a second.
	// Some are raised only when time goes on; then there is nothing left to read.
	for _, x := range m.tests {
		send(x.until)
		for calm := 0; calm < 5 && !raisedIn(want, alerts.published(t), x.from, x.to); time.Sleep(20 * time.Millisecond) {
			if calm++; !idle(t, b) {
				calm = 0
			}
		}
	}
	moved, ahead := time.Time{}, time.Duration(0)
	var got map[string]finding.Alert
	lacks := ""
	defer func() {
		if t.Failed() {
			t.Logf("last waited for, backtest (-), live (+):\n%s", lacks)
		}
	}()
	complete := func() bool {
		got = alerts.published(t)
		if time.Since(moved) > 2*time.Second && idle(t, b) {
			// Time goes on, for the sources and on the wall, and everybody hears of it.
			moved = time.Now()
			m.quiet()
			send(len(m.payloads))
			ahead += time.Hour
			tickAt(t, b, moved.Add(ahead))
		}
		for uid, a := range want {
			if cmp.Equal(a, got[uid]) {
				continue
			}
			lacks = cmp.Diff(a, got[uid])
			return false
		}
		return true
	}
	for begin := time.Now(); !complete(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > 8*time.Minute {
			t.Fatalf("not within eight minutes: %d alerts in their last state", len(want))
		}
	}
	// What is one too many comes, if at all, when all was judged.
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return alerts.published(t)
}

// idle says that every block is matched and every signal correlated.
func idle(t *testing.T, b *bus.Bus) bool {
	t.Helper()
	lags, err := b.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	readers := 0
	for _, g := range lags {
		if g.Durable != detect.Durable && g.Stream != subjects.StreamSignals {
			continue
		}
		if readers++; g.Pending+uint64(g.AckPending) > 0 {
			return false
		}
	}
	return readers > subjects.SignalPartitions // all have begun
}

// tickAt repeats the last tick as one of another time on the wall: groups are
// taken to be fed from a backlog until so long after their last event.
func tickAt(t *testing.T, b *bus.Bus, at time.Time) {
	t.Helper()
	rec, err := b.Last(t.Context(), subjects.StreamSignals, subjects.SignalsTick)
	if errors.Is(err, bus.ErrNotFound) {
		return
	}
	tick := map[string]any{}
	if err == nil {
		err = json.Unmarshal(rec.Data, &tick)
	}
	tick["at"] = at.UnixMilli()
	data, bad := json.Marshal(tick)
	if err := errors.Join(err, bad); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.SignalsTick, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// raisedIn says that the wanted alerts of a stretch of time are there, in
// whatever state.
func raisedIn(want, got map[string]finding.Alert, from, to time.Time) bool {
	for uid, a := range want {
		if _, ok := got[uid]; !ok && !a.Time.Before(from) && a.Time.Before(to) {
			return false
		}
	}
	return true
}

// told reads the alerts as they come.
type told struct {
	b      *bus.Bus
	last   uint64 // sequence of ALERTS that was read
	alerts map[string]finding.Alert
}

// published are all alerts so far, in their last state.
func (r *told) published(t *testing.T) map[string]finding.Alert {
	t.Helper()
	if r.alerts == nil {
		r.alerts = map[string]finding.Alert{}
	}
	for rec, err := range r.b.ReadFrom(t.Context(), subjects.StreamAlerts, nil, r.last+1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		r.last = rec.Seq
		var a finding.Alert
		if err := json.Unmarshal(rec.Data, &a); err != nil {
			t.Fatal(err)
		}
		if a.Rule == "source-silent" {
			continue
		}
		if r.alerts[a.UID] = seen(a); a.Status == finding.Retracted {
			delete(r.alerts, a.UID)
		}
	}
	return r.alerts
}

// For the events of the tests of every shipped rule and of one that groups by keys
// of unmapped, and for all rules at once, live
// detection and a backtest over ClickHouse raise the same alerts: none more and
// none less, for the same subjects, at the same event time.
func TestLiveEqualsBacktest(t *testing.T) {
	rules, problems, err := rule.LoadFS(content(t), ".", "rules/")
	if err != nil || rule.Failed(problems) {
		t.Fatal(err, problems)
	}
	m := &maker{t: t, now: start, sources: map[string]bool{}}
	tests := 0
	for _, r := range rules {
		for _, x := range r.Tests {
			m.add(x.Events)
			tests++
		}
	}
	db := historytest.Open(t)
	for _, data := range m.payloads {
		historytest.Insert(t, db, data)
	}
	o := history.Options{From: start, To: m.now.Add(24 * time.Hour)}
	backtest := map[string]finding.Alert{}
	b, err := history.Run(t.Context(), db, history.NewSet(rules), rules, o)
	if err != nil {
		t.Fatal(err)
	}
	fired := map[string]bool{}
	for _, a := range b.Alerts {
		backtest[a.UID] = roundTrip(t, seen(a))
		fired[a.Rule] = true
	}
	for _, r := range rules {
		if !fired[r.ID] {
			t.Errorf("%s raised nothing: its tests prove nothing here", r.ID)
		}
	}
	got := live(t, m, backtest)
	if diff := cmp.Diff(backtest, got); diff != "" {
		t.Errorf("backtest (-), live (+):\n%s", diff)
	}
	t.Logf("%d tests of %d rules: %d events, %d candidates, %d alerts", tests, len(rules), b.Events, b.Candidates, len(got))
	// A rule, with those that it names, does what it does among the others.
	for _, r := range rules {
		alone, err := history.Run(t.Context(), db, history.NewSet(rule.Needed(r, rules)), []*rule.Rule{r}, o)
		if err != nil {
			t.Fatal(err)
		}
		want, have := []string{}, []string{}
		for _, a := range b.Alerts {
			if a.Rule == r.ID {
				want = append(want, a.UID)
			}
		}
		for _, a := range alone.Alerts {
			have = append(have, a.UID)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s among all rules (-), alone (+):\n%s", r.ID, diff)
		}
	}
}

// roundTrip gives the alert the form in which it travels.
func roundTrip(t *testing.T, a finding.Alert) finding.Alert {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var out finding.Alert
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
