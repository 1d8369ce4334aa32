package mapping

import (
	"strconv"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// emit writes one event from the slots.
func (r *Runner) emit() {
	for i := range r.m.drops {
		if r.all(r.m.drops[i].when) {
			r.result.Dropped++
			r.result.Why = r.m.drops[i].reason
			return
		}
	}
	for i := range r.m.cases {
		k := &r.m.cases[i]
		if !r.all(k.when) {
			continue
		}
		r.write(k)
		return
	}
	if r.m.depth > 0 || r.m.unwrap != "" || r.many { // one of many: the others go on
		r.result.Dropped++
		r.result.Why = "no class of the mapping fits"
	} else {
		r.result.Reason, r.result.Err = "class", errNoClass
	}
}

func (r *Runner) write(k *caseOp) {
	r.said = r.said[:0]
	b := r.sink.Builder(k.family)
	b.SetUUID(event.EventUID, r.uid())
	r.writeTime(b)
	b.SetInt(event.ReceivedAt, r.rec.Received)
	b.SetString(event.Source, r.m.Source)
	b.SetInt(event.ClassUID, int64(k.class.UID))
	if k.activity != nil {
		id := r.activity(k.activity)
		b.SetInt(event.ActivityID, int64(id))
		b.SetString(event.ActivityName, k.class.ActivityName(id))
	}
	b.SetInt(event.SeverityID, 1)
	clear(r.used)
	for i := range k.ops {
		o := &k.ops[i]
		for o != nil && !r.apply(b, o) {
			o = o.or
		}
		if o != nil && r.rec.Known != nil {
			r.filled.note(o.column)
		}
	}
	if r.rec.Known != nil {
		r.fromEnvelope(b, k.family)
	}
	r.keepUnused(k)
	if r.trace != nil {
		r.trace(k)
	}
	if n := len(r.unmapped); n > 0 {
		r.unmapped[0] = '{'
		r.unmapped = append(r.unmapped, '}')
		b.SetText(event.Unmapped, r.unmapped)
		r.unmapped = r.unmapped[:n]
	}
	b.EndRow()
	r.result.Events++
}

// writeTime sets the event's time, clamped to what is plausible: one forged
// time stamp must not open partitions or move windows.
func (r *Runner) writeTime(b *block.Builder) {
	for _, t := range r.m.times {
		text := r.text(t.slot)
		if len(text) == 0 {
			continue
		}
		ms, ok := t.parse(text)
		if !ok {
			continue
		}
		r.setTime(b, r.withYear(ms))
		return
	}
	if r.rec.Known != nil && r.rec.Known.Time > 0 {
		r.setTime(b, r.rec.Known.Time)
		return
	}
	b.SetString(event.TimeQuality, "ingest")
	b.SetInt(event.Time, r.rec.Received)
}

func (r *Runner) setTime(b *block.Builder, ms int64) {
	if !r.rec.AnyTime && (ms > r.rec.Received+maxFuture || ms < r.rec.Received-maxPast) {
		b.SetString(event.TimeQuality, "clamped")
		ms = r.rec.Received
	}
	b.SetInt(event.Time, ms)
}

func (r *Runner) activity(o *op) uint8 {
	if o.isConst {
		return uint8(o.number)
	}
	for at := o; at != nil; at = at.or {
		for _, s := range at.slots {
			if t := r.transformed(at, s); len(t) > 0 {
				if to, ok := o.mapping[string(t)]; ok {
					n, _ := strconv.Atoi(to)
					return uint8(n)
				}
			}
		}
	}
	n, _ := strconv.Atoi(o.other)
	return uint8(n)
}

// text is a slot's value as text; nil if it is absent.
func (r *Runner) text(slot int) []byte {
	if !r.has(slot) {
		return nil
	}
	v := &r.values[slot]
	t := v.text
	switch {
	case v.json.Kind == json.Absent || t != nil:
	case v.json.Escaped:
		at := len(r.arena)
		r.arena = v.json.AppendText(r.arena)
		t = r.arena[at:len(r.arena):len(r.arena)]
		v.text = t
	default:
		t = textOf(v.json, r.a)
	}
	if r.absent(t) {
		return nil
	}
	return t
}

func (r *Runner) all(tests []test) bool {
	for i := range tests {
		if !r.holds(&tests[i]) {
			return false
		}
	}
	return true
}

func (r *Runner) holds(t *test) bool { return t.match(r.text(t.slot)) }

// apply fills one column from the first of its slots that has a value; false
// if none has.
func (r *Runner) apply(b *block.Builder, o *op) bool {
	if o.isConst {
		switch {
		case o.kind == event.KindF32 || o.kind == event.KindF64:
			b.SetFloat(o.column, o.number)
		case o.kind.Number() || o.kind == event.KindBool:
			b.SetInt(o.column, int64(o.number))
		case o.kind == event.KindKeywords:
			b.AppendKeyword(o.column, []byte(o.text))
		default:
			b.SetString(o.column, o.text)
		}
		return true
	}
	if o.concat != nil {
		text := r.joined(o)
		if len(text) == 0 || !r.setValue(b, o, text) {
			return false
		}
		if o.re == nil {
			for _, s := range o.slots {
				r.used.set(s)
			}
		}
		return true
	}
	for _, s := range o.slots {
		if !r.has(s) {
			continue
		}
		if o.kind == event.KindKeywords {
			if r.applyList(b, o, s) {
				r.used.set(s)
				return true
			}
			continue
		}
		text := r.transformed(o, s)
		if len(text) == 0 {
			continue
		}
		if o.mapping != nil {
			to, ok := o.mapping[string(text)]
			if !ok && o.other == "" {
				continue
			}
			if !ok {
				to = o.other
			}
			text = append(r.b[:0], to...)
		}
		if o.join >= 0 {
			if tail := r.text(o.join); len(tail) > 0 {
				text = append(append(append(r.b[:0], text...), '/'), tail...)
			}
		}
		if r.setValue(b, o, text) {
			if o.re == nil { // else only a part of it is in the column
				r.used.set(s)
				if o.minus >= 0 {
					r.used.set(o.minus)
				}
				if o.join >= 0 {
					r.used.set(o.join)
				}
			}
			return true
		}
		r.bad.set(s)
	}
	return false
}

// transformed is a slot's value after the op's transform; nil if absent.
func (r *Runner) transformed(o *op, slot int) []byte {
	if o.re != nil {
		return r.captured(o, slot)
	}
	if o.as == nil {
		return r.text(slot)
	}
	v := &r.values[slot]
	if !r.has(slot) || len(r.m.absent) > 0 && v.isText() && len(r.text(slot)) == 0 {
		return nil
	}
	if o.chat != nil {
		return r.chat(o.chat, slot)
	}
	return o.as(v, r.a)
}

// setValue converts text to the column's type; false if it does not fit.
func (r *Runner) setValue(b *block.Builder, o *op, text []byte) bool {
	switch o.kind {
	case event.KindString, event.KindKeyword:
		b.SetText(o.column, clip(text, o.limit, r.b))
		return true
	case event.KindIP:
		a, ok := parseIP(text)
		b.SetIP(o.column, a)
		return ok
	}
	n, ok := parseNumber(text)
	if !ok {
		return false
	}
	if o.minus >= 0 {
		from, ok := parseNumber(r.text(o.minus))
		if !ok || from > n {
			return false
		}
		n -= from
		if o.column == event.Duration || o.column == event.AITimeToFirstToken {
			n *= r.unit(n + from)
		}
	}
	if o.scale != 0 {
		n *= o.scale
	}
	if o.kind == event.KindF32 || o.kind == event.KindF64 {
		b.SetFloat(o.column, n)
	} else {
		b.SetInt(o.column, int64(n+0.5))
	}
	return true
}

// unit turns a difference of two time stamps into ms, judging by their size
// whether they are s, ms, µs or ns since 1970.
func (r *Runner) unit(stamp float64) float64 {
	switch {
	case stamp > 1e17:
		return 1e-6
	case stamp > 1e14:
		return 1e-3
	case stamp > 1e11:
		return 1
	}
	return 1e3
}
