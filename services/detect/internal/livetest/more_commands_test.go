//go:build linux || darwin

package livetest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/history/historytest"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// ruleFile writes a version of the rule.
func ruleFile(t *testing.T, replace ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "test", "burst.yml")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.NewReplacer(replace...).Replace(burst)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHuntCommand(t *testing.T) {
	db := world(t)
	hunt := func(args ...string) string {
		return run(t, detect.HuntCommand(options(db)), append(args, since, until)...)
	}
	testkit.Golden(t, "hunt.txt", []byte(hunt(`http_response.code == 401 and src_endpoint.ip != "198.51.100.7"`, "--limit", "3")))
	testkit.Golden(t, "hunt_by.txt", []byte(hunt(`http_response.code == 401`, "--by", "src_endpoint.ip,http_request.user_agent", "--class", "http_activity", "--limit", "2")))
	if got := hunt(`http_response.code == 401`, "--source", "nginx.access", "--count"); !strings.HasPrefix(got, "41 matching events; 1,526 judged") {
		t.Errorf("count: %s", got)
	}
	lines := strings.Split(strings.TrimSpace(hunt(`icontains(http_request.user_agent, "PYTHON")`, "--json")), "\n")
	var e map[string]any
	if len(lines) != 8 || json.Unmarshal([]byte(lines[0]), &e) != nil || e["time"] != "2026-01-16T17:00:07.000Z" || e["src_endpoint.ip"] != "203.0.113.9" {
		t.Errorf("lines %q", lines)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"field":   {[]string{`http_respnse.code == 401`}, "in the condition at 1:1: unknown field http_respnse.code: did you mean http_response.code?"},
		"class":   {[]string{"ai.stream", "--class", "http_activty"}, "unknown class http_activty: did you mean http_activity?"},
		"by":      {[]string{"ai.stream", "--by", "src_endpoint.pi"}, "--by: unknown field src_endpoint.pi: did you mean src_endpoint.ip?"},
		"source":  {[]string{"ai.stream", "--source", "nginx.acess"}, "--source nginx.acess: no mapping is for this source and no stored event is of it: did you mean nginx.access?"},
		"nothing": {[]string{}, "accepts 1 arg"},
	} {
		c := detect.HuntCommand(options(db))
		c.SetArgs(tc.args)
		c.SetOut(new(bytes.Buffer))
		c.SetErr(new(bytes.Buffer))
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// A key of unmapped is shown and counted like a column.
func TestHuntOfUnmapped(t *testing.T) {
	db := historytest.Open(t)
	b := block.NewBuilder(event.FamilyIdentity)
	for i, options := range []string{"0x40810000", "0x40810000", "0x60810010"} {
		b.SetUUID(event.EventUID, block.UID("hunt", uint32(i)))
		b.SetInt(event.Time, start.Add(time.Hour).UnixMilli())
		b.SetString(event.Source, "microsoft.security")
		b.SetInt(event.ClassUID, 3002)
		b.SetString(event.Unmapped, `{"Ticket Options":"`+options+`","Other":1}`)
		b.EndRow()
	}
	historytest.Insert(t, db, b.AppendTo(nil, block.Header{Source: "microsoft.security"}))
	const when = `exists(unmapped["Ticket Options"])`
	hunt := func(args ...string) string {
		return run(t, detect.HuntCommand(options(db)), append([]string{when, since, until}, args...)...)
	}
	if got := hunt("--by", "unmapped.Ticket Options"); !strings.Contains(got, "2 0x40810000\n          1 0x60810010\n") {
		t.Errorf("by: %s", got)
	}
	if got := hunt("--fields", "source,unmapped.Other", "--limit", "1"); !strings.HasPrefix(got, "SOURCE              unmapped.Other\nmicrosoft.security  1\n") {
		t.Errorf("fields: %s", got)
	}
	if got := hunt("--limit", "1"); !strings.Contains(got, `unmapped["Ticket Options"]`) {
		t.Errorf("the key of the condition is not shown: %s", got)
	}
}

func TestDiffCommand(t *testing.T) {
	opts := options(world(t))
	opts.Playbooks = func(a finding.Alert) ([]detect.Response, error) {
		if a.Status != finding.Raised || a.Level != finding.High {
			return nil, nil
		}
		return []detect.Response{{Playbook: "block-client", Title: "Block", Actions: []string{"vagus.block"}}}, nil
	}
	// Eight within a minute: the scanner's six a day are no more.
	fewer := ruleFile(t, "gte: 5", "gte: 8", "level: high", "level: medium")
	testkit.Golden(t, "diff.txt", []byte(run(t, detect.Command(opts), "diff", "test.burst", fewer, since, until)))
	same := ruleFile(t, "Burst of refusals", "Another title")
	text := run(t, detect.Command(opts), "diff", "test.burst", same, since, until)
	if !strings.Contains(text, "0 added, 0 lost, 4 kept (0 of them changed)") || !strings.Contains(text, "no playbook would act otherwise") {
		t.Errorf("the same rule differs:\n%s", text)
	}
}

// raised runs the rule and stores its alerts as if they had been raised live.
func raised(t *testing.T, db *clickhouse.Client, verdict func(a finding.Alert) finding.Verdict) []finding.Alert {
	t.Helper()
	var b history.Backtest
	if err := json.Unmarshal([]byte(run(t, detect.Command(options(db)), "backtest", "test.burst", since, until, "--json")), &b); err != nil {
		t.Fatal(err)
	}
	for _, a := range b.Alerts {
		historytest.Raise(t, db, a, verdict(a))
	}
	return b.Alerts
}

func TestTuneCommand(t *testing.T) {
	db := world(t)
	command := func(args ...string) (string, error) {
		var out bytes.Buffer
		c := detect.Command(options(db))
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs(append(args, since, until))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	if _, err := command("tune", "test.burst"); err == nil || !strings.Contains(err.Error(), "no alert of the rule was found benign") {
		t.Errorf("nothing judged: %v", err)
	}
	raised(t, db, func(a finding.Alert) finding.Verdict {
		if a.Entity.Value == "203.0.113.9" {
			return finding.TruePositive
		}
		return finding.Benign
	})
	text, err := command("tune", "test.burst", "--expires", "2099-01-31")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "tune.txt", []byte(text))
	if _, err := command("tune", "test.burst", "--write", "--owner", "me"); err == nil || !strings.Contains(err.Error(), "is built in and cannot be written") {
		t.Errorf("a built-in rule was written: %v", err)
	}
	file := ruleFile(t)
	if _, err := command("tune", file, "--write"); err == nil || !strings.Contains(err.Error(), "--write needs --owner") {
		t.Errorf("written without an owner: %v", err)
	}
	if text, err = command("tune", file, "--write", "--owner", "sec@example.com", "--reason", "the nightly scan, it's ours", "--expires", "2099-01-31"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "tuned.yml", got)
	var b history.Backtest
	if err := json.Unmarshal([]byte(run(t, detect.Command(options(db)), "backtest", file, since, until, "--json")), &b); err != nil {
		t.Fatal(err)
	}
	if b.Raised != 1 || b.Alerts[0].Entity.Value != "203.0.113.9" {
		t.Errorf("the tuned rule raises %d alerts", b.Raised)
	}
}

// A verdict counts at once: the store needs some seconds until it is in
// ClickHouse, and the bus has it. What was taken back there counts no more.
func TestVerdictsOfTheBus(t *testing.T) {
	db := world(t)
	all := raised(t, db, func(a finding.Alert) finding.Verdict {
		if a.Entity.Value == "203.0.113.9" {
			return finding.Benign // taken back below
		}
		return ""
	})
	srv := testkit.Server(t)
	b := testkit.Connect(t, srv)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		d := finding.Disposition{Alert: a.UID, Rule: a.Rule, Verdict: finding.Benign, By: "ann", At: time.UnixMilli(int64(i)).UTC()}
		if a.Entity.Value == "203.0.113.9" {
			d.Verdict = ""
		}
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Runs(subjects.RunsDisposition), ID: a.UID, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	opts := options(db)
	opts.Bus = func(context.Context) (*bus.Bus, error) { return testkit.Connect(t, srv), nil }
	for cmd, want := range map[string]string{
		"backtest": "precision   0 % of the 3 judged (0 true positive, 3 benign, 0 false positive; 1 not judged)",
		"tune":     "alerts      3 benign, 0 false positive, 0 true positive, 1 not judged",
	} {
		if out := run(t, detect.Command(opts), cmd, "test.burst", since, until); !strings.Contains(out, want) {
			t.Errorf("%s lacks %q:\n%s", cmd, want, out)
		}
	}
}

// What benign alerts share with a true positive is no exception.
func TestTuneLosesNoTruePositive(t *testing.T) {
	db := world(t)
	first := true
	raised(t, db, func(finding.Alert) finding.Verdict {
		defer func() { first = false }()
		if first {
			return finding.TruePositive // one of the scanner's own
		}
		return finding.Benign
	})
	text := run(t, detect.Command(options(db)), "tune", "test.burst", since, until, "--json")
	var tuning history.Tuning
	if err := json.Unmarshal([]byte(text), &tuning); err != nil {
		t.Fatal(err)
	}
	for _, p := range tuning.Proposals {
		if strings.Contains(p.When, "198.51.100.7") || strings.Contains(p.When, "nightly") {
			t.Errorf("the exception %s takes a true positive", p.When)
		}
	}
	if tuning.Kept != 1 || tuning.Quieted != 1 || len(tuning.Proposals) != 1 {
		t.Errorf("%+v", tuning)
	}
}

func TestReplayCommand(t *testing.T) {
	db := world(t)
	alerts := raised(t, db, func(finding.Alert) finding.Verdict { return "" })
	replay := func() (history.Replay, error) {
		var out bytes.Buffer
		c := detect.ReplayCommand(options(db))
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs([]string{"--diff", since, until, "--json"})
		err := c.ExecuteContext(t.Context())
		var r history.Replay
		if bad := json.Unmarshal([]byte(strings.SplitN(out.String(), "Error:", 2)[0]), &r); bad != nil {
			t.Fatalf("%v\n%s", bad, out.String())
		}
		return r, err
	}
	if r, err := replay(); err != nil || r.Same != len(alerts) || len(r.Missed)+len(r.Extra) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	// Live raised one of another version on an event that is not stored, and one
	// of its own was never raised.
	admin := db
	if err := admin.Exec(t.Context(), "ALTER TABLE alerts DELETE WHERE uid = ? SETTINGS mutations_sync = 1", alerts[0].UID); err != nil {
		t.Fatal(err)
	}
	other := alerts[1]
	other.UID, other.Version, other.Entity.Value, other.EventUIDs = "gone", "0123456789ab", "203.0.113.77", []string{"00000000-0000-0000-0000-00000000dead"}
	historytest.Raise(t, db, other, "")
	r, err := replay()
	if err == nil || !strings.Contains(err.Error(), "live missed 1 alerts") {
		t.Errorf("err %v", err)
	}
	if r.Same != len(alerts)-1 || len(r.Missed) != 1 || len(r.Extra) != 1 {
		t.Fatalf("%+v", r)
	}
	if r.Missed[0].UID != alerts[0].UID || len(r.Missed[0].Why) == 0 {
		t.Errorf("missed %+v", r.Missed[0])
	}
	want := []string{"rule changed: live raised it with version 0123456789ab, replayed is " + alerts[0].Version, "loss: 1 of its 1 events are not stored (retention, or vagus ledger tells)"}
	if diff := cmp.Diff(want, r.Extra[0].Why); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSortedFunc(alerts, func(a, b finding.Alert) int { return a.LastSeen.Compare(b.LastSeen) }) {
		t.Error("alerts are not in order of raising")
	}
}
