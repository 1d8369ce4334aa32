//go:build linux || darwin

package livetest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// What the hub runs is what history is judged by: a pushed rule replaces the
// built-in one, and one that was pushed and is refused by all does not.
func TestHistoryIsJudgedByWhatRuns(t *testing.T) {
	db := world(t)
	srv := testkit.Server(t)
	b := testkit.Connect(t, srv)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	store, err := snapshot.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	push := func(base uint64, files map[string]string) snapshot.Manifest {
		t.Helper()
		data := map[string][]byte{}
		for name, text := range files {
			data[name] = []byte(text)
		}
		m, err := store.Push(t.Context(), data, base, snapshot.Manifest{Message: "test", At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	opts := options(db)
	opts.Bus = func(context.Context) (*bus.Bus, error) { return testkit.Connect(t, srv), nil }
	opts.Playbooks = func(a finding.Alert) ([]detect.Response, error) {
		return []detect.Response{{Playbook: "block-ip", Actions: []string{"edge.block"}, DryRun: a.Entity.Value == "203.0.113.9"}}, nil
	}
	type result struct {
		history.Backtest
		Playbooks []struct {
			Playbook string
			Alerts   int
			Assets   []string
		}
	}
	backtest := func(id string) (out result) {
		t.Helper()
		if err := json.Unmarshal([]byte(run(t, detect.Command(opts), "backtest", id, since, until, "--json")), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := backtest("test.burst"); got.Raised != 4 || len(got.Playbooks) != 1 || got.Playbooks[0].Alerts != 4 ||
		!cmp.Equal(got.Playbooks[0].Assets, []string{"ip:198.51.100.7", "ip:203.0.113.9"}) {
		t.Errorf("built in: %+v", got)
	}
	text := run(t, detect.Command(opts), "backtest", "test.burst", since, until)
	if want := "playbooks that would have acted\n          4 block-ip  edge.block  ip:198.51.100.7, ip:203.0.113.9"; !strings.Contains(text, want) {
		t.Errorf("%s lacks %q", text, want)
	}
	seven := strings.Replace(burst, "{gte: 5}", "{gte: 7}", 1)
	m := push(0, map[string]string{"test/burst.yml": seven, "test/other.yml": strings.Replace(burst, "test.burst", "test.other", 1)})
	if got := backtest("test.burst"); got.Raised != 1 {
		t.Errorf("pushed: %d alerts of eight requests at least", got.Raised)
	}
	if got := backtest("test.other"); got.Raised != 4 {
		t.Errorf("a rule that is only pushed: %d alerts", got.Raised)
	}
	// Live raised what the pushed rules raise.
	for _, id := range []string{"test.burst", "test.other"} {
		for _, a := range backtest(id).Alerts {
			historytest.Raise(t, db, a, "")
		}
	}
	replay := func() (out history.Replay) {
		t.Helper()
		c := detect.ReplayCommand(opts)
		var text bytes.Buffer
		c.SetOut(&text)
		c.SetErr(&text)
		c.SetArgs([]string{"--diff", since, until, "--json"})
		_ = c.ExecuteContext(t.Context()) // tells of missed alerts, as the result does
		if err := json.NewDecoder(&text).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if r := replay(); r.Same != 5 || len(r.Missed)+len(r.Extra) > 0 {
		t.Errorf("replay of what runs: %+v", r)
	}
	// A revision that the only instance refused does not run.
	push(m.Revision, map[string]string{"test/burst.yml": "id: ["})
	if err := store.Report(t.Context(), snapshot.Applied{Instance: "one", At: time.Now(), Revision: m.Revision, Refused: m.Revision + 1}); err != nil {
		t.Fatal(err)
	}
	if r := replay(); r.Same != 5 || len(r.Missed)+len(r.Extra) > 0 {
		t.Errorf("replay after a revision that was refused: %+v", r)
	}
}
