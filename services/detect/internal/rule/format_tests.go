package rule

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
)

// MarshalTests writes the tests of a rule, as they stand at the end of its file.
// They must have events, not records, and expect alerts and entities alone.
func MarshalTests(r *Rule) []byte {
	w := &writer{}
	w.tests(r)
	return []byte(w.b.String())
}

// tests writes tests whose events have fields. Of what is expected it writes the
// number of alerts and the entities.
func (w *writer) tests(r *Rule) {
	if len(r.Tests) == 0 {
		return
	}
	w.line("tests:")
	for _, t := range r.Tests {
		w.line("  - name: " + quoted(t.Name))
		w.line("    events:")
		for _, e := range t.Events {
			w.line("      - " + w.event(r, e))
		}
		s := "    expect: {alerts: " + strconv.Itoa(t.Alerts)
		if len(t.Entities) > 0 {
			list := make([]string, len(t.Entities))
			for i, x := range t.Entities {
				list[i] = quoted(x)
			}
			s += ", entity: [" + strings.Join(list, ", ") + "]"
		}
		w.line(s + "}")
	}
}

// event writes an event, without what the loader adds from the rule's source.
func (w *writer) event(r *Rule, e TestEvent) string {
	var parts []string
	if e.Repeat > 1 {
		parts = append(parts, "repeat: "+strconv.Itoa(e.Repeat))
	}
	if e.At != nil {
		parts = append(parts, "at: "+e.At.String())
	} else if e.After > 0 {
		parts = append(parts, "after: "+e.After.String())
	}
	own := r.Correlate == nil || len(r.Correlate.Steps) == 0
	family := !own || e.Family != usualFamily(r)
	from := len(parts)
	for _, f := range e.Fields {
		value := testText(f.Value)
		switch f.Column.ID {
		case event.ClassUID:
			uid, _ := f.Value.(int64)
			if own && len(r.Source.Classes) > 0 && r.Source.Classes[0] == uint32(uid) {
				continue
			}
			if c, ok := event.ClassByUID(uint32(uid)); ok {
				parts, family = append(parts, "class: "+c.Name), true // a class alone would choose one
				continue
			}
		case event.Source:
			if own && len(r.Source.Products) > 0 && r.Source.Products[0] == f.Value {
				continue
			}
		}
		parts = append(parts, f.Column.Path+": "+value)
	}
	if family {
		parts = slices.Insert(parts, from, "family: "+e.Family.String())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// usualFamily is that of a test's events unless they say otherwise.
func usualFamily(r *Rule) event.Family {
	if len(r.Source.Classes) == 1 && r.Source.Families.Has(classFamily(r.Source.Classes[0])) {
		return classFamily(r.Source.Classes[0])
	}
	return event.Family(bits.TrailingZeros16(uint16(r.Source.Families)))
}

func testText(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case float64:
		return decimal(v)
	case []string:
		list := make([]string, len(v))
		for i, s := range v {
			list[i] = quoted(s)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case map[string]float64:
		var list []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			list = append(list, quoted(k)+": "+decimal(v[k]))
		}
		return "{" + strings.Join(list, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// decimal writes a number so that YAML reads it as one with a fraction.
func decimal(v float64) string {
	s := number(v)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
