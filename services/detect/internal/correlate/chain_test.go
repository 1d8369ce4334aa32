package correlate

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// rulesOverRules has rules of events, rules of their alerts, and rules of the
// alerts of those.
func rulesOverRules() (all []*rule.Rule, events []*rule.Rule) {
	of := func(ids ...string) func(*rule.Correlate) {
		return func(c *rule.Correlate) {
			c.Steps = nil
			for _, id := range ids {
				c.Steps = append(c.Steps, rule.Step{Name: id, ID: id})
			}
		}
	}
	// An alert tells the user of its newest event, by whom others may group, and a
	// number, which others may add up.
	told := func(r *rule.Rule) *rule.Rule {
		r.Alert.Fields = []event.ColumnID{event.ActorUserName, event.HTTPResponseLength}
		return r
	}
	length := func(c *rule.Correlate) { c.Field = []lang.Field{{Col: event.HTTPResponseLength}} }
	byUser := func(c *rule.Correlate) {
		c.GroupBy = []rule.GroupKey{{Name: "actor.user.name", Fields: []lang.Field{{Col: event.ActorUserName}}}}
	}
	user := func(r *rule.Rule) *rule.Rule {
		r.Alert.EntityType, r.Alert.EntityPath = "user", event.ActorUserName
		return r
	}
	events = []*rule.Rule{
		told(testRule("e.count", rule.EventCount, minute, 3*minute, when("gte 4"))),
		told(testRule("e.values", rule.ValueCount, minute, 2*minute, when("gt 2"))),
		testRule("e.absent", rule.Absence, minute, 2*minute),
		testRule("e.few", rule.EventCount, minute, 0, when("lt 3"), windowed(rule.Tumbling)),
		testRule("e.single", "", 0, minute),
	}
	// Its first step is the matches of a rule, its second the alerts of another.
	mixed := testRule("m.mixed", rule.Temporal, 3*minute, 2*minute, of("e.single", "e.count"))
	mixedValues := testRule("m.values", rule.ValueCount, 3*minute, 2*minute, of("e.single", "e.count"), when("gte 4"))
	all = append(slices.Clone(events),
		testRule("a.chain", rule.Chain, 5*minute, 2*minute, of("e.count", "e.values")),
		testRule("a.two", rule.Temporal, 5*minute, 5*minute, of("e.count", "e.values", "e.absent"), when("gte 2")),
		testRule("a.absent", rule.Absence, 3*minute, 2*minute, of("e.count", "e.values")),
		testRule("a.many", rule.EventCount, ten, ten, of("e.few"), when("gte 3")),
		testRule("a.users", rule.ValueCount, ten, 4*minute, of("e.absent", "e.few"), when("gte 1"), func(c *rule.Correlate) { c.Field = []lang.Field{{Col: event.SrcEndpointIP}} }),
		user(testRule("a.user", rule.EventCount, ten, minute, of("e.count"), when("gte 2"), byUser)),
		testRule("a.sum", rule.ValueSum, ten, 4*minute, of("e.count", "e.values"), when("gte 30"), length),
		testRule("a.average", rule.ValueAvg, ten, 4*minute, of("e.count", "e.values"), when("gt 10.5"), length),
		testRule("a.percentile", rule.ValuePercentile, ten, 4*minute, of("e.count", "e.values"), when("lte 10.5"), windowed(rule.Tumbling), length,
			func(c *rule.Correlate) { c.Percentile = 50 }),
		testRule("b.chain", rule.Temporal, ten, minute, of("a.chain", "e.absent")),
		testRule("b.absent", rule.Absence, 5*minute, minute, of("a.two", "a.absent")),
		testRule("c.all", rule.Temporal, 20*minute, 5*minute, of("b.chain", "b.absent", "a.many"), when("gte 2")),
		mixed, mixedValues,
	)
	return all, append(events, mixed, mixedValues)
}

// entry is an entry of a log of signals; those without a signal are ticks.
type entry struct {
	part  int
	sig   finding.Signal
	ticks []Tick
}

// message is an alert on its way to become an entry.
type message struct {
	id  string
	sig finding.Signal
}

// worker correlates a part of the log and may be killed.
type worker struct {
	c      *Correlator
	pos    int
	out    []message // in order; only those of one alert keep theirs
	state  []byte    // of the last checkpoint
	floor  int       // and its position
	alerts map[string]finding.Alert
}

// fleet plays a log to several workers as the service does: alerts come back
// through the log after a while, a killed worker does again what was not saved,
// and ticks tell how far the alerts are.
type fleet struct {
	t       *testing.T
	r       *rand.Rand
	rules   []*rule.Rule
	feeds   *rule.Feeds
	log     []entry
	known   map[string]*finding.Signal
	workers []*worker
	rounds  Rounds
	clocks  map[string]int64
	at      int64
}

func newFleet(t *testing.T, r *rand.Rand, rules []*rule.Rule) *fleet {
	f := &fleet{t: t, r: r, rules: rules, feeds: rule.NewFeeds(rules), known: map[string]*finding.Signal{}, clocks: map[string]int64{}}
	f.rounds.Set(Waits(rules))
	for range 3 {
		w := &worker{c: New(rules, quiet), alerts: map[string]finding.Alert{}}
		f.workers = append(f.workers, w)
		f.save(w)
	}
	return f
}

func (f *fleet) add(sig finding.Signal) {
	part := int(xxh3.HashString(sig.Rule+"\x1f"+sig.GroupKey) % uint64(len(f.workers)))
	f.log = append(f.log, entry{part: part, sig: sig})
}

// read takes a worker one entry on.
func (f *fleet) read(i int) bool {
	w := f.workers[i]
	if w.pos == len(f.log) {
		return false
	}
	e := &f.log[w.pos]
	w.pos++
	emit := func(a finding.Alert) {
		w.alerts[a.UID] = a
		for _, feed := range f.feeds.OfAlert(a.Rule) {
			for _, sig := range OfAlert(&feed, &a) {
				w.out = append(w.out, message{fmt.Sprint(a.UID, a.Revision, sig.Rule, sig.Step, sig.Retracted), sig})
			}
		}
	}
	switch {
	case e.ticks != nil:
		w.c.Ticks(e.ticks, emit)
	case e.part == i:
		w.c.Add(&e.sig, emit)
	}
	return true
}

// publish gives one of a worker's alerts its place in the log.
func (f *fleet) publish(w *worker) {
	i := f.r.IntN(len(w.out))
	uid := w.out[i].sig.EventUID
	i = slices.IndexFunc(w.out, func(m message) bool { return m.sig.EventUID == uid })
	if m := w.out[i]; f.known[m.id] == nil {
		f.known[m.id] = &m.sig
		f.add(m.sig)
	} else if diff := gocmp.Diff(f.known[m.id], &m.sig); diff != "" {
		f.t.Errorf("a worker that was killed does not repeat what it did:\n%s", diff)
	}
	w.out = slices.Delete(w.out, i, i+1)
}

func (f *fleet) save(w *worker) {
	for len(w.out) > 0 {
		f.publish(w)
	}
	state, err := w.c.Save(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	w.state, w.floor = state, w.pos
}

func (f *fleet) kill(w *worker) {
	w.c, w.pos, w.out = New(f.rules, quiet), w.floor, nil
	if err := w.c.Load(w.state); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) tick() {
	least := uint64(len(f.log))
	for _, w := range f.workers {
		least = min(least, uint64(w.floor))
	}
	f.rounds.Passed(least)
	var ticks []Tick
	low := int64(0)
	for _, name := range slices.Sorted(maps.Keys(f.clocks)) {
		ticks = append(ticks, Tick{Source: name, Clock: f.clocks[name], At: f.at})
		if low == 0 || f.clocks[name] < low {
			low = f.clocks[name]
		}
	}
	if ticks = append(ticks, f.rounds.Clocks(f.at)...); ticks == nil {
		return
	}
	f.log = append(f.log, entry{ticks: ticks})
	f.rounds.Tick(uint64(len(f.log)), f.at, low)
}

// idle lets some of the work be done.
func (f *fleet) idle(n int) {
	for range n {
		i := f.r.IntN(len(f.workers))
		w := f.workers[i]
		switch f.r.IntN(40) {
		case 0:
			f.save(w)
		case 1:
			if f.r.IntN(10) == 0 {
				f.kill(w)
			}
		case 2, 3, 4, 5:
			if len(w.out) > 0 {
				f.publish(w)
			}
		default:
			f.read(i)
		}
	}
}

// settled does all that is left to do.
func (f *fleet) settled() {
	for again := true; again; {
		again = false
		for i, w := range f.workers {
			for f.read(i) {
				again = true
			}
			f.save(w)
		}
		for _, w := range f.workers {
			again = again || w.pos < len(f.log)
		}
	}
}

// play gives the arrivals to the fleet. With a pace of 1 they come as they
// happen; with a greater one they are a backlog that is worked off so much
// faster.
func (f *fleet) play(list []arrival, pace int64) map[string]final {
	list = slices.DeleteFunc(list, func(a arrival) bool { return a.tick != nil }) // the fleet makes its own
	begin, end := list[0].at, list[len(list)-1].at
	if pace == 1 {
		end = begin
	}
	for _, a := range list {
		f.at = end + (a.at-begin)/pace
		a.sig.Received = f.at
		f.add(a.sig)
		f.clocks[a.sig.Source] = max(f.clocks[a.sig.Source], a.sig.Time)
		f.idle(f.r.IntN(12))
		if f.r.IntN(6) == 0 {
			f.tick()
		}
	}
	// Time goes on, until the alerts of the last level have their last state.
	for year := range 40 {
		f.settled()
		f.at = end + (time.Duration(year+1) * 180 * 24 * time.Hour).Milliseconds()
		for name := range f.clocks {
			f.clocks[name] = f.at
		}
		f.tick()
	}
	f.settled()
	out := map[string]final{}
	for _, w := range f.workers {
		for uid, a := range w.alerts {
			if a.Status != finding.Retracted {
				out[uid] = finalOf(&a)
			}
		}
		if st := w.c.Stats(); st.Late > 0 || st.Cut > 0 || st.Evicted > 0 {
			f.t.Errorf("%+v", st)
		}
	}
	return out
}

// What rules make of the alerts of others is a function of the alerts that stand
// in the end: in which order these came, how often they were amended and who
// was killed meanwhile changes nothing.
func TestRulesOverRulesAreExact(t *testing.T) {
	rules, events := rulesOverRules()
	fired := map[string]int{}
	for seed := range uint64(*seeds) {
		for _, pace := range []int64{1, 1000} {
			t.Run(fmt.Sprintf("seed %d, pace %d", seed, pace), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 11))
				list := history(r, events, 400)
				for i := range list {
					// The last field of an alert is that of its newest event; so that
					// which it is does not matter, a group has one user and one length.
					list[i].Fields[1].Value = "user of " + list[i].GroupKey
					list[i].Fields = append(list[i].Fields, finding.Pair{Path: "http_response.length", Value: "1" + list[i].GroupKey[len("192.0.2."):]})
					if list[i].Rule[0] == 'm' {
						list[i].Step = 0
					}
				}
				want := map[string]final{}
				l := NewLocal(rules, quiet, func(a finding.Alert) {
					if want[a.UID] = finalOf(&a); a.Status == finding.Retracted {
						delete(want, a.UID)
					}
				})
				for _, a := range schedule(r, list, 0) {
					if a.tick == nil {
						l.Add(&a.sig)
						l.Seen(a.sig.Source, a.sig.Time, a.sig.Received)
					} else {
						l.Tick()
					}
				}
				l.Flush()
				for _, f := range want {
					fired[f.Rule]++
				}
				got := newFleet(t, r, rules).play(schedule(r, list, minute.Milliseconds()), pace)
				if diff := gocmp.Diff(want, got); diff != "" {
					wrong := map[string]int{}
					for uid := range merged(want, got) {
						if want[uid] != got[uid] {
							wrong[cmp.Or(want[uid].Rule, got[uid].Rule)]++
						}
					}
					t.Errorf("alerts that differ: %v (-local +fleet):\n%.3000s", wrong, diff)
				}
			})
		}
	}
	for _, x := range rules {
		if fired[x.ID] == 0 {
			t.Errorf("rule %s never fired: %v", x.ID, x.Correlate)
		}
	}
	t.Log(fired)
}

func merged(a, b map[string]final) map[string]final {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// A rule over alerts hears of an alert when its group, time or value is another.
func TestWhatARuleHearsOfAnAlert(t *testing.T) {
	over := testRule("t.over", rule.EventCount, minute, minute, func(c *rule.Correlate) {
		c.GroupBy = []rule.GroupKey{{Name: "actor.user.name", Fields: []lang.Field{{Col: event.ActorUserName}}}}
	})
	feed := rule.Feed{Rule: over, Step: 1, Group: []lang.Field{{Col: event.ActorUserName}}, Shown: []event.ColumnID{event.SrcEndpointIP}}
	alert := func(status finding.Status, second int64, user string, before *finding.Before) finding.Alert {
		return finding.Alert{UID: "0102030405060708090a0b0c0d0e0f10", Status: status, Time: at(second * 1000), Before: before,
			Group: []finding.Pair{{Path: "src_endpoint.ip", Value: "192.0.2.1"}}, Fields: map[string]string{"actor.user.name": user}}
	}
	before := func(second int64, user string) *finding.Before {
		return &finding.Before{Time: at(second * 1000), Fields: map[string]string{"actor.user.name": user}}
	}
	for name, tc := range map[string]struct {
		a    finding.Alert
		want []string
	}{
		"raised":          {alert(finding.Raised, 5, "ann", nil), []string{"ann@5000"}},
		"retracted":       {alert(finding.Retracted, 5, "ann", nil), []string{"ann@5000 gone"}},
		"more events":     {alert(finding.Amended, 5, "ann", before(5, "ann")), nil},
		"at another time": {alert(finding.Amended, 4, "ann", before(5, "ann")), []string{"ann@4000"}},
		"another group":   {alert(finding.Amended, 5, "ben", before(5, "ann")), []string{"ann@5000 gone", "ben@5000"}},
	} {
		var got []string
		for _, s := range OfAlert(&feed, &tc.a) {
			text := fmt.Sprintf("%s@%d", s.GroupKey, s.Time)
			if s.Retracted {
				text += " gone"
			}
			got = append(got, text)
		}
		if diff := gocmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// What is counted or calculated with of an alert is what the alert tells, at last:
// one that no longer tells it takes no part.
func TestValuesOfAlerts(t *testing.T) {
	alert := func(n int, status finding.Status, value, before string) finding.Alert {
		a := finding.Alert{UID: fmt.Sprintf("%032x", n), Rule: "e.count", Status: status, Time: at(int64(n) * 1000), RaisedAt: at(int64(n) * 1000),
			Group: []finding.Pair{{Path: "src_endpoint.ip", Value: "192.0.2.1"}}, Fields: map[string]string{"actor.user.name": value}}
		if status == finding.Amended {
			a.Before = &finding.Before{Time: a.Time, Fields: map[string]string{"actor.user.name": before}}
		}
		return a
	}
	raised, amended := finding.Raised, finding.Amended
	for name, tc := range map[string]struct {
		kind, when string
		alerts     []finding.Alert
		want       []string
	}{
		"sum":             {rule.ValueSum, "gte 30", []finding.Alert{alert(1, raised, "12.5", ""), alert(2, raised, "17.5", "")}, []string{"raised/2"}},
		"no number":       {rule.ValueSum, "gte 30", []finding.Alert{alert(1, raised, "12.5", ""), alert(2, raised, "many", ""), alert(3, raised, "NaN", "")}, nil},
		"a number grows":  {rule.ValueSum, "gte 30", []finding.Alert{alert(1, raised, "12.5", ""), alert(2, raised, "1", ""), alert(2, amended, "17.5", "1")}, []string{"raised/2"}},
		"a number goes":   {rule.ValueSum, "gte 30", []finding.Alert{alert(1, raised, "12.5", ""), alert(2, raised, "17.5", ""), alert(2, amended, "", "17.5")}, []string{"raised/2", "retracted/2"}},
		"average":         {rule.ValueAvg, "gt 14", []finding.Alert{alert(1, raised, "12", ""), alert(2, raised, "18", "")}, []string{"raised/2"}},
		"percentile":      {rule.ValuePercentile, "gt 14", []finding.Alert{alert(1, raised, "12", ""), alert(2, raised, "18", ""), alert(3, raised, "19", "")}, []string{"raised/3"}},
		"different":       {rule.ValueCount, "gte 2", []finding.Alert{alert(1, raised, "a", ""), alert(2, raised, "b", "")}, []string{"raised/2"}},
		"a value goes":    {rule.ValueCount, "gte 2", []finding.Alert{alert(1, raised, "a", ""), alert(2, raised, "b", ""), alert(2, amended, "", "b")}, []string{"raised/2", "retracted/2"}},
		"a value is back": {rule.ValueCount, "gte 2", []finding.Alert{alert(1, raised, "a", ""), alert(2, raised, "", ""), alert(2, amended, "b", "")}, []string{"raised/2"}},
	} {
		over := testRule("t.over", tc.kind, ten, minute, when(tc.when), func(c *rule.Correlate) { c.MinEvents, c.Percentile = 2, 50 })
		over.Correlate.Steps = []rule.Step{{Name: "e.count", ID: "e.count"}}
		rules := []*rule.Rule{testRule("e.count", rule.EventCount, minute, 0, when("gte 4")), over}
		c := New(rules, quiet)
		var got []string
		emit := func(a finding.Alert) { got = append(got, fmt.Sprintf("%s/%d", a.Status, a.Count)) }
		for _, feed := range rule.NewFeeds(rules).OfAlert("e.count") {
			for _, a := range tc.alerts {
				for _, sig := range OfAlert(&feed, &a) {
					c.Add(&sig, emit)
				}
			}
		}
		if diff := gocmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
