package lsp

import (
	"strings"
	"testing"
)

func doc(text string) (*document, position) {
	i := strings.Index(text, "|>")
	line := strings.Count(text[:max(i, 0)], "\n")
	at := i - (strings.LastIndexByte(text[:max(i, 0)], '\n') + 1)
	d := &document{uri: "file:///w/rules/web/x.yml", name: "web/x.yml"}
	d.set(strings.Replace(text, "|>", "", 1), 1)
	return d, position{line, at}
}

func TestLocate(t *testing.T) {
	for name, tc := range map[string]struct {
		text, path, prefix string
		key, scalar        bool
	}{
		"first key":            {"|>", "", "", true, false},
		"half a key":           {"id: a.b\nlev|>", "", "lev", true, false},
		"value":                {"level: hi|>", "level", "hi", false, false},
		"empty value":          {"level: |>", "level", "", false, false},
		"nested key":           {"source:\n  cl|>", "source", "cl", true, false},
		"nested blank":         {"source:\n  class: x\n  |>", "source", "", true, false},
		"back out":             {"source:\n  class: x\n|>", "", "", true, false},
		"flow key":             {"source: {cl|>", "source", "cl", true, false},
		"flow value":           {"source: {class: ht|>}", "source.class", "ht", false, false},
		"second flow key":      {"source: {class: a, fa|>", "source", "fa", true, false},
		"flow list":            {"tags: [atlas.a, att|>]", "tags[1]", "att", false, false},
		"list in flow":         {"source: {class: [a, b|>", "source.class[1]", "b", false, false},
		"flow closed":          {"source: {class: [a]}\nl|>", "", "l", true, false},
		"flow over lines":      {"alert: {title: t,\n  entity: {ty|>", "alert.entity", "ty", true, false},
		"block list":           {"tags:\n  - atlas.a\n  - att|>", "tags[1]", "att", true, false},
		"list at the key":      {"tags:\n- atlas.a\n- att|>", "tags[1]", "att", true, false},
		"key of an item":       {"tests:\n  - name: a\n    ev|>", "tests[0]", "ev", true, false},
		"second item":          {"tests:\n  - name: a\n  - na|>", "tests[1]", "na", true, false},
		"event in a test":      {"tests:\n  - name: a\n    events:\n      - {after: 1s, src|>", "tests[0].events[0]", "src", true, false},
		"block scalar":         {"when: |\n  a.b == 1\n  and c|>", "when", "and c", false, true},
		"after a block scalar": {"when: |\n  a.b == 1\nal|>", "", "al", true, false},
		"folded":               {"description: >-\n  some {text\nle|>", "", "le", true, false},
		"quoted braces":        {`alert: {title: "{x} {", ent|>`, "alert", "ent", true, false},
		"step":                 {"correlate:\n  steps:\n    - name: a\n      when: x|>", "correlate.steps[0].when", "x", false, false},
		"comment":              {"# a: {\nle|>", "", "le", true, false},
		"colon in a value":     {"title: a: b|>", "title", "a: b", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, p := doc(tc.text)
			got := locate(d, p.Line, p.Character)
			if got.path != tc.path || got.prefix != tc.prefix || got.key != tc.key || got.scalar != tc.scalar {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzScan(f *testing.F) {
	f.Add("a: {b: [c, {d: e}]}\nf: |\n  g\n- h: \"x\\", 3, 2)
	f.Add("tests:\n  - {a: 'b'", 1, 8)
	f.Fuzz(func(t *testing.T, text string, line, at int) {
		d := &document{}
		d.set(text, 1)
		entries(d, func(e entry) {
			if e.line < 0 || e.line >= len(d.lines) || e.at < 0 || e.at > len(d.lines[e.line]) {
				t.Errorf("%+v is outside of the text", e)
			}
		})
		if p := locate(d, max(line, 0), max(at, 0)); p.from < 0 || p.from > len(d.line(max(line, 0))) {
			t.Errorf("%+v", p)
		}
	})
}
