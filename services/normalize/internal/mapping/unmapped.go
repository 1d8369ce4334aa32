package mapping

import (
	"errors"
	"math/bits"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

var errNoClass = errors.New("no class of the mapping fits the record")

// keep adds a value that the mapping does not speak of to unmapped, under its
// full path. Empty values are left out.
func (r *Runner) keep(key []byte, v json.Value) {
	if r.quiet > 0 {
		return
	}
	r.path = append(r.path, key...)
	r.keepAt(v, 0)
	r.path = r.path[:len(r.path)-len(key)]
}

// Objects under unmapped are taken apart so deep, and below paths of so many
// bytes; beyond they stay JSON.
const (
	maxFlat = 8
	maxKey  = 512
)

// keepAt adds a value under r.path; the parts of an object each under their own
// path, so that rules can read them. Unmapped is bounded: what does not fit is
// left out, and the raw record still has it.
func (r *Runner) keepAt(v json.Value, depth int) {
	if v.Empty() || v.Kind == json.String && !v.Escaped && r.absent(v.Raw[1:len(v.Raw)-1]) {
		return
	}
	if v.Kind == json.Object && depth < maxFlat && len(r.path) < maxKey {
		r.keepParts(v, depth)
		return
	}
	r.Unmapped++
	if len(r.unmapped)+len(r.path) > event.Columns[event.Unmapped].Max {
		return
	}
	mark := len(r.unmapped)
	r.unmapped = append(r.unmapped, ',')
	r.unmapped = appendQuoted(r.unmapped, r.path)
	r.unmapped = append(r.unmapped, ':')
	r.unmapped = v.AppendCompact(r.unmapped)
	if len(r.unmapped) > event.Columns[event.Unmapped].Max-2 {
		r.unmapped = r.unmapped[:mark]
	}
}

func (r *Runner) keepParts(v json.Value, depth int) {
	mark := len(r.path)
	r.path = append(r.path, '.')
	var s json.Scanner
	s.Reset(v.Raw)
	s.Enter()
	for first := true; ; first = false {
		key, escaped, ok := s.Key(first)
		if !ok {
			break
		}
		if escaped {
			key = r.unescape(key)
		}
		at := len(r.path)
		r.path = append(r.path, key...)
		part := s.Value()
		part.Spaced = v.Spaced || part.Spaced
		r.keepAt(part, depth+1)
		r.path = r.path[:at]
	}
	r.path = r.path[:mark]
}

// keepUnused counts the slots that the class placed and keeps the others.
func (r *Runner) keepUnused(k *caseOp) {
	for w, live := range r.live {
		live &^= r.m.ignored[w]
		placed := live & (k.consumed[w] | r.used[w]) &^ r.bad[w]
		r.Mapped += bits.OnesCount64(placed)
		for rest := live &^ placed; rest != 0; rest &= rest - 1 {
			r.keepSlot(w<<6 + bits.TrailingZeros64(rest))
		}
	}
}

// keepSlot adds a slot that no column of the class took.
func (r *Runner) keepSlot(slot int) {
	v := &r.values[slot]
	if v.isText() && len(r.text(slot)) == 0 { // one of those that mean "no value"
		return
	}
	saved := r.path
	r.slotPath = append(r.slotPath[:0], r.m.slots[slot]...)
	r.path = r.slotPath
	if v.json.Kind == json.Absent {
		r.keepText(nil, v.text)
	} else {
		r.keepAt(v.json, 0)
	}
	r.path = saved
}

// appendQuoted writes a JSON string.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	if json.Plain(s) {
		return append(append(dst, s...), '"')
	}
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
