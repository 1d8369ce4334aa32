package rule

import (
	"net/netip"

	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// maxRepeat bounds the events of one test entry.
const maxRepeat = 100_000

func (r *reader) tests(f field, rule *Rule) []Test {
	var out []Test
	for _, item := range r.items(f) {
		m := r.mapping(item.value, "test", "name!", "events!", "expect!")
		t := Test{Name: r.text(m["name"], "test name")}
		t.Line, t.Column = position(item.value)
		for _, e := range r.items(m["events"]) {
			t.Events = append(t.Events, r.testEvent(e, rule))
		}
		if x := m["expect"]; x.value != nil {
			r.expect(x, &t)
		}
		out = append(out, t)
	}
	return out
}

func (r *reader) testEvent(f field, rule *Rule) TestEvent {
	order, m := r.pairs(f.value, "event")
	rule = r.testStep(m["step"], rule)
	recorded := m["raw"].value != nil || m["samples"].value != nil
	e := TestEvent{Repeat: 1, Family: usualFamily(rule)}
	e.Line, e.Column = position(f.value)
	class := uint32(0)
	if len(rule.Source.Classes) > 0 {
		class = rule.Source.Classes[0]
	}
	for _, key := range order {
		v := m[key]
		switch key {
		case "after":
			e.After = r.duration(v, "after")
		case "at":
			e.At = r.offset(v)
		case "repeat":
			if e.Repeat = r.integer(v, "repeat"); e.Repeat < 1 || e.Repeat > maxRepeat {
				r.error(v.value, "repeat must be between 1 and %d", maxRepeat)
				e.Repeat = 1
			}
		case "family":
			name := r.text(v, "family")
			fam, ok := event.FamilyByName(name)
			if !ok {
				r.error(v.value, "unknown family %s%s", name, lang.DidYouMean(name, event.FamilyNames[:]))
			}
			e.Family = fam
		case "class":
			name := r.text(v, "class")
			c, ok := event.ClassByName(name)
			if !ok {
				r.error(v.value, "unknown class %s", name)
				continue
			}
			if class = c.UID; m["family"].value == nil {
				e.Family = c.Family
			}
		}
	}
	if recorded {
		r.records(&e, m, rule)
	}
	for _, key := range order {
		switch key {
		case "after", "at", "repeat", "family", "class", "step", "raw", "samples":
		case "source":
			if !recorded {
				r.testField(&e, key, m[key])
			}
		default:
			r.testField(&e, key, m[key])
		}
	}
	if recorded {
		return e
	}
	have := func(id event.ColumnID) bool {
		for _, x := range e.Fields {
			if x.Column.ID == id {
				return true
			}
		}
		return false
	}
	if !have(event.ClassUID) && class != 0 {
		e.Fields = append(e.Fields, TestField{&event.Columns[event.ClassUID], int64(class)})
	}
	if !have(event.Source) && len(rule.Source.Products) > 0 {
		e.Fields = append(e.Fields, TestField{&event.Columns[event.Source], rule.Source.Products[0]})
	}
	return e
}

// testStep is the rule whose source an event has unless it says otherwise: the
// step that it names, or the first with a condition.
func (r *reader) testStep(f field, rule *Rule) *Rule {
	if rule.Correlate == nil || len(rule.Correlate.Steps) == 0 {
		if f.value != nil {
			r.error(f.key, "the rule has no steps")
		}
		return rule
	}
	var names []string
	for _, s := range rule.Correlate.Steps {
		if names = append(names, s.Name); s.Rule != nil && (f.value == nil || s.Name == r.text(f, "step")) {
			return s.Rule
		}
	}
	if f.value != nil {
		r.error(f.value, "there is no step %s with a condition of its own%s", r.text(f, "step"), lang.DidYouMean(r.text(f, "step"), names))
	}
	return rule
}

func classFamily(uid uint32) event.Family {
	if c, ok := event.ClassByUID(uid); ok {
		return c.Family
	}
	return 0
}

// testField reads "a.b: v" and "a: {b: v}" alike.
func (r *reader) testField(e *TestEvent, path string, f field) {
	col, ok := event.ByPath(path)
	if !ok {
		switch f.value.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			order, m := r.pairs(f.value, "event field "+path)
			for _, k := range order {
				r.testField(e, path+"."+k, m[k])
			}
		default:
			r.error(f.key, "unknown field %s%s", path, lang.DidYouMean(path, append(fieldNames(), "after", "at", "repeat", "class", "family", "step", "raw", "samples")))
		}
		return
	}
	if e.Mapping == "" && !col.Families.Has(e.Family) {
		r.error(f.key, "field %s does not occur in the family %s", path, e.Family)
		return
	}
	if v, ok := r.testValue(col, f); ok {
		e.Fields = append(e.Fields, TestField{col, v})
	}
}

func (r *reader) testValue(col *event.Column, f field) (any, bool) {
	before := len(r.problems)
	switch n := f.value.(type) {
	case *ast.IntegerNode:
		if col.Kind == event.KindF32 || col.Kind == event.KindF64 {
			return float64(r.integer(f, col.Path)), len(r.problems) == before
		}
		if col.Kind.Number() {
			return int64(r.integer(f, col.Path)), len(r.problems) == before
		}
	case *ast.FloatNode:
		if col.Kind == event.KindF32 || col.Kind == event.KindF64 {
			return n.Value, true
		}
	case *ast.BoolNode:
		if col.Kind == event.KindBool {
			return n.Value, true
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		if col.Kind == event.KindScores {
			return r.testScores(f)
		}
	default:
		if col.Kind == event.KindKeywords {
			return r.texts(f, col.Path), len(r.problems) == before
		}
		if !col.Kind.Text() {
			break
		}
		s := r.text(f, col.Path)
		if _, err := netip.ParseAddr(Repeat(s, 1)); col.Kind == event.KindIP && err != nil {
			r.error(f.value, "%s is not an address", s)
		}
		return s, len(r.problems) == before
	}
	r.error(f.value, "%s takes %s", col.Path, takes(col.Kind))
	return nil, false
}

// takes says what a test writes for a column.
func takes(k event.Kind) string {
	switch {
	case k == event.KindF32 || k == event.KindF64:
		return "a number"
	case k == event.KindTime:
		return "a time in ms since 1970"
	case k.Number():
		return "a whole number (" + k.String() + ")"
	case k == event.KindBool:
		return "true or false"
	case k == event.KindKeywords:
		return "a list of texts"
	case k == event.KindScores:
		return "a mapping of names to numbers"
	}
	return "a text: write it in quotes"
}

func (r *reader) testScores(f field) (any, bool) {
	out := map[string]float64{}
	order, m := r.pairs(f.value, "scores")
	for _, k := range order {
		switch n := m[k].value.(type) {
		case *ast.FloatNode:
			out[k] = n.Value
		case *ast.IntegerNode:
			out[k] = float64(r.integer(m[k], k))
		default:
			r.error(m[k].value, "score must be a number")
			return nil, false
		}
	}
	return out, true
}
