package ocsf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Append writes an event as OCSF JSON. row is the event as a flat JSON object
// by dotted path, which is how the hub prints events. Every column goes to its
// OCSF attribute if the class has it and the value fits; all else is kept under
// unmapped, by the column's path. Where OCSF requires what the source did not
// tell, the attribute is the enumeration's Unknown, or the text "unknown", and
// unmapped.vagus_filled lists it. The result passes Validate.
func (s *Schema) Append(dst, row []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(row))
	d.UseNumber()
	var flat map[string]any
	if err := d.Decode(&flat); err != nil {
		return dst, fmt.Errorf("export an event to OCSF: %w", err)
	}
	out, err := json.Marshal(s.export(flat))
	if err != nil {
		return dst, fmt.Errorf("export an event to OCSF: %w", err)
	}
	return append(dst, out...), nil
}

// export is one event on its way.
type export struct {
	schema   *Schema
	class    *entity
	flat     map[string]any
	out      map[string]any
	unmapped map[string]any
	profiles map[string]bool
	filled   []string
	time     int64
}

func (s *Schema) export(flat map[string]any) map[string]any {
	uid, _ := integer(flat["class_uid"])
	x := export{schema: s, class: s.classes[uid], flat: flat, unmapped: map[string]any{}, profiles: map[string]bool{}, out: map[string]any{}}
	if x.class == nil {
		if uid != 0 {
			x.unmapped["class_uid"] = uid
		}
		uid, x.class = 0, s.classes[0]
	}
	activity := x.number("activity_id")
	if !x.class.Attributes["activity_id"].enum[fmt.Sprint(activity)] {
		activity = 99
	}
	x.time, _ = millis(flat["time"])
	x.out["class_uid"], x.out["category_uid"], x.out["activity_id"], x.out["type_uid"] = uid, x.class.Category, activity, uid*100+activity
	x.out["severity_id"], x.out["time"] = x.severity(), x.time
	x.placeRest()
	x.out["metadata"] = x.metadata()
	x.complete("", x.class, x.out, true)
	if len(x.profiles) > 0 {
		list := []any{}
		for _, p := range slices.Sorted(maps.Keys(x.profiles)) {
			list = append(list, p)
		}
		x.out["metadata"].(map[string]any)["profiles"] = list
	}
	if len(x.filled) > 0 {
		slices.Sort(x.filled)
		x.unmapped["vagus_filled"] = x.filled
	}
	if len(x.unmapped) > 0 {
		x.out["unmapped"] = x.unmapped
	}
	return x.out
}

// done are the columns with places of their own.
var done = map[string]bool{
	"class_uid": true, "activity_id": true, "severity_id": true, "time": true, "event_uid": true, "received_at": true, "source": true, "unmapped": true,
}

func (x *export) number(path string) int64 {
	n, _ := integer(x.flat[path])
	return n
}

func (x *export) text(path string) string {
	t, _ := x.flat[path].(string)
	return t
}

func (x *export) severity() int64 {
	if n := x.number("severity_id"); x.class.Attributes["severity_id"].enum[fmt.Sprint(n)] {
		return n
	}
	return 0
}

// placeRest places the other columns, in the order of the schema.
func (x *export) placeRest() {
	if left, ok := x.flat["unmapped"].(string); ok {
		var doc map[string]any
		d := json.NewDecoder(strings.NewReader(left))
		d.UseNumber()
		if err := d.Decode(&doc); err == nil {
			maps.Copy(x.unmapped, doc)
		} else {
			x.unmapped["unmapped"] = left // cut, so it is no JSON any more
		}
	}
	for i := range event.Columns {
		c := &event.Columns[i]
		v, ok := x.flat[c.Path]
		if !ok || done[c.Path] {
			continue
		}
		placed := false
		switch {
		case c.OCSF == "" || c.OCSF == "-":
		case strings.HasPrefix(c.OCSF, "metadata."):
			placed = x.meta(c.OCSF, v)
		default:
			placed = x.place(c, v)
		}
		if !placed {
			x.unmapped[c.Path] = v
		}
	}
}

// meta puts an attribute into metadata.
func (x *export) meta(path string, v any) bool {
	name := strings.TrimPrefix(path, "metadata.")
	a, ok := x.schema.objects["metadata"].Attributes[name]
	if !ok {
		return false
	}
	got, ok := fit(a, v)
	if !ok {
		return false
	}
	m, _ := x.out["metadata"].(map[string]any)
	if m == nil {
		m = map[string]any{}
		x.out["metadata"] = m
	}
	m[name] = got
	return true
}

func (x *export) metadata() map[string]any {
	m, _ := x.out["metadata"].(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	source := cmp.Or(x.text("source"), "unknown")
	vendor, _, _ := strings.Cut(source, ".")
	m["version"], m["product"] = x.schema.Version, map[string]any{"name": source, "vendor_name": vendor}
	if v := x.text("event_uid"); v != "" {
		m["uid"] = v
	}
	if ms, ok := millis(x.flat["received_at"]); ok {
		m["logged_time"] = ms
	}
	return m
}

// place puts a column's value where OCSF has it; false if that is nowhere in
// this class, or if the value does not fit.
func (x *export) place(c *event.Column, v any) bool {
	steps := strings.Split(x.where(c.OCSF), ".")
	profile := x.class.profile(strings.TrimSuffix(steps[0], "[]"))
	if !x.walk(x.class, x.out, steps, v) {
		return false
	}
	if profile != "" {
		x.profiles[profile] = true
	}
	return true
}

// elsewhere says where classes have what the schema's paths have elsewhere, as
// pairs of prefixes.
var elsewhere = map[string][]string{
	"module_activity":           {"file.", "module.file."},
	"kernel_extension_activity": {"file.", "driver.file."},
	"registry_value_activity":   {"reg_key.path", "reg_value.path"},
	"web_resources_activity":    {"resources[]", "web_resources[]"},
	"group_management":          {"resources[].name", "group.name", "resources[].uid", "group.uid"},
	"script_activity":           {"script.script_content", "script.script_content.value"},
}

func (x *export) where(path string) string {
	path = strings.TrimPrefix(path, "win.")
	pairs := elsewhere[x.class.Name]
	for i := 0; i+1 < len(pairs); i += 2 {
		if rest, ok := strings.CutPrefix(path, pairs[i]); ok {
			return pairs[i+1] + rest
		}
	}
	return path
}

// walk goes down the steps and makes objects only once the value is known to fit.
func (x *export) walk(e *entity, doc map[string]any, steps []string, v any) bool {
	name, listed := strings.CutSuffix(steps[0], "[]")
	a, ok := e.Attributes[name]
	if !ok {
		return false
	}
	if a.base != object || a.kind == "fingerprint" {
		if len(steps) > 1 {
			return false
		}
		return set(a, doc, name, v)
	}
	obj := x.schema.objects[a.kind]
	if len(steps) == 1 || obj == nil {
		return false
	}
	if !a.array {
		sub, _ := doc[name].(map[string]any)
		if sub == nil {
			sub = map[string]any{}
		}
		if !x.walk(obj, sub, steps[1:], v) {
			return false
		}
		doc[name] = sub
		return true
	}
	// Several values are several elements; columns of one thing share the first.
	list, _ := doc[name].([]any)
	values, many := v.([]any)
	if !many || !listed {
		values = []any{v}
	}
	for i, one := range values {
		sub := map[string]any{}
		if i < len(list) {
			sub = list[i].(map[string]any)
		}
		if !x.walk(obj, sub, steps[1:], one) {
			return false
		}
		if i >= len(list) {
			list = append(list, sub)
		}
	}
	if len(list) > 0 {
		doc[name] = list
	}
	return true
}

// millis reads a time as the hub prints it.
func millis(v any) (int64, bool) {
	if n, ok := integer(v); ok {
		return n, true
	}
	text, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, false
	}
	return t.UnixMilli(), true
}
