package correlate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// learners are rules that rest on the past.
func learners() []*rule.Rule {
	return slices.DeleteFunc(shapes(), func(r *rule.Rule) bool { return r.Correlate == nil || r.Correlate.Memory() == 0 })
}

// learn lets a correlator of its own judge the events before a time, and cuts
// what it learned into entries.
func learn(rules []*rule.Rule, events []finding.Signal, before int64, groups int) [][]byte {
	l := NewLocal(rules, quiet, func(finding.Alert) {})
	for i := range events {
		if events[i].Time < before {
			l.AdvanceTo(events[i].Time)
			l.Add(&events[i])
		}
	}
	var out [][]byte
	for _, r := range rules {
		list := l.Harvest(r.ID, before)
		for {
			n := min(groups, len(list))
			out = append(out, AppendSeed(nil, r, before, list[:n], n == len(list)))
			if list = list[n:]; len(list) == 0 {
				break
			}
		}
	}
	return out
}

// A state that is told its past by a seed raises from then on what one raises
// that has lived through it: whatever the order of arrival, whenever within the
// lateness the seed comes, whether parts of it come twice, and whatever restarts
// there are.
func TestSeededIsAsIfLived(t *testing.T) {
	rules := learners()
	fired := map[string]int{}
	for n := range uint64(8) {
		r := rand.New(rand.NewPCG(n, 3))
		events := history(r, rules, 500)
		slices.SortStableFunc(events, func(a, b finding.Signal) int { return cmp.Compare(a.Time, b.Time) })
		cut := events[len(events)/2].Time
		lived, _ := run(t, rules, schedule(r, events, 0), nil)
		suppress := map[string]time.Duration{}
		for _, x := range rules {
			suppress[x.ID] = x.Alert.Suppress
		}
		// An alert that goes on at the cut swallows what a new state raises.
		busy := map[[2]string]bool{}
		for _, f := range lived {
			if f.Time < cut && f.Time+suppress[f.Rule].Milliseconds() > cut {
				busy[[2]string{f.Rule, f.Group}] = true
			}
		}
		want := map[string]final{}
		for uid, f := range lived {
			if f.Time >= cut && !busy[[2]string{f.Rule, f.Group}] {
				want[uid] = f
				fired[f.Rule]++
			}
		}
		parts := learn(rules, events, cut, 2)
		since := slices.DeleteFunc(slices.Clone(events), func(s finding.Signal) bool { return s.Time < cut-3000 })
		list := schedule(r, since, minute.Milliseconds())
		at := cut + r.Int64N(100_000)
		got := map[string]final{}
		emit := func(a finding.Alert) {
			if got[a.UID] = finalOf(&a); a.Status == finding.Retracted {
				delete(got, a.UID)
			}
		}
		c := New(rules, quiet)
		c.AwaitSeeds()
		restart := func() {
			state, err := c.Save(nil)
			if err != nil {
				t.Fatal(err)
			}
			c = New(rules, quiet)
			if err := c.Load(state); err != nil {
				t.Fatal(err)
			}
		}
		for i := range list {
			if now := max(list[i].sig.Received, tickTime(list[i].tick)); len(parts) > 0 && now >= at {
				for k, p := range parts {
					if err := c.Plant(p, emit); err != nil {
						t.Fatal(err)
					}
					if r.IntN(3) == 0 {
						restart()
					}
					// Another owner's copy, from wherever it begins.
					if err := c.Plant(parts[r.IntN(k+1)], emit); err != nil {
						t.Fatal(err)
					}
				}
				parts = nil
			}
			if list[i].tick != nil {
				c.Ticks([]Tick{*list[i].tick}, emit)
			} else {
				c.Add(&list[i].sig, emit)
			}
		}
		c.Flush(emit)
		for _, p := range c.Pasts() {
			if !p.Seeded || p.Before != cut {
				t.Errorf("%+v is not seeded", p)
			}
		}
		for uid, f := range got {
			if busy[[2]string{f.Rule, f.Group}] || f.Time < cut {
				delete(got, uid)
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("history %d: lived (-), seeded (+):\n%.3000s", n, diff)
		}
	}
	for _, x := range rules {
		if fired[x.ID] == 0 {
			t.Errorf("rule %s never fired: %v", x.ID, x.Correlate)
		}
	}
}

func tickTime(t *Tick) int64 {
	if t == nil {
		return 0
	}
	return t.At
}

// A seed is taken by the state that it is for, and once.
func TestSeedOfAnotherState(t *testing.T) {
	rules := learners()[:1]
	r := rand.New(rand.NewPCG(1, 3))
	events := history(r, rules, 100)
	cut := events[len(events)/2].Time
	part := learn(rules, events, cut, 100)[0]
	other := *rules[0]
	changed := *other.Correlate
	changed.Learning += minute
	other.Correlate = &changed
	gone := *rules[0]
	gone.ID = "t.other"
	for name, tc := range map[string]struct {
		rule *rule.Rule
		data []byte
		want bool
		bad  bool
	}{
		"its own":        {rules[0], part, true, false},
		"changed rule":   {&other, part, false, false},
		"unknown rule":   {&gone, part, false, false},
		"cut short":      {rules[0], part[:len(part)-1], false, true},
		"another format": {rules[0], append([]byte{seedVersion + 1}, part[1:]...), false, true},
		"empty":          {rules[0], nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := New([]*rule.Rule{tc.rule}, quiet)
			c.Ticks([]Tick{{Source: "s", Clock: cut, At: cut}}, nil)
			err := c.Plant(tc.data, func(finding.Alert) {})
			if (err != nil) != tc.bad {
				t.Fatal(err)
			}
			if p := c.Pasts(); len(p) != 1 || p[0].Seeded != tc.want || p[0].Lived {
				t.Errorf("%+v", p)
			}
			if n := c.Stats().Groups; (n > 0) != tc.want {
				t.Errorf("%d groups", n)
			}
		})
	}
}

// An event that came before the seed is told with what it shows, once the seed
// makes an alert of it.
func TestSeedTellsOfEarlyEvents(t *testing.T) {
	r := testRule("new", rule.NewValue, 10*minute, 0, func(c *rule.Correlate) { c.Learning = minute })
	at := int64(1_700_000_000_000)
	part := learn([]*rule.Rule{r}, []finding.Signal{signal("new", "192.0.2.1", at-200_000, 1, "old"), signal("new", "192.0.2.1", at-100_000, 2, "old")}, at, 1)[0]
	c := New([]*rule.Rule{r}, quiet)
	c.AwaitSeeds()
	var got []finding.Alert
	emit := func(a finding.Alert) { got = append(got, a) }
	for i, v := range []string{"old", "new"} {
		s := signal("new", "192.0.2.1", at+int64(i), 10+i, v)
		s.Fields = append(s.Fields, finding.Pair{Path: "actor.user.name", Value: v})
		c.Add(&s, emit)
	}
	if len(got) > 0 {
		t.Fatalf("a group that is not known raised %+v", got)
	}
	if err := c.Plant(part, emit); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Fields["actor.user.name"] != "new" || got[0].Sources[0] != "s" {
		t.Errorf("%+v", got)
	}
}

func FuzzPlant(f *testing.F) {
	rules := learners()
	r := rand.New(rand.NewPCG(1, 1))
	events := history(r, rules, 40)
	cut := events[len(events)/2].Time
	for _, p := range learn(rules, events, cut, 2) {
		f.Add(p)
	}
	list := schedule(r, events, 1000)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New(rules, quiet)
		if c.Plant(data, func(finding.Alert) {}) != nil {
			return
		}
		for i := range list {
			if list[i].tick != nil {
				c.Ticks([]Tick{*list[i].tick}, func(finding.Alert) {})
			} else {
				c.Add(&list[i].sig, func(finding.Alert) {})
			}
		}
		c.Flush(func(finding.Alert) {})
		state, err := c.Save(nil)
		if err == nil {
			err = New(rules, quiet).Load(state)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
