package atr

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Case is a test case that a rule brings along.
type Case struct {
	Name  string
	Line  int
	Fires bool // what its author expects
	// Event is the case in the hub's columns.
	Event rule.TestEvent
}

// maxCases bounds the cases of a rule.
const maxCases = 1000

// cases reads true_positives and true_negatives.
func (c *converter) cases() []Case {
	var out []Case
	for _, kind := range []string{"true_positives", "true_negatives"} {
		for i, n := range items(c.root.get("test_cases").get(kind)) {
			if len(out) >= maxCases || !n.mapping {
				break
			}
			out = append(out, Case{Name: kind + " " + strconv.Itoa(i+1), Line: n.line, Fires: kind == "true_positives", Event: c.event(n)})
		}
	}
	return out
}

// event fills in an event what a case says. A bare input is the user's text and
// what the rule's source is about, as ATR's own runner has it; if the rule looks
// at neither, it is what the rule looks at.
func (c *converter) event(n *node) rule.TestEvent {
	fields := map[string]string{}
	set := func(field, value string) {
		if value != "" && fields[field] == "" {
			fields[field] = value
		}
	}
	for _, key := range []string{"tool_name", "tool_args", "tool_response", "agent_output", "tool_description", "user_input", "system_prompt", "agent_message"} {
		set(key, text(n.get(key)))
	}
	if call := n.get("tool_call"); call != nil && call.mapping {
		set("tool_name", text(call.get("name")))
		set("tool_args", text(call.get("args")))
		set("tool_args", text(call.get("arguments")))
	}
	input := n.get("input")
	bare := text(n.get("content"))
	switch {
	case input != nil && input.mapping:
		set("tool_name", text(input.get("tool_name")))
		set("tool_args", text(input.get("tool_args")))
		set("tool_response", text(input.get("tool_response")))
		set("tool_response", text(input.get("response")))
		if fields["tool_args"] == "" && fields["tool_response"] == "" {
			bare = text(input)
		}
	case input != nil:
		bare = text(input)
	}
	if bare != "" {
		set("user_input", bare)
		if f := primary[c.source]; f != "" {
			set(f, bare)
		}
		set("content", bare)
	}
	// The main text of a case that has none is what it has.
	for _, key := range []string{"tool_description", "tool_response", "agent_output", "tool_args"} {
		set("content", fields[key])
	}
	e := rule.TestEvent{Repeat: 1, After: time.Second, Family: event.FamilyAI}
	values := map[event.ColumnID]string{}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if field == "content" {
			continue
		}
		for _, id := range columnsOf(c.source, field)[:1] {
			if values[id] == "" {
				values[id] = fields[field]
			}
		}
	}
	if id := columnsOf(c.source, "content")[0]; values[id] == "" {
		values[id] = fields["content"]
	}
	// ATR's runner also scans a bare text as a document, which is every field.
	if len(values) <= 2 && bare != "" && !slices.ContainsFunc(c.used, func(id event.ColumnID) bool { return values[id] != "" }) {
		for _, id := range c.used {
			values[id] = bare
		}
	}
	for id := range event.Columns {
		if v := values[event.ColumnID(id)]; v != "" {
			e.Fields = append(e.Fields, rule.TestField{Column: &event.Columns[id], Value: v})
		}
	}
	return e
}

// text is a scalar, or JSON of what is none.
func text(n *node) string {
	if n == nil {
		return ""
	}
	if n.scalar {
		return n.text
	}
	data, err := json.Marshal(n.plain())
	if err != nil || string(data) == "null" {
		return ""
	}
	return string(data)
}

func (n *node) plain() any {
	switch {
	case n.mapping:
		out := map[string]any{}
		for k, v := range n.pairs {
			out[k] = v.plain()
		}
		return out
	case n.list:
		out := []any{}
		for _, v := range n.items {
			out = append(out, v.plain())
		}
		return out
	case n.scalar:
		return n.text
	}
	return nil
}
