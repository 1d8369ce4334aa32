package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// victim is what a kill hits.
type victim struct {
	*process
	child bool // its child alone
}

func (v victim) String() string {
	if v.child {
		return "child of " + v.name
	}
	return v.name
}

// killing is one kill test.
type killing struct {
	t       *testing.T
	h       *hub
	hook    *receiver
	traffic *traffic
	rnd     *rand.Rand
	kills   []string
	procs   []*process
}

func setting(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func newKilling(t *testing.T) *killing {
	seed := setting(t, "VAGUS_KILL_SEED", rand.Uint64()>>40)
	events := int(setting(t, "VAGUS_KILL_EVENTS", 500_000))
	t.Logf("VAGUS_KILL_SEED=%d VAGUS_KILL_EVENTS=%d", seed, events)
	h := newHub(t)
	t.Cleanup(func() { h.childless(nil) }) // after everything was stopped
	return &killing{
		t: t, h: h, hook: newReceiver(t), traffic: newTraffic(t, seed, events),
		rnd: rand.New(rand.NewPCG(seed, 2)),
	}
}

// respondConfig is the section of the configuration that lets every alert act.
func (k *killing) respondConfig() string {
	return "budgets: {block: {max: 10000, window: 10m}}\nconnectors: {webhook: {url: \"" + k.hook.url + "/\", secret: \"env:VAGUS_E2E_SECRET\", allow_networks: \"127.0.0.0/8\"}}\n"
}

const hookSecret = "VAGUS_E2E_SECRET=only-for-this-test"

// Kill -9 of the whole binary, and now and then of its engine, at any moment.
func TestKillWhole(t *testing.T) {
	need(t)
	k := newKilling(t)
	config := "respond:\n  " + strings.ReplaceAll(strings.TrimSpace(k.respondConfig()), "\n", "\n  ") + "\n"
	file := logDir(t) + "/vagus.yml"
	write(t, file, config)
	p := supervise(t, "hub", []string{hookSecret}, binary, "up", "--data", k.h.data, "--config", file,
		"--ingest-addr", testkit.FreeAddr(t), "--api-addr", testkit.FreeAddr(t), "--clickhouse-addr", testkit.FreeAddr(t))
	k.procs = append(k.procs, p)
	k.await()
	var plan []victim
	for i := range 20 {
		plan = append(plan, victim{p, i%5 == 4})
	}
	k.do(plan)
	if n := len(childrenOf(p.pid())); n != 1 {
		t.Errorf("%d engines run beside the hub, want one", n)
	}
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return 0
	}
	return p.running.Process.Pid
}

// await waits until the hub has published where it listens, and takes events.
func (k *killing) await() {
	k.t.Helper()
	eventually(k.t, patience, "events are taken", func() bool {
		state, err := instance.Load(k.h.data)
		if err != nil {
			return false
		}
		resp, err := http.Get(state.IngestURL + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		k.h.mu.Lock()
		k.h.state = state
		k.h.mu.Unlock()
		return resp.StatusCode == http.StatusOK
	})
}

// do sends everything while the victims are killed one after the other, and
// then checks that nobody can tell.
func (k *killing) do(plan []victim) {
	t, total := k.t, k.traffic.events
	k.rnd.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	marks := make([]int64, len(plan))
	for i := range marks {
		marks[i] = int64(total/50) + k.rnd.Int64N(int64(total)*94/100)
	}
	slices.Sort(marks)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	sent := k.h.sendAll(ctx, k.traffic, 4)
	for i, v := range plan {
		for sent.acked.Load() < marks[i] {
			select {
			case <-sent.done:
				t.Fatalf("the senders ended before kill %d: %v", i+1, sent.err)
			case <-time.After(2 * time.Millisecond):
			}
		}
		time.Sleep(time.Duration(k.rnd.Int64N(int64(400 * time.Millisecond))))
		k.kill(v, begin, sent)
		if k.rnd.IntN(4) == 0 && i+1 < len(plan) && !v.child {
			// The next one while this one is coming up.
			marks[i+1] = 0
			time.Sleep(time.Duration(k.rnd.Int64N(int64(1500 * time.Millisecond))))
		}
	}
	<-sent.done
	if sent.err != nil {
		t.Fatal(sent.err)
	}
	sending := time.Since(begin)
	k.await()
	k.drain()
	stored := time.Since(begin)
	c := k.check()
	starts := 0
	for _, p := range k.procs {
		p.mu.Lock()
		starts += p.starts - 1
		for _, s := range p.strange {
			t.Errorf("%s", s)
		}
		p.mu.Unlock()
	}
	t.Logf("\n%s\n%s", strings.Join(k.kills, "\n"), table(
		"seed", k.traffic.seed, "kills", len(k.kills), "restarts", starts,
		"sent", total, "batches answered as duplicates", sent.duplicates.Load(),
		"time to send", sending.Round(time.Second), "time to store", stored.Round(time.Second),
		"raw rows / distinct", c.raw, "event rows / distinct", c.events, "alerts expected / on the bus / in ClickHouse", c.alerts,
		"runs", c.runs, "webhook ids / deliveries", c.hooks, "decisions", c.decisions, "ledger", c.ledger))
}

// drain waits until everything is stored, as long as there is progress.
func (k *killing) drain() {
	k.t.Helper()
	last, moved := "", time.Now()
	for {
		raw, events := k.h.number("SELECT count() FROM raw"), k.h.number("SELECT count() FROM events")
		if raw >= k.traffic.events && events >= k.traffic.events {
			return
		}
		if now := fmt.Sprintf("%d raw records and %d events", raw, events); now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > patience {
			out, problem, err := k.h.run("ledger")
			k.t.Fatalf("%s\nonly %s of %d are stored\n%s%s%v", strings.Join(k.kills, "\n"), last, k.traffic.events, out, problem, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func (k *killing) kill(v victim, begin time.Time, sent *sending) {
	if v.child {
		// At the first start the child's end is its parent's.
		eventually(k.t, patience, "ClickHouse answers", func() bool { return k.h.number("SELECT 1") == 1 })
	}
	for end := time.Now().Add(patience); !v.kill(v.child); {
		if time.Now().After(end) {
			k.t.Fatalf("there is no %s to kill", v)
		}
		time.Sleep(time.Millisecond)
	}
	k.kills = append(k.kills, fmt.Sprintf("%2d  %6.2f s  %8d sent  %s", len(k.kills)+1, time.Since(begin).Seconds(), sent.acked.Load(), v))
}

func table(kv ...any) string {
	var b strings.Builder
	for i := 0; i < len(kv); i += 2 {
		fmt.Fprintf(&b, "%-48s %v\n", kv[i], kv[i+1])
	}
	return b.String()
}

type counts struct{ raw, events, alerts, runs, hooks, decisions, ledger string }

// check compares everything that came out with what was sent.
func (k *killing) check() (c counts) {
	t, h, total := k.t, k.h, k.traffic.events
	t.Helper()
	raise := func() int { return h.number("SELECT toInt64(uniqExact(uid)) FROM alerts_log") }
	eventually(t, patience, fmt.Sprintf("%d alerts are stored", len(k.traffic.expected)), func() bool {
		time.Sleep(200 * time.Millisecond)
		return raise() >= len(k.traffic.expected)
	})
	deliveries := 0
	for _, w := range k.traffic.expected {
		deliveries++ // notify
		if w.lane == finding.Enforce {
			deliveries++ // contain
		}
	}
	eventually(t, patience, fmt.Sprintf("%d messages reach the webhook", deliveries), func() bool { return k.hook.distinct() >= deliveries })
	rep := h.ledger()
	c.ledger = "closed"
	k.settled()
	for _, s := range rep.Sources {
		if s.Dead != 0 {
			t.Errorf("%d dead letters of %s", s.Dead, s.Source)
		}
	}

	pair := func(sql string) (int, int) {
		r := h.query(sql)[0]
		return int(r["n"].(float64)), int(r["d"].(float64))
	}
	for name, out := range map[string]*string{"raw": &c.raw, "events": &c.events} {
		n, d := pair("SELECT toUInt32(count()) n, toUInt32(uniqExact(event_uid)) d FROM " + name)
		if n != total || d != total {
			t.Errorf("table %s has %d rows, %d distinct; %d were sent", name, n, d, total)
		}
		*out = fmt.Sprintf("%d / %d", n, d)
	}
	if n := h.count("SELECT toInt64(sum(count)) FROM events_per_minute"); n != total {
		t.Errorf("the events per minute add up to %d; %d were sent", n, total)
	}
	if n := h.count("SELECT count() FROM raw WHERE event_uid NOT IN (SELECT event_uid FROM events)"); n != 0 {
		t.Errorf("%d raw records have no event", n)
	}
	uids := k.checkAlerts(&c)
	k.checkRuns(&c, uids)
	return c
}

// settled waits until alerts and runs, what is too many of them included, are
// where they go: for two seconds there are no new ones, and all are read.
func (k *killing) settled() {
	k.t.Helper()
	s := k.h.at()
	b, err := bus.Connect(k.t.Context(), bus.Options{URL: s.NATSURL, Token: s.NATSToken, Name: "test"})
	if err != nil {
		k.t.Fatal(err)
	}
	defer b.Close()
	streams := []string{subjects.StreamAlerts, subjects.StreamRuns}
	count := func() (n uint64, err error) {
		lags, err := b.Lag(k.t.Context())
		if err != nil {
			return 0, err
		}
		for _, g := range lags {
			if slices.Contains(streams, g.Stream) && !g.Floor && g.Pending+uint64(g.AckPending) > 0 {
				return 0, fmt.Errorf("%s has not read %s", g.Durable, g.Stream)
			}
		}
		for _, name := range streams {
			_, last, err := b.Bounds(k.t.Context(), name)
			if err != nil {
				return 0, err
			}
			n += last
		}
		return n, nil
	}
	calm, before := time.Now(), uint64(0)
	eventually(k.t, patience, "nothing is on its way", func() bool {
		n, err := count()
		if err != nil || n != before {
			calm, before = time.Now(), n
		}
		return time.Since(calm) > 2*time.Second
	})
}

// read gives all of a stream.
func (k *killing) read(stream string, each func(bus.Record)) {
	k.t.Helper()
	s := k.h.at()
	b, err := bus.Connect(k.t.Context(), bus.Options{URL: s.NATSURL, Token: s.NATSToken, Name: "test"})
	if err != nil {
		k.t.Fatal(err)
	}
	defer b.Close()
	for r, err := range b.ReadFrom(k.t.Context(), stream, nil, 1, 0) {
		if err != nil {
			k.t.Fatal(err)
		}
		each(r)
	}
}

// checkAlerts returns the alerts by uid.
func (k *killing) checkAlerts(c *counts) map[string]finding.Alert {
	t, h := k.t, k.h
	t.Helper()
	type revision struct {
		uid string
		n   int
	}
	onBus, messages := map[revision]int{}, 0
	last, uids := map[string]finding.Alert{}, map[[2]string]map[string]bool{}
	k.read(subjects.StreamAlerts, func(r bus.Record) {
		var a finding.Alert
		if err := json.Unmarshal(r.Data, &a); err != nil {
			t.Fatal(err)
		}
		messages++
		onBus[revision{a.UID, a.Revision}]++
		if a.Revision >= last[a.UID].Revision {
			last[a.UID] = a
		}
		key := [2]string{a.Rule, a.Entity.Value}
		if uids[key] == nil {
			uids[key] = map[string]bool{}
		}
		uids[key][a.UID] = true
	})
	for rev, n := range onBus {
		if n != 1 {
			t.Errorf("revision %d of alert %s is %d times on the bus", rev.n, rev.uid, n)
		}
	}
	for key, w := range k.traffic.expected {
		if len(uids[key]) != 1 {
			t.Errorf("%d alerts of %s about %s, want one", len(uids[key]), key[0], key[1])
		}
		for uid := range uids[key] {
			if a := last[uid]; !w.holds(a) {
				t.Errorf("alert of %s about %s: revision %d, count %d, lane %s; want %+v", key[0], key[1], a.Revision, a.Count, a.Lane, w)
			}
		}
	}
	for key := range uids {
		if _, ok := k.traffic.expected[key]; !ok {
			t.Errorf("alert of %s about %s, which nothing was sent for", key[0], key[1])
		}
	}
	rows := h.query("SELECT toUInt32(count()) n, toUInt32(uniqExact(uid, revision)) d FROM alerts_log")[0]
	if n, d := int(rows["n"].(float64)), int(rows["d"].(float64)); n != messages || d != len(onBus) {
		t.Errorf("alerts_log has %d rows, %d distinct; the bus %d and %d", n, d, messages, len(onBus))
	}
	inTable := map[string]int{}
	for _, r := range h.query("SELECT uid, toUInt32(revision) r FROM alerts FINAL") {
		inTable[r["uid"].(string)]++
		if a := last[r["uid"].(string)]; a.Revision != int(r["r"].(float64)) {
			t.Errorf("ClickHouse has revision %v of alert %s, the bus %d", r["r"], r["uid"], a.Revision)
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(inTable)), slices.Sorted(maps.Keys(last))) {
		t.Errorf("table alerts has %d alerts, the bus %d", len(inTable), len(last))
	}
	c.alerts = fmt.Sprintf("%d / %d / %d", len(k.traffic.expected), len(last), len(inTable))
	return last
}

// checkRuns makes sure that every playbook ran once for every alert, and that
// each of its actions happened once.
func (k *killing) checkRuns(c *counts, alerts map[string]finding.Alert) {
	t := k.t
	t.Helper()
	wanted := map[[2]string]bool{}
	for uid, a := range alerts {
		wanted[[2]string{uid, "notify"}] = true
		if a.Lane == finding.Enforce {
			wanted[[2]string{uid, "contain-compromised-key"}] = true
		}
		if a.Entity.Type == "pod" {
			wanted[[2]string{uid, "isolate-pod"}] = true
		}
	}
	runs := map[[2]string]string{}
	steps := map[string]int{}        // how often a step of a run succeeded
	seqs := map[string]map[int]int{} // transitions by run
	k.read(subjects.StreamRuns, func(r bus.Record) {
		if r.Subject == subjects.Runs(subjects.RunsIncident) {
			return
		}
		var x run.Transition
		if err := json.Unmarshal(r.Data, &x); err != nil {
			t.Fatal(err)
		}
		key := [2]string{x.Alert, x.Playbook}
		if !wanted[key] {
			t.Errorf("run %s of %s for alert %q, which is not expected", x.Run, x.Playbook, x.Alert)
			return
		}
		if was := cmp.Or(runs[key], x.Run); was != x.Run {
			t.Errorf("%s ran twice for alert %s", x.Playbook, x.Alert)
		}
		runs[key] = x.Run
		if seqs[x.Run] == nil {
			seqs[x.Run] = map[int]int{}
		}
		seqs[x.Run][x.Seq]++
		if x.Kind == "action" && x.State == run.Succeeded {
			steps[x.Run+" "+x.Step]++
		}
	})
	for key := range wanted {
		if runs[key] == "" {
			t.Errorf("%s did not run for alert %s", key[1], key[0])
		}
	}
	transitions := 0
	for id, seen := range seqs {
		for n := 1; n <= len(seen); n++ {
			if seen[n] != 1 {
				t.Errorf("transition %d of run %s is %d times on the bus", n, id, seen[n])
			}
		}
		transitions += len(seen)
	}
	for step, n := range steps {
		if n != 1 {
			t.Errorf("step %s succeeded %d times", step, n)
		}
	}
	r := k.h.query("SELECT toUInt32(count()) n, toUInt32(uniqExact(run, seq)) d FROM run_steps")[0]
	if n, d := int(r["n"].(float64)), int(r["d"].(float64)); n != transitions || d != transitions {
		t.Errorf("run_steps has %d rows, %d distinct; the bus has %d transitions", n, d, transitions)
	}
	c.runs = fmt.Sprintf("%d of %d, %d transitions", len(runs), len(wanted), transitions)

	events := map[string]string{"notify": "alert", "contain-compromised-key": "contained"}
	k.hook.mu.Lock()
	defer k.hook.mu.Unlock()
	deliveries, expected := 0, 0
	for _, n := range k.hook.ids {
		deliveries += n
	}
	for key, id := range runs {
		event := events[key[1]]
		if event == "" {
			continue
		}
		expected++
		if n := len(k.hook.by[[2]string{id, event}]); n != 1 {
			t.Errorf("the webhook saw %d ids of run %s of %s, want one", n, id, key[1])
		}
	}
	if len(k.hook.ids) != expected {
		t.Errorf("the webhook saw %d ids, want %d", len(k.hook.ids), expected)
	}
	c.hooks = fmt.Sprintf("%d / %d", len(k.hook.ids), deliveries)

	var blocked map[string]int
	open := func() (values []string) {
		blocked = map[string]int{}
		for _, d := range decode[[]decision.Decision](t, k.h.cli("decisions", "--json")) {
			if d.Kind == decision.Block {
				blocked[d.Value]++
			}
		}
		for _, a := range alerts {
			if a.Lane == finding.Enforce && blocked[a.Entity.Value] != 1 {
				values = append(values, a.Entity.Value)
			}
		}
		return values
	}
	// What gateways are told follows what was decided.
	for end := time.Now().Add(patience); len(open()) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if values := open(); len(values) > 0 {
		t.Errorf("the decisions feed does not block, or not once: %q", values)
	}
	c.decisions = strconv.Itoa(len(blocked))
}
