package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// put writes a file below the working folder.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// key replaces a key of a rule's first level, with all that belongs to it.
func key(t *testing.T, file, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(text, ":")
	var out []string
	skip, done := false, false
	for _, line := range strings.SplitAfter(string(data), "\n") {
		if line != "" && line[0] != ' ' && line[0] != '\n' {
			if skip = strings.HasPrefix(line, name+":"); skip {
				out, done = append(out, text), true
			}
		}
		if !skip {
			out = append(out, line)
		}
	}
	if !done {
		t.Fatalf("%s has no key %s", file, name)
	}
	put(t, file, strings.Join(out, ""))
}

// shows compares an output with what a document shows; a line "…" stands for all
// that follows.
func shows(want, got string) bool {
	want, got = strings.TrimSpace(want), strings.TrimSpace(got)
	if head, cut := strings.CutSuffix(want, "\n…"); cut {
		return strings.HasPrefix(got, head+"\n")
	}
	return want == got
}

// The way from a log line to a tested rule in docs/rules.md is gone, step by step,
// with what it shows.
func TestFromALogLine(t *testing.T) {
	all := blocks(t, docs+"/rules.md")
	t.Chdir(t.TempDir())
	const log, file = "access.log", "rules/ai-gateway/key-guessing.yml"
	ran := 0
	for _, b := range all {
		command, output, isCommand := strings.Cut(strings.TrimPrefix(b.text, "$ "), "\n")
		switch {
		case b.heading == "Tests" && b.lang == "yaml":
			key(t, file, b.text)
			if out, err := runCommand(t, "", "rules", "test", "rules"); err != nil {
				t.Errorf("%s: %v\n%s", b, err, out)
			}
			ran++
		case b.heading != "From a log line to a tested rule":
		case strings.HasPrefix(b.text, "$ ") && isCommand:
			lines := words(command)
			args := lines[len(lines)-1][1:]
			in, slip := "", args[1] == "check"
			if lines[0][0] == "tail" {
				// This time the client asked elsewhere.
				data, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				in = strings.Replace(string(data), "/v1/", "/v2/", 1)
			}
			before, _ := os.ReadFile(file)
			if slip {
				put(t, file, strings.Replace(string(before), "http_response.code in", "http_response.kode in", 1))
			}
			out, err := runCommand(t, in, args...)
			if (err != nil) != slip || !shows(output, out) {
				t.Errorf("%s: %v\n%s", b, err, out)
			}
			if slip {
				put(t, file, string(before))
			}
			ran++
		case b.lang == "yaml":
			key(t, file, b.text)
		default:
			put(t, log, b.text)
		}
	}
	if ran != 5 {
		t.Errorf("%d steps were gone, want 5", ran)
	}
}

// Each piece of YAML that docs/rules.md, docs/alerts.md and docs/content.md show
// is taken by what reads such files.
func TestYAMLInDocs(t *testing.T) {
	var all []fenced
	for _, name := range []string{"rules.md", "alerts.md", "content.md"} {
		all = append(all, blocks(t, docs+"/"+name)...)
	}
	checked := 0
	for _, b := range all {
		if b.lang != "yaml" || b.heading == "From a log line to a tested rule" || b.heading == "Tests" {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			t.Chdir(t.TempDir())
			first, _, _ := strings.Cut(b.text, ":")
			args := []string{"rules", "check", "rules"}
			switch first {
			case "id":
				_, id, _ := strings.Cut(strings.Fields(b.text)[1], ".")
				put(t, "rules/ai-gateway/"+id+".yml", b.text)
				if out, err := runCommand(t, "", "rules", "test", "rules"); err != nil {
					t.Errorf("its tests: %v\n%s", err, out)
				}
			case "correlate":
				for i, text := range strings.Split("\n"+b.text, "\ncorrelate:")[1:] {
					put(t, "rules/docs/r"+string(rune('a'+i))+".yml", correlated("docs.r"+string(rune('a'+i)), text))
				}
			case "alert":
				put(t, "rules/docs/alert.yml", strings.Replace(plain, "ID", "docs.alert", 1)+b.text)
			case "vars":
				put(t, "rules/vars.yml", b.text)
				put(t, "rules/sigma.yml", placeholder)
			case "detect":
				put(t, "vagus.yaml", b.text)
				args = []string{"config", "check", "vagus.yaml"}
			default:
				t.Fatalf("no test knows what to do with it")
			}
			if out, err := runCommand(t, "", args...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			checked++
		})
	}
	if checked < 10 {
		t.Errorf("%d blocks were checked", checked)
	}
}

// plain is a rule without its alert.
const plain = `id: ID
title: Of the documents
description: It is shown in a document.
level: low
status: test
source: {family: [ai, api]}
when: exists(actor.user.name)
`

// correlated is a rule with a correlation of the documents.
func correlated(id, correlate string) string {
	rule := strings.Replace(plain, "ID", id, 1)
	if strings.Contains(correlate, "steps:") || strings.Contains(correlate, "rules:") {
		rule = rule[:strings.Index(rule, "source:")]
	}
	path := "src_endpoint.ip"
	if _, after, ok := strings.Cut(correlate, "group_by: "); ok {
		path = after[:strings.IndexAny(after, ",}\n")]
	}
	return rule + "correlate:" + correlate + "\nalert: {title: \"{" + path + "}\", entity: {type: service, path: " + path + "}}\n"
}

const placeholder = `title: Of the documents
logsource: {product: windows, category: process_creation}
detection:
  here: {Computer|expand: '%Workstations%'}
  there: {Computer|expand: '%DomainControllers%'}
  condition: here or there
level: low
`
