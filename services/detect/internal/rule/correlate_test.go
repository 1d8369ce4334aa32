package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// correlation makes a rule around the lines of `correlate`; with own it has a
// condition of its own.
func correlation(id string, own bool, lines ...string) string {
	s := "id: " + id + "\ntitle: T\ndescription: D\nlevel: high\nstatus: test\n"
	if own {
		s += "source: {family: ai}\nwhen: tool.name == \"x\"\n"
	}
	s += "correlate:\n"
	for _, l := range lines {
		s += "  " + l + "\n"
	}
	return s + "alert: {title: \"{count}\", entity: {type: user, path: actor.user.name}}\n"
}

const steps = `steps: [{name: a, source: {family: ai}, when: tool.name == "a"}, {name: b, source: {family: network}, when: 'http_request.path == "/b"'}]`

func TestCorrelations(t *testing.T) {
	for name, tc := range map[string]struct {
		own   bool
		lines []string
		want  string // of the model, or of the first problem
	}{
		"event_count":   {true, []string{"type: event_count", "group_by: actor.user.name", "timespan: 5m", "condition: {gt: 4}"}, "event_count gt 4 within 5m0s; sliding; 5m0s late"},
		"ended":         {true, []string{"type: event_count", "group_by: []", "timespan: 5s", "condition: {lt: 4}"}, "event_count lt 4 within 5s; tumbling; 1m0s late"},
		"range":         {true, []string{"type: value_count", "window: session", "field: [tool.name, ai_agent.uid]", "group_by: actor.user.name", "timespan: 1h", "lateness: 0s", "condition: {gt: 100, lte: 200}"}, "value_count gt 100 and lte 200 within 1h0m0s; session; 0s late"},
		"sum":           {true, []string{"type: value_sum", "field: ai.cost", "group_by: actor.user.name", "timespan: 1h", "condition: {gte: 12.5}"}, "value_sum gte 12.5 within 1h0m0s; sliding; 10m0s late"},
		"percentile":    {true, []string{"type: value_percentile", "percentile: 95", "min_events: 20", "field: duration", "group_by: actor.user.name", "timespan: 1h", "condition: {gt: 9}"}, "value_percentile gt 9 within 1h0m0s; sliding; 10m0s late"},
		"temporal":      {false, []string{"type: temporal", steps, "group_by: actor.user.name", "timespan: 1h"}, "temporal within 1h0m0s; sliding; 10m0s late"},
		"ordered":       {false, []string{"type: temporal_ordered", steps, "group_by: who", "aliases: {who: {a: actor.user.name, b: actor.user.uid}}", "timespan: 1h"}, "temporal_ordered within 1h0m0s; sliding; 10m0s late"},
		"absence":       {false, []string{"type: absence", steps, "group_by: []", "timespan: 1m"}, "absence within 1m0s; sliding; 1m0s late"},
		"new_value":     {true, []string{"type: new_value", "field: tool.name", "group_by: ai_agent.uid", "timespan: 30d", "learning: 3d"}, "new_value within 720h0m0s; sliding; 10m0s late"},
		"rate":          {true, []string{"type: rate_anomaly", "season: hour_of_week", "group_by: actor.user.name", "timespan: 1h", "condition: {gte: 6}", "min_value: 100"}, "rate_anomaly gte 6 within 1h0m0s; sliding; 10m0s late"},
		"chain":         {false, []string{"type: chain", "rules: [t.a, t.b]", "group_by: actor.user.name", "timespan: 1h"}, "chain within 1h0m0s; sliding; 10m0s late"},
		"unknown type":  {true, []string{"type: event_cuont", "group_by: []", "timespan: 1h"}, "did you mean event_count?"},
		"steps and own": {true, []string{"type: temporal", steps, "group_by: []", "timespan: 1m"}, "make it a step"},
		"one step":      {false, []string{"type: temporal", "rules: a.b", "group_by: []", "timespan: 1m"}, "takes 2 to 16 rules or steps, not 1"},
		"no steps":      {true, []string{"type: absence", "group_by: []", "timespan: 1m"}, "absence correlates rules or steps"},
		"twice":         {false, []string{"type: temporal", "rules: [a.b, a.b]", "group_by: []", "timespan: 1m"}, "step a.b is there twice"},
		"sliding lt":    {true, []string{"type: event_count", "window: sliding", "group_by: []", "timespan: 1m", "condition: {lt: 4}"}, "judged when a window ends"},
		"text is no sum": {true, []string{"type: value_sum", "field: tool.name", "group_by: []", "timespan: 1m", "condition: {gt: 4}"},
			"calculates with numbers, and tool.name is a keyword"},
		"alias of nothing": {false, []string{"type: temporal", steps, "group_by: who", "aliases: {who: {a: actor.user.name}}", "timespan: 1h"}, "alias who lacks the field of step b"},
		"alias of a step":  {false, []string{"type: temporal", steps, "group_by: who", "aliases: {who: {a: actor.user.name, bb: actor.user.uid}}", "timespan: 1h"}, "there is no step bb: did you mean b?"},
		"alias is a field": {false, []string{"type: temporal", steps, "group_by: tool.name", "aliases: {tool.name: {a: actor.user.name, b: actor.user.uid}}", "timespan: 1h"}, "has the name of a field"},
		"alias unused":     {false, []string{"type: temporal", steps, "group_by: actor.user.name", "aliases: {who: {a: actor.user.name, b: actor.user.uid}}", "timespan: 1h"}, "alias who is not used"},
		"step's condition": {false, []string{"type: temporal", `steps: [{name: a, source: {family: ai}, when: tool.nam == "a"}, {name: b, rule: a.b}]`, "group_by: []", "timespan: 1h"}, "8:49: error: unknown field tool.nam: did you mean tool.name?"},
		"chain of steps":   {false, []string{"type: chain", steps, "group_by: []", "timespan: 1m"}, "chain correlates the alerts of other rules"},
		"not percentile":   {true, []string{"type: value_count", "percentile: 5", "field: tool.name", "group_by: []", "timespan: 1m", "condition: {gt: 4}"}, "percentile belongs to value_percentile"},
		"season":           {true, []string{"type: rate_anomaly", "season: hour_of_week", "group_by: []", "timespan: 17m", "condition: {gt: 4}"}, "must divide a week"},
		"keys of unmapped": {true, []string{"type: value_count", "field: [unmapped.Target, 'unmapped[\"Some Key\"]']", "group_by: unmapped.who.sid", "timespan: 1m", "condition: {gt: 4}"}, "value_count gt 4 within 1m0s"},
		"sum of a key":     {true, []string{"type: value_sum", "field: unmapped.Bytes", "group_by: [actor.user.name, unmapped.Host]", "timespan: 1m", "condition: {gt: 4}"}, "value_sum gt 4 within 1m0s"},
		"no key":           {true, []string{"type: event_count", "group_by: 'unmapped[Some Key]'", "timespan: 1m", "condition: {gt: 4}"}, "write a key of unmapped as unmapped.Name or"},
		"alias of a key":   {false, []string{"type: temporal", steps, "group_by: who", "aliases: {who: {a: unmapped.Sid, b: actor.user.uid}}", "timespan: 1h"}, "temporal within 1h0m0s"},
		"too long":         {true, []string{"type: event_count", "group_by: []", "timespan: 8d", "condition: {gt: 4}"}, "timespan is at most 7d"},
	} {
		t.Run(name, func(t *testing.T) {
			r, problems := Load("rules/t/x.yml", []byte(correlation("t.x", tc.own, tc.lines...)))
			var got []string
			for _, p := range problems {
				if !p.Warning {
					got = append(got, p.String())
				}
			}
			if r != nil {
				c := r.Correlate
				got = append(got, c.String()+"; "+c.Window+"; "+c.Lateness.String()+" late")
			}
			if !strings.Contains(strings.Join(got, "\n"), tc.want) {
				t.Errorf("got\n%s\nwant …%s…", strings.Join(got, "\n"), tc.want)
			}
		})
	}
}

func load(t *testing.T, files ...string) []*Rule {
	t.Helper()
	var out []*Rule
	for _, f := range files {
		r, problems := Load("rules.yml", []byte(f))
		if r == nil {
			t.Fatal(problems)
		}
		out = append(out, r)
	}
	return out
}

func TestFeeds(t *testing.T) {
	simple := strings.Replace(correlation("t.simple", true), "correlate:\n", "", 1)
	rules := load(t, simple,
		correlation("t.count", true, "type: event_count", "group_by: actor.user.name", "timespan: 5m", "condition: {gt: 4}"),
		correlation("t.mixed", false, "type: temporal", `steps: [{name: s, rule: t.simple}, {name: c, rule: t.count}, {name: own, source: {family: ai}, when: tool.name == "z"}]`,
			"group_by: who", "aliases: {who: {s: actor.user.uid, c: actor.user.name, own: ai_agent.uid}}", "timespan: 1h"),
		correlation("t.quiet", false, "type: value_count", "rules: t.simple", "field: tool.name", "group_by: []", "timespan: 1h", "condition: {gt: 4}", "generate: false"),
		correlation("t.chain", false, "type: chain", "rules: [t.simple, t.mixed]", "group_by: actor.user.name", "timespan: 1h"),
	)
	for _, p := range Link(rules) {
		t.Error(p)
	}
	feeds := NewFeeds(rules)
	var got []string
	show := func(from string, list []Feed) {
		for _, f := range list {
			s := from + " → " + f.Rule.ID + " " + string(rune('0'+f.Step))
			for _, f := range f.Group {
				s += " " + f.Path()
			}
			got = append(got, s)
		}
	}
	for _, r := range Matched(rules) {
		show(r.ID, feeds.Of(r))
	}
	for _, r := range rules {
		show("alert of "+r.ID, feeds.OfAlert(r.ID))
	}
	want := []string{
		"t.simple → t.mixed 0 actor.user.uid", "t.simple → t.quiet 0",
		"t.count → t.count 0 actor.user.name", "t.mixed#own → t.mixed 2 ai_agent.uid",
		"alert of t.simple → t.chain 0 actor.user.name",
		"alert of t.count → t.mixed 1 actor.user.name", "alert of t.mixed → t.chain 1 actor.user.name",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLink(t *testing.T) {
	simple := strings.Replace(correlation("t.simple", true), "correlate:\n", "", 1)
	count := correlation("t.count", true, "type: event_count", "group_by: actor.user.name", "timespan: 5m", "condition: {gt: 4}")
	chain := func(id, rules string) string {
		return correlation(id, false, "type: chain", "rules: ["+rules+"]", "group_by: actor.user.name", "timespan: 1h")
	}
	for name, tc := range map[string]struct {
		files []string
		want  string
	}{
		"unknown":  {[]string{simple, chain("t.a", "t.simpel")}, "8:11: error: correlate: there is no rule t.simpel: did you mean t.simple?"},
		"disabled": {[]string{strings.Replace(simple, "level:", "enabled: false\nlevel:", 1), chain("t.a", "t.simple")}, "rule t.simple is not enabled"},
		"itself":   {[]string{chain("t.a", "t.a")}, "correlates this rule in turn"},
		"circle":   {[]string{chain("t.a", "t.b"), chain("t.b", "t.c"), chain("t.c", "t.a")}, "correlates this rule in turn"},
		"no such field": {[]string{simple, correlation("t.a", false, "type: event_count", "rules: t.simple", "group_by: dns.query", "timespan: 1h", "condition: {gt: 4}")},
			"events of rule t.simple have no field dns.query"},
		"alerts do not tell": {[]string{simple, correlation("t.a", false, "type: chain", "rules: t.simple", "group_by: tool.name", "timespan: 1h")},
			"alerts of rule t.simple do not tell tool.name"},
		"alerts do not tell the value": {[]string{count, correlation("t.a", false, "type: value_sum", "rules: t.count", "field: message_context.total_tokens", "group_by: actor.user.name", "timespan: 1h", "condition: {gt: 4}")},
			"alerts of rule t.count do not tell message_context.total_tokens: add it to its alert.fields"},
		"alerts do not tell what the alert says": {[]string{simple, strings.Replace(chain("t.a", "t.simple"), "{count}", "{tool.name} {actor.user.name}", 1)},
			"8:11: warning: alert: tool.name stays empty, as no alert of the rules that it correlates tells it"},
		"events without the value": {[]string{simple, correlation("t.a", false, "type: value_count", "rules: t.simple", "field: dns.query", "group_by: actor.user.name", "timespan: 1h", "condition: {gt: 4}")},
			"events of rule t.simple have no field dns.query"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range Link(load(t, tc.files...)) {
				got = append(got, p.String())
			}
			if !strings.Contains(strings.Join(got, "\n"), tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestComparisons(t *testing.T) {
	for op, want := range map[string][3]bool{"gte": {false, true, true}, "gt": {false, false, true}, "lte": {true, true, false}, "lt": {true, false, false}, "eq": {false, true, false}, "neq": {true, false, true}} {
		for i, v := range []float64{4, 5, 6} {
			if got := (Comparison{op, 5}).Holds(v); got != want[i] {
				t.Errorf("%g %s 5: %v", v, op, got)
			}
		}
	}
	c := Correlate{Condition: []Comparison{{"gt", 2.5}}, Timespan: time.Minute}
	if c.Count() != 3 {
		t.Errorf("a count above 2.5 is %d", c.Count())
	}
}
