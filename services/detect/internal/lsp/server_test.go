package lsp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/lint"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a scripted editor.
type client struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	done chan error
	id   int
	// published has the diagnostics that came while waiting for answers.
	published []diagnosticsParams
}

func connect(t *testing.T) *client {
	t.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	c := &client{t: t, in: toServer, out: bufio.NewReader(fromServer), done: make(chan error, 1)}
	go func() {
		err := Serve(t.Context(), in, out, Options{Version: "test", Feeds: []lint.Feed{{Source: "nginx.access", Class: 4002, Family: event.FamilyNetwork,
			Columns: []event.ColumnID{event.HTTPResponseCode, event.SrcEndpointIP, event.HTTPRequestPath}}}})
		in.Close()
		out.Close()
		c.done <- err
	}()
	t.Cleanup(func() { toServer.Close() })
	return c
}

func (c *client) send(method string, id int, params any) {
	c.t.Helper()
	m := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
	if id > 0 {
		m["id"] = id
	}
	body, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := writeFrame(c.in, body); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() message {
	c.t.Helper()
	body, err := readFrame(c.out)
	if err != nil {
		c.t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *client) call(method string, params, result any) *rpcError {
	c.t.Helper()
	c.id++
	c.send(method, c.id, params)
	for {
		m := c.read()
		if m.Method == "textDocument/publishDiagnostics" {
			c.keep(m)
			continue
		}
		if string(m.ID) != fmt.Sprint(c.id) {
			c.t.Fatalf("answer to %s, want %d", m.ID, c.id)
		}
		if m.Error == nil && result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				c.t.Fatal(err)
			}
		}
		return m.Error
	}
}

func (c *client) keep(m message) {
	var p diagnosticsParams
	if err := json.Unmarshal(m.Params, &p); err != nil {
		c.t.Fatal(err)
	}
	c.published = append(c.published, p)
}

// diagnostics waits for those of a version.
func (c *client) diagnostics(version int) []diagnostic {
	c.t.Helper()
	for {
		for _, p := range c.published {
			if p.Version == version {
				return p.Diagnostics
			}
		}
		c.keep(c.read())
	}
}

const uri = "file:///w/rules/web/x.yml"

const text = `id: web.x
title: "Ärger 😀"
description: x
level: high
status: test
tags: [atlas.aml.t9051]
source: {class: http_activity, product: nginx.access}
when: |
  http_response.kode == 401
  and icontains(http_request.path, "x")
alert:
  title: "{src_endpoint.ip}"
  entity: {type: ip, path: src_endpoint.ip}
tests:
  - name: fires
    events: [{http_response.code: 401}]
    expect: {alerts: 1}
`

func (c *client) open(text string) {
	c.t.Helper()
	if err := c.call("initialize", map[string]any{"rootUri": nil, "capabilities": map[string]any{}}, nil); err != nil {
		c.t.Fatal(err)
	}
	c.send("initialized", 0, map[string]any{})
	c.send("textDocument/didOpen", 0, map[string]any{"textDocument": textDocument{URI: uri, Version: 1, Text: text}})
}

func (c *client) quit() {
	c.t.Helper()
	if err := c.call("shutdown", nil, nil); err != nil {
		c.t.Error(err)
	}
	c.send("exit", 0, nil)
	if err := <-c.done; err != nil {
		c.t.Error(err)
	}
}

func at(line, character int) map[string]any {
	return map[string]any{"textDocument": textDocument{URI: uri}, "position": position{line, character}}
}

func TestSession(t *testing.T) {
	c := connect(t)
	if err := c.call("textDocument/hover", at(0, 0), nil); err == nil || err.Code != codeNotStarted {
		t.Errorf("before initialize: %v", err)
	}
	c.open(text)
	var got []string
	problems := c.diagnostics(1)
	for _, d := range problems {
		got = append(got, fmt.Sprintf("%d:%d-%d %s", d.Range.Start.Line, d.Range.Start.Character, d.Range.End.Character, d.Message))
	}
	want := []string{"5:7-22 tag atlas.aml.t9051: unknown id: did you mean atlas.aml.t0051?",
		"8:2-20 unknown field http_response.kode: did you mean http_response.code?"}
	if !slices.Equal(got, want) {
		t.Errorf("diagnostics %q", got)
	}
	var fixes []codeAction
	if err := c.call("textDocument/codeAction", map[string]any{"textDocument": textDocument{URI: uri}, "range": problems[1].Range,
		"context": map[string]any{"diagnostics": problems}}, &fixes); err != nil {
		t.Fatal(err)
	}
	if len(fixes) != 2 || fixes[1].Edit.Changes[uri][0].NewText != "http_response.code" {
		t.Fatalf("actions %+v", fixes)
	}
	for _, f := range fixes {
		e := f.Edit.Changes[uri][0]
		c.send("textDocument/didChange", 0, map[string]any{"textDocument": textDocument{URI: uri, Version: 2}, "contentChanges": []change{{&e.Range, e.NewText}}})
	}
	for _, d := range c.diagnostics(2) {
		if d.Severity == 1 {
			t.Errorf("after the fixes: %+v", d)
		}
	}
	var h hover
	if err := c.call("textDocument/hover", at(8, 6), &h); err != nil || !strings.Contains(h.Contents.Value, "Families:") || h.Range.End.Character != 20 {
		t.Errorf("hover %+v %v", h, err)
	}
	var outline []documentSymbol
	if err := c.call("textDocument/documentSymbol", at(0, 0), &outline); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range outline {
		names = append(names, s.Name)
		for _, k := range s.Children {
			names = append(names, "/"+k.Name)
		}
	}
	if got := strings.Join(names, " "); got != "id title description level status tags source when alert tests /fires" {
		t.Errorf("outline %q", got)
	}
	if err := c.call("textDocument/rename", at(0, 0), nil); err == nil || err.Code != codeNoMethod {
		t.Errorf("unknown method: %v", err)
	}
	if err := c.call("textDocument/hover", map[string]any{"textDocument": textDocument{URI: "file:///none"}}, nil); err == nil {
		t.Error("a file that is not open has a hover")
	}
	c.quit()
}

func TestCompletion(t *testing.T) {
	for name, tc := range map[string]struct {
		text      string
		want, not []string
	}{
		"top keys":             {"|>", []string{"id", "when", "correlate"}, nil},
		"present keys":         {"id: a\n|>", []string{"when"}, []string{"id"}},
		"half a key":           {"lev|>", []string{"level"}, []string{"when"}},
		"level":                {"level: |>", []string{"high", "critical"}, []string{"enforce"}},
		"lane":                 {"lane: en|>", []string{"enforce"}, []string{"hunt"}},
		"class":                {"source: {class: http|>", []string{"http_activity"}, []string{"dns_activity"}},
		"classes":              {"source:\n  class: [http_activity, dns|>", []string{"dns_activity"}, nil},
		"product":              {"source: {product: ng|>", []string{"nginx.access"}, nil},
		"tags":                 {"tags: [atlas.aml.t005|>", []string{"atlas.aml.t0051"}, []string{"attack.t1110"}},
		"tags in a block":      {"tags:\n  - attack.t111|>", []string{"attack.t1110"}, nil},
		"correlation type":     {"correlate:\n  type: val|>", []string{"value_count"}, nil},
		"correlate keys":       {"correlate: {ty|>", []string{"type"}, nil},
		"group by":             {"source: {class: http_activity}\ncorrelate:\n  group_by: [src_endpoint.|>", []string{"src_endpoint.ip"}, []string{"process.path"}},
		"condition":            {"source: {class: http_activity}\nwhen: |\n  http_resp|>", []string{"http_response.code"}, []string{"process.path"}},
		"condition inline":     {"when: process.pa|>", []string{"process.path"}, nil},
		"second part":          {"source: {class: process_activity}\nwhen: |\n  process.pid == 1 and ico|>", []string{"icontains"}, nil},
		"middle of a path":     {"when: ip|>", []string{"src_endpoint.ip", "iin"}[:1], nil},
		"in a text":            {"when: process.path == \"proc|>", nil, []string{"process.path"}},
		"exception":            {"exceptions:\n  - when: 'src_endp|>", []string{"src_endpoint.ip"}, nil},
		"entity":               {"alert:\n  entity: {type: |>", []string{"ip", "user"}, nil},
		"template":             {"source: {class: http_activity}\nalert:\n  title: \"from {src_|>", []string{"src_endpoint.ip"}, []string{"process.path"}},
		"template, closed":     {"alert:\n  title: \"from {count} src_|>", nil, []string{"src_endpoint.ip"}},
		"event of a test":      {"source: {class: http_activity}\ntests:\n  - name: a\n    events: [{after: 1s, src_|>", []string{"src_endpoint.ip"}, nil},
		"keys of an event":     {"tests:\n  - events:\n      - {re|>", []string{"repeat"}, nil},
		"expect":               {"tests:\n  - name: a\n    expect: {al|>", []string{"alerts"}, nil},
		"half typed elsewhere": {"when: [\nlevel: h|>\n", nil, nil},
		"prose":                {"description: |\n  lev|>", nil, []string{"level"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{documents: map[string]*document{}, opts: Options{Feeds: []lint.Feed{{Source: "nginx.access"}}}}
			d, p := doc(tc.text)
			list := s.complete(d, p)
			got := map[string]completionItem{}
			for _, i := range list.Items {
				got[i.Label] = i
				if i.TextEdit.Range.End != p {
					t.Fatalf("%s edits up to %+v", i.Label, i.TextEdit.Range.End)
				}
			}
			for _, w := range tc.want {
				if _, ok := got[w]; !ok {
					t.Errorf("%s is missing among %d", w, len(got))
				}
			}
			for _, w := range tc.not {
				if _, ok := got[w]; ok {
					t.Errorf("%s is offered", w)
				}
			}
		})
	}
}

// What a completion inserts replaces what was typed, also behind characters
// that UTF-16 counts twice.
func TestCompletionEdit(t *testing.T) {
	s := &Server{}
	d, p := doc("alert: {title: \"😀 {src_endpoint.i|>\"}")
	p.Character = units(d.line(0)[:strings.Index(d.line(0), "\"}")])
	for _, i := range s.complete(d, p).Items {
		if i.Label == "src_endpoint.ip" {
			d.apply(change{&i.TextEdit.Range, i.TextEdit.NewText})
		}
	}
	if d.text != "alert: {title: \"😀 {src_endpoint.ip}\"}" {
		t.Errorf("%q", d.text)
	}
}

func TestFunctionsAreThoseOfTheLanguage(t *testing.T) {
	for _, name := range lang.FunctionNames() {
		if _, ok := functionByName(name); !ok {
			t.Errorf("%s is not documented", name)
		}
	}
	for _, f := range functions {
		code := f.name + `(process.name, "x")`
		switch f.name {
		case "exists":
			code = `exists(process.name)`
		case "text":
			code = `text(process.pid) == "1"`
		case "cidr":
			code = `cidr(src_endpoint.ip, "10.0.0.0/8")`
		case "date_part":
			code = `date_part(time, "week") == 3`
		case "any", "all", "none":
			code = f.name + `(metadata.labels, # == "x")`
		case "len", "lower":
			code = f.name + `(process.name) != ` + map[string]string{"len": "1", "lower": `"x"`}[f.name]
		}
		if _, err := lang.Compile(code, allFamilies); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	if len(schema().Properties) < 10 {
		t.Error("the schema cannot be read")
	}
}

func TestFrames(t *testing.T) {
	for name, tc := range map[string]struct{ in, want, fails string }{
		"good":        {"Content-Length: 2\r\n\r\n{}", "{}", ""},
		"other head":  {"content-length:2\r\nContent-Type: x\r\n\r\n{}", "{}", ""},
		"end":         {"", "", "EOF"},
		"cut head":    {"Content-Le", "", "unexpected EOF"},
		"cut body":    {"Content-Length: 9\r\n\r\n{}", "", "unexpected EOF"},
		"no length":   {"X: 1\r\n\r\n{}", "", "no Content-Length"},
		"too long":    {"Content-Length: 999999999\r\n\r\n", "", "is not between"},
		"negative":    {"Content-Length: -1\r\n\r\n", "", "is not between"},
		"no colon":    {"hello\r\n\r\n", "", "no colon"},
		"long header": {strings.Repeat("x", 2*maxHeader), "", "longer than"},
		"many heads":  {strings.Repeat("a: b\r\n", maxHeader), "", "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readFrame(bufio.NewReader(strings.NewReader(tc.in)))
			if string(got) != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// An editor that dies or talks nonsense ends the server or gets an error.
func TestBadClients(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want error
	}{
		"nothing":       {"", nil},
		"no shutdown":   {frame(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`), ErrNoShutdown},
		"exit at once":  {frame(`{"jsonrpc":"2.0","method":"exit"}`), nil},
		"garbage":       {"GET / HTTP/1.1\r\n\r\n", errors.New("any")},
		"no JSON":       {frame(`{`), nil},
		"params":        {frame(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":7}`), nil},
		"wrong kind":    {frame(`[]`), nil},
		"answer to us":  {frame(`{"jsonrpc":"2.0","id":1,"result":null}`), nil},
		"notifications": {frame(`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{}}`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := Serve(t.Context(), strings.NewReader(tc.in), &out, Options{})
			if (err == nil) != (tc.want == nil) {
				t.Errorf("%v", err)
			}
		})
	}
}

func frame(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

func FuzzServe(f *testing.F) {
	f.Add(frame(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`) +
		frame(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///a/b.yml","text":"id: a\nwhen: x"}}}`) +
		frame(`{"jsonrpc":"2.0","id":2,"method":"textDocument/completion","params":{"textDocument":{"uri":"file:///a/b.yml"},"position":{"line":1,"character":7}}}`))
	f.Fuzz(func(t *testing.T, in string) {
		_ = Serve(t.Context(), strings.NewReader(in), io.Discard, Options{})
	})
}

func FuzzDocument(f *testing.F) {
	f.Add(text, 8, 6, "x", 3, 1)
	f.Fuzz(func(t *testing.T, text string, line, character int, insert string, toLine, toCharacter int) {
		s := &Server{}
		d := &document{uri: uri, name: "web/x.yml"}
		d.set(text, 1)
		p := position{line, character}
		d.apply(change{&textRange{p, position{toLine, toCharacter}}, insert})
		s.complete(d, p)
		s.hover(d, p)
		symbols(d)
		actions(d, s.diagnose(d))
	})
}
