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

// novel says whether the value of event i is new, and known well enough to say
// so.
func (w *walker) novel(i int) bool {
	e := &w.ev[i]
	last, ok := w.memory.last[e.aux]
	for k := i - 1; k >= 0 && (!ok || w.ev[k].time > last); k-- {
		if w.ev[k].aux == e.aux {
			last, ok = w.ev[k].time, true
			break
		}
	}
	if w.base {
		w.memory.last[e.aux] = max(e.time, w.memory.last[e.aux])
		if len(w.memory.last) > maxValues {
			w.forget(e.time)
		}
	}
	return (!ok || last < e.time-w.p.span) && e.time-w.since >= w.p.learning
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
