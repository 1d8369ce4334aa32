package atr

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

const example = `title: "Talk of {secret} plans"
id: ATR-2026-99001
status: experimental
description: An invented rule.
severity: high
maturity: test
references:
  mitre_atlas: ["AML.T0051 - LLM Prompt Injection"]
  mitre_attack: [T1059.001]
  owasp_llm: ["LLM01:2025 - Prompt Injection"]
  cve: [CVE-2024-0001]
agent_source:
  type: mcp_exchange
detection:
  conditions:
    - {field: tool_response, operator: regex, value: "open\\s+sesame(?!d)"}
    - {field: user_input, operator: contains, value: Abracadabra}
    - {field: content, operator: starts_with, value: "psst:"}
  condition: any
  false_positives: [Tales of Arabia]
test_cases:
  true_positives:
    - {input: "Please OPEN  sesame"}
    - {input: "say abracadabra now"}
    - {input: {tool_name: x, tool_args: "psst: hello"}}
    - {input: "nothing of it"}
  true_negatives:
    - {tool_response: "open sesamed"}
    - {input: "psst, hello"}
`

func TestConvert(t *testing.T) {
	if !Recognize([]byte(example)) || Recognize([]byte("title: x\ndetection:\n")) {
		t.Error("not recognised")
	}
	c := Convert("pack/x.yaml", []byte(example))
	if c.Rule == nil {
		t.Fatal(c.Problems)
	}
	r := c.Rule
	if r.ID != "atr.2026-99001" || r.Status != "test" || r.Level != "high" || r.Source.Families != 1<<event.FamilyAI || len(r.Version) != 12 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]string{"atlas.aml.t0051", "attack.t1059.001", "owasp.llm01-2025"}, r.Tags); diff != "" {
		t.Error(diff)
	}
	if got := r.Alert.Title.Fill(func(string) string { return "x" }); got != "Talk of {secret} plans" {
		t.Errorf("title %q", got)
	}
	got, err := Check(&c)
	want := Outcome{Positives: 4, Fired: 3, Negatives: 2, Silent: 2, Differ: []string{"true_positives 4"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestMappingOfConditions(t *testing.T) {
	text := strings.Replace(example, example[strings.Index(example, "  conditions:"):strings.Index(example, "  false_positives")], `  conditions:
    words: {field: user_input, patterns: [Magic, spell], match_type: contains}
    exact: {field: tool_name, operator: exact, value: wand}
    quiet: {field: user_input, patterns: [story], match_type: contains, case_sensitive: true}
  condition: (words AND exact) and not quiet
`, 1)
	c := Convert("x.yml", []byte(text))
	if c.Rule == nil {
		t.Fatal(c.Problems)
	}
	want := `((icontains(message_context.prompt_text, "Magic")
 or icontains(message_context.prompt_text, "spell"))) and (tool.name == "wand")`
	got := c.Rule.When.Source
	if !strings.Contains(got, `not (message_context.prompt_text contains "story")`) || !strings.Contains(got, want[1:len(want)-1]) {
		t.Errorf("got %s", got)
	}
}

func TestWhatIsNotSupported(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"id":         {"ATR-2026-99001", "99001", "2:5: error: id must be of the form"},
		"severity":   {"severity: high", "severity: urgent", "severity urgent is unknown"},
		"field":      {"field: tool_response", "field: tool_respons", "did you mean tool_response?"},
		"operator":   {"operator: contains", "operator: sounds_like", "operator sounds_like"},
		"metric":     {"value: Abracadabra", "value: Abracadabra, metric: rate", "metric (measured over a session)"},
		"regex":      {`open\\s+sesame(?!d)`, `(a)\\1`, "reference back"},
		"condition":  {"condition: any", "condition: first", "combined by any or all"},
		"no regex":   {`open\\s+sesame(?!d)`, `(`, "not RE2"},
		"alias":      {"status: experimental", "status: &x experimental", "anchors"},
		"no title":   {"title: \"Talk of {secret} plans\"\n", "", "lacks title"},
		"two of one": {"status: experimental", "status: experimental\nstatus: stable", "status"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(example, tc.old, tc.new, 1)
			if name != "condition" {
				text = strings.Replace(text, "condition: any", "condition: all", 1)
			}
			c := Convert("x.yml", []byte(text))
			var all []string
			for _, p := range c.Problems {
				all = append(all, p.String())
			}
			if c.Rule != nil || !strings.Contains(strings.Join(all, "\n"), tc.want) {
				t.Errorf("rule %v, %s; want …%s…", c.Rule != nil, all, tc.want)
			}
		})
	}
}

// Of conditions of which any is enough, one that cannot be expressed is left
// out with a warning.
func TestOneConditionLess(t *testing.T) {
	c := Convert("x.yml", []byte(strings.Replace(example, `open\\s+sesame(?!d)`, `(a)\\1`, 1)))
	if c.Rule == nil || len(c.Problems) != 1 || !c.Problems[0].Warning || !strings.Contains(c.Problems[0].Message, "condition 1 is left out: regular expression: reference back") {
		t.Errorf("%v", c.Problems)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("id: ATR-2026-00001\nagent_source: {type: x}\ndetection: {conditions: {a: {field: content, patterns: [x], match_type: regex}}, condition: not a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		Recognize(data)
		c := Convert("x.yml", data)
		if c.Rule == nil && len(c.Problems) == 0 {
			t.Fatal("no rule and no reason")
		}
		if c.Rule != nil && rule.Failed(c.Problems) {
			t.Fatal("a rule with an error")
		}
		if c.Rule != nil {
			if _, err := Check(&c); err != nil {
				t.Fatal(err)
			}
			if len(Format{}.Locate(data, c.Rule.ID)) == 0 {
				t.Fatal("the rule is not found in its file")
			}
		}
	})
}
