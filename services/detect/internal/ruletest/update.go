package ruletest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Update writes what events led to into the tests of a rule's file, where a
// test failed: it replaces the value of `expect`, checking what was checked
// before. It returns the new text and the number of tests that changed.
func Update(data []byte, tests []rule.Test, results []Result) ([]byte, int, error) {
	places := map[string]rule.Place{}
	for _, p := range rule.Places(data) {
		places[p.Path] = p
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	changed := 0
	for i := len(results) - 1; i >= 0; i-- { // from the end, so that places stay
		if results[i].OK || results[i].Actual.Alerts == nil && results[i].Actual.Raised == nil && strings.Contains(results[i].Message, "records") {
			continue
		}
		at, ok := places[fmt.Sprintf("tests[%d].expect", i)]
		if !ok {
			return nil, 0, fmt.Errorf("test %s: its expect is not found", results[i].Test)
		}
		var err error
		if lines, err = replace(lines, at, Expectation(&tests[i], results[i].Actual)); err != nil {
			return nil, 0, fmt.Errorf("test %s: %w", results[i].Test, err)
		}
		changed++
	}
	return bytes.Join(lines, nil), changed, nil
}

// replace puts a value in the place of the one whose key stands there.
func replace(lines [][]byte, at rule.Place, value string) ([][]byte, error) {
	line := []rune(string(lines[at.KeyLine-1]))
	colon := slices.Index(line[at.KeyColumn-1:], ':')
	if colon < 0 {
		return nil, fmt.Errorf("line %d has no key", at.KeyLine)
	}
	head := string(line[:at.KeyColumn-1+colon+1])
	rest := strings.TrimSpace(string(line[at.KeyColumn-1+colon+1:]))
	if strings.HasPrefix(rest, "{") {
		text := string(bytes.Join(lines[at.KeyLine-1:], nil))
		from := strings.Index(text[len(head):], "{") + len(head)
		to := closing(text, from)
		if to < 0 {
			return nil, fmt.Errorf("line %d: the brace has no end", at.KeyLine)
		}
		text = head + " " + value + text[to+1:]
		return append(lines[:at.KeyLine-1:at.KeyLine-1], bytes.SplitAfter([]byte(text), []byte("\n"))...), nil
	}
	// A block: what is indented more than the key belongs to it.
	end := at.KeyLine
	for end < len(lines) {
		body := bytes.TrimLeft(lines[end], " ")
		if blank := len(bytes.TrimSpace(body)) == 0; !blank && len(lines[end])-len(body) < at.KeyColumn {
			break
		}
		end++
	}
	for end > at.KeyLine && len(bytes.TrimSpace(lines[end-1])) == 0 {
		end--
	}
	out := append(lines[:at.KeyLine-1:at.KeyLine-1], []byte(head+" "+value+"\n"))
	return append(out, lines[end:]...), nil
}

// closing is the offset of the brace that ends what one opens, -1 if none does.
func closing(text string, from int) int {
	depth, quote := 0, byte(0)
	for i := from; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// Expectation is an outcome as the value of `expect`: what the test checked,
// and the entities if there are alerts.
func Expectation(t *rule.Test, got Outcome) string {
	var titles, entities, counts []string
	for _, a := range got.Alerts {
		titles, entities = append(titles, quoted(a.Title)), append(entities, quoted(a.Entity.Value))
		counts = append(counts, strconv.FormatInt(a.Count, 10))
	}
	parts := []string{fmt.Sprintf("alerts: %d", len(got.Alerts))}
	list := func(key string, values []string) {
		switch len(values) {
		case 0:
		case 1:
			parts = append(parts, key+": "+values[0])
		default:
			parts = append(parts, key+": ["+strings.Join(values, ", ")+"]")
		}
	}
	list("entity", entities)
	if t.Expect.Titles != nil {
		list("title", titles)
	}
	if t.Expect.Count != nil {
		list("count", counts)
	}
	if t.Expect.Level != "" && len(got.Alerts) > 0 {
		parts = append(parts, "level: "+string(got.Alerts[0].Level))
	}
	if len(t.Expect.Fields) > 0 && len(got.Alerts) > 0 {
		var fields []string
		for path := range t.Expect.Fields {
			fields = append(fields, path+": "+quoted(shown(&got.Alerts[0], path)))
		}
		slices.Sort(fields)
		parts = append(parts, "fields: {"+strings.Join(fields, ", ")+"}")
	}
	if t.Expect.Amended != nil {
		parts = append(parts, fmt.Sprintf("amended: %d", got.Amended))
	}
	if t.Expect.Retracted != nil {
		parts = append(parts, fmt.Sprintf("retracted: %d", got.Retracted))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// quoted is a text in YAML that is read as a text.
func quoted(s string) string { return strconv.Quote(s) }
