package derive_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/detect/internal/author/derive"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

// text is a rule with a condition and, if there is one, a correlation.
func text(when, correlate string) string {
	s := "id: t.x\ntitle: T\ndescription: D\nlevel: high\nstatus: test\n"
	if when != "" {
		s += "source: {family: [host, network, identity, ai], product: [test.one, test.two]}\nwhen: " + strconv.Quote(when) + "\n"
	}
	if correlate != "" {
		s += "correlate: " + correlate + "\n"
	}
	return s + "alert: {title: T, entity: {type: host, path: device.hostname}}\n"
}

func load(t testing.TB, text string) *rule.Rule {
	t.Helper()
	r, problems := rule.Load("t/x.yml", []byte(text))
	if r == nil {
		t.Fatal(problems, text)
	}
	return r
}

// checkWritten runs the tests as they are written into the rule's file.
func checkWritten(t testing.TB, file string, r *rule.Rule, tests []rule.Test) {
	t.Helper()
	own := *r
	own.Tests = tests
	file += string(rule.MarshalTests(&own))
	back := load(t, file)
	if len(back.Tests) != len(tests) {
		t.Fatalf("%d tests are read, want %d\n%s", len(back.Tests), len(tests), file)
	}
	for _, res := range ruletest.Run(back, ruletest.Options{}) {
		if !res.OK {
			t.Errorf("%s: %s\n%s", res.Test, res.Message, file)
		}
	}
}

func TestConditions(t *testing.T) {
	for name, when := range map[string]string{
		"equal":                   `process.name == "a"`,
		"one address":             `cidr(src_endpoint.ip, "203.0.113.7/32") and process.name == "a"`,
		"one address of six":      `cidr(src_endpoint.ip, "2001:db8::7/128")`,
		"one of":                  `iin(process.name, ["a", "b"])`,
		"parts":                   `process.path startsWith "/usr/" and process.path endsWith "/sh" and icontains_all(process.path, "x1", "x2")`,
		"wildcard":                `iwildcard(process.path, "*\\a?b*c*")`,
		"pattern":                 `process.cmd_line matches "(?i)^(curl|wget)\\s+-[a-z]{2,}\\s.*https?://[^/]+/\\d+$"`,
		"repeated":                `process.cmd_line matches "[A-Za-z0-9+/]{120}"`,
		"numbers":                 `dst_endpoint.port in [22, 2222] and http_response.code >= 500 and dst_endpoint.port != 22`,
		"digits":                  `startsWith_any(text(dst_endpoint.port), "44")`,
		"truth":                   `ai.stream and not exists(tool.name)`,
		"address":                 `cidr(src_endpoint.ip, "192.0.2.0/24")`,
		"not that address":        `exists(src_endpoint.ip) and not cidr(src_endpoint.ip, "203.0.113.0/24")`,
		"address as text":         `src_endpoint.ip startsWith "10."`,
		"key":                     `unmapped.Ticket == "0x1" and unmapped["Some Key"] contains "b"`,
		"anywhere":                `icontains(event.text, "mimikatz") and any(event.text, # matches "sek[a-z]+::logon")`,
		"list":                    `"admin" in actor.user.groups and any(metadata.labels, # startsWith "x-")`,
		"every element":           `all(metadata.labels, # startsWith "x-") and count(metadata.labels, # contains "1") >= 2`,
		"an element that differs": `any(metadata.labels, # != "x")`,
		"score":                   `scores.prompt_attack > 0.8 and scores["pii"] < 0.1`,
		"same":                    `exists(process.name) and process.name == actor.process.name`,
		"not the same":            `exists(unmapped.Parent) and exists(actor.user.name) and not ieq(actor.user.name, unmapped.Parent)`,
		"filter":                  `icontains(process.cmd_line, "-enc") and not (process.parent_process.path endsWith "/ours" or process.name == "good")`,
		"around the filter":       `file.path endsWith "/nsswitch.conf" and not (file.path in ["/etc/nsswitch.conf", "/nsswitch.conf"])`,
		"branch that is closed":   `(process.name == "a" and process.path == "p" or process.name == "b") and process.path == "q"`,
		"absent":                  `not exists(process.path) and process.name == "a"`,
	} {
		t.Run(name, func(t *testing.T) {
			file := text(when, "")
			r := load(t, file)
			tests, why := derive.Tests(r, nil)
			if why != "" || len(tests) != 2 {
				t.Fatalf("%d tests, %s", len(tests), why)
			}
			checkWritten(t, file, r, tests)
		})
	}
}

func TestCorrelations(t *testing.T) {
	const steps = `steps: [{name: a, source: {family: ai}, when: tool.name == "a"}, {name: b, source: {family: network}, when: 'http_request.path == "/b"'}]`
	for name, tc := range map[string]struct{ when, correlate string }{
		"event_count":      {`process.name == "a"`, `{type: event_count, group_by: [device.hostname, unmapped.K], timespan: 1m, condition: {gte: 5}}`},
		"few":              {`process.name == "a"`, `{type: event_count, group_by: device.hostname, timespan: 1m, condition: {lt: 3}}`},
		"value_count":      {`process.name == "a"`, `{type: value_count, field: src_endpoint.ip, group_by: device.hostname, timespan: 5m, condition: {gt: 3}}`},
		"ports":            {`process.name == "a"`, `{type: value_count, field: dst_endpoint.port, group_by: device.hostname, timespan: 5m, condition: {gte: 3}}`},
		"value_sum":        {`process.name == "a"`, `{type: value_sum, field: traffic.bytes_out, group_by: device.hostname, timespan: 5m, condition: {gt: 1000}}`},
		"sum of a key":     {`process.name == "a"`, `{type: value_sum, field: unmapped.Bytes, group_by: device.hostname, timespan: 5m, condition: {gt: 1000}}`},
		"value_avg":        {`process.name == "a"`, `{type: value_avg, field: traffic.bytes_out, min_events: 3, group_by: device.hostname, timespan: 5m, condition: {gt: 10}}`},
		"temporal":         {"", `{type: temporal, ` + steps + `, group_by: actor.user.name, timespan: 5m}`},
		"temporal_ordered": {"", `{type: temporal_ordered, ` + steps + `, group_by: who, aliases: {who: {a: actor.user.name, b: actor.user.uid}}, timespan: 5s}`},
	} {
		t.Run(name, func(t *testing.T) {
			file := text(tc.when, tc.correlate)
			if strings.Contains(tc.correlate, "who") {
				file = strings.Replace(file, "{type: host, path: device.hostname}", "{type: user, path: who}", 1)
			}
			r := load(t, file)
			tests, why := derive.Tests(r, nil)
			if why != "" || len(tests) != 2 {
				t.Fatalf("%d tests, %s", len(tests), why)
			}
			checkWritten(t, file, r, tests)
		})
	}
}

// TestMissing: what cannot be derived is said, and nothing is made up.
func TestMissing(t *testing.T) {
	for name, tc := range map[string]struct{ when, correlate, want string }{
		"contradiction": {`process.name == "a" and process.name matches "^b"`, "", "no event was found that the condition fits"},
		"machine":       {`len(process.name) == 7 and process.name != ""`, "", "virtual machine"},
		"new value":     {`process.name == "a"`, `{type: new_value, field: process.path, group_by: device.hostname, timespan: 9d}`, "tests of new_value are not derived"},
	} {
		t.Run(name, func(t *testing.T) {
			if tests, why := derive.Tests(load(t, text(tc.when, tc.correlate)), nil); len(tests) != 0 || !strings.Contains(why, tc.want) {
				t.Errorf("%d tests, %q", len(tests), why)
			}
		})
	}
}

// FuzzTests: whatever the condition, what is derived holds as it is written.
func FuzzTests(f *testing.F) {
	for _, s := range []string{`process.name == "a{n}\x01"`, `iwildcard(process.path, "*a?\\*")`, `unmapped["k\"\\"] contains "é<&>"`, `process.pid > 5 or process.cmd_line matches "\\bx\\B[^\\n]+$"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, when string) {
		if len(when) > 2000 {
			return
		}
		file := text(when, "")
		r, _ := rule.Load("t/x.yml", []byte(file))
		if r == nil {
			return
		}
		tests, _ := derive.Tests(r, nil)
		checkWritten(t, file, r, tests)
	})
}
