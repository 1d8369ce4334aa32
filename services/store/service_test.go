package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
	"github.com/vagus-hub/vagus/services/internal/ledger"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv(childStore) != "" {
		os.Exit(runChildStore())
	}
	os.Exit(embeddedtest.Main(m))
}

var databases atomic.Int64

// open gives a test a database of its own.
func open(t testing.TB, e *embedded.Engine) *clickhouse.Client {
	t.Helper()
	c, _ := openDSN(t, e)
	return c
}

func openDSN(t testing.TB, e *embedded.Engine) (*clickhouse.Client, string) {
	t.Helper()
	admin, err := clickhouse.Open(t.Context(), e.DSN(embeddedtest.Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(e.DSN(embeddedtest.Admin))
	u.Path = "/" + name
	c, err := clickhouse.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, u.String()
}

func options(b *bus.Bus, c *clickhouse.Client) Options {
	o := DefaultOptions()
	o.Bus, o.ClickHouse = b, c
	o.Linger, o.MaxWait = 20*time.Millisecond, 50*time.Millisecond
	if testing.Verbose() {
		o.Logger = testLog()
	}
	return o
}

// running starts a service; stop ends it and returns what Run said.
func running(t testing.TB, o Options) (stop func() error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		if err != nil {
			t.Log("store ended: ", err)
		}
		done <- err
	}()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// epoch is the time of the first event: today, so that no TTL takes it away.
var epoch = time.Now().UTC().Truncate(24 * time.Hour).UnixMilli()

// aiBlock is a block of events as normalize would make it of RAW message seq.
func aiBlock(seq uint64, rows int) []byte {
	b := block.NewBuilder(event.FamilyAI)
	for i := range rows {
		b.SetUUID(event.EventUID, block.UID(fmt.Sprint("raw", seq), uint32(i)))
		b.SetInt(event.Time, epoch+int64(seq)*1000+int64(i))
		b.SetInt(event.ReceivedAt, epoch+int64(seq)*1000+int64(i))
		b.SetString(event.Source, "litellm.proxy")
		b.SetInt(event.ClassUID, 6003)
		b.SetString(event.ActorUserName, fmt.Sprintf("user-%d", i%7))
		b.SetString(event.AIModelName, "gpt-4o-mini")
		b.SetInt(event.MessageContextTotalTokens, 10)
		b.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		if seq%2 == 0 { // blocks differ in their columns
			b.SetString(event.MessageContextPromptText, fmt.Sprintf("prompt %d of %d", i, seq))
			b.AppendKeyword(event.MetadataLabels, []byte("prod"))
			b.AppendScore(event.Scores, "attack", 0.5)
		}
		b.EndRow()
	}
	return b.AppendTo(nil, block.Header{Source: "litellm.proxy", RawSeq: seq, In: uint32(rows), Received: epoch})
}

func rawBlock(batch string, rows int) []byte {
	b := block.NewRawBuilder()
	for i := range rows {
		b.Append(block.UID(batch, uint32(i)), epoch+int64(i), fmt.Appendf(nil, "%s record %d \xff;'", batch, i))
	}
	return b.AppendTo(nil, block.Header{Source: "litellm.proxy", Auth: "edge", Received: epoch})
}

func publish(t testing.TB, b *bus.Bus, subject, id string, data []byte) uint64 {
	t.Helper()
	a, err := b.Publish(t.Context(), bus.Msg{Subject: subject, ID: id, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return a.Seq
}

// number runs a query of one number; -1 while it fails.
func number(t testing.TB, c *clickhouse.Client, sql string) int64 {
	t.Helper()
	var n int64
	if err := c.QueryRow(context.Background(), "SELECT toInt64("+sql+")").Scan(&n); err != nil {
		t.Log(err)
		return -1
	}
	return n
}

func eventually(t testing.TB, c *clickhouse.Client, sql string, want int64) {
	t.Helper()
	last := int64(-2)
	end := time.Now().Add(20 * time.Second)
	for time.Now().Before(end) {
		if last = number(t, c, sql); last == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s is %d, want %d", sql, last, want)
}

func TestEverythingArrives(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	b := testkit.Bus(t)
	stop := running(t, options(b, c))
	for i := range 20 {
		seq := publish(t, b, subjects.Raw("litellm.proxy"), fmt.Sprint("r", i), rawBlock(fmt.Sprint("b", i), 100))
		publish(t, b, subjects.Events("ai"), fmt.Sprint("e", i), aiBlock(seq, 100))
	}
	hb := block.NewBuilder(event.FamilyHost)
	hb.SetUUID(event.EventUID, block.UID("host", 0))
	hb.SetInt(event.Time, epoch)
	hb.SetString(event.Source, "microsoft.sysmon")
	hb.SetString(event.ProcessCmdLine, "powershell -enc")
	hb.EndRow()
	publish(t, b, subjects.Events("host"), "h", hb.AppendTo(nil, block.Header{Source: "microsoft.sysmon", RawSeq: 999}))
	d := block.NewDeadBuilder()
	d.AppendDead(block.UID("dead", 0), epoch, []byte("\xffbad"), "json", "unexpected end")
	publish(t, b, subjects.Dead("ingest", "litellm.proxy"), "d1", d.AppendTo(nil, block.Header{Source: "litellm.proxy"}))
	publish(t, b, subjects.Dead("normalize", "litellm.proxy"), "d2", rawBlock("whole", 3))
	publish(t, b, subjects.Dead("detect", "x"), "d3", []byte("not a block"))
	alert := finding.Alert{UID: "a1", Status: finding.Raised, Revision: 1, Rule: "r", Level: finding.High, Entity: finding.Entity{Type: "ip", Value: "192.0.2.1"},
		Tags: []string{"atlas.aml.t0051"}, Fields: map[string]string{"k": "v"}, Group: []finding.Pair{{Path: "src_endpoint.ip", Value: "192.0.2.1"}},
		Count: 3, RaisedAt: time.UnixMilli(epoch), EventUIDs: []string{"x", "y"}}
	for rev := 1; rev <= 3; rev++ {
		alert.Revision = rev
		if rev > 1 {
			alert.Status = finding.Amended
		}
		data, _ := json.Marshal(alert)
		publish(t, b, subjects.Alerts("high"), fmt.Sprint("a", rev), data)
	}
	// What is muted, and told later with the same revision.
	alert.UID, alert.Revision, alert.Risk, alert.Until = "a2", 1, 72, time.UnixMilli(epoch+1000)
	alert.Entities = []finding.Involved{{Role: finding.Target, Entity: finding.Entity{Type: "host", Value: "gpu-1"}}}
	alert.Muted = &finding.Muted{By: finding.BySilence, ID: "s1", Reason: "planned"}
	for i := range 2 {
		data, _ := json.Marshal(alert)
		publish(t, b, subjects.Alerts("high"), fmt.Sprint("muted", i), data)
		alert.Muted = &finding.Muted{By: finding.BySilence, ID: "s1", Reason: "planned", Ended: time.UnixMilli(epoch + 500)}
	}
	for i, tr := range []run.Transition{{Step: "", State: run.Started}, {Step: "block", State: run.Succeeded}, {Step: "", State: run.Succeeded}} {
		tr.Run, tr.Seq, tr.At, tr.Playbook, tr.Detail = "run1", i+1, time.UnixMilli(epoch), "contain", map[string]string{"a": "b"}
		data, _ := json.Marshal(tr)
		publish(t, b, subjects.Runs("contain"), fmt.Sprint("t", i), data)
	}
	for i, v := range []finding.Verdict{finding.Benign, finding.TruePositive} {
		data, _ := json.Marshal(finding.Disposition{Alert: "a1", Rule: "r", Verdict: v, Note: "it's so", By: "ann", At: time.UnixMilli(epoch + int64(i))})
		publish(t, b, subjects.Runs(subjects.RunsDisposition), fmt.Sprint("disposition", i), data)
	}
	publish(t, b, subjects.Alerts("low"), "bad", []byte("{"))
	for sql, want := range map[string]int64{
		"(SELECT count() FROM raw)":                                                                                                       2000,
		"(SELECT count() FROM raw WHERE raw = 'b3 record 7 \\xff;\\'')":                                                                   1,
		"(SELECT count() FROM events)":                                                                                                    2001,
		"(SELECT uniqExact(event_uid) FROM events)":                                                                                       2001,
		"(SELECT count() FROM events_ai WHERE message_context_prompt_text LIKE 'prompt 7 of %')":                                          10,
		"(SELECT count() FROM events_ai WHERE src_endpoint_ip = toIPv6('192.0.2.9'))":                                                     20,
		"(SELECT count() FROM events_ai WHERE scores['attack'] > 0.4 AND has(metadata_labels, 'prod'))":                                   1000,
		"(SELECT count() FROM events_host WHERE process_cmd_line = 'powershell -enc')":                                                    1,
		"(SELECT sum(count) FROM events_per_minute WHERE family = 'ai')":                                                                  2000,
		"(SELECT sum(total_tokens) FROM usage_by_principal_hour)":                                                                         20000,
		"(SELECT count() FROM dead_letters WHERE stage = 'ingest' AND reason = 'json' AND raw = '\\xffbad' AND error = 'unexpected end')": 1,
		"(SELECT count() FROM dead_letters WHERE stage = 'normalize')":                                                                    3,
		"(SELECT count() FROM dead_letters WHERE stage = 'detect' AND raw = 'not a block')":                                               1,
		"(SELECT count() FROM dead_letters WHERE stage = 'store' AND reason = 'malformed_message')":                                       1,
		"(SELECT count() FROM alerts_log)":                                                                                                5,
		"(SELECT count() FROM alerts_log WHERE muted_by = 'silence' AND muted_id = 's1' AND muted_reason = 'planned' AND risk = 72 AND entities = ['target host gpu-1'] AND firing_until > first_seen)":                                              2,
		"(SELECT count() FROM alerts FINAL WHERE muted_by = 'silence' AND unmuted_at > toDateTime64(0, 3))":                                                                                                                                          1,
		"(SELECT count() FROM alerts FINAL WHERE revision = 3 AND status = 'amended' AND entity_value = '192.0.2.1' AND fields['k'] = 'v' AND `group`['src_endpoint.ip'] = '192.0.2.1' AND has(tags, 'atlas.aml.t0051') AND length(event_uids) = 2)": 1,
		"(SELECT count() FROM run_steps)": 3,
		"(SELECT count() FROM alert_dispositions FINAL WHERE alert = 'a1' AND verdict = 'true_positive' AND note = 'it\\'s so' AND `by` = 'ann')": 1,
		"(SELECT count() FROM runs FINAL WHERE state = 'succeeded' AND seq = 3 AND detail['a'] = 'b')":                                            1,
		"(SELECT sum(`out`) FROM ledger WHERE stage = 'store' AND source = 'litellm.proxy')":                                                      2000,
	} {
		eventually(t, c, sql, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCrashes stops the store at each point and starts it again.
func TestCrashes(t *testing.T) {
	e := embeddedtest.Engine(t)
	for _, point := range []string{"before_plan", "after_plan", "insert_events_ai", "before_ledger", "insert_ledger", "after_insert", "before_ack"} {
		t.Run(point, func(t *testing.T) {
			c := open(t, e)
			b := testkit.Bus(t)
			o := options(b, c)
			o.MaxRows = 500
			var hits atomic.Int32
			o.hook = func(p string) error {
				if p == subjects.StreamEvents+":"+point && hits.Add(1) == 2 {
					return errors.New("crash")
				}
				return nil
			}
			stop := running(t, o)
			for i := range 40 {
				seq := publish(t, b, subjects.Raw("litellm.proxy"), fmt.Sprint("r", i), rawBlock(fmt.Sprint("b", i), 50))
				publish(t, b, subjects.Events("ai"), fmt.Sprint("e", i), aiBlock(seq, 50))
				time.Sleep(2 * time.Millisecond) // several batches
			}
			testkit.Eventually(t, "crash", func() bool { return hits.Load() >= 2 })
			_ = stop()
			o.hook = nil
			stop = running(t, o)
			for i := range 5 {
				seq := publish(t, b, subjects.Raw("litellm.proxy"), fmt.Sprint("s", i), rawBlock(fmt.Sprint("c", i), 50))
				publish(t, b, subjects.Events("ai"), fmt.Sprint("f", i), aiBlock(seq, 50))
			}
			complete(t, c, 45*50)
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// complete checks that rows, uids, roll-ups and ledger say the same.
func complete(t *testing.T, c *clickhouse.Client, want int64) {
	t.Helper()
	for _, sql := range []string{
		"(SELECT sum(`out`) FROM ledger WHERE stage = 'ingest')",
		"(SELECT sum(`in`) FROM ledger WHERE stage = 'normalize')",
		"(SELECT sum(`out`) FROM ledger WHERE stage = 'store')",
		"(SELECT uniqExact(event_uid) FROM events_ai)",
		"(SELECT uniqExact(event_uid) FROM raw)",
	} {
		eventually(t, c, sql, want)
	}
	for _, sql := range []string{
		"(SELECT count() FROM events_ai)", "(SELECT count() FROM raw)",
		"(SELECT sum(count) FROM events_per_minute)", "(SELECT sum(requests) FROM usage_by_principal_hour)",
	} {
		if got := number(t, c, sql); got != want {
			t.Errorf("%s is %d, want %d", sql, got, want)
		}
	}
}

// TestTokenReplay inserts a finished plan again: nothing may change, not even
// behind the materialized views.
func TestTokenReplay(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	b := testkit.Bus(t)
	var crashed atomic.Bool
	o := options(b, c)
	o.hook = func(p string) error {
		if p == subjects.StreamEvents+":after_insert" && crashed.CompareAndSwap(false, true) {
			return errors.New("crash")
		}
		return nil
	}
	for i := range 10 {
		publish(t, b, subjects.Events("ai"), fmt.Sprint("e", i), aiBlock(uint64(i+1), 100))
	}
	stop := running(t, o)
	testkit.Eventually(t, "crash", crashed.Load)
	_ = stop()
	before := number(t, c, "(SELECT count() FROM events_ai)")
	if before <= 0 {
		t.Fatalf("nothing inserted before the crash: %d", before)
	}
	stop = running(t, o)
	eventually(t, c, "(SELECT uniqExact(event_uid) FROM events_ai)", 1000)
	_ = stop()
	for _, sql := range []string{"(SELECT count() FROM events_ai)", "(SELECT sum(count) FROM events_per_minute)", "(SELECT sum(requests) FROM usage_by_principal_hour)"} {
		if got := number(t, c, sql); got != 1000 {
			t.Errorf("%s is %d", sql, got)
		}
	}
}

func TestBadBlock(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	b := testkit.Bus(t)
	o := options(b, c)
	o.Linger, o.MaxWait = 300*time.Millisecond, 300*time.Millisecond // one batch of all
	for i := range 16 {
		data := aiBlock(uint64(i+1), 50)
		switch i {
		case 5: // cut short within a column
			data = data[:len(data)-100]
		case 9: // no header
			data = []byte("nonsense")
		}
		publish(t, b, subjects.Events("ai"), fmt.Sprint("e", i), data)
	}
	// Readable for this build but not for the table.
	const few = 3 // so that the body is too small to be compressed
	publish(t, b, subjects.Events("ai"), "t", renamed(t, aiBlock(99, few)))
	stop := running(t, o)
	eventually(t, c, "(SELECT uniqExact(event_uid) FROM events_ai)", 14*50)
	eventually(t, c, "(SELECT count() FROM dead_letters WHERE stage = 'store' AND reason = 'corrupt_block' AND error != '')", 3)
	eventually(t, c, "(SELECT sum(dead) FROM ledger WHERE stage = 'store')", 50+few)
	eventually(t, c, "(SELECT sum(`out`) FROM ledger WHERE stage = 'store')", 14*50)
	if n := number(t, c, "(SELECT count() FROM events_ai)"); n != 14*50 {
		t.Errorf("%d rows", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// renamed turns a text column into one of a type that the table cannot take.
func renamed(t *testing.T, data []byte) []byte {
	t.Helper()
	out := strings.Replace(string(data), "\x0factor_user_name", "\x0fsrc_endpoint_ip", 1)
	if out == string(data) {
		t.Fatal("the block has no such column in plain bytes")
	}
	return []byte(out)
}

// TestEngineKilled kills ClickHouse again and again while events flow.
func TestEngineKilled(t *testing.T) {
	embeddedtest.Need(t)
	e, err := embedded.Start(t.Context(), embeddedtest.Options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := open(t, e)
	b := testkit.Bus(t)
	o := options(b, c)
	o.MaxRows = 4000
	stop := running(t, o)
	const blocks = 400
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range blocks {
			a, err := b.Publish(context.Background(), bus.Msg{Subject: subjects.Raw("litellm.proxy"), ID: fmt.Sprint("r", i), Data: rawBlock(fmt.Sprint("b", i), 50)})
			if err == nil {
				_, err = b.Publish(context.Background(), bus.Msg{Subject: subjects.Events("ai"), ID: fmt.Sprint("e", i), Data: aiBlock(a.Seq, 50)})
			}
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	for kills := 0; kills < 5; kills++ {
		starts := e.Starts()
		time.Sleep(time.Duration(137*(kills+1)) * time.Millisecond)
		kill(t, e.PID())
		testkit.Eventually(t, "engine back", func() bool { return e.Starts() > starts && number(t, c, "1") == 1 })
	}
	<-sent
	complete(t, c, blocks*50)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestLedgerCloses(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	b := testkit.Bus(t)
	stop := running(t, options(b, c))
	first := publish(t, b, subjects.Raw("litellm.proxy"), "r1", rawBlock("b1", 10))
	eb := block.NewBuilder(event.FamilyAI)
	for i := range 6 {
		eb.SetUUID(event.EventUID, block.UID("b1", uint32(i)))
		eb.SetInt(event.Time, epoch)
		eb.SetString(event.Source, "litellm.proxy")
		eb.EndRow()
	}
	second := publish(t, b, subjects.Raw("litellm.proxy"), "r2", rawBlock("b2", 5))
	eventually(t, c, "(SELECT sum(`out`) FROM ledger WHERE stage = 'ingest')", 15)
	rep, err := ledger.Close(t.Context(), c, b, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Closed() || rep.Sources[0].InFlight != 15 && rep.Sources[0].Difference != 15 {
		t.Errorf("before normalize: %+v", rep)
	}
	publish(t, b, subjects.Events("ai"), "e1", eb.AppendTo(nil, block.Header{Source: "litellm.proxy", RawSeq: first, In: 10, Dead: 1, Dropped: []block.Reason{{Name: "noise", Count: 3}}, Received: epoch}))
	d := block.NewDeadBuilder()
	d.AppendDead(block.UID("b1", 9), epoch, []byte("bad"), "json", "x")
	publish(t, b, subjects.Dead("normalize", "litellm.proxy"), "d1", d.AppendTo(nil, block.Header{Source: "litellm.proxy", RawSeq: first, Received: epoch}))
	whole := bus.Header{}
	whole.Set(subjects.HeaderOriginSeq, fmt.Sprint(second))
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Dead("normalize", "litellm.proxy"), ID: "d2", Header: whole, Data: rawBlock("b2", 5)}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "closed", func() bool {
		rep, err = ledger.Close(t.Context(), c, b, ledger.Options{Count: true})
		return err == nil && rep.Closed()
	})
	s := rep.Sources[0]
	if s.Received != 15 || s.Normalized != 6 || s.Dead != 6 || s.Dropped["noise"] != 3 || s.Stored != 6 || s.Rows != 6 {
		t.Errorf("%+v", s)
	}
	// A block stored twice under another id shows as a difference.
	publish(t, b, subjects.Events("ai"), "again", eb.AppendTo(nil, block.Header{Source: "litellm.proxy", RawSeq: first, In: 10, Dead: 1, Dropped: []block.Reason{{Name: "noise", Count: 3}}, Received: epoch}))
	eventually(t, c, "(SELECT sum(`out`) FROM ledger WHERE stage = 'store')", 12)
	if rep, err = ledger.Close(t.Context(), c, b, ledger.Options{Count: true}); err != nil || rep.Closed() || rep.Sources[0].Difference >= 0 {
		t.Errorf("%+v %v", rep, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
