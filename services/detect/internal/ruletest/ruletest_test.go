package ruletest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

const head = `id: web.refused
title: Refused
description: Refused.
level: medium
status: test
source: {class: http_activity, product: nginx.access}
when: http_response.code == 401 and exists(src_endpoint.ip)
correlate: {type: event_count, group_by: [src_endpoint.ip], timespan: 1m, condition: {gte: 3}}
alert:
  title: "{src_endpoint.ip} was refused {count} times"
  entity: {type: ip, path: src_endpoint.ip}
  fields: [http_request.path]
tests:
`

func load(t *testing.T, tests string) *rule.Rule {
	t.Helper()
	r, problems := rule.Load("web/refused.yml", []byte(head+tests))
	if r == nil {
		t.Fatal(problems)
	}
	return r
}

// normalize maps a line to a refusal by the address that it names, a second
// after the one before.
func normalize(source string, data []byte, received int64, emit func([]byte) error) error {
	b := block.NewBuilder(event.FamilyNetwork)
	for i, line := range strings.Fields(string(data)) {
		b.SetUUID(event.EventUID, [16]byte{1})
		b.SetInt(event.Time, 1000*int64(i))
		b.SetInt(event.ReceivedAt, received)
		b.SetString(event.Source, source)
		b.SetInt(event.ClassUID, 4002)
		b.SetInt(event.HTTPResponseCode, 401)
		b.SetString(event.HTTPRequestPath, line+"{n}")
		b.EndRow()
	}
	return emit(b.AppendTo(nil, block.Header{Kind: block.KindEvents}))
}

const ip = "src_endpoint.ip: 203.0.113.9, http_response.code: 401, http_request.path: /x"

func TestRun(t *testing.T) {
	opts := Options{Normalize: normalize, Read: func(file, name string) ([]byte, error) {
		return []byte(strings.Repeat(name+" ", 3)), nil
	}}
	for name, tc := range map[string]struct{ events, expect, want string }{
		"everything": {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, entity: 203.0.113.9, title: 203.0.113.9 was refused 3 times, level: medium, count: 3, fields: {http_request.path: /x, src_endpoint.ip: 203.0.113.9}, amended: 0, retracted: 0}`, ""},
		"number":     {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 2}`, "expected 2 alerts, got 1: 203.0.113.9 was refused 3 times"},
		"entity":     {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, entity: 203.0.113.8}`, "expected entity 203.0.113.8, got 203.0.113.9"},
		"title":      {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, title: other}`, "expected title other, got 203.0.113.9 was refused 3 times"},
		"level":      {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, level: high}`, "expected level high, got medium"},
		"count":      {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, count: 4}`, "expected count 4, got 3"},
		"fields":     {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, fields: {http_request.path: /y}}`, `expected http_request.path to be "/y", got "/x"`},
		"amended":    {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, amended: 1}`, "expected 1 alert to be amended, got 0"},
		"retracted":  {"{repeat: 3, after: 1s, " + ip + "}", `{alerts: 1, retracted: 2}`, "expected 2 alerts to be retracted, got 0"},
		"absolute, too far apart": {
			"{at: 0s, " + ip + "}, {at: +40s, " + ip + "}, {at: +2m, " + ip + "}", `{alerts: 0}`, ""},
		"absolute with repeats": {
			"{at: 5m, repeat: 2, after: 20s, " + ip + "}, {after: 20s, " + ip + "}", `{alerts: 1}`, ""},
		"late, out of order": {
			"{at: +50s, " + ip + "}, {at: +55s, " + ip + "}, {at: +10s, " + ip + "}", `{alerts: 1, count: 3}`, ""},
		"raw records": {`{raw: "/a", repeat: 3, after: 2s, src_endpoint.ip: 203.0.113.9}`, `{alerts: 1, fields: {http_request.path: "/a{n}"}}`, ""},
		"samples":     {`{samples: testdata/a, source: nginx.access, src_endpoint.ip: 203.0.113.9}`, `{alerts: 1, count: 3}`, ""},
		"samples of another time": {
			`{samples: testdata/a, src_endpoint.ip: 203.0.113.9, after: 1h}, {at: 0s, ` + ip + `}`, `{alerts: 1, count: 3}`, ""},
		"no records": {`{raw: " "}`, `{alerts: 0}`, "event of line 15: the records give no event of nginx.access"},
	} {
		t.Run(name, func(t *testing.T) {
			r := load(t, fmt.Sprintf("  - name: one\n    events: [%s]\n    expect: %s\n", tc.events, tc.expect))
			if got := Run(r, opts)[0]; got.Message != tc.want || got.OK != (tc.want == "") {
				t.Errorf("got %v %q, want %q", got.OK, got.Message, tc.want)
			}
		})
	}
	r := load(t, "  - {name: one, events: [{raw: x}], expect: {alerts: 0}}\n")
	if got := Run(r, Options{})[0]; !strings.Contains(got.Message, "use vagus") {
		t.Errorf("without mappings: %q", got.Message)
	}
}

func TestProblemsOfTests(t *testing.T) {
	for name, tc := range map[string]struct{ test, want string }{
		"time":           {"{name: a, events: [{at: -5m}], expect: {alerts: 0}}", "at -5m is not a time since the start of the test"},
		"raw and file":   {"{name: a, events: [{raw: a, samples: b}], expect: {alerts: 0}}", "an entry has raw or samples, not both"},
		"class of raw":   {"{name: a, events: [{raw: a, class: http_activity}], expect: {alerts: 0}}", "class of recorded events is what their mapping says"},
		"source of raw":  {`{name: a, events: [{raw: a, source: "a b"}], expect: {alerts: 0}}`, "source:"},
		"expected field": {"{name: a, events: [{after: 1s}], expect: {alerts: 0, fields: {src_endpoint.ipp: a}}}", "unknown field src_endpoint.ipp: did you mean src_endpoint.ip?"},
		"expected level": {"{name: a, events: [{after: 1s}], expect: {alerts: 0, level: hih}}", "level hih is unknown: did you mean high?"},
	} {
		t.Run(name, func(t *testing.T) {
			r, problems := rule.Load("web/refused.yml", []byte(head+"  - "+tc.test+"\n"))
			if r != nil || !strings.Contains(fmt.Sprint(problems), tc.want) {
				t.Errorf("got %v, want …%s…", problems, tc.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	const events = "[{repeat: 3, after: 1s, " + ip + "}]"
	tests := `  - name: flow
    events: ` + events + `
    expect: {alerts: 0,   # none
      entity: ["}"]}
  - {name: in one line, events: ` + events + `, expect: {alerts: 2, title: x, count: [7]}}
  - name: block
    expect:
      alerts: 3
      level: low

      fields: {http_request.path: /y}
    events: ` + events + `
  - name: good
    events: ` + events + `
    expect: {alerts: 1}
  - name: none
    events: [{repeat: 2, ` + ip + `}]
    expect: {alerts: 1}
`
	r := load(t, tests)
	got, n, err := Update([]byte(head+tests), r.Tests, Run(r, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	want := head + `  - name: flow
    events: ` + events + `
    expect: {alerts: 1, entity: "203.0.113.9"}
  - {name: in one line, events: ` + events + `, expect: {alerts: 1, entity: "203.0.113.9", title: "203.0.113.9 was refused 3 times", count: 3}}
  - name: block
    expect: {alerts: 1, entity: "203.0.113.9", level: medium, fields: {http_request.path: "/x"}}
    events: ` + events + `
  - name: good
    events: ` + events + `
    expect: {alerts: 1}
  - name: none
    events: [{repeat: 2, ` + ip + `}]
    expect: {alerts: 0}
`
	if diff := cmp.Diff(want, string(got)); diff != "" || n != 4 {
		t.Errorf("%d tests changed\n%s", n, diff)
	}
	again, problems := rule.Load("web/refused.yml", got)
	if again == nil {
		t.Fatal(problems)
	}
	for _, res := range Run(again, Options{}) {
		if !res.OK {
			t.Errorf("%s: %s", res.Test, res.Message)
		}
	}
}

func TestReadSamples(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "web", "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"web/testdata/a.log": "own", "secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "web", "link")); err != nil {
		t.Fatal(err)
	}
	read := ReadSamples(fstest.MapFS{"rules/web/testdata/b.log": {Data: []byte("built in")}}, fstest.MapFS{"acme.x/testdata/c.log": {Data: []byte("source")}})
	file := filepath.ToSlash(filepath.Join(dir, "web", "r.yml"))
	for name, tc := range map[string]struct{ file, want string }{
		"testdata/a.log":        {file, "own"},
		"testdata/b.log":        {"rules/web/r.yml", "built in"},
		"acme.x/testdata/c.log": {file, "source"},
		"testdata/none":         {file, ""},
		"../secret":             {file, ""},
		"link":                  {file, ""},
		"/etc/hostname":         {file, ""},
	} {
		got, err := read(tc.file, name)
		if string(got) != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
