package rule

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

const good = `id: ai-gateway.example
title: Example
description: An example.
level: high
status: test
lane: enforce
tags: [atlas.aml.t0051, attack.t1059.001]
source: {class: http_activity, product: nginx.access}
when: |
  http_response.code == 401
  and http_request.path startsWith "/v1/"
correlate: {type: value_count, group_by: [src_endpoint.ip], field: ai_model.name, timespan: 5m, condition: {gt: 4}}
alert:
  title: "{src_endpoint.ip}: {{value}} {value}"
  entity: {type: ip, path: src_endpoint.ip}
  fields: [http_request.path]
exceptions:
  - {when: 'src_endpoint.ip == "192.0.2.1"', reason: scanner, owner: sec@example.com, expires: 2027-01-31}
tests:
  - name: one
    events:
      - {after: 1s, repeat: 5, src_endpoint: {ip: "192.0.2.{n}"}, http_response.code: 401, http_request: {path: /v1/x}}
    expect: {alerts: 1, entity: 192.0.2.5}
`

func TestLoad(t *testing.T) {
	r, problems := Load("rules/ai-gateway/example.yml", []byte(good))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if r.Correlate.Count() != 5 || r.Correlate.Field[0] != (lang.Field{Col: event.AIModelName}) || r.Alert.Suppress != 10*time.Minute || r.Lane != "enforce" {
		t.Errorf("%+v %+v", r.Correlate, r.Alert)
	}
	if got := r.Alert.Title.Fill(func(n string) string { return n + "!" }); got != "src_endpoint.ip!: {value}} value!" {
		t.Errorf("title %q", got)
	}
	e := r.Tests[0].Events[0]
	if e.Family != event.FamilyNetwork || e.Repeat != 5 || len(e.Fields) != 5 {
		t.Errorf("%+v", e)
	}
	if r.Exceptions[0].Expires.Format(time.DateOnly) != "2027-01-31" {
		t.Errorf("%+v", r.Exceptions[0])
	}
}

func TestProblems(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"unknown key":            {"level: high", "levle: high", "4:1: error: unknown key levle in the rule: did you mean level?"},
		"missing key":            {"title: Example\n", "", "1:1: error: the rule lacks title"},
		"level":                  {"level: high", "level: hgh", "4:8: error: level hgh is unknown: did you mean high?"},
		"id and file":            {"id: ai-gateway.example", "id: ai-gateway.other", "does not agree with the file name"},
		"tag":                    {"atlas.aml.t0051,", "atlas.aml.t9051,", "7:8: error: tag atlas.aml.t9051: unknown id"},
		"class":                  {"class: http_activity", "class: http_activty", "did you mean http_activity?"},
		"block expression":       {"http_response.code ==", "http_response.kode ==", "10:3: error: unknown field http_response.kode: did you mean http_response.code?"},
		"second line":            {`http_request.path startsWith`, `http_request.paht startsWith`, "11:7: error: unknown field http_request.paht: did you mean http_request.path?"},
		"type":                   {"== 401", `== "401"`, "10:22: error: invalid operation: == (mismatched types int and string)"},
		"quoted expression":      {`src_endpoint.ip == "192.0.2.1"'`, `src_endpoint.ipp == "192.0.2.1"'`, "18:13: error: unknown field src_endpoint.ipp"},
		"group_by":               {"[src_endpoint.ip]", "[src_endpoint.ipp]", "group_by: unknown field src_endpoint.ipp"},
		"value_count field":      {", field: ai_model.name", "", "value_count lacks field"},
		"event_count field":      {"value_count,", "event_count,", "event_count takes no field"},
		"condition":              {"{gt: 4}", "{lte: 4.5}", "is a whole number"},
		"timespan":               {"timespan: 5m", "timespan: 30d", "at most 7d"},
		"duration":               {"timespan: 5m", "timespan: 5 minutes", "is not a duration"},
		"template":               {"{{value}} {value}", "{valeu}", "unknown field {valeu}: did you mean value?"},
		"entity":                 {"type: ip, path", "type: adress, path", "entity type adress is unknown"},
		"expires":                {"expires: 2027-01-31", "expires: soon", "expires must be a day"},
		"test field":             {"http_response.code: 401", "http_response.cod: 401", "unknown field http_response.cod: did you mean http_response.code?"},
		"test type":              {"http_response.code: 401", "http_response.code: many", "http_response.code takes a whole number (u16)"},
		"test address":           {"192.0.2.{n}", "192.0.2.{m}", "is not an address"},
		"number for text":        {"title: Example", "title: 12", "2:8: error: title must be a text"},
		"alias":                  {"status: test", "status: *x", "error"},
		"tab":                    {"status: test", "\tstatus: test", "error"},
		"repeated key":           {"status: test", "status: test\nstatus: test", "status"},
		"family without a field": {"product: nginx.access", "family: host", "does not occur in the famil"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("%q is not in the rule", tc.old)
			}
			r, problems := Load("rules/ai-gateway/example.yml", []byte(strings.Replace(good, tc.old, tc.new, 1)))
			var all []string
			for _, p := range problems {
				all = append(all, p.String())
			}
			if r != nil || !strings.Contains(strings.Join(all, "\n"), tc.want) {
				t.Errorf("got rule %v and\n%s\nwant …%s…", r != nil, strings.Join(all, "\n"), tc.want)
			}
		})
	}
}

func TestLoadFS(t *testing.T) {
	fsys := fstest.MapFS{
		"r/ai-gateway/example.yml": {Data: []byte(good)},
		"r/ai-gateway/bad.yml":     {Data: []byte("id: [")},
		"r/_template/x.yml":        {Data: []byte("nonsense")},
		"r/ai-gateway/README.md":   {Data: []byte("x")},
		"r/ai-gateway/old.yaml":    {Data: []byte(good)},
		"r/x/ai-gateway/example.yml": {
			Data: []byte(good)},
	}
	rules, problems, err := LoadFS(fsys, "r", "")
	if err != nil || len(rules) != 1 || len(problems) != 3 {
		t.Errorf("%v %v %v", err, rules, problems)
	}
}

// Who makes one mistake reads one problem, which says what to do.
func TestOneMistakeIsOneProblem(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"misspelt and required": {"title: Example", "titel: Example", "2:1: error: unknown key titel in the rule: did you mean title?"},
		"Panther's severity":    {"level: high", "severity: high", "4:1: error: unknown key severity in the rule: did you mean level?"},
		"Sigma's timeframe":     {"timespan: 5m", "timeframe: 5m", "12:83: error: unknown key timeframe in correlate: did you mean timespan?"},
		"no unit":               {"timespan: 5m", "timespan: 5", "12:93: error: timespan 5 lacks a unit: 30s, 5m, 2h or 7d"},
		"no duration":           {"timespan: 5m", "timespan: 5x", "12:93: error: timespan 5x is not a duration such as 30s, 5m, 2h or 7d"},
		"far too long":          {"timespan: 5m", "timespan: 99999999999999999999d", "12:93: error: timespan 99999999999999999999d is not a duration such as 30s, 5m, 2h or 7d"},
		"a text as threshold":   {"{gt: 4}", "{gt: four}", "12:113: error: gt must be a number"},
		"unknown comparison":    {"{gt: 4}", "{gtt: 4}", "12:109: error: unknown key gtt in condition: did you mean gt?"},
		"no such range":         {"{gt: 4}", "{gt: 4, lt: 5}", "12:109: error: no count fits the condition (a group is there from its first event on; what does not happen is an absence)"},
		"fewer than one":        {"{gt: 4}", "{lt: 1}", "12:109: error: no count fits the condition (a group is there from its first event on; what does not happen is an absence)"},
		"misspelt field":        {"field: ai", "feild: ai", "12:61: error: unknown key feild in correlate: did you mean field?"},
		"Wazuh's threshold":     {"condition: {gt", "threshold: {gt", "12:97: error: unknown key threshold in correlate: did you mean condition?"},
		"Sigma's logsource":     {"source: {", "logsource: {", "8:1: error: unknown key logsource in the rule: did you mean source?"},
		"misspelt when":         {"when: |", "wen: |", "9:1: error: unknown key wen in the rule: did you mean when?"},
		"tab":                   {"\n  title:", "\n\ttitle:", "14:1: error: found character '\t' that cannot start any token: the line is indented by a tab, and YAML takes blanks alone"},
		"second document":       {"tests:\n", "---\ntests:\n", "19:1: error: a rule file holds exactly one document: put the others into files of their own"},
		"a text for a number":   {"http_response.code: 401", "http_response.code: many", "22:87: error: http_response.code takes a whole number (u16)"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("%q is not in the rule", tc.old)
			}
			_, problems := Load("ai-gateway/example.yml", []byte(strings.Replace(good, tc.old, tc.new, 1)))
			var got []string
			for _, p := range problems {
				got = append(got, strings.TrimPrefix(p.String(), "ai-gateway/example.yml:"))
			}
			if diff := cmp.Diff([]string{tc.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A folder of rules may hold anything: a pipe without a writer, a device, what is
// far too large.
func TestReadFile(t *testing.T) {
	fsys := fstest.MapFS{
		"sound.yml":  {Data: []byte(good)},
		"marked.yml": {Data: []byte("\ufeff" + good)},
		"pipe.yml":   {Mode: fs.ModeNamedPipe},
		"device.yml": {Mode: fs.ModeDevice | fs.ModeCharDevice},
		"folder.yml": {Mode: fs.ModeDir},
		"large.yml":  {Data: make([]byte, maxFile+1)},
	}
	for name, want := range map[string]string{
		"sound.yml": "", "marked.yml": "", "pipe.yml": "is no regular file", "device.yml": "is no regular file", "folder.yml": "is no regular file",
		"large.yml": "file has 2097153 bytes, at most 2097152 are allowed", "none.yml": "cannot be read: file does not exist",
	} {
		data, err := ReadFile(fsys, name)
		if want == "" && (err != nil || string(data) != good) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %d bytes, %v, want %q", name, len(data), err, want)
		}
	}
	if _, err := Read(strings.NewReader(strings.Repeat("#", maxFile+1))); err == nil {
		t.Error("what grows is read to the end")
	}
	if r, problems := Load("rules/ai-gateway/example.yml", []byte("\ufeff"+good)); r == nil || len(problems) > 0 {
		t.Errorf("with a byte order mark: %v", problems)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("when: >\n  a\n\n   b\n"))
	f.Add([]byte("- a\n- {b: c}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, problems := Load("rules/ai-gateway/example.yml", data)
		if r == nil && !Failed(problems) {
			t.Fatal("no rule and no problem")
		}
	})
}
