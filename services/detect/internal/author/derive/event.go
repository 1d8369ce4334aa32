package derive

import (
	"encoding/json"
	"math/bits"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// build writes a solution as an event of a rule's source; false if no family has
// all of its columns.
func build(r *rule.Rule, values solution) (rule.TestEvent, bool) {
	cols := map[event.ColumnID]any{}
	keys := map[string]string{}
	var loose []string // texts that may stand anywhere
	for f, v := range values {
		switch f.View {
		case lang.Key:
			s, _ := v.(string)
			keys[f.Key] = s
		case lang.Anywhere:
			loose, _ = v.([]string)
		default:
			cols[f.Col] = v
		}
	}
	e := rule.TestEvent{Repeat: 1}
	var ok bool
	if _, taken := cols[event.Message]; !taken && len(loose) > 0 {
		// Of several, each is a value of its own, in case one must be it whole.
		cols[event.Message] = loose[0]
		if e.Family, ok = family(r, cols); ok {
			loose = loose[1:]
		} else {
			delete(cols, event.Message)
		}
	}
	if e.Family, ok = family(r, cols); !ok {
		return e, false
	}
	if len(loose) > 0 {
		for i, s := range loose {
			keys["text"+string(rune('1'+i%9))+strings.Repeat("_", i/9)] = s
		}
	}
	if len(keys) > 0 {
		doc, err := json.Marshal(keys)
		if _, taken := cols[event.Unmapped]; err != nil || taken {
			return e, false
		}
		cols[event.Unmapped] = unescapedHTML(string(doc))
	}
	if _, have := cols[event.ClassUID]; !have && len(r.Source.Classes) > 0 {
		cols[event.ClassUID] = int64(classOf(r, e.Family))
	}
	if _, have := cols[event.Source]; !have && len(r.Source.Products) > 0 {
		cols[event.Source] = r.Source.Products[0]
	}
	for id, v := range cols {
		e.Fields = append(e.Fields, rule.TestField{Column: &event.Columns[id], Value: v})
	}
	slices.SortFunc(e.Fields, func(a, b rule.TestField) int { return int(a.Column.ID) - int(b.Column.ID) })
	return e, true
}

// unescapedHTML undoes what encoding/json does for web pages.
func unescapedHTML(s string) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(s)
}

// family is one that has all columns: that of the rule's class, or the first.
func family(r *rule.Rule, cols map[event.ColumnID]any) (event.Family, bool) {
	fits := r.Source.Families
	for id := range cols {
		fits &= event.Columns[id].Families
	}
	for _, uid := range r.Source.Classes {
		if c, ok := event.ClassByUID(uid); ok && fits.Has(c.Family) {
			return c.Family, true
		}
	}
	return event.Family(bits.TrailingZeros16(uint16(fits))), fits != 0
}

// classOf is a class of the rule's source, if possible one of the family.
func classOf(r *rule.Rule, f event.Family) uint32 {
	for _, uid := range r.Source.Classes {
		if c, ok := event.ClassByUID(uid); ok && c.Family == f {
			return uid
		}
	}
	return r.Source.Classes[0]
}

// with sets a field of an event; false if the event cannot have it.
func with(e rule.TestEvent, f lang.Field, value any) (rule.TestEvent, bool) {
	e.Fields = slices.Clone(e.Fields)
	if f.View == lang.Key {
		s, isText := value.(string)
		if !isText {
			return e, false
		}
		keys := map[string]any{}
		i := slices.IndexFunc(e.Fields, func(x rule.TestField) bool { return x.Column.ID == event.Unmapped })
		if i >= 0 {
			doc, _ := e.Fields[i].Value.(string)
			if json.Unmarshal([]byte(doc), &keys) != nil {
				return e, false
			}
			e.Fields = slices.Delete(e.Fields, i, i+1)
		}
		keys[f.Key] = s
		doc, err := json.Marshal(keys)
		if err != nil {
			return e, false
		}
		f, value = lang.Field{Col: event.Unmapped}, unescapedHTML(string(doc))
	}
	col := &event.Columns[f.Col]
	if !col.Families.Has(e.Family) {
		return e, false
	}
	e.Fields = slices.DeleteFunc(e.Fields, func(x rule.TestField) bool { return x.Column.ID == f.Col })
	e.Fields = append(e.Fields, rule.TestField{Column: col, Value: value})
	return e, true
}

// has reports whether an event has a value for a field.
func has(e rule.TestEvent, f lang.Field) (any, bool) {
	for _, x := range e.Fields {
		switch {
		case f.View == lang.Key && x.Column.ID == event.Unmapped:
			keys := map[string]any{}
			doc, _ := x.Value.(string)
			if json.Unmarshal([]byte(doc), &keys) == nil {
				v, ok := keys[f.Key].(string)
				return v, ok
			}
		case f.View == lang.Plain && x.Column.ID == f.Col:
			return x.Value, true
		}
	}
	return nil, false
}

// common is a value that whoever the alert is about, or what events have in
// common, may have.
func common(f lang.Field) any {
	path := f.Path()
	switch k := f.Kind(); {
	case k == event.KindIP:
		return "203.0.113.7"
	case k == event.KindF32 || k == event.KindF64:
		return 1.5
	case k == event.KindBool:
		return true
	case k.Number():
		return int64(7)
	case k == event.KindKeywords:
		return []string{"one"}
	case strings.Contains(path, "hostname"):
		return "host-1.example.com"
	case strings.Contains(path, "user"):
		return "user-1"
	}
	return "one"
}
