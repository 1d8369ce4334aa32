package scaffold

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Options says what rule to write.
type Options struct {
	ID string // <domain>.<slug>
	// Event is what the rule is to find; nil: an example.
	Event *rule.TestEvent
	// Correlate is a type of correlation, "" for none.
	Correlate string
}

// example is the event of a rule that is not made from one.
func example() rule.TestEvent {
	field := func(id event.ColumnID, v any) rule.TestField {
		return rule.TestField{Column: &event.Columns[id], Value: v}
	}
	return rule.TestEvent{Repeat: 1, Family: event.FamilyNetwork, Fields: []rule.TestField{
		field(event.ClassUID, int64(4002)), field(event.SrcEndpointIP, "203.0.113.9"), field(event.HTTPRequestMethod, "POST"),
		field(event.HTTPRequestPath, "/v1/chat/completions"), field(event.HTTPResponseCode, int64(401)),
	}}
}

// New writes a rule's file.
func New(o Options) ([]byte, error) {
	if o.Correlate != "" && !slices.Contains(rule.Types, o.Correlate) {
		return nil, fmt.Errorf("correlation type %s is unknown%s (one of %s)", o.Correlate, lang.DidYouMean(o.Correlate, rule.Types), strings.Join(rule.Types, ", "))
	}
	e := example()
	if o.Event != nil {
		e = *o.Event
	}
	s := see(e)
	if len(s.part) == 0 {
		return nil, fmt.Errorf("the event has nothing to make a condition of: give another, or none and edit the template")
	}
	if s.kind == "" { // the example's subject, for the author to change
		s.subject, s.kind = event.Source, "service"
	}
	w := &writer{seen: s, correlate: o.Correlate}
	w.head(o.ID)
	return []byte(w.b.String()), nil
}

// writer writes the parts of a rule in order.
type writer struct {
	seen
	correlate string
	b         strings.Builder
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

func (w *writer) head(id string) {
	_, slug, _ := strings.Cut(id, ".")
	title := strings.ToUpper(slug[:1]) + strings.ReplaceAll(slug[1:], "-", " ")
	w.line("id: %s", id)
	w.line("title: %s", title)
	w.line("description: >-")
	w.line("  Say here what it means when this happens, and what innocent things look like it.")
	w.line("level: medium                # informational low medium high critical")
	w.line("status: experimental         # experimental test stable")
	w.line("lane: alert                  # hunt: stored; alert: shown; enforce: may start playbooks")
	w.line("tags: []                     # atlas.aml.t0051, attack.t1059.001, owasp.llm01-2025, …")
	w.line("false_positives: []")
	p := path(w.subject)
	switch w.correlate {
	case "":
		w.source("")
		w.when("")
		w.alert("{"+p+"}: "+strings.ToLower(title), p)
		w.line("tests:")
		w.test("fires", 1, w.event("", w.fields))
		w.test("differs in one field", 0, w.event("", w.altered()))
	default:
		w.correlation(title, p)
	}
}

func path(id event.ColumnID) string { return event.Columns[id].Path }

func (w *writer) source(indent string) {
	var parts []string
	if w.class != nil {
		parts = append(parts, "class: "+w.class.Name)
		if !rule.ClassFamilies(w.class).Has(w.family) {
			parts = append(parts, "family: "+w.family.String())
		}
	} else {
		parts = append(parts, "family: "+w.family.String())
	}
	if w.product != "" {
		parts = append(parts, "product: "+w.product)
	}
	w.line("%ssource: {%s}", indent, strings.Join(parts, ", "))
}

func (w *writer) when(indent string) {
	w.line("%swhen: |", indent)
	for i, f := range w.part {
		and := ""
		if i > 0 {
			and = "and "
		}
		w.line("%s  %s%s", indent, and, condition(f))
	}
}

func (w *writer) alert(title, subject string) {
	w.line("alert:")
	w.line("  title: %q", title)
	w.line("  entity: {type: %s, path: %s}", w.kind, subject)
	var fields []string
	for _, f := range w.part {
		fields = append(fields, f.Column.Path)
	}
	w.line("  fields: [%s]", strings.Join(fields, ", "))
}

// test writes a case of events, each a list of lines.
func (w *writer) test(name string, alerts int, events ...[]string) {
	w.line("  - name: %s", name)
	w.line("    events:")
	for _, e := range events {
		for i, l := range e {
			mark := "        "
			if i == 0 {
				mark = "      - "
			}
			w.line("%s%s", mark, l)
		}
	}
	w.line("    expect: {alerts: %d}", alerts)
}

// maxFields bounds the fields of an event in a test.
const maxFields = 24

// event writes an event; head goes first, such as "repeat: 5".
func (w *writer) event(head string, fields []rule.TestField) []string {
	var out []string
	if head != "" {
		out = append(out, strings.Split(head, "\n")...)
	}
	have := false
	for i, f := range fields {
		needed := f.Column.ID == w.subject || slices.ContainsFunc(w.part, func(p rule.TestField) bool { return p.Column.ID == f.Column.ID })
		have = have || f.Column.ID == w.subject
		if i < maxFields || needed {
			out = append(out, f.Column.Path+": "+yaml(f.Value))
		}
	}
	if !have && w.subject == event.Source && w.product == "" {
		out = append(out, "source: example")
	}
	if w.class == nil || w.class.Family != w.family {
		out = append([]string{"family: " + w.family.String()}, out...)
	}
	return out
}

// altered is the event with the last field of the condition changed.
func (w *writer) altered() []rule.TestField {
	last := w.part[len(w.part)-1]
	out := slices.Clone(w.fields)
	for i := range out {
		if out[i].Column.ID == last.Column.ID {
			out[i].Value = other(last)
		}
	}
	return out
}

// with is the event with one field set.
func (w *writer) with(id event.ColumnID, v any) []rule.TestField {
	out := slices.DeleteFunc(slices.Clone(w.fields), func(f rule.TestField) bool { return f.Column.ID == id })
	return append(out, rule.TestField{Column: &event.Columns[id], Value: v})
}
