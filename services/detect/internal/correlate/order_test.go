package correlate

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

var seeds = flag.Int("seeds", 2, "histories that the order of arrival is tried with")

// shapes are rules of every type and window, with short and long suppression.
func shapes() []*rule.Rule {
	var out []*rule.Rule
	add := func(kind string, span time.Duration, change ...func(*rule.Correlate)) {
		for _, suppress := range []time.Duration{0, 3 * minute, 20 * minute} {
			out = append(out, testRule(fmt.Sprintf("t.r%d", len(out)), kind, span, suppress, change...))
		}
	}
	add("", 0)
	for _, w := range []string{rule.Sliding, rule.Tumbling, rule.Session} {
		add(rule.EventCount, minute, when("gte 4"), windowed(w))
		add(rule.ValueCount, minute, when("gt 2"), windowed(w))
		add(rule.ValueSum, minute, when("gte 25"), windowed(w))
		add(rule.ValueAvg, minute, when("gt 6"), windowed(w), func(c *rule.Correlate) { c.MinEvents = 2 })
		add(rule.ValuePercentile, minute, when("gte 7"), windowed(w), func(c *rule.Correlate) { c.Percentile, c.MinEvents = 75, 3 })
	}
	for _, w := range []string{rule.Tumbling, rule.Session} {
		add(rule.EventCount, minute, when("lt 3"), windowed(w))
		add(rule.EventCount, minute, when("gt 2 lte 5"), windowed(w))
		add(rule.ValueCount, minute, when("eq 2"), windowed(w))
		add(rule.ValueAvg, minute, when("lt 4"), windowed(w))
	}
	add(rule.Temporal, minute)
	add(rule.Temporal, minute, when("gte 2"))
	add(rule.TemporalOrdered, 2*minute)
	add(rule.Absence, minute)
	add(rule.NewValue, 10*minute, func(c *rule.Correlate) { c.Learning = 2 * minute })
	add(rule.RateAnomaly, minute, when("gte 3"), func(c *rule.Correlate) { c.Field, c.Baseline, c.Learning = nil, 10*minute, 5*minute })
	add(rule.RateAnomaly, minute, when("lte -1"), func(c *rule.Correlate) { c.Baseline, c.Learning, c.MinValue = 10*minute, 2*minute, 1 })
	for _, r := range out[:6] {
		// The entity is not what the rule groups by.
		named := *r
		named.ID += "named"
		named.Alert.EntityPath = event.ActorUserName
		named.Alert.Dedup = []event.ColumnID{event.SrcEndpointIP}
		out = append(out, &named)
	}
	return out
}

// arrival is a signal or a tick at a moment.
type arrival struct {
	at   int64
	sig  finding.Signal
	tick *Tick
}

// history makes events of several sources and groups over half an hour, with
// bursts and pauses.
func history(r *rand.Rand, rules []*rule.Rule, n int) []finding.Signal {
	var out []finding.Signal
	ms := int64(1_700_000_000_000)
	for i := range n {
		switch r.IntN(60) {
		case 0:
			ms += r.Int64N(400_000)
		case 1, 2, 3:
			ms += r.Int64N(40_000)
		default:
			ms += r.Int64N(2000)
		}
		if r.IntN(5) == 0 {
			ms = ms / 1000 * 1000 // equal times
		}
		for _, x := range rules {
			if r.IntN(3) > 0 {
				continue
			}
			group := "192.0.2." + strconv.Itoa(r.IntN(3))
			s := signal(x.ID, group, ms, i, "v"+strconv.Itoa(r.IntN(5)))
			s.Number = float64(r.IntN(12)) + 0.1
			s.Source = "s" + strconv.Itoa(r.IntN(3))
			s.Fields = append(s.Fields, finding.Pair{Path: "actor.user.name", Value: "u" + strconv.Itoa(i%7)})
			if x.Correlate != nil && len(x.Correlate.Steps) > 0 {
				s.Step = r.IntN(len(x.Correlate.Steps))
			}
			if x.Correlate == nil && r.IntN(20) == 0 {
				s.More, s.MoreUntil = 3, ms+700
			}
			out = append(out, s)
		}
	}
	return out
}

// schedule lets events arrive: each is up to late ms late, some come twice, and
// every source ticks. A tick is never ahead of what is to come by more than the
// lateness.
func schedule(r *rand.Rand, events []finding.Signal, late int64) []arrival {
	var out []arrival
	for _, s := range events {
		for range 1 + r.IntN(8)/7 {
			out = append(out, arrival{at: s.Time + r.Int64N(late+1), sig: s})
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	var all []arrival
	clock := map[string]int64{}
	for _, a := range out {
		a.sig.Received = a.at
		all = append(all, a)
		clock[a.sig.Source] = max(clock[a.sig.Source], a.sig.Time)
		if r.IntN(4) == 0 {
			all = append(all, arrival{tick: &Tick{Source: a.sig.Source, Clock: clock[a.sig.Source], At: a.at}})
		}
	}
	return all
}

// final is what stands of an alert in the end.
type final struct {
	Rule, Group, Entity, Sources string
	Count                        int64
	Time, First, Last            int64
	Value                        float64
}

func finalOf(a *finding.Alert) final {
	return final{a.Rule, a.Group[0].Value, a.Entity.Value, strings.Join(a.Sources, " "), a.Count, a.Time.UnixMilli(), a.FirstSeen.UnixMilli(), a.LastSeen.UnixMilli(), a.Value}
}

// run plays arrivals, loading a checkpoint now and then, and returns what
// stands in the end and how many were retracted.
func run(t *testing.T, rules []*rule.Rule, list []arrival, r *rand.Rand) (map[string]final, int) {
	t.Helper()
	c := New(rules, quiet)
	out := map[string]final{}
	revision := map[string]int{}
	retracted := 0
	emit := func(a finding.Alert) {
		if a.Revision != revision[a.UID]+1 {
			t.Fatalf("alert %s of %s has revision %d after %d", a.UID, a.Rule, a.Revision, revision[a.UID])
		}
		revision[a.UID] = a.Revision
		if _, stands := out[a.UID]; stands == (a.Status == finding.Raised) {
			t.Fatalf("alert of %s is %s but stood: %v", a.Rule, a.Status, stands)
		}
		if a.Status == finding.Retracted {
			delete(out, a.UID)
			retracted++
			return
		}
		out[a.UID] = finalOf(&a)
	}
	for i := range list {
		if list[i].tick != nil {
			c.Ticks([]Tick{*list[i].tick}, emit)
		} else {
			c.Add(&list[i].sig, emit)
		}
		if r != nil && r.IntN(300) == 0 {
			state, err := c.Save(nil)
			if err != nil {
				t.Fatal(err)
			}
			c = New(rules, quiet)
			if err := c.Load(state); err != nil {
				t.Fatal(err)
			}
			if again, err := c.Save(nil); err != nil || !bytes.Equal(again, state) {
				t.Fatalf("a state that was loaded is saved otherwise: %v", err)
			}
		}
	}
	used(t, c)
	c.Flush(emit)
	if st := c.Stats(); st.Late > 0 || st.Cut > 0 || st.Evicted > 0 {
		t.Errorf("%+v", st)
	}
	return out, retracted
}

// used checks what the groups of each rule are said to take.
func used(t *testing.T, c *Correlator) {
	t.Helper()
	total := int64(0)
	for id, s := range c.rules {
		want := use{}
		for i := s.oldest; i != 0; i = c.groups.at(i).newer {
			g := c.groups.at(i)
			want.events += int(g.len)
			want.bytes += int64(groupBytes+8+keyCap(int(g.keyLen))) + seenBytes*int64(g.cap)
			if g.heavy != 0 {
				want.bytes += heavyBytes
			}
		}
		if got := *c.groups.of(s.number); got != want {
			t.Errorf("rule %s takes %+v, but %+v is told", id, want, got)
		}
		total += want.bytes
	}
	if total != c.groups.bytes {
		t.Errorf("all rules take %d bytes, but %d are told", total, c.groups.bytes)
	}
}

// What stands in the end is a function of the set of events: the order of
// arrival within the allowed lateness, duplicates and restarts change nothing.
func TestOrderChangesNothing(t *testing.T) {
	rules := shapes()
	fired := map[string]int{}
	corrected := 0
	for seed := range uint64(*seeds) {
		r := rand.New(rand.NewPCG(seed, 7))
		events := history(r, rules, 200)
		inOrder := schedule(r, events, 0)
		want, _ := run(t, rules, inOrder, nil)
		for _, f := range want {
			fired[f.Rule]++
		}
		for range 2 {
			got, n := run(t, rules, schedule(r, events, minute.Milliseconds()), r)
			corrected += n
			if diff := gocmp.Diff(want, got); diff != "" {
				byRule := map[string]int{}
				for uid, f := range want {
					if got[uid] != f {
						byRule[f.Rule]++
					}
				}
				for uid, f := range got {
					if _, ok := want[uid]; !ok {
						byRule[f.Rule]++
					}
				}
				for _, id := range slices.Sorted(maps.Keys(byRule)) {
					for _, x := range rules {
						if x.ID == id {
							t.Errorf("seed %d: %d alerts of %s differ (%v, suppress %s)", seed, byRule[id], id, x.Correlate, x.Alert.Suppress)
						}
					}
				}
				t.Fatalf("(-in order +late):\n%.3000s", diff)
			}
		}
	}
	for _, x := range rules {
		if fired[x.ID] == 0 {
			t.Errorf("rule %s never fired: %v", x.ID, x.Correlate)
		}
	}
	if corrected == 0 {
		t.Error("nothing was ever retracted: the events are too tame")
	}
	t.Log(len(fired), "rules,", corrected, "retractions")
}
