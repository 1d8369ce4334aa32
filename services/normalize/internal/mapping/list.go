package mapping

import (
	"bytes"

	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// maxItems bounds the items of a list column.
const maxItems = 256

// applyList fills a keywords column from an array, from a [*] path or from text.
func (r *Runner) applyList(b *block.Builder, o *op, slot int) bool {
	v := &r.values[slot]
	if v.json.Kind == json.Absent {
		r.items(b, o, v.text)
		for _, e := range r.extra {
			if e.slot == slot {
				r.items(b, o, e.text)
			}
		}
		return true
	}
	if v.json.Kind == json.Array {
		var s json.Scanner
		s.Reset(v.json.Raw)
		s.Enter()
		for i := 0; i < maxItems && s.Element(i == 0); i++ {
			r.items(b, o, textOf(s.Value(), r.a))
		}
		return true
	}
	r.items(b, o, textOf(v.json, r.a))
	n := 0
	for i := range r.more {
		if m := &r.more[i]; m.slot == slot && n < maxItems {
			r.items(b, o, textOf(m.json, r.a))
			n++
		}
	}
	return true
}

// items adds a text to a list: whole, or cut at o.split.
func (r *Runner) items(b *block.Builder, o *op, text []byte) {
	if o.split == "" {
		r.item(b, o, text)
		return
	}
	for n := 0; len(text) > 0 && n < maxItems; n++ {
		part, rest, _ := bytes.Cut(text, viewBytes(o.split))
		r.item(b, o, bytes.TrimSpace(part))
		text = rest
	}
}

// item adds one text after its transform and translation.
func (r *Runner) item(b *block.Builder, o *op, text []byte) {
	if o.re != nil {
		text = capture(o, text)
	}
	if o.as != nil && len(text) > 0 {
		r.item1 = value{text: text}
		text = o.as(&r.item1, r.d)
	}
	if o.mapping != nil && len(text) > 0 {
		to, ok := o.mapping[string(text)]
		if !ok {
			to = o.other
		}
		text = viewBytes(to)
	}
	if len(text) > 0 && !r.absent(text) {
		b.AppendKeyword(o.column, clip(text, o.limit, r.b))
	}
}

// capture is the first group of o.re in text, or the whole match if it has
// none.
func capture(o *op, text []byte) []byte {
	if len(text) > maxChat {
		text = text[:maxChat]
	}
	m := o.re.FindSubmatchIndex(text)
	switch {
	case m == nil:
		return nil
	case len(m) < 4:
		return text[m[0]:m[1]]
	case m[2] < 0:
		return nil
	}
	return text[m[2]:m[3]]
}

// captured is what the op's regular expression finds in a slot, after the
// transform.
func (r *Runner) captured(o *op, slot int) []byte {
	text := capture(o, r.text(slot))
	if o.as == nil || len(text) == 0 {
		return text
	}
	r.item1 = value{text: text}
	return o.as(&r.item1, r.d)
}

// joined is the values of all of the op's slots with o.concat between them.
func (r *Runner) joined(o *op) []byte {
	r.c = r.c[:0]
	for _, s := range o.slots {
		text := r.transformed(o, s)
		if len(text) == 0 {
			continue
		}
		if len(r.c) > 0 {
			r.c = append(r.c, *o.concat...)
		}
		r.c = append(r.c, text...)
		if o.as == nil && o.re == nil { // all elements of a [*] path
			r.joinMore(s, *o.concat)
		}
	}
	return r.c
}

func (r *Runner) joinMore(slot int, between string) {
	n := 0
	for i := range r.more {
		e := r.more[i].json
		if r.more[i].slot != slot || e.Empty() || n == maxItems {
			continue
		}
		n++
		r.c = append(r.c, between...)
		if e.Kind == json.String {
			r.c = e.AppendText(r.c)
		} else {
			r.c = e.AppendCompact(r.c)
		}
	}
}

func (r *Runner) absent(text []byte) bool {
	for _, a := range r.m.absent {
		if bytes.Equal(a, text) {
			return true
		}
	}
	return false
}
