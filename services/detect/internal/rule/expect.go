package rule

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// expect reads what a test expects.
func (r *reader) expect(f field, t *Test) {
	m := r.mapping(f.value, "expect", "alerts!", "entity", "title", "level", "count", "fields", "amended", "retracted")
	t.Alerts = r.integer(m["alerts"], "alerts")
	t.Entities = r.texts(m["entity"], "entity")
	x := &t.Expect
	x.Titles = r.texts(m["title"], "title")
	var levels []string
	for _, l := range finding.Levels {
		levels = append(levels, string(l))
	}
	x.Level = r.oneOf(m["level"], "level", levels...)
	for _, item := range r.items(m["count"]) {
		x.Count = append(x.Count, r.integer(item, "count"))
	}
	if v := m["fields"]; v.value != nil {
		x.Fields = map[string]string{}
		order, fields := r.pairs(v.value, "fields")
		for _, path := range order {
			if _, ok := event.ByPath(path); !ok {
				r.error(fields[path].key, "fields: unknown field %s%s", path, lang.DidYouMean(path, fieldNames()))
				continue
			}
			x.Fields[path] = r.scalar(fields[path], path)
		}
	}
	for key, into := range map[string]**int{"amended": &x.Amended, "retracted": &x.Retracted} {
		if v := m[key]; v.value != nil {
			n := r.integer(v, key)
			*into = &n
		}
	}
}

// scalar reads a text, or a number or truth value as its text: alerts show
// texts.
func (r *reader) scalar(f field, what string) string {
	switch n := f.value.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return r.text(f, what)
	case *ast.IntegerNode:
		return fmt.Sprint(n.Value)
	case *ast.FloatNode:
		return fmt.Sprint(n.Value)
	case *ast.BoolNode:
		return fmt.Sprint(n.Value)
	}
	r.error(f.value, "%s must be a text or a number", what)
	return ""
}

// maxOffset bounds when an event of a test happens.
const maxOffset = 400 * 24 * time.Hour

// offset reads when an event happens since the start of its test.
func (r *reader) offset(f field) *time.Duration {
	s := r.scalar(f, "at")
	d, err := parseDuration(strings.TrimPrefix(s, "+"))
	if err != nil || d < 0 || d > maxOffset {
		r.error(f.value, "at %s is not a time since the start of the test, such as +90s, +5m or +2d", s)
		return nil
	}
	return &d
}

// records reads where an entry's events come from.
func (r *reader) records(e *TestEvent, m map[string]field, rule *Rule) {
	e.Raw, e.Samples = r.text(m["raw"], "raw"), r.text(m["samples"], "samples")
	if m["raw"].value != nil && m["samples"].value != nil {
		r.error(m["samples"].key, "an entry has raw or samples, not both")
	}
	for _, key := range []string{"class", "family"} {
		if m[key].value != nil {
			r.error(m[key].key, "%s of recorded events is what their mapping says", key)
		}
	}
	switch source := m["source"]; {
	case source.value != nil:
		e.Mapping = r.text(source, "source")
	case len(rule.Source.Products) > 0:
		e.Mapping = rule.Source.Products[0]
	default:
		e.Mapping = "auto"
	}
	if err := subjects.Check(e.Mapping); err != nil {
		r.error(m["source"].value, "source: %v", err)
	}
}
