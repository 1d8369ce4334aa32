package correlate

import (
	"cmp"
	"maps"
	"slices"
)

// memory has when values were last seen, up to where the base has come.
type memory struct{ last map[uint64]int64 }

// maxValues bounds what a group remembers; the value not seen for longest goes.
const maxValues = 10_000

// novel says whether the value of an event is new, and the group known well
// enough to say so.
func (w *walker) novel(e *seen) bool {
	if w.base {
		w.memory.last[e.aux] = max(e.time, w.memory.last[e.aux])
		if len(w.memory.last) > maxValues {
			w.forget(e.time)
		}
	}
	return e.novel && e.time-w.since >= w.p.learning
}

// put marks event i, which was put in its place, and the one that is not new any
// more because of it. It returns the place of that one, or i.
func (m *memory) put(p *plan, ev []seen, i int) int {
	e := &ev[i]
	e.novel = m.unseen(p, ev, i)
	for k := i + 1; k < len(ev) && ev[k].time <= e.time+p.span; k++ {
		if ev[k].aux != e.aux {
			continue
		}
		if !ev[k].novel {
			return i
		}
		ev[k].novel = false
		return k
	}
	return i
}

// taken marks the next event of a value again that was in place i.
func (m *memory) taken(p *plan, ev []seen, i int, value uint64) {
	for k := i; k < len(ev); k++ {
		if ev[k].aux == value {
			ev[k].novel = m.unseen(p, ev, k)
			return
		}
	}
}

// unseen says that the value of event i was not there within the timespan before.
func (m *memory) unseen(p *plan, ev []seen, i int) bool {
	e := &ev[i]
	oldest := e.time - p.span
	if last, ok := m.last[e.aux]; ok && last >= oldest {
		return false
	}
	for k := i - 1; k >= 0 && ev[k].time >= oldest; k-- {
		if ev[k].aux == e.aux {
			return false
		}
	}
	return true
}

// mark marks all events that are not settled, for a memory that has changed.
func (m *memory) mark(p *plan, ev []seen) {
	last := make(map[uint64]int64, min(len(ev), maxValues))
	for k := range ev {
		e := &ev[k]
		t, ok := last[e.aux]
		if !ok {
			t, ok = m.last[e.aux]
		}
		e.novel = !ok || t < e.time-p.span
		last[e.aux] = e.time
	}
}

// forget drops what is too old to matter, and an eighth if that is not enough.
func (w *walker) forget(now int64) {
	maps.DeleteFunc(w.memory.last, func(_ uint64, t int64) bool { return t < now-w.p.span })
	if len(w.memory.last) <= maxValues {
		return
	}
	type entry struct {
		t int64
		h uint64
	}
	all := make([]entry, 0, len(w.memory.last))
	for h, t := range w.memory.last {
		all = append(all, entry{t, h})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.h, b.h)) })
	for _, x := range all[:len(all)/8] {
		delete(w.memory.last, x.h)
	}
	w.s.cut += uint64(len(all) / 8)
}
