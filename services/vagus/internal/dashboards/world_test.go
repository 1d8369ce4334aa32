package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/normalize"
	"github.com/vagus-hub/vagus/services/store"
)

// Who the alerts and the runs are about; both are in the recorded logs.
const (
	attacker  = "198.51.100.23"
	attacked  = "chat-small"
	domainAcc = `CORP\alice`
	// madeUp is a source of events that nobody received: it is not in balance.
	madeUp = "made.up"
)

// fillTables sends the recorded samples of every source through the real
// mappings, and alerts, runs, dead letters and drops beside them, and waits
// until the real store has written everything.
func fillTables(t *testing.T, c *clickhouse.Client) {
	t.Helper()
	b := testkit.Bus(t)
	no := normalize.DefaultOptions()
	no.Bus, no.Logger = b, slog.New(slog.DiscardHandler)
	n, err := normalize.New(no)
	if err != nil {
		t.Fatal(err)
	}
	so := store.DefaultOptions()
	so.Bus, so.ClickHouse = b, c
	so.Linger, so.MaxWait = 20*time.Millisecond, 100*time.Millisecond
	// The recordings grow old; no part may expire while the test runs.
	so.Retention = store.Retention{Events: 3650, Raw: 3650, Dead: 3650, Alerts: 3650, Runs: 3650, Ledger: 3650, Rollups: 3650}
	s, err := store.New(so)
	if err != nil {
		t.Fatal(err)
	}
	start(t, n.Run)
	start(t, s.Run)
	w := world{t: t, bus: b, now: time.Now().UTC()}
	records := w.samples(n.Sources())
	w.deadAndDropped()
	alerts := w.alerts()
	steps := w.runs()
	w.incidents()
	for _, q := range []struct {
		sql  string
		want int
	}{
		{"SELECT sum(`in`) FROM ledger WHERE stage = 'ingest'", records + 3},
		{"SELECT sum(`in`) FROM ledger WHERE stage = 'normalize'", records + 3},
		{"SELECT count() FROM raw", records + 3},
		{"SELECT count() FROM alerts_log", alerts},
		{"SELECT count() FROM run_steps", steps},
		{"SELECT count() FROM incidents FINAL", 2},
		{"SELECT count() FROM events WHERE source = '" + madeUp + "'", 10},
		// Only now can the balance be 0 for another reason than being empty.
		{"SELECT sumIf(`in`, stage = 'ingest') + sumIf(extra, stage = 'normalize') - sumIf(out, stage = 'store') - sumIf(dead, stage = 'dead')" +
			" - sum(arraySum(mapValues(dropped))) FROM ledger WHERE source != '" + madeUp + "'", 0},
	} {
		last := ""
		testkit.Eventually(t, q.sql, func() bool {
			var got string
			if err := c.QueryRow(t.Context(), "SELECT toString(("+q.sql+"))").Scan(&got); err != nil {
				got = err.Error()
			}
			if got != last {
				t.Logf("%s: %s, waiting for %d", q.sql, got, q.want)
				last = got
			}
			return got == fmt.Sprint(q.want)
		})
	}
}

// start runs a service until the test ends.
func start(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type world struct {
	t   *testing.T
	bus *bus.Bus
	now time.Time
	n   int
}

func (w *world) publish(subject string, data []byte) {
	w.t.Helper()
	w.n++
	if _, err := w.bus.Publish(w.t.Context(), bus.Msg{Subject: subject, ID: fmt.Sprint("m", w.n), Data: data}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) raw(source string, records ...[]byte) {
	b := block.NewRawBuilder()
	for i, r := range records {
		b.Append(block.UID(fmt.Sprint(source, w.n), uint32(i)), w.now.UnixMilli(), r)
	}
	w.publish(subjects.Raw(source), b.AppendTo(nil, block.Header{Source: source, Auth: "test", Received: w.now.UnixMilli()}))
}

// samples sends every recorded file that holds one record a line.
func (w *world) samples(ids []string) (records int) {
	for _, source := range ids {
		for _, pattern := range []string{"*.ndjson", "*.log"} {
			names, err := fs.Glob(sources.FS, path.Join(source, "testdata", pattern))
			if err != nil {
				w.t.Fatal(err)
			}
			for _, name := range names {
				data, err := fs.ReadFile(sources.FS, name)
				if err != nil {
					w.t.Fatal(err)
				}
				var lines [][]byte
				size := 0
				for line := range bytes.Lines(data) {
					if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
						continue
					}
					if size += len(line); size > 512<<10 {
						w.raw(source, lines...)
						lines, size = nil, len(line)
					}
					lines = append(lines, line)
					records++
				}
				w.raw(source, lines...)
			}
		}
	}
	if records < 500 {
		w.t.Fatalf("only %d recorded samples", records)
	}
	return records
}

func (w *world) deadAndDropped() {
	w.raw("litellm.proxy", []byte(`{"broken":`), []byte("no JSON"))
	w.raw("example.unknown", []byte(`{}`))
	for _, f := range []event.Family{event.FamilyIdentity, event.FamilyData} {
		b := block.NewBuilder(f)
		for i := range 5 {
			b.SetUUID(event.EventUID, block.UID("made up "+f.String(), uint32(i)))
			b.SetInt(event.Time, w.now.UnixMilli()-int64(i)*1000)
			b.SetInt(event.ReceivedAt, w.now.UnixMilli())
			b.SetString(event.Source, madeUp)
			b.SetString(event.ActorUserName, domainAcc)
			b.SetIP(event.SrcEndpointIP, netip.MustParseAddr("2001:db8::7"))
			b.EndRow()
		}
		h := block.Header{Source: madeUp, Received: w.now.UnixMilli(), Dropped: []block.Reason{{Name: "health_check", Count: 2}}}
		w.publish(subjects.Events(f.String()), b.AppendTo(nil, h))
	}
}

func (w *world) alerts() (n int) {
	entities := []finding.Entity{{Type: "ip", Value: attacker}, {Type: "user", Value: domainAcc}, {Type: "model", Value: attacked}, {Type: "pod", Value: "trainer-0"}}
	rules := []string{"ai-gateway.prompt-injection-burst", "ai-gateway.model-enumeration", "kubernetes.exec-into-training-pod", "host.encoded-powershell"}
	tags := [][]string{{"atlas.aml.t0051.000", "owasp.llm01-2025"}, {"atlas.aml.t0012"}, {"attack.t1609", "nist.ai-600-1"}, {"attack.t1059.001"}}
	for i := range 24 {
		at := w.now.Add(-time.Duration(i) * 7 * time.Minute)
		a := finding.Alert{
			UID: finding.UID("test", fmt.Sprint(i)), Status: finding.Raised, Revision: 1, Rule: rules[i%4], RuleTitle: "Title of " + rules[i%4], Version: "v1",
			Level: finding.Levels[i%5], Lane: finding.Enforce, Title: "Something happened", Reason: "12 prompts within 1m, threshold 10", Entity: entities[(i+i/8)%4],
			Group: []finding.Pair{{Path: "src_endpoint.ip", Value: attacker}}, Fields: map[string]string{"ai_model.name": attacked}, Tags: tags[i%4],
			Sources: []string{"litellm.proxy"}, Count: 12, Value: 12, Threshold: 10, FirstSeen: at.Add(-time.Minute), LastSeen: at, RaisedAt: at,
		}
		revisions := 1 + i%3
		for rev := range revisions {
			a.Revision = rev + 1
			if rev > 0 {
				a.Status, a.Count = finding.Amended, a.Count+5
			}
			if rev == 2 && i%2 == 0 {
				a.Status = finding.Retracted
			}
			w.json(subjects.Alerts(string(a.Level)), a)
			n++
		}
	}
	return n
}

// runs publishes a block in force, one taken back, one by hand without an end,
// an approval that waits, and a failure.
func (w *world) runs() (n int) {
	due := w.now.Add(time.Hour)
	past := w.now.Add(-time.Hour)
	decision := func(id, what string) map[string]string { return map[string]string{"decision": id, "what": what} }
	for r, steps := range [][]run.Transition{
		{
			{State: run.Started},
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Started},
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Succeeded, DueAt: &due, Detail: decision("d1", "block ip:"+attacker), Reason: "taken back later"},
			{State: run.Waiting, DueAt: &due},
		},
		{
			{State: run.Started, Entity: "user:" + domainAcc},
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Succeeded, DueAt: &past, Detail: decision("d2", "block user:"+domainAcc)},
			{Step: "block", Kind: "undo", Action: "vagus.release", State: run.Undone, Detail: map[string]string{"decision": "d2", "remark": ""}},
			{State: run.Succeeded},
		},
		{{Playbook: "_manual", Kind: "action", Action: "vagus.limit", State: run.Succeeded, By: "ana", Detail: map[string]string{"decision": "d3"}, Reason: "too many requests"}},
		{
			{State: run.Started, Entity: "pod:trainer-0"},
			{Step: "ask", Kind: "approve", State: run.Waiting, Entity: "pod:trainer-0", DueAt: &due, Reason: "Isolate the pod trainer-0?"},
			{State: run.Waiting, Entity: "pod:trainer-0", DueAt: &due},
		},
		{ // another run holds the decision by now
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Succeeded, DueAt: &past, Detail: decision("d1", "block ip:"+attacker)},
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Succeeded, DueAt: &due, Detail: decision("d1", "block ip:"+attacker)},
			{Step: "block", Kind: "undo", Action: "vagus.release", State: run.Undone, Detail: map[string]string{"decision": "d1", "remark": "stays: another holds it now"}},
			{State: run.Succeeded},
		},
		{
			{Step: "block", Kind: "action", Action: "vagus.block", State: run.Succeeded, Entity: `user:NT AUTHORITY\SYSTEM`, Detail: map[string]string{
				"decision": "d4", "what": `block user:NT AUTHORITY\SYSTEM`, "until": due.Format(time.RFC3339),
			}},
		},
		{{State: run.Started}, {Step: "tell", Kind: "action", Action: "webhook.send", State: run.Failed, Attempt: 5, Reason: "answered 503"}, {State: run.Failed}},
	} {
		for i, s := range steps {
			s.Run, s.Seq, s.At, s.Alert = fmt.Sprint("run", r), i+1, w.now.Add(time.Duration(i-10)*time.Second), finding.UID("test", fmt.Sprint(r))
			if s.Playbook == "" {
				s.Playbook = "contain-compromised-key"
			}
			if s.Entity == "" {
				s.Entity = "ip:" + attacker
			}
			w.json(subjects.Runs(s.Playbook), s)
			n++
		}
	}
	return n
}

func (w *world) incidents() {
	for i, entity := range []string{"ip:" + attacker, "user:" + domainAcc} {
		for rev := range 2 {
			w.json(subjects.Runs(subjects.RunsIncident), run.Incident{
				UID: fmt.Sprint("incident", i), Revision: rev + 1, Entity: entity, Title: "Something happened", Level: "high", Status: "open", FirstSeen: w.now.Add(-time.Hour), LastSeen: w.now,
				Count: rev + 1, Alerts: []string{"a"}, Rules: []string{"ai-gateway.prompt-injection-burst"}, Sources: []string{"litellm.proxy"}, Tags: []string{"atlas.aml.t0051"},
			})
		}
	}
}

func (w *world) json(subject string, v any) {
	w.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(subject, data)
}
