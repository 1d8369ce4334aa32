package lang

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
)

func testEnv(value string) Env {
	a := AlertOf(finding.Alert{
		UID: "u", Level: finding.High, Title: value, Entity: finding.Entity{Type: "ip", Value: value}, Tags: []string{value},
		Fields: map[string]string{"src_endpoint.ip": value}, Count: 3,
	})
	return Env{
		Alert: a, Entity: a.Entity, Vars: map[string]string{"ttl": "15m"}, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Steps: map[string]Step{"block": {State: "succeeded", Result: map[string]any{"id": value}}},
	}
}

var scope = Scope{Steps: []string{"block"}, Vars: []string{"ttl"}}

func TestExpressions(t *testing.T) {
	for text, want := range map[string]any{
		`alert.severity >= 4 && entity.type == "ip"`: true,
		`alert.fields["src_endpoint.ip"]`:            "v",
		`alert.fields["none"]`:                       "",
		`"atlas" in alert.tags`:                      false,
		`steps.block.state`:                          "succeeded",
		`vars.ttl`:                                   "15m",
		`any(alert.tags, # startsWith "v")`:          true,
	} {
		e, err := Compile(text, scope, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.Eval(testEnv("v")); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`alert.sverity > 3`:                      `alert has no sverity (did you mean "severity"?)`,
		`entty.type == "ip"`:                     `did you mean "entity"`,
		`alert.severity == "high"`:               "mismatched types",
		`alert.title`:                            "expected bool",
		`steps.blok.state == "x"`:                `steps.blok is not defined before this (did you mean "block"?)`,
		`steps[alert.title].state == "x"`:        "constant",
		`vars.tll == "x"`:                        `did you mean "ttl"`,
		`len(1..1000000000) > 0`:                 "ranges",
		`now() == now`:                           "now",
		strings.Repeat("!", 5000):                "at most",
		`true` + strings.Repeat(` && true`, 300): "",
		`(`:                                      "unexpected",
	} {
		_, err := Compile(text, scope, true)
		if err == nil && want != "" || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// TestTemplatesKeepData: an inserted value is never looked at again.
func TestTemplatesKeepData(t *testing.T) {
	for _, value := range []string{`{{ vars.ttl }}`, `", "x": "`, `}}`, "a\r\nb", `\u0022`, "<script>", "名前"} {
		tree, err := ParseTree(map[string]any{
			"alone": "{{ entity.value }}", "inside": "a {{ entity.value }} b", "list": []any{"{{ alert.tags }}", 7, true, nil},
			"quoted": `{{ "}}" + entity.value + '{{' }}`, "typed": "{{ alert.count }}",
		}, scope)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tree.Render(testEnv(value))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"alone": value, "inside": "a " + value + " b", "list": []any{[]any{value}, 7.0, true, nil},
			"quoted": "}}" + value + "{{", "typed": 3.0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", value, diff)
		}
	}
}

func TestTemplateLimits(t *testing.T) {
	for text, value := range map[string]string{
		"{{ entity.value }}":                     strings.Repeat("x", MaxResult+1),
		"a{{ entity.value }}{{ entity.value }}":  strings.Repeat("x", MaxResult/2+1),
		"{{ repeat(entity.value, 1000000000) }}": "x",
	} {
		tmpl, err := ParseText(text, scope)
		if err != nil {
			continue // refused when loaded: as good
		}
		if got, err := tmpl.Value(testEnv(value)); err == nil {
			t.Errorf("%s gave %d bytes", text, len(got.(string)))
		}
	}
	if _, err := ParseText("{{ alert.title", scope); err == nil {
		t.Error("unclosed template accepted")
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("a {{ entity.value }} b", "v")
	f.Add(`{{ "}}" }}{{ {"a": 1} }}`, `"}`)
	f.Add("{{ alert.tags[99] }}", "")
	f.Add("{{", "{{ x }}")
	f.Fuzz(func(t *testing.T, text, value string) {
		tree, err := ParseTree(map[string]any{"k": text}, scope)
		if err != nil {
			return
		}
		v, err := tree.Render(testEnv(value))
		if err != nil {
			return
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := json.Unmarshal(b, &back); err != nil || len(back) != 1 {
			t.Fatalf("%q with %q gave %s", text, value, b)
		}
	})
}
