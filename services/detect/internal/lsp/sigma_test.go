package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

const sigmaText = `title: Who am I
id: 5f0c1c9e-0000-4000-8000-000000000001
status: test
level: hihg
tags: [attack.t1033]
logsource:
  category: process_creation
  product: windows
detection:
  selection:
    Image|endswith: '\whoami.exe'
    CommandLien|contains: a
    Computer|expand: '%Workstations%'
    User|re: '(?<=a)b'
  condition: selection
`

// folder opens a workspace with the files, and a document in its folder of rules.
func (c *client) folder(files map[string]string, name, text string) (uri string) {
	c.t.Helper()
	root := c.t.TempDir()
	for file, data := range files {
		path := filepath.Join(root, "rules", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.call("initialize", map[string]any{"rootUri": "file://" + filepath.ToSlash(root), "capabilities": map[string]any{}}, nil); err != nil {
		c.t.Fatal(err)
	}
	uri = "file://" + filepath.ToSlash(filepath.Join(root, "rules", name))
	c.send("textDocument/didOpen", 0, map[string]any{"textDocument": textDocument{URI: uri, Version: 1, Text: text}})
	return uri
}

func texts(problems []diagnostic) []string {
	var out []string
	for _, d := range problems {
		out = append(out, fmt.Sprintf("%d:%d-%d %s", d.Range.Start.Line, d.Range.Start.Character, d.Range.End.Character, d.Message))
	}
	return out
}

// TestSigma: a file of Sigma has the problems that `rules check` finds, its
// fields show their columns, and it finds what others of the workspace give.
func TestSigma(t *testing.T) {
	c := connect(t)
	uri := c.folder(map[string]string{
		"vars.yml":       "vars: {Workstations: ws-*}\n",
		"windows/it.yml": sigmaText, // the open text goes before the file
	}, "windows/it.yml", sigmaText)
	want := []string{"3:7-11 level hihg is unknown: did you mean high? (one of informational, low, medium, high, critical)"}
	if diff := cmp.Diff(want, texts(c.diagnostics(1))); diff != "" {
		t.Error(diff)
	}
	change := func(version int, old, now string, text string) string {
		text = strings.Replace(text, old, now, 1)
		c.send("textDocument/didChange", 0, map[string]any{"textDocument": textDocument{URI: uri, Version: version}, "contentChanges": []map[string]any{{"text": text}}})
		return text
	}
	now := change(2, "hihg", "high", sigmaText)
	want = []string{
		"11:4-15 field CommandLien has no column and is read as unmapped.CommandLien: did you mean CommandLine?",
		"13:13-22 unsupported: regular expression: error parsing regexp: invalid named capture: `(?<=a)b` (RE2 syntax)",
	}
	problems := c.diagnostics(2)
	if diff := cmp.Diff(want, texts(problems)); diff != "" {
		t.Error(diff)
	}
	var fixes []codeAction
	if err := c.call("textDocument/codeAction", map[string]any{"textDocument": textDocument{URI: uri}, "range": problems[0].Range, "context": map[string]any{"diagnostics": problems}}, &fixes); err != nil {
		t.Fatal(err)
	}
	if len(fixes) != 1 || fixes[0].Edit.Changes[uri][0].NewText != "CommandLine" {
		t.Errorf("actions %+v", fixes)
	}
	now = change(3, "CommandLien", "CommandLine", now)
	c.diagnostics(3) // the pipe to the editor holds nothing
	change(4, "    User|re: '(?<=a)b'\n", "", now)
	// What the check says of loaded rules is there too; the test's hub has one source.
	if diff := cmp.Diff([]string{"5:0-9 no mapping is for the source microsoft.sysmon"}, texts(c.diagnostics(4))); diff != "" {
		t.Error(diff)
	}
	pos := func(line, character int) map[string]any {
		return map[string]any{"textDocument": textDocument{URI: uri}, "position": position{line, character}}
	}
	for name, tc := range map[string]struct {
		line, character int
		want            string
	}{
		"field":       {11, 8, "**CommandLine**\n\n`process.cmd_line` — text"},
		"modifier":    {10, 12, "**endswith** — The field ends with the value."},
		"logsource":   {6, 15, "events: class process_activity; from microsoft.sysmon"},
		"tag":         {4, 10, "**attack.t1033**"},
		"not a field": {14, 15, ""},
	} {
		var h *hover
		if err := c.call("textDocument/hover", pos(tc.line, tc.character), &h); err != nil {
			t.Fatal(err)
		}
		if got := ""; h != nil && tc.want != "" {
			if got = h.Contents.Value; !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s: %q", name, got)
			}
		} else if (h != nil) != (tc.want != "") {
			t.Errorf("%s: hover %+v", name, h)
		}
	}
	c.quit()
}

// TestSigmaNames: rules that a correlation names are found in the workspace, and
// what it names in vain is a problem.
func TestSigmaNames(t *testing.T) {
	c := connect(t)
	const named = "title: A\nname: a\nlogsource: {product: windows, service: security}\ndetection: {s: {EventID: 4625}, condition: s}\n"
	c.folder(map[string]string{"a.yml": named}, "c.yml", "title: C\nlevel: high\ncorrelation:\n  type: event_count\n  rules: [a, b]\n  group-by: [TargetUserName]\n  timespan: 5m\n  condition: {gte: 3}\n")
	if diff := cmp.Diff([]string{"4:13-14 correlation: there is no rule b in this set"}, texts(c.diagnostics(1))); diff != "" {
		t.Error(diff)
	}
	c.quit()
}

func TestSigmaCompletion(t *testing.T) {
	c := connect(t)
	uri := c.folder(nil, "it.yml", sigmaText)
	c.diagnostics(1)
	version := 1
	for name, tc := range map[string]struct {
		typed     string // at the end
		want, not string
	}{
		"field":     {"  s:\n    Comm", "CommandLine", "sources"},
		"modifier":  {"  s:\n    CommandLine|con", "contains", "Company"},
		"key":       {"falsep", "falsepositives", "false_positives"},
		"tag":       {"tags:\n  - attack.t105", "attack.t1059", "level"},
		"value":     {"  s:\n    CommandLine: Comm", "", "Company"},
		"group-by":  {"---\ntitle: x\ncorrelation:\n  group-by: [TargetU", "", "Company"},
		"logsource": {"---\ntitle: x\nlogsource:\n  product: linux\n  service: s", "sshd", "system"},
	} {
		version++
		text := sigmaText + tc.typed
		c.send("textDocument/didChange", 0, map[string]any{"textDocument": textDocument{URI: uri, Version: version}, "contentChanges": []map[string]any{{"text": text}}})
		lines := strings.Split(text, "\n")
		var list completionList
		if err := c.call("textDocument/completion", map[string]any{"textDocument": textDocument{URI: uri}, "position": position{len(lines) - 1, len(lines[len(lines)-1])}}, &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range list.Items {
			got = append(got, i.Label)
		}
		if tc.want != "" && !slices.Contains(got, tc.want) || slices.Contains(got, tc.not) {
			t.Errorf("%s: %q", name, got)
		}
		c.diagnostics(version)
	}
	c.quit()
}

// TestATR: a file of Agent Threat Rules has the problems that the check finds.
func TestATR(t *testing.T) {
	c := connect(t)
	text := "id: ATR-2026-00001\ntitle: A\nseverity: high\nagent_source: {type: mcp_exchange}\ndetection:\n  conditions:\n" +
		"    - {field: user_input, operator: contains, value: open sesame}\n    - {field: user_input, operator: contains, value: sesame}\n    - {field: tool_nam, operator: contains, value: x}\n  condition: any\n"
	c.folder(nil, "a.yaml", text)
	want := []string{
		"8:14-22 condition 3 is left out: field tool_nam: did you mean tool_name?",
		// The test's hub has one source.
		"6:14-24 no mapping of the rule's source fills message_context.prompt_text: no mapping does",
		`6:53-57 message_context.prompt_text: "open sesame" says nothing beside "sesame"`,
	}
	if diff := cmp.Diff(want, texts(c.diagnostics(1))); diff != "" {
		t.Error(diff)
	}
	c.quit()
}

func TestRulesFolder(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "rules", "windows", "x")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(root, "rules")
	for at, want := range map[string]string{root: rules, rules: rules, deep: rules, filepath.Join(root, "elsewhere"): "", "": ""} {
		if got := rulesFolder(at); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}

func TestModifiersHaveDocs(t *testing.T) {
	for _, m := range sigma.Modifiers() {
		if modifierDocs[m] == "" {
			t.Errorf("%s has no text", m)
		}
	}
	if len(modifierDocs) != len(sigma.Modifiers()) {
		t.Errorf("%d texts for %d modifiers", len(modifierDocs), len(sigma.Modifiers()))
	}
}
