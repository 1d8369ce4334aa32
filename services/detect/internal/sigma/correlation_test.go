package sigma

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

const logons = `title: Refused logon
name: refused
id: 5f0c1c9e-0000-4000-8000-00000000000a
logsource: {product: windows, service: security}
detection: {s: {EventID: 4625}, condition: s}
---
title: Logon
name: logon
id: 5f0c1c9e-0000-4000-8000-00000000000b
logsource: {product: windows, service: security}
detection: {s: {EventID: 4624}, condition: s}
---
title: Process
name: process
id: 5f0c1c9e-0000-4000-8000-00000000000c
logsource: {category: process_creation, product: windows}
detection: {s: {Image|endswith: '\whoami.exe'}, condition: s}
---
`

func correlated(body string) string {
	return logons + "title: Correlation\nid: 5f0c1c9e-0000-4000-8000-0000000000ff\nlevel: high\nstatus: test\n" + body
}

func TestCorrelation(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"event_count": {
			"correlation: {type: event_count, rules: [refused], group-by: [TargetUserName, Computer], timespan: 10m, condition: {gte: 10}}",
			"event_count sliding [refused] [user.name device.hostname] [] 10m0s [{gte 10}] false user user.name",
		},
		"range": {
			"correlation: {type: event_count, rules: [refused], group-by: [Computer], timespan: 1h, condition: {gt: 10, lte: 20}}",
			"event_count tumbling [refused] [device.hostname] [] 1h0m0s [{gt 10} {lte 20}] false host device.hostname",
		},
		"value_count": {
			"correlation: {type: value_count, rules: [5f0c1c9e-0000-4000-8000-00000000000a], group-by: [IpAddress], timespan: 1d, condition: {field: TargetUserName, gte: 5}}\ngenerate: true",
			"value_count sliding [refused] [src_endpoint.ip] [user.name] 24h0m0s [{gte 5}] true ip src_endpoint.ip",
		},
		"value_sum": {
			"correlation: {type: value_sum, rules: [process], group-by: [Computer], timespan: 1h, condition: {field: ProcessId, gt: 1000}}",
			"value_sum sliding [process] [device.hostname] [process.pid] 1h0m0s [{gt 1000}] false host device.hostname",
		},
		"temporal_ordered with aliases": {
			"correlation:\n  type: temporal_ordered\n  rules: [refused, process]\n  aliases: {who: {refused: TargetUserName, process: User}}\n  group-by: [who]\n  timespan: 5m",
			"temporal_ordered sliding [refused process] [who=user.name|actor.user.name] [] 5m0s [] false user event_uid alias who",
		},
		"keys of unmapped": {
			"correlation: {type: value_count, rules: [refused], group-by: [LmPackageName], timespan: 1h, condition: {field: 'Odd Name', gte: 5}}",
			`value_count sliding [refused] [unmapped.LmPackageName] [unmapped["Odd Name"]] 1h0m0s [{gte 5}] false host device.hostname`,
		},
		"one of them": {
			"correlation: {type: temporal, rules: [refused, logon], group-by: [Computer], timespan: 5m, condition: 1 of them}",
			"temporal sliding [refused logon] [device.hostname] [] 5m0s [{gte 1}] false host device.hostname",
		},
		"all of them": {
			"correlation: {type: temporal, rules: [refused, logon], group-by: [Computer], timespan: 5m, condition: all of them}",
			"temporal sliding [refused logon] [device.hostname] [] 5m0s [] false host device.hostname",
		},
		"temporal without group": {
			"correlation: {type: temporal, rules: [refused, logon], timespan: 5m, condition: 'refused and logon'}",
			"temporal sliding [refused logon] [] [] 5m0s [] false host device.hostname",
		},
	} {
		t.Run(name, func(t *testing.T) {
			res := Load([]rule.File{{Name: "c.yml", Data: []byte(correlated(tc.body))}})
			if rule.Failed(res.Problems) || len(res.Rules) != 4 {
				t.Fatal(res.Problems)
			}
			r := res.Rules[3]
			if diff := cmp.Diff(tc.want, describe(r)); diff != "" {
				t.Error(diff)
			}
			back, problems := rule.Load("sigma/x.yml", []byte(strings.Replace(string(rule.Marshal(r)), r.ID, "sigma.x", 1)))
			if back == nil {
				t.Fatalf("its import does not load: %v\n%s", problems, rule.Marshal(r))
			}
			if diff := cmp.Diff(describe(r), describe(back)); diff != "" {
				t.Errorf("its import differs: %s", diff)
			}
		})
	}
}

func describe(r *rule.Rule) string {
	c := r.Correlate
	var steps, groups, fields []string
	for _, s := range c.Steps {
		steps = append(steps, s.Name)
	}
	for _, g := range c.GroupBy {
		if len(g.Fields) == 1 {
			groups = append(groups, g.Name)
			continue
		}
		var cols []string
		for _, id := range g.Fields {
			cols = append(cols, id.Path())
		}
		groups = append(groups, g.Name+"="+strings.Join(cols, "|"))
	}
	for _, id := range c.Field {
		fields = append(fields, id.Path())
	}
	s := fmt.Sprint(c.Type, " ", c.Window, " ", steps, " ", groups, " ", fields, " ", c.Timespan.Round(time.Second), " ", c.Condition, " ", c.Generate, " ", r.Alert.EntityType, " ", event.Columns[r.Alert.EntityPath].Path)
	if r.Alert.EntityAlias != "" {
		s += " alias " + r.Alert.EntityAlias
	}
	return s
}

func TestCorrelationProblems(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"type":        {"correlation: {type: event_sum, rules: [refused], timespan: 1h, condition: {gte: 1}}", "type event_sum is unknown"},
		"rule":        {"correlation: {type: event_count, rules: [nobody], timespan: 1h, condition: {gte: 1}}", "there is no rule nobody in this set"},
		"twice":       {"correlation: {type: temporal, rules: [refused, refused], timespan: 1h}", "is there twice"},
		"timespan":    {"correlation: {type: event_count, rules: [refused], timespan: 1 hour, condition: {gte: 1}}", "timespan 1 hour is not a number and one of s, m, h and d"},
		"long":        {"correlation: {type: event_count, rules: [refused], timespan: 30d, condition: {gte: 1}}", "at most 7d"},
		"condition":   {"correlation: {type: event_count, rules: [refused], timespan: 1h}", "event_count lacks condition"},
		"field":       {"correlation: {type: value_count, rules: [refused], timespan: 1h, condition: {gte: 2}}", "field is for value_count"},
		"no number":   {"correlation: {type: value_sum, rules: [refused], timespan: 1h, condition: {field: TargetUserName, gte: 2}}", "calculates with numbers"},
		"alias":       {"correlation: {type: temporal, rules: [refused, logon], aliases: {u: {refused: TargetUserName}}, group-by: [u], timespan: 1h}", "alias u lacks the field of rule logon"},
		"without":     {"correlation: {type: temporal, rules: [refused, logon], timespan: 1h, condition: refused and not logon}", ":81: error: unsupported: not in a condition over rules; a native rule of type absence"},
		"mixed":       {"correlation: {type: temporal, rules: [refused, logon, process], timespan: 1h, condition: refused and (logon or process)}", "unsupported: a condition over rules that mixes and with or"},
		"or in order": {"correlation: {type: temporal_ordered, rules: [refused, logon], timespan: 1h, condition: refused or logon}", "unsupported: or in a condition of temporal_ordered"},
		"left out":    {"correlation: {type: temporal, rules: [refused, logon, process], timespan: 1h, condition: refused and logon}", "unsupported: rule process is not part of the condition"},
		"misspelt":    {"correlation: {type: temporal, rules: [refused, logon], timespan: 1h, condition: refused and logn}", "there is no search logn: did you mean logon?"},
	} {
		t.Run(name, func(t *testing.T) {
			res := Load([]rule.File{{Name: "c.yml", Data: []byte(correlated(tc.body))}})
			if !strings.Contains(fmt.Sprint(res.Problems), tc.want) {
				t.Errorf("got %v\nwant %s", res.Problems, tc.want)
			}
			if len(res.Rules) != 3 {
				t.Errorf("%d rules load, want the 3 simple ones", len(res.Rules))
			}
		})
	}
}

// TestCorrelationRaises lets events happen and looks at the alerts.
func TestCorrelationRaises(t *testing.T) {
	security := func(after time.Duration, code, user string) rule.TestEvent {
		e := testEvent(event.FamilyIdentity, fields{"class_uid": int64(3002), "source": "microsoft.security", "metadata.event_code": code, "user.name": user, "device.hostname": "pc-1"})
		e.After = after
		return e
	}
	whoami := launched(fields{"process.path": `C:\Windows\System32\whoami.exe`, "actor.user.name": "ada"})
	whoami.After = time.Minute
	count := "correlation: {type: event_count, rules: [refused], group-by: [TargetUserName], timespan: 10m, condition: {gte: 3}}"
	ordered := "correlation:\n  type: temporal_ordered\n  rules: [refused, process]\n  aliases: {who: {refused: TargetUserName, process: User}}\n  group-by: [who]\n  timespan: 5m"
	for name, tc := range map[string]struct {
		body   string
		events []rule.TestEvent
		want   string
	}{
		"three":         {count, []rule.TestEvent{security(0, "4625", "ada"), security(time.Second, "4625", "ada"), security(time.Second, "4625", "ada")}, "user ada"},
		"of two users":  {count, []rule.TestEvent{security(0, "4625", "ada"), security(time.Second, "4625", "bo"), security(time.Second, "4625", "ada")}, ""},
		"too slow":      {count, []rule.TestEvent{security(0, "4625", "ada"), security(6*time.Minute, "4625", "ada"), security(6*time.Minute, "4625", "ada")}, ""},
		"in order":      {ordered, []rule.TestEvent{security(0, "4625", "ada"), whoami}, "user ada"},
		"of two people": {ordered, []rule.TestEvent{security(0, "4625", "bo"), whoami}, ""},
		"not in order":  {ordered, []rule.TestEvent{whoami, security(time.Minute, "4625", "ada")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := Load([]rule.File{{Name: "c.yml", Data: []byte(correlated(tc.body))}})
			if problems := append(res.Problems, rule.Link(res.Rules)...); rule.Failed(problems) {
				t.Fatal(problems)
			}
			out, err := ruletest.Play(res.Rules[3], tc.events, ruletest.Options{Rules: res.Rules})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range out.Alerts {
				got = append(got, a.Entity.Type+" "+a.Entity.Value)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
