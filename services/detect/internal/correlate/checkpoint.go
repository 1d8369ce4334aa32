package correlate

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// formatVersion changes when the layout of a checkpoint does.
const formatVersion = 4

// ErrCorrupt says that a checkpoint cannot be read.
var ErrCorrupt = errors.New("corrupt checkpoint")

// Save appends the state to dst.
func (c *Correlator) Save(dst []byte) ([]byte, error) {
	e := &encoder{buf: append(dst, formatVersion)}
	e.varint(c.received)
	e.uvarint(uint64(len(c.sources)))
	for _, name := range slices.Sorted(maps.Keys(c.sources)) {
		x := c.sources[name]
		e.string(name)
		e.varint(x.clock)
		e.varint(x.moved)
		e.bool(x.idle)
	}
	n := 0
	for _, s := range c.rules {
		if s.used() {
			n++
		}
	}
	e.uvarint(uint64(n))
	for _, s := range c.ordered() {
		if !s.used() {
			continue
		}
		e.string(s.rule.ID)
		e.string(s.key)
		e.varint(s.mark)
		e.bool(s.scratch.hidden)
		e.past(&s.past)
		e.uvarint(uint64(len(s.fed)))
		for _, x := range slices.SortedFunc(slices.Values(s.fed), func(a, b *source) int { return cmp.Compare(a.name, b.name) }) {
			e.string(x.name)
		}
		e.uvarint(uint64(len(s.tellers.names)))
		for _, name := range s.tellers.names {
			e.string(name)
		}
		e.uvarint(uint64(s.groups))
		for id := s.oldest; id != 0; id = c.groups.at(id).newer {
			if err := c.saveGroup(e, s, c.groups.at(id)); err != nil {
				return nil, fmt.Errorf("save state of rule %s: %w", s.rule.ID, err)
			}
		}
	}
	return e.buf, nil
}

func (s *ruleState) used() bool {
	return s.groups > 0 || s.mark > never || len(s.fed) > 0 || s.past.fixed
}

func (c *Correlator) saveGroup(e *encoder, s *ruleState, g *group) error {
	e.string(string(c.groups.key(g)))
	e.bool(g.lane)
	e.varint(g.last)
	e.varint(g.touched)
	e.varint(g.floor)
	e.uvarint(uint64(g.cap))
	ev := c.groups.events(g)
	e.uvarint(uint64(len(ev)))
	last := g.last
	for i := range ev {
		e.varint(last - ev[i].time)
		last = ev[i].time
		e.buf = append(e.buf, ev[i].uid[:]...)
		e.uvarint(ev[i].aux)
		e.buf = append(e.buf, ev[i].from)
	}
	if g.heavy == 0 {
		e.bool(false)
		return nil
	}
	e.bool(true)
	part := &encoder{}
	if err := part.heavy(c.heavies[g.heavy]); err != nil {
		return err
	}
	e.string(string(part.buf))
	return nil
}

// heavy writes what is beyond the events. The walk over what is not settled is
// done again when it is loaded.
func (e *encoder) heavy(h *heavy) error {
	e.uvarint(uint64(h.done))
	e.varint(h.judged)
	e.varint(h.due)
	e.machine(&h.base)
	e.uvarint(uint64(len(h.known)))
	for _, k := range h.known {
		alert, err := json.Marshal(&k.alert)
		if err != nil {
			return fmt.Errorf("encode alert %s: %w", k.alert.UID, err)
		}
		e.string(string(alert))
		e.varint(k.at)
		e.varint(k.count)
		e.bool(k.retracted)
	}
	e.uvarint(uint64(len(h.names)))
	byUID := func(a, b finding.EventUID) int { return slices.Compare(a[:], b[:]) }
	for _, u := range slices.SortedFunc(maps.Keys(h.names), byUID) {
		e.buf = append(e.buf, u[:]...)
		e.string(h.names[u])
	}
	return nil
}

// encoder writes a checkpoint.
type encoder struct{ buf []byte }

func (e *encoder) uvarint(v uint64) { e.buf = binary.AppendUvarint(e.buf, v) }
func (e *encoder) varint(v int64)   { e.buf = binary.AppendVarint(e.buf, v) }
func (e *encoder) float(v float64) {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(v))
}
func (e *encoder) string(s string) {
	e.uvarint(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) bool(v bool) {
	if v {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) shown(list []shown) {
	e.uvarint(uint64(len(list)))
	for _, x := range list {
		e.varint(x.time)
		e.buf = append(e.buf, x.uid[:]...)
	}
}

func (e *encoder) seen(x *seen) {
	e.varint(x.time)
	e.buf = append(e.buf, x.uid[:]...)
	e.uvarint(x.aux)
	e.buf = append(e.buf, x.from)
}

func (e *encoder) sum(s sum) {
	e.varint(s.hi)
	e.uvarint(s.lo)
}

func (e *encoder) values(v *values) {
	switch {
	case v == nil:
		e.buf = append(e.buf, 0)
	case v.register != nil:
		e.buf = append(append(e.buf, 2), v.register...)
	default:
		e.buf = append(e.buf, 1)
		e.uvarint(uint64(len(v.exact)))
		for _, h := range slices.Sorted(maps.Keys(v.exact)) {
			e.buf = binary.LittleEndian.AppendUint64(e.buf, h)
		}
	}
}

func (e *encoder) machine(m *machine) {
	e.uvarint(uint64(m.start))
	e.varint(m.elapsed)
	e.varint(m.since)
	e.varint(m.newest)
	e.bool(m.open != nil)
	if f := m.open; f != nil {
		for _, v := range [...]int64{f.at, f.until, f.first, f.last, f.count} {
			e.varint(v)
		}
		e.float(f.value)
		e.float(f.usual)
		e.float(f.scale)
		e.values(f.values)
		e.sum(f.total)
		e.seen(&f.crossing)
		e.string(f.entity)
		e.string(f.uid)
		e.uvarint(f.from)
		e.shown(f.uids)
	}
	x := &m.window
	e.varint(x.n)
	if x.n > 0 {
		for _, v := range [...]int64{x.begin, x.first, x.last, x.below[0], x.below[1], x.equal[0], x.equal[1]} {
			e.varint(v)
		}
		e.sum(x.total)
		e.values(x.values)
		e.seen(&x.crossing)
		e.uvarint(x.from)
		e.shown(x.uids)
	}
	if m.usual != nil {
		e.baseline(m.usual)
	}
	if m.memory != nil {
		e.uvarint(uint64(len(m.memory.last)))
		for _, h := range slices.SortedFunc(maps.Keys(m.memory.last), cmp.Compare[uint64]) {
			e.buf = binary.LittleEndian.AppendUint64(e.buf, h)
			e.varint(m.memory.last[h])
		}
	}
}

func (e *encoder) baseline(b *baseline) {
	e.bool(b.begun)
	for _, v := range [...]int64{b.bucket, b.n, b.first, b.last, b.known} {
		e.varint(v)
	}
	e.sum(b.total)
	e.uvarint(b.from)
	e.uvarint(uint64(len(b.past)))
	for _, v := range b.past {
		e.buf = binary.LittleEndian.AppendUint32(e.buf, math.Float32bits(v))
	}
}
