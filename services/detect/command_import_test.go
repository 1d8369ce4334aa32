package detect

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/detect/internal/wazuh"
	"github.com/vagus-hub/vagus/services/internal/block"
)

const threat = `title: "Open sesame"
id: ATR-2026-99001
status: experimental
description: An invented rule.
severity: high
agent_source: {type: mcp_exchange}
detection:
  conditions:
    - {field: tool_response, operator: regex, value: "open\\s+sesame(?!d)"}
    - {field: user_input, operator: regex, value: "(a)\\1"}
  condition: any
test_cases:
  true_positives: [{input: open sesame}, {input: "nothing\nof it"}]
  true_negatives: [{input: open sesamed}]
`

const doors = `<group name="doord,">
<rule id="100" level="0"><program_name>doord</program_name><description>Doors.</description></rule>
<rule id="101" level="5"><if_sid>100</if_sid><match>Wrong key</match><description>Wrong key.</description></rule>
<rule id="102" level="5"><if_sid>100</if_sid><list field="srcip">x</list><description>Listed.</description></rule>
<rule id="103" level="5"><if_sid>102</if_sid><match>x</match><description>Below.</description></rule>
</group>`

// imported runs `rules import` and returns what it printed.
func importRules(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command(CommandOptions{})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"import"}, args...))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestImportATR(t *testing.T) {
	dir := rulesDir(t, map[string]string{"a/x.yaml": threat, "a/sigma.yml": "title: x\ndetection: {}\n"})
	out, err := importRules(t, "atr", dir, "--check", "--all")
	for _, want := range []string{"1 of 1 rules load (100.0 %), 1 of them without", "1 of 2 positives fire (50.0 %), 1 of 1 negatives", "condition 2 is left out", "true_positives 2"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("lacks %q: %s, %v", want, out, err)
		}
	}
	into := t.TempDir()
	if out, err = importRules(t, "atr", dir, "--out", into, "--json"); err != nil {
		t.Fatal(out, err)
	}
	var sum importedATR
	if err := json.Unmarshal([]byte(out), &sum); err != nil || sum.Written != 1 || len(sum.Rules) != 1 || sum.Rules[0].ID != "atr.2026-99001" {
		t.Errorf("%s, %v", out, err)
	}
	// What is written is the same rule, and the file loads as it is, too.
	written, problems, err := rule.LoadFS(os.DirFS(into), ".", "")
	if err != nil || len(written) != 1 {
		t.Fatal(problems, err)
	}
	asIs, problems, err := rule.LoadFS(os.DirFS(dir), "a", "", formats()...)
	if err != nil || len(asIs) != 1 {
		t.Fatal(problems, err)
	}
	a, b := asIs[0], written[0]
	if a.When.Source != b.When.Source || a.Source.Families != b.Source.Families || len(a.Alert.Entities) == 0 || len(a.Alert.Entities) != len(b.Alert.Entities) || a.Level != b.Level {
		t.Errorf("%+v\n%+v", a, b)
	}
	for _, args := range [][]string{{"atr", dir}, {"atr", dir, "--check", "--out", into}, {"atr", into, "--check"}, {"atr", "/nonexistent", "--check"}} {
		if out, err := importRules(t, args...); err == nil {
			t.Errorf("%v is taken: %s", args, out)
		}
	}
}

func TestImportWazuh(t *testing.T) {
	dir := rulesDir(t, map[string]string{"doors.xml": doors, "cut.xml": "<rule id='7' level='3'><match>"})
	out, err := importRules(t, "wazuh", dir, "--check")
	if want := "import wazuh: 1 problem with files, 2 rules left out"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for _, want := range []string{"1 of 3 rules that alert are converted", "1 more only group others", "unsupported: list", "in a chain: unsupported: list", "cut.xml:1:"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q: %s, %v", want, out, err)
		}
	}
	into := t.TempDir()
	if out, err = importRules(t, "wazuh", dir, "--only", "100-101", "--out", into, "--json"); !strings.Contains(out, `"written": 1`) {
		t.Error(out, err)
	}
	text, err := os.ReadFile(filepath.Join(into, "wazuh", "101.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if r, problems := rule.Load("wazuh/101.yml", text); r == nil {
		t.Errorf("%v", problems)
	}
	if _, err = importRules(t, "wazuh", dir, "--only", "some", "--check"); err == nil {
		t.Error("a bad range is taken")
	}
	c := wazuh.Converted{Reason: "refines rule 1, which refines rule 2, which is not so"}
	if c.Cause() != "in a chain: is not so" {
		t.Error(c.Cause())
	}
}

const whoami = `title: Who am I
id: 5f0c1c9e-0000-4000-8000-000000000001
status: test
level: high
logsource: {category: process_creation, product: windows}
detection:
  s: {Image|endswith: '\whoami.exe', Computer|expand: '%Workstations%'}
  f: {ParentImage|endswith: '\agent.exe'}
  condition: s and not f
`

func TestImportSigma(t *testing.T) {
	dir := rulesDir(t, map[string]string{"a.yml": whoami, "never.yml": strings.NewReplacer("0001", "0002", "condition: s", "c: {Image: a, CommandLine|re: '^$'}\n  condition: c and s").Replace(whoami)})
	out, err := importRules(t, "sigma", dir, "--check")
	if want := "import sigma: 2 documents left out"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if want := "2  unsupported: placeholder %Workstations% has no values"; !strings.Contains(out, want) {
		t.Errorf("lacks %q: %s, %v", want, out, err)
	}
	values := filepath.Join(t.TempDir(), "values.txt")
	if err := os.WriteFile(values, []byte("ws-*\n\ndesk-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	out, err = importRules(t, "sigma", dir, "--out", into, "--placeholder", "%Workstations%=@"+values)
	for _, want := range []string{"2 of 2 documents load", "2 rules written to", "1 have a test that fires and one that nearly does, 0 only the first, 1 none"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("lacks %q: %s, %v", want, out, err)
		}
	}
	rules, problems, err := rule.LoadFS(os.DirFS(into), ".", "")
	if err != nil || rule.Failed(problems) || len(rules) != 2 {
		t.Fatal(problems, err)
	}
	for _, res := range ruletest.Run(rules[0], ruletest.Options{}) {
		if !res.OK {
			t.Error(res)
		}
	}
	text, err := os.ReadFile(filepath.Join(into, "sigma", "5f0c1c9e-0000-4000-8000-000000000002.yml"))
	if err != nil || len(rules[0].Tests) != 2 || !strings.Contains(string(text), "# A test is missing: no event was found") {
		t.Errorf("%d tests, %v\n%s", len(rules[0].Tests), err, text)
	}
	for _, args := range [][]string{{"sigma", dir, "--check", "--placeholder", "x"}, {"sigma", dir, "--check", "--placeholder", "x="}, {"sigma", dir, "--check", "--placeholder", "x=@/nonexistent"}} {
		if out, err := importRules(t, args...); err == nil {
			t.Errorf("%v is taken: %s", args, out)
		}
	}
}

// TestRegressWazuh: logs go through the mappings to the rules that they are for,
// and what says nothing of a rule is told apart.
func TestRegressWazuh(t *testing.T) {
	dir := rulesDir(t, map[string]string{"rules/doors.xml": doors, "testing/tests/d.ini": "[wrong key]\nlog 1 pass = Wrong key in slot 7\nlog 2 pass = A key\nrule = 101\n" +
		"\n[nothing known]\nlog 1 pass = unknown\nrule = 101\n\n[listed]\nlog 1 pass = x\nrule = 102\n\n[base]\nlog 1 pass = x\nrule = 100\n"})
	cmd := Command(CommandOptions{Normalize: func(_ string, data []byte, _ int64, emit func([]byte) error) error {
		log := strings.TrimSpace(string(data))
		if log == "unknown" {
			return errors.New("no source's mapping recognises the record")
		}
		b := block.NewBuilder(event.FamilyHost)
		b.SetString(event.Source, "syslog.message")
		b.SetString(event.ActorAppName, "doord")
		b.SetString(event.Message, log)
		b.EndRow()
		return emit(b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "syslog.message"}))
	}})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"regress", "--wazuh", dir, "--all"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err, out.String())
	}
	for _, want := range []string{
		"1 of 2 samples fire their rule (50.0 %)", "of 1 no mapping recognises the log, of 0 another than the rule's does, of 2 the rule is not converted",
		"rule wazuh.101 does not match (syslog.message)", "it never alerts: others refine it", "unsupported: list",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}
