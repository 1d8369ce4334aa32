package scaffold

import (
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// varied and measured list fields whose values correlations count and add up.
var (
	varied = []event.ColumnID{event.HTTPRequestPath, event.AIModelName, event.ToolName, event.ResourceName, event.HTTPRequestUserAgent,
		event.DstEndpointHostname, event.FilePath, event.ProcessCmdLine, event.DNSQuery, event.MetadataCorrelationUID, event.StatusDetail}
	measured = []event.ColumnID{event.MessageContextTotalTokens, event.TrafficBytesOut, event.HTTPResponseLength, event.Duration, event.FileSize}
)

// free is the first of some fields that the events carry and nothing else of
// the rule uses.
func (w *writer) free(of []event.ColumnID) event.ColumnID {
	for _, id := range of {
		used := id == w.subject || slices.ContainsFunc(w.part, func(f rule.TestField) bool { return f.Column.ID == id })
		if !used && event.Columns[id].Families.Has(w.family) {
			return id
		}
	}
	return event.StatusCode
}

// correlation writes the rest of a rule that correlates.
func (w *writer) correlation(title, subject string) {
	group := "group_by: [" + subject + "]"
	title = strings.ToLower(title)
	own := func() { w.source(""); w.when("") }
	many := func(n string, fields []rule.TestField) []string { return w.event("repeat: "+n+"\nafter: 1s", fields) }
	switch w.correlate {
	case rule.EventCount:
		own()
		w.line("correlate: {type: event_count, %s, timespan: 5m, condition: {gte: 5}}", group)
		w.alert("{"+subject+"}: "+title+", {count} times", subject)
		w.line("tests:")
		w.test("five times", 1, many("5", w.fields))
		w.test("four times", 0, many("4", w.fields))
	case rule.ValueCount:
		id := w.free(varied)
		own()
		w.line("correlate: {type: value_count, field: %s, %s, timespan: 5m, condition: {gte: 5}}", path(id), group)
		w.alert("{"+subject+"}: "+title+", {value} different values", subject)
		w.line("tests:")
		w.test("five values", 1, many("5", w.with(id, "value-{n}")))
		w.test("one value again and again", 0, many("9", w.with(id, "value")))
	case rule.ValueSum, rule.ValueAvg, rule.ValuePercentile:
		id := w.free(measured)
		if event.Columns[id].Kind.Text() {
			id = event.SeverityID
		}
		own()
		more := map[string]string{rule.ValueAvg: ", min_events: 3", rule.ValuePercentile: ", percentile: 95, min_events: 3"}[w.correlate]
		w.line("correlate: {type: %s, field: %s, %s, timespan: 5m, condition: {gte: 100}%s}", w.correlate, path(id), group, more)
		w.alert("{"+subject+"}: "+title+", {value}", subject)
		w.line("tests:")
		w.test("much", 1, many("3", w.with(id, int64(120))))
		w.test("little", 0, many("3", w.with(id, int64(10))))
	case rule.NewValue:
		id := w.free(varied)
		own()
		w.line("# A value that a group has not had for 30 days; nothing is raised while a group is learned.")
		w.line("correlate: {type: new_value, field: %s, %s, timespan: 30d, learning: 1d}", path(id), group)
		w.alert("{"+subject+"}: "+title+", first seen", subject)
		w.line("tests:")
		w.test("a new value after a day", 1, w.event("", w.with(id, "known")), w.event("after: 30h", w.with(id, "new")))
		w.test("the known one again", 0, w.event("", w.with(id, "known")), w.event("after: 30h", w.with(id, "known")))
	case rule.RateAnomaly:
		own()
		w.line("# Many more than usual for the group: its own baseline, in robust deviations.")
		w.line("correlate: {type: rate_anomaly, %s, timespan: 1h, baseline: 7d, learning: 2d, condition: {gte: 6}, min_value: 50}", group)
		w.alert("{"+subject+"}: "+title+", far more than usual", subject)
		w.line("tests:")
		usual := w.event("repeat: 150\nafter: 30m", w.fields)
		w.test("a burst after three quiet days", 1, usual, w.event("repeat: 200\nafter: 1s", w.fields), w.event("after: 3h", w.fields))
		w.test("as ever", 0, usual, w.event("repeat: 4\nafter: 30m", w.fields))
	case rule.Temporal, rule.TemporalOrdered, rule.Absence:
		w.steps(title, subject, group)
	case rule.Chain:
		w.line("# The alerts of other rules, in this order and about the same entity.")
		w.line("correlate: {type: chain, rules: [ai-gateway.prompt-injection-burst, ai-gateway.response-image-exfiltration], %s, timespan: 1h}", group)
		w.alert("{"+subject+"}: "+title, subject)
		w.line("# Add tests with the events that make those rules fire.")
	}
}

// steps writes a correlation of two conditions: the event, and the event with
// its last field changed.
func (w *writer) steps(title, subject, group string) {
	second := *w
	second.part = slices.Clone(w.part)
	last := &second.part[len(second.part)-1]
	last.Value = other(*last)
	w.line("correlate:")
	w.line("  type: %s", w.correlate)
	w.line("  timespan: 10m")
	w.line("  %s", group)
	w.line("  steps:")
	for i, s := range []*writer{w, &second} {
		w.line("    - name: %s", []string{"first", "second"}[i])
		s2 := writer{seen: s.seen}
		s2.source("      ")
		s2.when("      ")
		w.b.WriteString(s2.b.String())
	}
	w.alert("{"+subject+"}: "+title, subject)
	w.line("tests:")
	first, next := w.event("step: first", w.fields), w.event("step: second\nafter: 1m", w.altered())
	switch w.correlate {
	case rule.Absence:
		w.test("the second never comes", 1, first)
		w.test("both", 0, first, next)
	case rule.TemporalOrdered:
		w.test("both in order", 1, first, next)
		w.test("the wrong way round", 0, w.event("step: second", w.altered()), w.event("step: first\nafter: 1m", w.fields))
	default:
		w.test("both", 1, first, next)
		w.test("the first alone", 0, first)
	}
}
