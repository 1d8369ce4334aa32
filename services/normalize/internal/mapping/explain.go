package mapping

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Explanation says what a mapping makes of one record.
type Explanation struct {
	Events  []ExplainedEvent `json:"events"`
	Dropped int              `json:"dropped,omitempty"`
	Why     string           `json:"why,omitempty"`    // of the drops
	Reason  string           `json:"reason,omitempty"` // of the dead letter
	Error   string           `json:"error,omitempty"`
}

// ExplainedEvent is one event with what filled its columns.
type ExplainedEvent struct {
	Class    string           `json:"class"`
	Family   string           `json:"family"`
	Columns  []ExplainedField `json:"columns"`
	Unmapped json.RawMessage  `json:"unmapped,omitempty"`
}

// ExplainedField is one column, its value, and where that came from.
type ExplainedField struct {
	Column string `json:"column"`
	Value  any    `json:"value"`
	From   string `json:"from"`
}

// Explain maps one record, received at the given time (ms since 1970), and
// tells how.
func (m *Mapping) Explain(record []byte, received int64) Explanation {
	r := NewRunner(m, &sampleSink{})
	var out Explanation
	r.trace = func(k *caseOp) {
		e := ExplainedEvent{Class: k.class.Name, Family: k.family.String(), Columns: r.explain(k)}
		if len(r.unmapped) > 0 {
			e.Unmapped = append(append([]byte("{"), r.unmapped[1:]...), '}')
		}
		out.Events = append(out.Events, e)
	}
	res := r.Map(Record{UID: block.UID("explain", 0), Received: received, Data: record})
	out.Dropped, out.Why, out.Reason = res.Dropped, res.Why, res.Reason
	if res.Err != nil {
		out.Error = res.Err.Error()
	}
	return out
}

// explain fills the columns once more, one at a time, to see which of the
// alternatives gave the value.
func (r *Runner) explain(k *caseOp) []ExplainedField {
	var out []ExplainedField
	for _, t := range r.m.times {
		if ms, ok := t.parse(r.text(t.slot)); ok {
			out = append(out, ExplainedField{"time", time.UnixMilli(r.withYear(ms)).UTC().Format("2006-01-02T15:04:05.000Z"), r.m.slots[t.slot]})
			break
		}
	}
	for i := range k.ops {
		for o := &k.ops[i]; o != nil; o = o.or {
			b := block.NewBuilder(k.family)
			if !r.apply(b, o) {
				continue
			}
			b.EndRow()
			col := event.Columns[o.column].Path
			if v, ok := onlyValue(b, col); ok {
				out = append(out, ExplainedField{col, v, r.origin(o)})
			}
			break
		}
	}
	return out
}

func onlyValue(b *block.Builder, column string) (any, bool) {
	var blk block.Block
	if block.Decode(b.AppendTo(nil, block.Header{}), &blk) != nil {
		return nil, false
	}
	var row map[string]any
	if json.Unmarshal(blk.AppendJSON(nil, 0), &row) != nil {
		return nil, false
	}
	v, ok := row[column]
	return v, ok
}

// origin writes where an op's value came from.
func (r *Runner) origin(o *op) string {
	if o.isConst {
		return "constant"
	}
	var paths []string
	for _, s := range o.slots {
		if r.has(s) {
			paths = append(paths, r.m.slots[s])
			if o.concat == nil {
				break
			}
		}
	}
	from := strings.Join(paths, " + ")
	if o.minus >= 0 {
		from += " - " + r.m.slots[o.minus]
	}
	if o.join >= 0 && r.has(o.join) {
		from += " / " + r.m.slots[o.join]
	}
	if o.re != nil {
		from += ", regexp"
	}
	if o.split != "" {
		from += fmt.Sprintf(", split %q", o.split)
	}
	if o.asName != "" {
		from += ", as " + o.asName
	}
	if o.mapping != nil {
		from += ", map"
	}
	if o.scale != 0 {
		from += fmt.Sprintf(", scale %g", o.scale)
	}
	return from
}
