// Package sample reads events that authors have at hand: JSON as `vagus events
// --json` prints it, or rows of blocks that records were mapped to.
package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"sort"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// The bounds of what is read.
const (
	MaxBytes  = 16 << 20
	MaxEvents = 10_000
	maxDepth  = 16
)

// FromJSON reads events: one object, a list, or a line for each. Keys are
// paths of the schema, dotted or nested, or names of columns; zero values are
// left out, as are ids. What the schema does not know is an error.
func FromJSON(data []byte) ([]rule.TestEvent, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("read events: %d bytes, at most %d are allowed", len(data), MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out []rule.TestEvent
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			e, err := one(item)
			if err != nil {
				return nil, fmt.Errorf("read event %d: %w", len(out)+1, err)
			}
			if out = append(out, e); len(out) > MaxEvents {
				return nil, fmt.Errorf("read events: more than %d", MaxEvents)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("read events: there are none")
	}
	return out, nil
}

func one(v any) (rule.TestEvent, error) {
	e := rule.TestEvent{Repeat: 1}
	object, ok := v.(map[string]any)
	if !ok {
		return e, errors.New("an event is a JSON object")
	}
	r := reading{}
	if err := r.object(object, "", 0); err != nil {
		return e, err
	}
	sort.Slice(r.fields, func(i, j int) bool { return r.fields[i].Column.ID < r.fields[j].Column.ID })
	e.Fields = r.fields
	e.Family = r.family
	if !r.named {
		e.Family = bestFamily(r.fields, r.class)
	}
	return e, nil
}

type reading struct {
	fields []rule.TestField
	class  *event.Class
	family event.Family
	named  bool
}

func (r *reading) object(o map[string]any, prefix string, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	for key, v := range o {
		path := prefix + key
		col, ok := event.ByPath(path)
		if !ok {
			col, ok = event.ByName(path)
		}
		sub, nested := v.(map[string]any)
		switch {
		case ok && nested && col.Kind != event.KindScores && col.ID != event.Unmapped:
			return fmt.Errorf("%s takes a %s, not an object", path, col.Kind)
		case ok && nested && col.ID == event.Unmapped:
			text, err := json.Marshal(sub)
			if err != nil {
				return err
			}
			r.fields = append(r.fields, rule.TestField{Column: col, Value: string(text)})
		case ok:
			value, err := convert(col, v)
			if err != nil {
				return err
			}
			if value != nil {
				r.fields = append(r.fields, rule.TestField{Column: col, Value: value})
				if uid, is := value.(int64); is && col.ID == event.ClassUID {
					r.class, _ = event.ClassByUID(uint32(uid))
				}
			}
		case nested:
			if err := r.object(sub, path+".", depth+1); err != nil {
				return err
			}
		case path == "class":
			name, _ := v.(string)
			if r.class, ok = event.ClassByName(name); !ok {
				return fmt.Errorf("unknown class %s", name)
			}
			r.fields = append(r.fields, rule.TestField{Column: &event.Columns[event.ClassUID], Value: int64(r.class.UID)})
		case path == "family":
			name, _ := v.(string)
			if r.family, r.named = event.FamilyByName(name); !r.named {
				return fmt.Errorf("unknown family %s", name)
			}
		default:
			return fmt.Errorf("unknown field %s%s", path, lang.DidYouMean(path, paths()))
		}
	}
	return nil
}

func paths() []string {
	out := make([]string, len(event.Columns))
	for i := range event.Columns {
		out[i] = event.Columns[i].Path
	}
	return out
}

// bestFamily is the family that carries the most of the fields; between equals
// the one of the class.
func bestFamily(fields []rule.TestField, class *event.Class) event.Family {
	best, most := event.Family(0), -1
	for f := range event.FamilyNames {
		n := 0
		for _, x := range fields {
			if x.Column.Families.Has(event.Family(f)) {
				n += 2
			}
		}
		if class != nil && class.Family == event.Family(f) {
			n++
		}
		if n > most {
			best, most = event.Family(f), n
		}
	}
	return best
}

// convert brings a JSON value to what a column takes; nil for its zero value.
func convert(col *event.Column, v any) (any, error) {
	wrong := fmt.Errorf("%s takes a %s, not %v", col.Path, col.Kind, v)
	switch k := col.Kind; {
	case v == nil || k == event.KindUUID:
		return nil, nil
	case k == event.KindTime:
		ms, ok := millis(v)
		if !ok {
			return nil, wrong
		}
		if ms == 0 {
			return nil, nil
		}
		return ms, nil
	case k == event.KindIP:
		s, ok := v.(string)
		if !ok {
			return nil, wrong
		}
		a, err := netip.ParseAddr(s)
		if s == "" || a.IsUnspecified() {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", col.Path, err)
		}
		return a.Unmap().String(), nil
	case k.Text():
		s, ok := v.(string)
		if !ok {
			return nil, wrong
		}
		if s == "" {
			return nil, nil
		}
		return s, nil
	case k == event.KindBool:
		b, ok := v.(bool)
		if !ok {
			return nil, wrong
		}
		if !b {
			return nil, nil
		}
		return true, nil
	case k == event.KindKeywords:
		return texts(v, wrong)
	case k == event.KindScores:
		return scores(v, wrong)
	case k.Number():
		return number(k, v, wrong)
	}
	return nil, wrong
}

func number(k event.Kind, v any, wrong error) (any, error) {
	n, ok := v.(json.Number)
	if s, text := v.(string); text { // ClickHouse quotes 64-bit integers
		n, ok = json.Number(s), true
	}
	f, err := n.Float64()
	if !ok || err != nil || math.IsInf(f, 0) {
		return nil, wrong
	}
	switch {
	case f == 0:
		return nil, nil
	case k == event.KindF32 || k == event.KindF64:
		return f, nil
	}
	i, err := n.Int64()
	if err != nil {
		return nil, wrong
	}
	return i, nil
}

func texts(v any, wrong error) (any, error) {
	list, ok := v.([]any)
	if s, one := v.(string); one {
		list, ok = []any{s}, true
	}
	if !ok {
		return nil, wrong
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, wrong
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func scores(v any, wrong error) (any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, wrong
	}
	out := map[string]float64{}
	for k, x := range object {
		n, ok := x.(json.Number)
		f, err := n.Float64()
		if !ok || err != nil {
			return nil, wrong
		}
		out[k] = f
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// millis reads a time as ms since 1970: a number of them, RFC 3339, or as
// ClickHouse writes it.
func millis(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		ms, err := v.Int64()
		return ms, err == nil
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999", time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				if t.Unix() == 0 {
					return 0, true
				}
				return t.UnixMilli(), true
			}
		}
	}
	return 0, false
}
