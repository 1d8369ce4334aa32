package correlate

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

var quiet = slog.New(slog.DiscardHandler)

const (
	minute = time.Minute
	ten    = 10 * time.Minute
)

// testRule makes a rule that groups by address; kind "" is one without
// correlation.
func testRule(id, kind string, span, suppress time.Duration, change ...func(*rule.Correlate)) *rule.Rule {
	title, err := rule.ParseTemplate("{src_endpoint.ip} {count}")
	if err != nil {
		panic(err)
	}
	r := &rule.Rule{ID: id, Title: id, Level: finding.High, Lane: finding.Alerts,
		Alert: rule.Alert{Title: title, EntityType: "ip", EntityPath: event.SrcEndpointIP, Suppress: suppress}}
	if kind == "" {
		return r
	}
	r.Correlate = &rule.Correlate{Type: kind, Window: rule.Sliding, Timespan: span, Lateness: minute, MinEvents: 1,
		GroupBy: []rule.GroupKey{{Name: "src_endpoint.ip", Fields: []lang.Field{{Col: event.SrcEndpointIP}}}}}
	c := r.Correlate
	switch kind {
	case rule.Temporal, rule.TemporalOrdered, rule.Absence, rule.Chain:
		c.Steps = []rule.Step{{Name: "a"}, {Name: "b"}}
		if kind == rule.Temporal || kind == rule.TemporalOrdered {
			c.Steps = append(c.Steps, rule.Step{Name: "c"})
		}
	case rule.EventCount:
	default:
		c.Field = []lang.Field{{Col: event.ActorUserName}}
	}
	for _, f := range change {
		f(c)
	}
	return r
}

// when sets conditions such as "gte 3".
func when(text string) func(*rule.Correlate) {
	return func(c *rule.Correlate) {
		f := strings.Fields(text)
		for i := 0; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i+1], 64)
			if err != nil {
				panic(err)
			}
			c.Condition = append(c.Condition, rule.Comparison{Op: f[i], Value: v})
		}
	}
}

func windowed(w string) func(*rule.Correlate) { return func(c *rule.Correlate) { c.Window = w } }

func uidOf(n int) (u finding.EventUID) {
	binary.BigEndian.PutUint64(u[8:], uint64(n+1))
	return u
}

func signal(r string, group string, ms int64, n int, value string) finding.Signal {
	return finding.Signal{Rule: r, EventUID: uidOf(n), Time: ms, Received: ms + 5, Source: "s", GroupKey: group, Value: value,
		Fields: []finding.Pair{{Path: "src_endpoint.ip", Value: group}}}
}

// feed gives a correlator events of one group, each "seconds[:value]", where
// the value is a text, a number, or a step (a, b, c). "+n" ticks to that second.
func feed(t *testing.T, r *rule.Rule, events []string) []string {
	t.Helper()
	c := New([]*rule.Rule{r}, quiet)
	var out []string
	now := ""
	emit := func(a finding.Alert) { out = append(out, fmt.Sprintf("%s@%s/%d", a.Status, now, a.Count)) }
	for i, text := range events {
		now = text
		if s, ok := strings.CutPrefix(text, "+"); ok {
			ms, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c.Ticks([]Tick{{Source: "s", Clock: ms * 1000, At: ms * 1000}}, emit)
			continue
		}
		s, value, _ := strings.Cut(text, ":")
		ms, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		sig := signal(r.ID, "192.0.2.1", int64(ms*1000), i, value)
		if value == "dup" {
			sig = signal(r.ID, "192.0.2.1", int64(ms*1000), i-1, "")
		}
		sig.Number, _ = strconv.ParseFloat(value, 64)
		if c := r.Correlate; c != nil && len(c.Steps) > 0 && value != "" {
			sig.Step = int(value[0] - 'a')
		}
		c.Add(&sig, emit)
	}
	now = "end"
	c.Flush(emit)
	return out
}

func TestTypes(t *testing.T) {
	three := when("gte 3")
	for name, tc := range map[string]struct {
		r    *rule.Rule
		in   []string
		want []string
	}{
		"threshold":            {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "20", "40"}, []string{"raised@40/3"}},
		"exactly the span":     {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "30", "60"}, []string{"raised@60/3"}},
		"slides":               {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "50", "70", "100"}, []string{"raised@100/3"}},
		"too slow":             {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "40", "80", "120"}, nil},
		"duplicates":           {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "10", "10:dup"}, nil},
		"late event completes": {testRule("a.b", rule.EventCount, minute, ten, three), []string{"0", "40", "100", "20"}, []string{"raised@20/4"}},
		"amended at doubling":  {testRule("a.b", rule.EventCount, minute, ten, when("gte 2")), []string{"0", "1", "2", "3", "4", "5", "6"}, []string{"raised@1/2", "amended@3/4", "amended@end/7"}},
		"again after suppress": {testRule("a.b", rule.EventCount, minute, minute, when("gte 2")), []string{"0", "1", "30", "61", "62"}, []string{"raised@1/2", "raised@62/2", "amended@end/3"}},
		"late event moves it":  {testRule("a.b", rule.EventCount, minute, ten, when("gte 2")), []string{"10", "20", "5"}, []string{"raised@20/2", "amended@end/3"}},
		"single match":         {testRule("a.b", "", 0, ten), []string{"0", "1", "2", "601"}, []string{"raised@0/1", "amended@1/2", "raised@601/1", "amended@end/3"}},
		"no suppression":       {testRule("a.b", "", 0, 0), []string{"0", "0", "1"}, []string{"raised@0/1", "raised@0/1", "raised@1/1"}},
		"values":               {testRule("a.b", rule.ValueCount, minute, ten, three), []string{"0:x", "1:y", "2:x", "3:y", "4:z"}, []string{"raised@4:z/3"}},
		"values slide":         {testRule("a.b", rule.ValueCount, minute, ten, three), []string{"0:x", "50:y", "70:z", "100:w"}, []string{"raised@100:w/3"}},
		"a value stays fresh":  {testRule("a.b", rule.ValueCount, minute, ten, three), []string{"0:x", "50:y", "55:x", "100:z"}, []string{"raised@100:z/3"}},
		"no value":             {testRule("a.b", rule.ValueCount, minute, ten, when("gte 1")), []string{"0", "1"}, nil},
		"sum":                  {testRule("a.b", rule.ValueSum, minute, ten, when("gt 10")), []string{"0:4", "10:6", "20:0.5"}, []string{"raised@20:0.5/3"}},
		"sum slides":           {testRule("a.b", rule.ValueSum, minute, ten, when("gt 10")), []string{"0:9", "50:1", "70:9"}, nil},
		"average":              {testRule("a.b", rule.ValueAvg, minute, ten, when("gte 5"), func(c *rule.Correlate) { c.MinEvents = 3 }), []string{"0:9", "1:1", "2:2", "3:8"}, []string{"raised@3:8/4"}},
		"percentile":           {testRule("a.b", rule.ValuePercentile, minute, ten, when("gt 5"), func(c *rule.Correlate) { c.Percentile = 50 }), []string{"0:1", "1:9", "2:9"}, []string{"raised@2:9/3"}},
		"tumbling":             {testRule("a.b", rule.EventCount, minute, 0, three, windowed(rule.Tumbling)), []string{"50", "55", "61", "62", "63"}, []string{"raised@63/3"}},
		"session":              {testRule("a.b", rule.EventCount, minute, minute, three, windowed(rule.Session)), []string{"0", "50", "100", "300", "370", "400"}, []string{"raised@100/3"}},
		"few in a window":      {testRule("a.b", rule.EventCount, minute, 0, when("lt 3"), windowed(rule.Tumbling)), []string{"0", "1", "2", "70", "+300"}, []string{"raised@+300/1"}},
		"few not yet":          {testRule("a.b", rule.EventCount, minute, 0, when("lt 3"), windowed(rule.Tumbling)), []string{"0", "+110", "1", "2", "+300"}, nil},
		"a range":              {testRule("a.b", rule.EventCount, minute, 0, when("gt 1 lte 2"), windowed(rule.Session)), []string{"0", "1", "100", "101", "102", "+600"}, []string{"raised@+600/2"}},
		"temporal":             {testRule("a.b", rule.Temporal, minute, ten), []string{"0:c", "1:a", "2:a", "50:b"}, []string{"raised@50:b/3"}},
		"temporal, two do":     {testRule("a.b", rule.Temporal, minute, ten, when("gte 2")), []string{"0:c", "1:c", "2:a"}, []string{"raised@2:a/2"}},
		"temporal too slow":    {testRule("a.b", rule.Temporal, minute, ten), []string{"0:c", "1:a", "61:b"}, nil},
		"ordered":              {testRule("a.b", rule.TemporalOrdered, minute, ten), []string{"0:c", "1:a", "2:b", "3:a", "4:c"}, []string{"raised@4:c/3"}},
		"not in order":         {testRule("a.b", rule.TemporalOrdered, minute, ten), []string{"0:b", "1:a", "2:c"}, nil},
		"ordered, late":        {testRule("a.b", rule.TemporalOrdered, minute, ten), []string{"0:a", "2:c", "1:b"}, []string{"raised@1:b/3"}},
		"absent":               {testRule("a.b", rule.Absence, minute, ten), []string{"0:a", "+119", "+121"}, []string{"raised@+121/1"}},
		"present":              {testRule("a.b", rule.Absence, minute, ten), []string{"0:a", "30:b", "31:b", "+400"}, nil},
		"absent at last":       {testRule("a.b", rule.Absence, minute, ten), []string{"0:a", "30:b", "31:a"}, []string{"raised@end/1"}},
		"too late a presence":  {testRule("a.b", rule.Absence, minute, ten), []string{"0:a", "+125", "30:b"}, []string{"raised@+125/1", "retracted@30:b/1"}},
		"new value":            {testRule("a.b", rule.NewValue, 30*24*time.Hour, minute, func(c *rule.Correlate) { c.Learning = time.Hour }), []string{"0:x", "10:y", "3600:x", "3700:z", "3900:z"}, []string{"raised@3700:z/1"}},
		"forgotten value":      {testRule("a.b", rule.NewValue, time.Hour, minute), []string{"0:x", "3000:x", "7000:x"}, []string{"raised@0:x/1", "raised@7000:x/1"}},
		"chain":                {testRule("a.b", rule.Chain, minute, ten), []string{"0:b", "1:a", "2:b"}, []string{"raised@2:b/2"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, feed(t, tc.r, tc.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// crowd feeds n groups one event each, a second apart.
func crowd(c *Correlator, rule string, n int) {
	for i := range n {
		sig := signal(rule, "group-"+strconv.Itoa(i), int64(i)*1000, i, "")
		c.Add(&sig, func(finding.Alert) {})
		c.Ticks([]Tick{{Source: "s", Clock: sig.Time, At: sig.Received}}, func(finding.Alert) {})
	}
}

func TestGroupsAreBounded(t *testing.T) {
	r := testRule("t.count", rule.EventCount, time.Hour, time.Hour, when("gte 2"))
	c := New([]*rule.Rule{r}, quiet)
	c.SetLimits(Limits{Groups: 100, Bytes: 1 << 30, Events: 100})
	crowd(c, r.ID, 1000)
	if st := c.Stats(); st.Groups != 100 || st.Evicted != 900 || c.Rules()[r.ID].Evicted != 900 {
		t.Errorf("%+v", st)
	}
	c = New([]*rule.Rule{r}, quiet)
	c.SetLimits(Limits{Groups: 1000, Bytes: 20_000, Events: 100})
	crowd(c, r.ID, 1000)
	// The last group's first event comes on top.
	if st := c.Stats(); st.Bytes > 20_000+2*seenBytes || st.Groups < 50 || st.Evicted+uint64(st.Groups) != 1000 {
		t.Errorf("%+v", st)
	}
}

func TestGroupsExpire(t *testing.T) {
	r := testRule("t.count", rule.EventCount, minute, minute, when("gte 2"))
	c := New([]*rule.Rule{r}, quiet)
	crowd(c, r.ID, 10_000)
	if st := c.Stats(); st.Groups > 300 || st.Evicted != 0 || st.Bytes > 100_000 {
		t.Errorf("%+v", st)
	}
}

// A group that is flooded keeps what a window needs and no more.
func TestEventsAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		r   *rule.Rule
		cut bool
	}{
		"one value":  {testRule("t.r", rule.ValueCount, time.Hour, time.Hour, when("gte 3")), false},
		"one step":   {testRule("t.r", rule.Temporal, time.Hour, time.Hour), false},
		"low sum":    {testRule("t.r", rule.ValueSum, time.Hour, time.Hour, when("gt 1e9")), true},
		"in alert":   {testRule("t.r", rule.EventCount, time.Hour, time.Hour, when("gte 3")), false},
		"tumbling":   {testRule("t.r", rule.ValueSum, time.Hour, time.Hour, when("gt 1e9"), windowed(rule.Tumbling)), false},
		"simple":     {testRule("t.r", "", 0, time.Hour), false},
		"rate":       {testRule("t.r", rule.RateAnomaly, time.Hour, time.Hour, when("gt 5"), func(c *rule.Correlate) { c.Baseline = 8 * time.Hour }), false},
		"new values": {testRule("t.r", rule.NewValue, time.Hour, time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := New([]*rule.Rule{tc.r}, quiet)
			c.SetLimits(Limits{Groups: 10, Bytes: 1 << 30, Events: 500})
			for i := range 20_000 {
				sig := signal(tc.r.ID, "g", int64(i), i, "v")
				sig.Number = 1
				c.Add(&sig, func(finding.Alert) {})
			}
			var total int64
			c.Flush(func(a finding.Alert) { total = a.Count })
			st := c.Stats()
			if st.Bytes > 60_000 || (st.Cut > 0) != tc.cut {
				t.Errorf("%+v", st)
			}
			if want := int64(20_000); (name == "in alert" || name == "simple") && total != want {
				t.Errorf("%d events of %d were counted", total, want)
			}
		})
	}
}

func TestSetRulesKeepsStateThatStillMeansTheSame(t *testing.T) {
	r := testRule("t.count", rule.EventCount, minute, minute, when("gte 2"))
	c := New([]*rule.Rule{r}, quiet)
	add := func(n int) (out int) {
		sig := signal("t.count", "g", int64(n)*1000, n, "")
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
	c.SetRules([]*rule.Rule{testRule("t.count", rule.EventCount, minute, minute, when("gte 3"))})
	if c.Stats().Groups != 0 {
		t.Error("a new threshold kept the state")
	}
}

// A source with a clock far ahead does not end the windows of others, and one
// that is idle holds nobody back.
func TestWatermark(t *testing.T) {
	r := testRule("a.b", rule.Absence, minute, minute)
	r.Correlate.Lateness = 0
	run := func(ticks ...Tick) (out int) {
		c := New([]*rule.Rule{r}, quiet)
		emit := func(finding.Alert) { out++ }
		sig := signal(r.ID, "g", 0, 0, "")
		c.Add(&sig, emit)
		for _, x := range ticks {
			c.Ticks([]Tick{x}, emit)
		}
		return out
	}
	second := func(n int64) int64 { return n * 1000 }
	for name, tc := range map[string]struct {
		ticks []Tick
		want  int
	}{
		"in time":         {[]Tick{{Source: "s", Clock: second(50), At: second(50)}}, 0},
		"over":            {[]Tick{{Source: "s", Clock: second(61), At: second(61)}}, 1},
		"clock ahead":     {[]Tick{{Source: "s", Clock: second(9999), At: second(50)}}, 0},
		"another is slow": {[]Tick{{Source: "t", Clock: second(5), At: second(40)}, {Source: "s", Clock: second(100), At: second(100)}}, 0},
		"another is idle": {[]Tick{{Source: "t", Clock: second(5), At: second(40)}, {Source: "s", Clock: second(400), At: second(400)}}, 1},
	} {
		if got := run(tc.ticks...); got != tc.want {
			t.Errorf("%s: %d alerts, want %d", name, got, tc.want)
		}
	}
}

// Alerts that a chain took may move and may be retracted.
func TestChainFollowsItsAlerts(t *testing.T) {
	r := testRule("t.chain", rule.Chain, minute, ten)
	c := New([]*rule.Rule{r}, quiet)
	var got []string
	add := func(step, n int, ms int64, retracted bool) {
		sig := signal(r.ID, "g", ms, n, "")
		sig.Step, sig.Retracted, sig.Family = step, retracted, ofAlerts
		c.Add(&sig, func(a finding.Alert) { got = append(got, fmt.Sprintf("%s %d", a.Status, a.LastSeen.UnixMilli())) })
	}
	add(0, 1, 1000, false)
	add(1, 2, 2000, false)
	add(1, 2, 2500, false) // the same alert, which fired later as is now known
	add(1, 2, 2500, false)
	add(0, 1, 1000, true)
	add(0, 1, 1000, false)
	if diff := cmp.Diff([]string{"raised 2000", "retracted 2000", "raised 2500"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestManyValuesAreEstimated(t *testing.T) {
	v := &values{}
	for i := range 50_000 {
		v.add(hashOf(1, strconv.Itoa(i), false))
		if n := int64(i + 1); n <= maxExact && v.count() != n {
			t.Fatalf("%d values counted as %d", n, v.count())
		}
	}
	if n := v.count(); !v.estimated() || n < 47_000 || n > 53_000 {
		t.Errorf("50000 values counted as %d", n)
	}
}

func FuzzLoad(f *testing.F) {
	rules := shapes()
	r := rand.New(rand.NewPCG(1, 1))
	c := New(rules, quiet)
	list := schedule(r, history(r, rules, 30), 1000)
	for i := range list {
		if list[i].tick == nil {
			c.Add(&list[i].sig, func(finding.Alert) {})
		}
	}
	good, err := c.Save(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{formatVersion, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New(rules, quiet)
		if c.Load(data) != nil {
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
	})
}

// A block of an instance that was killed comes after many later ones, while the
// clocks wait for it: an absence is seen all the same.
func TestAbsenceOfAnEventThatComesLongAfterOthers(t *testing.T) {
	r := testRule("absent", rule.Absence, 30*time.Second, 2*minute)
	times := []int64{97_400, 184_060, 190_580, 202_718, 309_440, 399_100}
	steps := []int{0, 1, 0, 0, 0, 1}
	run := func(order []int) map[string]int64 {
		last := map[string]int64{}
		emit := func(a finding.Alert) { last[a.UID] = a.Count }
		c := New([]*rule.Rule{r}, quiet)
		for _, i := range order {
			s := signal("absent", "g", times[i], i, "")
			s.Step = steps[i]
			c.Add(&s, emit)
		}
		c.Flush(emit)
		return last
	}
	want := run([]int{0, 1, 2, 3, 4, 5})
	if len(want) != 2 {
		t.Errorf("in order: %v", want)
	}
	for _, order := range [][]int{{1, 2, 3, 4, 5, 0}, {2, 1, 3, 4, 5, 0}, {5, 4, 3, 2, 1, 0}} {
		if diff := cmp.Diff(want, run(order)); diff != "" {
			t.Errorf("order %v (-in order +so):\n%s", order, diff)
		}
	}
}
