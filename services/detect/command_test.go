package detect

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/author/trace"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// command runs `rules` and returns what it printed. Paths below dir read DIR.
func command(t *testing.T, opts CommandOptions, dir string, args ...string) (string, error) {
	t.Helper()
	c := Command(opts)
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return strings.ReplaceAll(out.String(), filepath.ToSlash(dir), "DIR"), err
}

// write puts files, named by slash paths, into a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// golden compares an output with testdata/commands/<name>.
func golden(t *testing.T, name, got string) {
	t.Helper()
	testkit.Golden(t, "commands/"+name, []byte(got))
}

const goodRule = `id: web.refused-keys
title: Many refused API keys from one client
description: A client tries one key after another.
level: medium
status: test
tags: [attack.t1110]
source: {class: http_activity, product: nginx.access}
when: http_response.code in [401, 403] and http_request.path startsWith "/v1/"
correlate: {type: event_count, group_by: [src_endpoint.ip], timespan: 1m, condition: {gte: 3}}
alert:
  title: "{src_endpoint.ip} was refused {count} times"
  entity: {type: ip, path: src_endpoint.ip}
tests:
  - name: three refusals within a minute
    events: [{repeat: 3, after: 2s, src_endpoint.ip: 203.0.113.9, http_request.path: /v1/models, http_response.code: 401}]
    expect: {alerts: 1, entity: 203.0.113.9}
  - name: two refusals
    events: [{repeat: 2, after: 2s, src_endpoint.ip: 203.0.113.9, http_request.path: /v1/models, http_response.code: 401}]
    expect: {alerts: 0}
`

var badRule = strings.NewReplacer("web.refused-keys", "web.broken", "http_response.code in", "http_response.kode in",
	"attack.t1110", "atlas.aml.t9051").Replace(goodRule)

var wrongTest = strings.NewReplacer("web.refused-keys", "web.wrong-test", "alerts: 0", "alerts: 1").Replace(goodRule)

func TestFormats(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule, "web/broken.yml": badRule, "web/wrong-test.yml": wrongTest})
	for _, cmd := range []string{"check", "test"} {
		for _, format := range []string{"text", "json", "github", "junit", "sarif"} {
			t.Run(cmd+" "+format, func(t *testing.T) {
				out, err := command(t, CommandOptions{}, dir, cmd, dir, "--format", format)
				if err == nil {
					t.Error("the broken rule is no error")
				}
				golden(t, cmd+"."+format, out)
			})
		}
	}
	if _, err := command(t, CommandOptions{}, dir, "check", dir, "--format", "html"); err == nil {
		t.Error("an unknown format is taken")
	}
}

func TestListFilters(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule})
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"all":          {nil, 1},
		"tag":          {[]string{"--tag", "attack.t1110"}, 1},
		"tag begins":   {[]string{"--tag", "attack"}, 1},
		"other tag":    {[]string{"--tag", "attack.t1059"}, 0},
		"level":        {[]string{"--level", "low,medium"}, 1},
		"level above":  {[]string{"--level", "low+"}, 1},
		"level higher": {[]string{"--level", "high+"}, 0},
		"lane":         {[]string{"--lane", "enforce"}, 0},
		"source":       {[]string{"--source", "nginx.access", "--status", "test"}, 1},
		"class":        {[]string{"--source", "http_activity"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command(t, CommandOptions{}, dir, append([]string{"list", dir, "--json"}, tc.args...)...)
			if err != nil || strings.Count(out, `"id"`) != tc.want {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A source is asked for by its name also where a rule names a class of its events.
func TestListBySource(t *testing.T) {
	class := strings.NewReplacer("web.refused-keys", "web.class", ", product: nginx.access", "").Replace(goodRule)
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule, "web/class.yml": class})
	opts := CommandOptions{Feeds: func() ([]Feed, error) {
		return []Feed{
			{Source: "nginx.access", Class: 4002, Family: event.FamilyNetwork}, {Source: "kong.gateway", Class: 4002, Family: event.FamilyNetwork},
			{Source: "okta.system_log", Class: 3002, Family: event.FamilyIdentity},
		}, nil
	}}
	for source, want := range map[string]int{"nginx.access": 2, "kong.gateway": 1, "okta.system_log": 0, "http_activity": 2, "network": 2, "kong.gateway,identity": 1} {
		out, err := command(t, opts, dir, "list", dir, "--json", "--source", source)
		if err != nil || strings.Count(out, `"id"`) != want {
			t.Errorf("%s: %v\n%s", source, err, out)
		}
	}
}

// A filter that no rule can fulfil is a slip, not an empty list.
func TestListOfWhatThereIsNot(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule})
	opts := CommandOptions{Feeds: func() ([]Feed, error) { return []Feed{{Source: "kong.gateway"}}, nil }}
	for flag, want := range map[string]string{
		"--source=nginx.acess":       "did you mean nginx.access?",
		"--source=kong.gatway":       "did you mean kong.gateway?",
		"--source=netwrk":            "did you mean network?",
		"--source=kong.gateway":      "",
		"--tag=attack.t11":           "--tag attack.t11 is no tag",
		"--tag=atals":                "did you mean atlas?",
		"--tag=atlas,atlas.aml.t005": "--tag atlas.aml.t005 is no tag and not the beginning of one up to a dot: did you mean atlas.aml.t0005?",
		"--tag=attack.t1059":         "",
	} {
		if _, err := command(t, opts, dir, "list", dir, flag); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flag, err, want)
		}
	}
}

// The built-in rules have at most the warnings that are known here.
func TestBuiltInRulesAreSound(t *testing.T) {
	out, err := command(t, CommandOptions{Content: os.DirFS("../..")}, "/nowhere", "check", "--format", "github")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "title=cost::") {
			t.Error(line)
		}
	}
}

// What explain says of the parts of conditions agrees with the matcher, for
// every event of every test of the built-in rules.
func TestTraceAgreesWithMatcher(t *testing.T) {
	for _, r := range rule.Matched(shipped(t)) {
		for _, test := range r.Tests {
			if err := ruletest.Blocks(test.Events, func(b *block.Block) {
				for row := range b.Rows() {
					tr, err := trace.Rule(r, b, row)
					if err != nil {
						t.Fatal(err)
					}
					if tr.Matches != (tr.Misses() == 0) {
						t.Errorf("%s: %s, event %d: the matcher says %v, the parts say %d misses", r.ID, test.Name, row, tr.Matches, tr.Misses())
					}
					if row == 3 {
						break // repeats
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestExplainEvent(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule,
		"event.json": `{"class": "http_activity", "source": "nginx.access", "http_request.path": "/v2/x", "http_response.code": 401}`})
	for name, args := range map[string][]string{
		"explain-event.text": {"explain", dir + "/web", "--event", dir + "/event.json"},
		"explain-event.json": {"explain", dir + "/web", "--event", dir + "/event.json", "--json"},
		"explain-all.text":   {"explain", dir, "--all", "--event", dir + "/event.json"},
		"explain-plan.text":  {"explain", dir + "/web"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command(t, CommandOptions{}, dir, args...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, out)
		})
	}
	for name, args := range map[string][]string{
		"no such rule":  {"explain", "web.none", "--event", dir + "/event.json"},
		"no such file":  {"explain", dir + "/web", "--event", dir + "/none.json"},
		"no hub":        {"explain", dir + "/web", "--event", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
		"event missing": {"explain", "--all"},
	} {
		if out, err := command(t, CommandOptions{Content: os.DirFS("../..")}, dir, args...); err == nil {
			t.Errorf("%s: no error: %s", name, out)
		}
	}
}

func TestCoverageAndUpdate(t *testing.T) {
	dir := write(t, map[string]string{"web/wrong-test.yml": wrongTest})
	for _, format := range []string{"text", "json", "github"} {
		out, err := command(t, CommandOptions{}, dir, "test", dir, "--coverage", "--format", format)
		if err == nil {
			t.Error("the failing test is no error")
		}
		golden(t, "coverage."+format, out)
	}
	if out, err := command(t, CommandOptions{}, dir, "test", dir, "--update"); err != nil || !strings.Contains(out, "1 tests updated") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(t, CommandOptions{}, dir, "test", dir); err != nil || !strings.Contains(out, "0 failed") {
		t.Errorf("after --update: %v\n%s", err, out)
	}
	if _, err := command(t, CommandOptions{Content: os.DirFS("../..")}, dir, "test", "--update"); err == nil {
		t.Error("built-in rules are updated")
	}
}

// A change of a file runs the check again; the end of the context ends it.
func TestWatch(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule})
	ctx, cancel := context.WithCancel(t.Context())
	lines := make(chan string, 100)
	r, w := io.Pipe()
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	await := func(want string) {
		t.Helper()
		for l := range lines {
			if strings.Contains(l, want) {
				return
			}
		}
		t.Fatalf("%q is never said", want)
	}
	c := Command(CommandOptions{})
	c.SetOut(w)
	c.SetErr(io.Discard)
	c.SetArgs([]string{"check", dir, "--watch"})
	done := make(chan error, 1)
	go func() {
		err := c.ExecuteContext(ctx)
		w.Close()
		done <- err
	}()
	await("0 problems")
	await("watching")
	if err := os.WriteFile(filepath.Join(dir, "web", "refused-keys.yml"), []byte(strings.Replace(goodRule, "http_response.code in", "http_response.kode in", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	await("unknown field http_response.kode")
	await("watching")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	dir := write(t, map[string]string{"event.json": `{"class": "http_activity", "source": "nginx.access", "src_endpoint.ip": "10.0.0.9", "http_request.path": "/v2/x", "http_response.code": 401}`})
	out, err := command(t, CommandOptions{}, dir, "new", "web.odd-path", "--from", dir+"/event.json", "--out", dir+"/rules")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "new.text", out)
	if out, err := command(t, CommandOptions{}, dir, "test", dir+"/rules"); err != nil || !strings.Contains(out, "2 tests, 0 failed") {
		t.Errorf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"again":     {"new", "web.odd-path", "--out", dir + "/rules"},
		"id":        {"new", "odd path", "--out", dir + "/rules"},
		"type":      {"new", "web.b", "--correlate", "x", "--out", dir + "/rules"},
		"no event":  {"new", "web.b", "--from", dir + "/none", "--out", dir + "/rules"},
		"no source": {"new", "web.b", "--source", "acme.none", "--out", dir + "/rules"},
	} {
		if out, err := command(t, CommandOptions{}, dir, args...); err == nil {
			t.Errorf("%s: no error\n%s", name, out)
		}
	}
	if out, err := command(t, CommandOptions{}, dir, "new", "web.odd-path", "--out", dir+"/rules", "--force", "--json"); err != nil || !strings.Contains(out, `"tests": 2`) {
		t.Errorf("--force: %v\n%s", err, out)
	}
	if out, err := command(t, CommandOptions{}, dir, "new", "web.printed", "--out", "-"); err != nil || !strings.HasPrefix(out, "id: web.printed\n") {
		t.Errorf("printed: %v\n%s", err, out)
	}
}

func TestDoc(t *testing.T) {
	correlated := `id: web.after
title: Refused, then | let <b>in</b>
description: First refused, then let in.
level: high
status: test
tags: [atlas.aml.t0012, attack.t1110, attack.credential-access, owasp.llm10-2025]
correlate:
  type: temporal_ordered
  timespan: 10m
  group_by: [src_endpoint.ip]
  steps:
    - {name: refused, source: {class: http_activity}, when: http_response.code == 401}
    - {name: in, source: {class: http_activity}, when: http_response.code == 200}
alert: {title: x, entity: {type: ip, path: src_endpoint.ip}}
exceptions:
  - {when: 'http_request.path == "/a|b"', reason: known, owner: sec@example.com, expires: 2027-01-31}
references: [https://example.com/x]
`
	dir := write(t, map[string]string{"rules/web/refused-keys.yml": goodRule, "rules/web/after.yml": correlated})
	for name, args := range map[string][]string{
		"doc.md":         {"doc", dir + "/rules"},
		"doc.json":       {"doc", dir + "/rules", "--json"},
		"navigator.json": {"doc", dir + "/rules", "--navigator"},
	} {
		out, err := command(t, CommandOptions{}, dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, out)
	}
	if out, err := command(t, CommandOptions{}, dir, "doc", dir+"/rules", "--out", dir+"/out"); err != nil || out != "DIR/out: 3 files, 3 changed\n" {
		t.Errorf("%v %s", err, out)
	}
	for _, name := range []string{"web.after.md", "web.refused-keys.md"} {
		page, err := os.ReadFile(filepath.Join(dir, "out", name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, strings.ReplaceAll(string(page), filepath.ToSlash(dir), "DIR"))
	}
	if out, err := command(t, CommandOptions{}, dir, "doc", dir+"/rules", "--out", dir+"/out"); err != nil || out != "DIR/out: 3 files, 0 changed\n" {
		t.Errorf("again: %v %s", err, out)
	}
}

func TestBench(t *testing.T) {
	dir := write(t, map[string]string{"web/refused-keys.yml": goodRule, "events.json": `{"class": "http_activity", "source": "nginx.access", "src_endpoint.ip": "192.0.2.1", "http_request.path": "/v1/x", "http_response.code": 401}
{"class": "http_activity", "source": "nginx.access", "http_request.path": "/v2/x", "http_response.code": 401}
{"class": "dns_activity", "source": "zeek.logs", "dns.query": "a.test"}`})
	events, err := os.ReadFile(filepath.Join(dir, "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "events.blocks"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := sample.FromJSON(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b := block.NewBuilder(e.Family)
		for _, f := range e.Fields {
			switch v := f.Value.(type) {
			case string:
				if f.Column.ID != event.SrcEndpointIP {
					b.SetString(f.Column.ID, v)
				}
			case int64:
				b.SetInt(f.Column.ID, v)
			}
		}
		b.EndRow()
		if err := block.WriteFramed(f, b.AppendTo(nil, block.Header{Kind: block.KindEvents})); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"--events=" + dir + "/events.json", "--blocks=" + dir + "/events.blocks"} {
		out, err := command(t, CommandOptions{}, dir, "bench", dir+"/web", "--set", dir+"/web", "--rounds", "1", "--json", from)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"events": 3,`, `"read": 2,`, `"matches": 1,`} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %s in %s", from, want, out)
			}
		}
	}
	if out, err := command(t, CommandOptions{}, dir, "bench", dir+"/web", "--events", dir+"/events.json", "--rounds", "1"); err != nil || !strings.Contains(out, "web.refused-keys") {
		t.Errorf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"no rule":   {"bench"},
		"no events": {"bench", dir + "/web"},
		"both":      {"bench", dir + "/web", "--events", dir + "/events.json", "--blocks", dir + "/events.blocks"},
		"no blocks": {"bench", dir + "/web", "--blocks", dir + "/events.json"},
	} {
		if out, err := command(t, CommandOptions{}, dir, args...); err == nil {
			t.Errorf("%s: no error\n%s", name, out)
		}
	}
}
