package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const authored = `id: web.refused
title: Refused
description: A client is refused.
level: medium
status: test
source: {class: http_activity, product: nginx.access}
when: http_response.code == 401 and http_request.path startsWith "/v1/"
alert: {title: "{src_endpoint.ip} was refused", entity: {type: ip, path: src_endpoint.ip}}
tests:
  - name: a line of the log
    events: [{raw: '203.0.113.7 - - [23/Nov/2026:10:00:00 +0000] "GET /v1/models HTTP/1.1" 401 12 "-" "curl/8"'}]
    expect: {alerts: 1, entity: 203.0.113.7, title: 203.0.113.7 was refused}
  - name: the recorded samples, as if each were let in
    events: [{samples: nginx.access/testdata/combined.log, http_response.code: 200}]
    expect: {alerts: 0}
`

// A rule is tested with raw records, and explained for one, through the
// mappings of the shipped binary.
func TestAuthorsUseRawRecords(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web", "refused.yml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(authored), 0o644); err != nil {
		t.Fatal(err)
	}
	line := filepath.Join(dir, "access.log")
	if err := os.WriteFile(line, []byte(`203.0.113.7 - - [23/Nov/2026:10:00:00 +0000] "GET /v2/models HTTP/1.1" 401 12 "-" "curl/8"`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"test":             {[]string{"rules", "test", dir}, "1 rule, 2 tests, 0 failed"},
		"check":            {[]string{"rules", "check", dir, "--strict"}, "1 rule is good, 0 problems"},
		"explain":          {[]string{"rules", "explain", file, "--event", line, "--source", "nginx.access"}, `✗ http_request.path startsWith "/v1/"`},
		"explain, guessed": {[]string{"rules", "explain", file, "--event", line}, `http_request.path = "/v2/models"`},
	} {
		t.Run(name, func(t *testing.T) {
			out, problem, err := vagus(t, "", tc.args...)
			if err != nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v\n%s%s", err, out, problem)
			}
		})
	}
}

// An editor starts `vagus lsp`, opens a rule with a mistake, is told, asks for
// completion, and leaves.
func TestLanguageServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), binary, "lsp")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	send := func(body string) {
		t.Helper()
		if _, err := fmt.Fprintf(in, "Content-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
	}
	read := func() map[string]any {
		t.Helper()
		n := 0
		for {
			l, err := out.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if l = strings.TrimSpace(l); l == "" {
				break
			}
			fmt.Sscanf(l, "Content-Length: %d", &n)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(out, body); err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"rootUri":null,"capabilities":{}}}`)
	if m := read(); fmt.Sprint(m["id"]) != "1" || m["error"] != nil {
		t.Fatalf("initialize: %v", m)
	}
	text, err := json.Marshal(strings.Replace(authored, "http_response.code ==", "http_response.kode ==", 1))
	if err != nil {
		t.Fatal(err)
	}
	send(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///rules/web/refused.yml","languageId":"yaml","version":1,"text":` + string(text) + `}}}`)
	if m := read(); m["method"] != "textDocument/publishDiagnostics" || !strings.Contains(fmt.Sprint(m), "did you mean http_response.code?") {
		t.Errorf("diagnostics: %v", m)
	}
	send(`{"jsonrpc":"2.0","id":2,"method":"textDocument/completion","params":{"textDocument":{"uri":"file:///rules/web/refused.yml"},"position":{"line":6,"character":14}}}`)
	if m := read(); !strings.Contains(fmt.Sprint(m["result"]), "label:http_response.code") {
		t.Errorf("completion: %v", m)
	}
	send(`{"jsonrpc":"2.0","id":3,"method":"shutdown"}`)
	read()
	send(`{"jsonrpc":"2.0","method":"exit"}`)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
}
