//go:build linux || darwin

package livetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
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

// start of the events; retention does not matter to the tables of the test.
var start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// seen is the part of an alert that must be the same. Who carried the event
// (Traceback) is no part of history.
func seen(a finding.Alert) finding.Alert {
	a.Traceback = ""
	return a
}

// live gives blocks to a running service and returns the last state of every
// alert, once all of want are there.
func live(t *testing.T, payloads [][]byte, families []string, want map[string]finding.Alert) map[string]finding.Alert {
	t.Helper()
	b := testkit.Bus(t)
	opts := detect.DefaultOptions()
	opts.Bus, opts.Content, opts.Logger = b, os.DirFS(rulesFolder), slog.New(slog.DiscardHandler)
	opts.CheckpointInterval, opts.PollInterval = 50*time.Millisecond, 0
	s, err := detect.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for i, data := range payloads {
		if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Events(families[i]), ID: fmt.Sprint(i), Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	var got map[string]finding.Alert
	testkit.Eventually(t, fmt.Sprintf("%d alerts in their last state", len(want)), func() bool {
		got = published(t, b)
		for uid, a := range want {
			if cmp.Equal(a, got[uid]) {
				continue
			}
			t.Logf("waiting for %s (%s)", uid, a.Title)
			return false
		}
		return true
	})
	// What is one too many comes, if at all, when all was judged.
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return published(t, b)
}

func published(t *testing.T, b *bus.Bus) map[string]finding.Alert {
	t.Helper()
	out := map[string]finding.Alert{}
	for rec, err := range b.ReadFrom(t.Context(), subjects.StreamAlerts, nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var a finding.Alert
		if err := json.Unmarshal(rec.Data, &a); err != nil {
			t.Fatal(err)
		}
		if old, ok := out[a.UID]; a.Rule != "source-silent" && (!ok || a.Revision >= old.Revision) {
			out[a.UID] = seen(a)
		}
	}
	return out
}

// For the events of every shipped rule's tests, and for all rules at once, live
// detection and a backtest over ClickHouse raise the same alerts, to the last
// field.
func TestLiveEqualsBacktest(t *testing.T) {
	rules, problems, err := rule.LoadFS(os.DirFS(rulesFolder), ".", "rules/")
	if err != nil || rule.Failed(problems) {
		t.Fatal(err, problems)
	}
	m := &maker{t: t, now: start}
	tests := 0
	for _, r := range rules {
		for _, x := range r.Tests {
			m.add(x.Events)
			tests++
		}
	}
	db := historytest.Open(t)
	families := make([]string, len(m.payloads))
	for i, data := range m.payloads {
		historytest.Insert(t, db, data)
		families[i] = m.families[i].String()
	}
	o := history.Options{From: start, To: m.now.Add(time.Hour)}
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
	got := live(t, m.payloads, families, backtest)
	if diff := cmp.Diff(backtest, got); diff != "" {
		t.Errorf("backtest (-), live (+):\n%s", diff)
	}
	t.Logf("%d tests of %d rules: %d events, %d candidates, %d alerts", tests, len(rules), b.Events, b.Candidates, len(got))
	// A rule by itself does what it does among the others.
	for _, r := range rules {
		alone, err := history.Run(t.Context(), db, history.NewSet([]*rule.Rule{r}), []*rule.Rule{r}, o)
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
