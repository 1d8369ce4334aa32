package correlate

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

var quiet = slog.New(slog.DiscardHandler)

func testRule(id, kind string, n int, span, suppress time.Duration) *rule.Rule {
	title, err := rule.ParseTemplate("{src_endpoint.ip} {count}")
	if err != nil {
		panic(err)
	}
	r := &rule.Rule{ID: id, Title: id, Level: finding.High, Lane: finding.Alerts,
		Alert: rule.Alert{Title: title, EntityType: "ip", EntityPath: event.SrcEndpointIP, Suppress: suppress}}
	if kind != "" {
		r.Correlate = &rule.Correlate{Type: kind, Window: rule.Sliding, GroupBy: []rule.GroupKey{{Name: "src_endpoint.ip", Columns: []event.ColumnID{event.SrcEndpointIP}}},
			Field: []event.ColumnID{event.ActorUserName}, Timespan: span, Condition: []rule.Comparison{{Op: "gte", Value: float64(n)}}}
	}
	return r
}

func signal(r string, group string, sec int, n int, value string) finding.Signal {
	return finding.Signal{Rule: r, EventUID: fmt.Sprintf("00000000-0000-8000-8000-%012x", n), Time: int64(sec) * 1000, Received: int64(sec)*1000 + 5,
		Source: "s", GroupKey: group, Group: []finding.Pair{{Path: "src_endpoint.ip", Value: group}}, Value: value,
		Fields: map[string]string{"src_endpoint.ip": group}}
}

// run feeds "second[:value]" signals of one group and returns "status@count".
func run(t *testing.T, r *rule.Rule, seconds []string) []string {
	t.Helper()
	c := New([]*rule.Rule{r}, quiet)
	var out []string
	for i, s := range seconds {
		var sec int
		var value string
		if n, err := fmt.Sscanf(s, "%d:%s", &sec, &value); n == 0 {
			t.Fatal(err)
		}
		sig := signal(r.ID, "192.0.2.1", sec, i, value)
		if value == "dup" {
			sig = signal(r.ID, "192.0.2.1", sec, i-1, "")
		}
		c.Add(&sig, func(a finding.Alert) { out = append(out, fmt.Sprintf("%s@%d/%d", a.Status, sec, a.Count)) })
	}
	return out
}

func TestWindows(t *testing.T) {
	min, ten := time.Minute, 10*time.Minute
	for name, tc := range map[string]struct {
		r    *rule.Rule
		in   []string
		want []string
	}{
		"threshold":             {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "20", "40"}, []string{"raised@40/3"}},
		"exactly the span":      {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "30", "60"}, []string{"raised@60/3"}},
		"slides":                {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "50", "70", "100"}, []string{"raised@100/3"}},
		"too slow":              {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "40", "80", "120"}, nil},
		"duplicates":            {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "10", "10:dup"}, nil},
		"late event completes":  {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "40", "100", "20"}, []string{"raised@20/3"}},
		"very late is no help":  {testRule("a.b", rule.EventCount, 3, min, ten), []string{"0", "40", "1000", "20"}, nil},
		"amended at doubling":   {testRule("a.b", rule.EventCount, 2, min, ten), []string{"0", "1", "2", "3", "4", "5", "6", "7"}, []string{"raised@1/2", "amended@3/4", "amended@7/8"}},
		"again after suppress":  {testRule("a.b", rule.EventCount, 2, min, min), []string{"0", "1", "30", "61", "62"}, []string{"raised@1/2", "raised@62/2"}},
		"single match":          {testRule("a.b", "", 0, 0, ten), []string{"0", "1", "2", "601"}, []string{"raised@0/1", "amended@1/2", "raised@601/1"}},
		"no suppression":        {testRule("a.b", "", 0, 0, 0), []string{"0", "0", "1"}, []string{"raised@0/1", "raised@0/1", "raised@1/1"}},
		"values":                {testRule("a.b", rule.ValueCount, 3, min, ten), []string{"0:x", "1:y", "2:x", "3:y", "4:z"}, []string{"raised@4/3"}},
		"values slide":          {testRule("a.b", rule.ValueCount, 3, min, ten), []string{"0:x", "50:y", "70:z", "100:w"}, []string{"raised@100/3"}},
		"a value is kept fresh": {testRule("a.b", rule.ValueCount, 3, min, ten), []string{"0:x", "50:y", "55:x", "100:z"}, []string{"raised@100/3"}},
		"no value":              {testRule("a.b", rule.ValueCount, 1, min, ten), []string{"0", "1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, run(t, tc.r, tc.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func rules() []*rule.Rule {
	return []*rule.Rule{
		testRule("t.count", rule.EventCount, 4, time.Minute, 2*time.Minute),
		testRule("t.values", rule.ValueCount, 3, time.Minute, time.Minute),
		testRule("t.single", "", 0, 0, 3*time.Minute),
		testRule("t.each", "", 0, 0, 0),
	}
}

// log makes a log of signals with late and repeated ones.
func log(seed uint64, n int) []finding.Signal {
	r := rand.New(rand.NewPCG(seed, 0))
	ids := []string{"t.count", "t.values", "t.single", "t.each", "t.gone"}
	var out []finding.Signal
	for i := range n {
		if len(out) > 0 && r.IntN(10) == 0 {
			out = append(out, out[max(0, len(out)-1-r.IntN(50))])
			continue
		}
		sec := i/2 - r.IntN(8)
		if r.IntN(20) == 0 {
			sec -= r.IntN(90)
		}
		group := ""
		if r.IntN(30) > 0 {
			group = "192.0.2." + strconv.Itoa(r.IntN(25))
		}
		out = append(out, signal(ids[r.IntN(len(ids))], group, sec, i, "v"+strconv.Itoa(r.IntN(5))))
	}
	return out
}

func alertsOf(t *testing.T, signals []finding.Signal, stops map[int]bool) []finding.Alert {
	t.Helper()
	c := New(rules(), quiet)
	checkpoint, at := []byte(nil), 0
	byID := map[string]finding.Alert{}
	var order []string
	emit := func(a finding.Alert) {
		id := a.UID + ":" + strconv.Itoa(a.Revision)
		if old, ok := byID[id]; ok {
			// Published again after a crash: it must be the same alert.
			if diff := cmp.Diff(old, a); diff != "" {
				t.Fatalf("replayed alert differs:\n%s", diff)
			}
			return
		}
		byID[id] = a
		order = append(order, id)
	}
	for i := 0; i < len(signals); i++ {
		c.Add(&signals[i], emit)
		if i%97 == 0 {
			var err error
			if checkpoint, err = c.Save(nil); err != nil {
				t.Fatal(err)
			}
			at = i
		}
		if stops[i] {
			delete(stops, i)
			// A crash: everything since the checkpoint is forgotten and replayed.
			c = New(rules(), quiet)
			if err := c.Load(checkpoint); err != nil {
				t.Fatal(err)
			}
			i = at
		}
	}
	var out []finding.Alert
	for _, id := range order {
		out = append(out, byID[id])
	}
	return out
}

// Crashes at random points change nothing in the set of alerts.
func TestCrashesChangeNothing(t *testing.T) {
	for seed := range uint64(20) {
		signals := log(seed, 4000)
		want := alertsOf(t, signals, nil)
		if len(want) < 50 {
			t.Fatalf("only %d alerts", len(want))
		}
		r := rand.New(rand.NewPCG(seed, 1))
		stops := map[int]bool{}
		for range 20 {
			stops[r.IntN(len(signals))] = true
		}
		if diff := cmp.Diff(want, alertsOf(t, signals, stops)); diff != "" {
			t.Fatalf("seed %d: alerts differ (-never stopped +crashed):\n%s", seed, diff)
		}
		seen := map[string]bool{}
		for _, a := range want {
			if a.Status == finding.Raised && seen[a.UID] {
				t.Fatalf("alert %s raised twice", a.UID)
			}
			seen[a.UID] = true
		}
	}
}

func TestGroupsAreBounded(t *testing.T) {
	c := New([]*rule.Rule{testRule("t.count", rule.EventCount, 2, time.Hour, time.Hour)}, quiet)
	c.maxGroups = 100
	for i := range 1000 {
		sig := signal("t.count", "group-"+strconv.Itoa(i), i, i, "")
		c.Add(&sig, func(finding.Alert) {})
	}
	if st := c.Stats(); st.Groups != 100 || st.Evicted != 900 {
		t.Errorf("%+v", st)
	}
}

func TestGroupsExpire(t *testing.T) {
	c := New([]*rule.Rule{testRule("t.count", rule.EventCount, 2, time.Minute, time.Minute)}, quiet)
	for i := range 10_000 {
		sig := signal("t.count", "group-"+strconv.Itoa(i), i, i, "")
		c.Add(&sig, func(finding.Alert) {})
	}
	if st := c.Stats(); st.Groups > 200 || st.Evicted != 0 {
		t.Errorf("%+v", st)
	}
}

func TestSetRulesKeepsStateThatStillMeansTheSame(t *testing.T) {
	r := testRule("t.count", rule.EventCount, 2, time.Minute, time.Minute)
	c := New([]*rule.Rule{r}, quiet)
	add := func(n int) (out int) {
		sig := signal("t.count", "g", n, n, "")
		c.Add(&sig, func(finding.Alert) { out++ })
		return out
	}
	add(1)
	renamed := *r
	renamed.Title = "new"
	c.SetRules([]*rule.Rule{&renamed})
	if add(2) != 1 {
		t.Error("a new title lost the state")
	}
	c.SetRules([]*rule.Rule{testRule("t.count", rule.EventCount, 3, time.Minute, time.Minute)})
	if c.Stats().Groups != 0 {
		t.Error("a new threshold kept the state")
	}
}

func FuzzLoad(f *testing.F) {
	c := New(rules(), quiet)
	for _, s := range log(1, 300) {
		c.Add(&s, func(finding.Alert) {})
	}
	good, err := c.Save(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{formatVersion, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New(rules(), quiet)
		if c.Load(data) != nil {
			return
		}
		for _, s := range log(2, 50) {
			c.Add(&s, func(finding.Alert) {})
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	for name, r := range map[string]*rule.Rule{"event_count": testRule("t", rule.EventCount, 10, time.Minute, time.Minute), "value_count": testRule("t", rule.ValueCount, 10, time.Minute, time.Minute)} {
		b.Run(name, func(b *testing.B) {
			c := New([]*rule.Rule{r}, quiet)
			signals := make([]finding.Signal, 50_000)
			for i := range signals {
				signals[i] = signal("t", "group-"+strconv.Itoa(i*7919%20_000), i/200, i, "v"+strconv.Itoa(i%9))
			}
			b.ReportAllocs()
			for i := range b.N {
				s := signals[i%len(signals)]
				s.Time += int64(i/len(signals)) * 300_000
				c.Add(&s, func(finding.Alert) {})
			}
		})
	}
}
