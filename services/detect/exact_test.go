package detect

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// stated is what must be the same of an alert, however it came about.
type stated struct {
	Rule, Entity string
	Count        int64
	Value        float64
	First, Last  time.Time
}

// standing is the last state of every alert that was not retracted.
func standing(list []finding.Alert) map[string]stated {
	out := map[string]stated{}
	for uid, a := range last(list) {
		if a.Status != finding.Retracted {
			out[uid] = stated{a.Rule, a.Entity.Value, a.Count, a.Value, a.FirstSeen, a.LastSeen}
		}
	}
	return out
}

// load is a stream of events that is the same for the same seed: out of order
// within the lateness, some of them twice.
type load struct {
	events, groups int
	seed           uint64
}

const (
	blockRows = 500
	lateBy    = 40 * time.Second // less than the lateness of the rules
	eventGap  = 20 * time.Millisecond
)

var loadSources = []string{"nginx.access", "envoy.access", "litellm.proxy"}

var loadBegin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// publish sends the blocks; at is called before each with the share that is sent.
func (l load) publish(t *testing.T, b *bus.Bus, at func(share float64)) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(l.seed, 1))
	var recent []int // events that may come again
	var wg sync.WaitGroup
	window := make(chan struct{}, 64)
	errs := make(chan error, 1)
	n, seq := 0, 0
	for n < l.events {
		if at != nil {
			at(float64(n) / float64(l.events))
		}
		x := block.NewBuilder(event.FamilyNetwork)
		source := loadSources[rnd.IntN(len(loadSources))]
		for range min(blockRows, l.events-n) {
			i := n
			if len(recent) > 0 && rnd.IntN(20) == 0 {
				i = recent[rnd.IntN(len(recent))] // a duplicate
			} else {
				n++
				if recent = append(recent, i); len(recent) > 2000 {
					recent = recent[1000:]
				}
			}
			l.row(x, i, source)
		}
		window <- struct{}{}
		wg.Add(1)
		m := bus.Msg{Subject: subjects.Events("network"), ID: fmt.Sprint("exact:", seq), Data: x.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: source, Received: time.Now().UnixMilli()})}
		seq++
		err := b.PublishAsync(t.Context(), m, func(_ bus.Ack, err error) {
			defer wg.Done()
			if <-window; err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
}

// row is event i of the load, whatever block it comes in.
func (l load) row(x *block.Builder, i int, source string) {
	rnd := rand.New(rand.NewPCG(l.seed, uint64(i)+2))
	late := time.Duration(0)
	if rnd.IntN(10) == 0 {
		late = time.Duration(rnd.Int64N(int64(lateBy)))
	}
	ms := loadBegin.Add(time.Duration(i)*eventGap - late).UnixMilli()
	var uid [16]byte
	binary.BigEndian.PutUint64(uid[:], l.seed)
	binary.BigEndian.PutUint64(uid[8:], uint64(i)+1)
	x.SetUUID(event.EventUID, uid)
	x.SetInt(event.Time, ms)
	x.SetInt(event.ReceivedAt, time.Now().UnixMilli())
	x.SetString(event.Source, source)
	x.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
	// From a few that are busy to many that are hardly seen, so that each rule
	// has groups in which it fires now and then.
	share := rnd.Float64()
	group := int(share * share * share * float64(l.groups))
	x.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{10, byte(group >> 16), byte(group >> 8), byte(group)}))
	x.SetInt(event.HTTPResponseCode, []int64{200, 200, 401, 403, 500, 429}[rnd.IntN(6)])
	x.SetString(event.ActorUserName, "user-"+strconv.Itoa(rnd.IntN(40)))
	x.SetInt(event.HTTPResponseLength, int64(rnd.IntN(10_000)))
	x.EndRow()
}

// done waits until every block is matched and every signal correlated, and the
// alerts do not change any more.
func (l load) done(t *testing.T, b *bus.Bus) []finding.Alert {
	t.Helper()
	wait := time.Now().Add(10*time.Minute + time.Duration(l.events)*time.Millisecond)
	still, alertsWere := 0, uint64(0)
	for still < 4 {
		if time.Now().After(wait) {
			lags, _ := b.Lag(t.Context())
			t.Fatalf("not done: %+v", lags)
		}
		time.Sleep(100 * time.Millisecond)
		lags, err := b.Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open := slices.ContainsFunc(lags, func(g bus.Lag) bool {
			return (g.Durable == Durable || g.Stream == subjects.StreamSignals) && g.Pending+uint64(g.AckPending) > 0
		})
		_, now, err := b.Bounds(t.Context(), subjects.StreamAlerts)
		if err != nil {
			t.Fatal(err)
		}
		if open || now != alertsWere {
			still = -1
		}
		still, alertsWere = still+1, now
	}
	return alerts(t, b)
}

// over takes the clocks of all sources on by years, so that every alert of events
// reaches its last state, and those of so many levels of rules over alerts.
func (l load) over(t *testing.T, b *bus.Bus, years, levels int) {
	t.Helper()
	end := time.Now().AddDate(years, 0, 0).UnixMilli()
	tk := tick{Floor: 1, At: end}
	for level := range levels {
		tk.Sources = append(tk.Sources, sourceTick{Source: correlate.AlertSource(level + 1), Clock: end})
	}
	for _, name := range loadSources {
		tk.Sources = append(tk.Sources, sourceTick{Source: name, Clock: end})
	}
	data, err := json.Marshal(tk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.SignalsTick, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// fleet is a number of instances that come and go.
type fleet struct {
	t      *testing.T
	rnd    *rand.Rand
	start  func() (stop, kill func())
	alive  [][2]func()
	events []string
}

func (f *fleet) join(why string) {
	stop, kill := f.start()
	f.alive = append(f.alive, [2]func(){stop, kill})
	f.events = append(f.events, why)
}

// shake stops or kills one of the instances and starts another.
func (f *fleet) shake() {
	i := f.rnd.IntN(len(f.alive))
	if f.rnd.IntN(3) > 0 {
		f.alive[i][1]()
		f.events = append(f.events, "kill")
	} else {
		f.alive[i][0]()
		f.events = append(f.events, "stop")
	}
	f.alive = slices.Delete(f.alive, i, i+1)
	f.join("start")
}

func (f *fleet) end() {
	for _, x := range f.alive {
		x[0]()
	}
	f.alive = nil
}

// run gives the load to so many instances, with so many of them going down on
// the way, and returns the alerts.
func (l load) run(t *testing.T, instances, shakes int, launch func(*testing.T, *bus.Server, string) (stop, kill func())) map[string]stated {
	t.Helper()
	// The bus is never killed here, so it need not write through to the disk.
	server, err := bus.StartServer(bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 16 << 30, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	b, err := bus.Connect(t.Context(), bus.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	dir := rulesDir(t, exactRules)
	f := &fleet{t: t, rnd: rand.New(rand.NewPCG(l.seed, uint64(instances))), start: func() (func(), func()) { return launch(t, server, dir) }}
	for range instances {
		f.join("start")
	}
	begin := time.Now()
	var marks []float64
	for range shakes {
		marks = append(marks, f.rnd.Float64())
	}
	slices.Sort(marks)
	l.publish(t, b, func(share float64) {
		// Not further ahead than a second or so, so that kills meet work.
		for len(marks) > 0 && share >= marks[0] {
			marks = marks[1:]
			f.shake()
		}
		l.keepPace(t, b)
	})
	sent := time.Since(begin)
	got := l.done(t, b)
	took := time.Since(begin)
	f.end()
	f.join("last")
	// Alerts of alerts must not be judged before the alerts are. Rules of events,
	// chain and chains are three levels.
	for levels := range 3 {
		l.over(t, b, 21+levels, levels)
		got = l.done(t, b)
	}
	f.end()
	out := standing(got)
	kills := 0
	for _, e := range f.events {
		if e == "kill" {
			kills++
		}
	}
	t.Logf("%d instances: %d events sent in %s, done in %s, %d kills, %d other restarts, %d alert messages, %d alerts stand", instances, l.events,
		sent.Round(time.Millisecond), took.Round(time.Millisecond), kills, shakes-kills, len(got), len(out))
	return out
}

// keepPace waits while too many blocks are not matched.
func (l load) keepPace(t *testing.T, b *bus.Bus) {
	for {
		pos, err := b.Position(t.Context(), subjects.StreamEvents, Durable)
		if err != nil || pos.Pending+uint64(pos.AckPending) < 100 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// The alerts on events that stand in the end are the same for one instance, two and four,
// with instances stopped and killed at random.
func TestExact(t *testing.T) {
	l := load{events: exactEvents(t, 20_000), groups: 2000, seed: rand.Uint64() >> 32}
	t.Logf("seed %d", l.seed)
	inProcess := func(t *testing.T, s *bus.Server, dir string) (func(), func()) {
		i := join(t, s, dir)
		return i.stop, i.kill
	}
	l.compare(t, inProcess, 6, 1, 2, 4)
}

func (l load) compare(t *testing.T, launch func(*testing.T, *bus.Server, string) (stop, kill func()), shakes int, fleets ...int) {
	t.Helper()
	want := l.run(t, 1, 0, launch)
	byRule := map[string]int{}
	for _, a := range want {
		byRule[a.Rule]++
	}
	t.Logf("alerts by rule: %v", byRule)
	for name := range exactRules {
		if id := ruleID(name); byRule[id] == 0 {
			t.Errorf("rule %s never fires: it shows nothing", id)
		}
	}
	for _, instances := range fleets {
		got := l.run(t, instances, shakes, launch)
		wrong := map[string]int{}
		for uid, a := range want {
			if got[uid] != a {
				wrong[a.Rule]++
			}
		}
		for uid, a := range got {
			if _, ok := want[uid]; !ok {
				wrong[a.Rule]++
			}
		}
		if len(wrong) > 0 {
			t.Errorf("%d instances: alerts that differ, by rule: %v (-one undisturbed +these):\n%.3000s", instances, wrong, gocmp.Diff(want, got))
		}
	}
}

// The same with processes and kill -9, as many events as VAGUS_EXACT_EVENTS says.
func TestExactProcesses(t *testing.T) {
	n, fleets := exactEvents(t, 20_000), []int{4}
	if n > 20_000 {
		fleets = []int{1, 2, 4}
	}
	l := load{events: n, groups: min(max(n/10, 2000), 4000), seed: rand.Uint64() >> 32}
	t.Logf("seed %d", l.seed)
	binary := filepath.Join(t.TempDir(), "detect")
	build := exec.Command("go", "build", "-o", binary, "./cmd/detect")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l.compare(t, func(t *testing.T, s *bus.Server, dir string) (func(), func()) {
		// The events of eleven hours come in ten seconds. In those in which nobody
		// leads, so that no tick settles anything, the busiest group has more than
		// the 16,384 events that are its bound: what that forgets is another matter.
		cmd := exec.Command(binary, "--nats", s.URL(), "--rules", dir, "--heartbeat", "200ms", "--expiry", "2s", "--checkpoint-interval", "300ms", "--max-events", "262144")
		cmd.Env = append(os.Environ(), "VAGUS_NATS_TOKEN="+s.Token())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func(sig os.Signal) func() {
			return sync.OnceFunc(func() {
				_ = cmd.Process.Signal(sig)
				_ = cmd.Wait()
			})
		}
		return end(os.Interrupt), end(os.Kill)
	}, 6+n/100_000, fleets...)
}

// exactEvents is VAGUS_EXACT_EVENTS, or otherwise.
func exactEvents(t *testing.T, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("VAGUS_EXACT_EVENTS"), strconv.Itoa(otherwise)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ruleID reads the id of a rule's file name in exactRules.
func ruleID(name string) string { return "exact." + name[len("exact/"):len(name)-len(".yml")] }

// exactRules has a rule of each type of correlation and each kind of window, and
// rules over rules. The lateness is more than that of the events.
var exactRules = map[string]string{
	"exact/single.yml":     exactRule("single", "http_response.code == 500 && http_response.length > 9800"),
	"exact/refused.yml":    exactRule("refused", "http_response.code == 401", "type: event_count", "timespan: 1m", "condition: {gte: 4}"),
	"exact/tumbling.yml":   exactRule("tumbling", "http_response.code == 429", "type: event_count", "window: tumbling", "timespan: 1m", "condition: {gte: 4}"),
	"exact/session.yml":    exactRule("session", "http_response.code == 429", "type: event_count", "window: session", "timespan: 5s", "condition: {gte: 4}"),
	"exact/values.yml":     exactRule("values", "http_response.code == 403", "type: value_count", "field: actor.user.name", "timespan: 1m", "condition: {gte: 4}"),
	"exact/sum.yml":        exactRule("sum", "http_response.code == 500", "type: value_sum", "field: http_response.length", "timespan: 1m", "condition: {gt: 30000}"),
	"exact/average.yml":    exactRule("average", "http_response.code == 500", "type: value_avg", "field: http_response.length", "min_events: 3", "timespan: 30s", "condition: {gt: 7500}"),
	"exact/percentile.yml": exactRule("percentile", "http_response.code == 200", "type: value_percentile", "percentile: 50", "min_events: 5", "field: http_response.length", "timespan: 30s", "condition: {gt: 8000}"),
	"exact/together.yml":   exactRule("together", "", "type: temporal", "timespan: 20s", exactSteps),
	"exact/ordered.yml":    exactRule("ordered", "", "type: temporal_ordered", "timespan: 20s", exactSteps),
	"exact/absent.yml":     exactRule("absent", "", "type: absence", "timespan: 30s", `steps: [{name: fails, source: {class: http_activity}, when: http_response.code == 500 and http_response.length > 8000}, {name: refused, source: {class: http_activity}, when: http_response.code == 403}]`),
	"exact/new.yml":        exactRule("new", "http_response.code == 500 and http_response.length > 9000", "type: new_value", "field: actor.user.name", "timespan: 1h", "learning: 2m"),
	"exact/rate.yml":       exactRule("rate", "http_response.code == 200", "type: rate_anomaly", "timespan: 10s", "baseline: 5m", "learning: 2m", "condition: {gte: 2}", "min_value: 2"),
	"exact/chain.yml":      exactRule("chain", "", "type: chain", "timespan: 5m", "rules: [exact.refused, exact.values]"),
	"exact/chains.yml":     exactRule("chains", "", "type: temporal", "timespan: 10m", "rules: [exact.chain, exact.absent]"),
}

const exactSteps = `steps: [{name: fails, source: {class: http_activity}, when: http_response.code == 500}, {name: refused, source: {class: http_activity}, when: http_response.code == 403}]`

// exactRule is a rule with a condition of its own, or none, and the lines of
// `correlate`, or none.
func exactRule(id, when string, correlate ...string) string {
	text := "id: exact." + id + "\ntitle: " + id + "\ndescription: For the test of exactness.\nlevel: high\nstatus: test\n"
	if when != "" {
		text += "source: {class: http_activity}\nwhen: " + when + "\n"
	}
	if len(correlate) > 0 {
		text += "correlate:\n  group_by: src_endpoint.ip\n  lateness: 1m\n"
		for _, line := range correlate {
			text += "  " + line + "\n"
		}
	}
	return text + "alert: {title: \"{src_endpoint.ip}\", entity: {type: ip, path: src_endpoint.ip}, suppress: 2m}\n"
}
