package correlate

import (
	"bytes"
	"math"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// fire is one time that a rule fires for a group: an alert in the making. From
// at until until, further events of the group belong to it.
type fire struct {
	at, until   int64
	first, last int64 // event times
	count       int64
	value       float64
	values      *values // distinct: of all its events
	total       sum     // summing
	crossing    seen
	from        uint64 // sources of its events (tellers)
	entity      string // if it is not part of the group
	uids        []shown
	uid         string  // of the alert, once it is needed
	usual       float64 // rate: the median, and what a deviation is
	scale       float64
}

// maxShown bounds the event uids of an alert.
const maxShown = 100

// shown is an event that an alert names.
type shown struct {
	time int64
	uid  finding.EventUID
}

// note keeps the newest events, in order of time, in whatever order they come.
func note(list []shown, e *seen) []shown {
	if len(list) == 2*maxShown {
		list = append(list[:0], list[maxShown:]...)
	}
	list = append(list, shown{e.time, e.uid})
	for k := len(list) - 1; k > 0 && list[k-1].after(&list[k]); k-- {
		list[k-1], list[k] = list[k], list[k-1]
	}
	return list
}

func (n *shown) after(o *shown) bool {
	return n.time > o.time || n.time == o.time && bytes.Compare(n.uid[:], o.uid[:]) > 0
}

// take counts an event in.
func (f *fire) take(p *plan, e *seen) {
	f.count++
	f.first, f.last = min(f.first, e.time), max(f.last, e.time)
	f.uids = note(f.uids, e)
	f.from |= 1 << e.from
	switch p.kind {
	case counting:
		if n := hidden(e); n > 0 {
			f.count += n
			f.last = max(f.last, e.time+int64(e.aux&math.MaxUint32))
		}
		f.value = float64(f.count)
	case distinct:
		if f.values == nil {
			f.values = &values{}
		}
		f.values.add(e.aux)
		f.value = float64(f.values.count())
	case summing:
		f.total.add(int64(e.aux))
		f.value = f.total.float()
	case novelty:
		f.value = float64(f.count)
	}
}

func (f *fire) clone() *fire {
	if f == nil {
		return nil
	}
	out := *f
	out.values = f.values.clone()
	out.uids = append([]shown(nil), f.uids...)
	return &out
}

// window is a tumbling window or a session that has begun.
type window struct {
	measure
	begin, first, last int64
	uids               []shown
	crossing           seen
	from               uint64 // as of a fire
}

// machine is the automaton: what a rule says of a group after some of its
// events. Windows that slide are looked for in the events themselves.
type machine struct {
	start   int   // events before are used up
	elapsed int64 // nothing before is expected any more
	open    *fire // the last fire, as long as it lasts
	fires   []*fire
	window  window
	since   int64 // first event time of the group (novelty, rate)
	newest  int64 // last event time
	usual   *baseline
	memory  *memory
}

func newMachine(p *plan) machine {
	m := machine{elapsed: math.MinInt64, since: math.MaxInt64, newest: never}
	switch p.kind {
	case rate:
		m.usual = newBaseline(p)
	case novelty:
		m.memory = &memory{last: map[uint64]int64{}}
	}
	return m
}

// clone is a machine that goes on from here; memory is shared, since only the
// base writes into it.
func (m *machine) clone() machine {
	out := *m
	out.open = m.open.clone()
	out.fires = nil
	if out.open != nil {
		out.fires = []*fire{out.open}
	}
	out.window.measure = m.window.measure.clone()
	out.window.uids = append([]shown(nil), m.window.uids...)
	out.usual = m.usual.clone()
	return out
}

// walker moves a machine over the events of a group.
type walker struct {
	*machine
	p     *plan
	ev    []seen
	names map[finding.EventUID]string
	s     *scratch
	run   *running // nil: windows are looked at
	base  bool     // what the machine learns of values is kept
	// verdicts are those of the group's buckets.
	verdicts *verdicts
}

// step takes event i, which is the next in order.
func (w *walker) step(i int) {
	e := &w.ev[i]
	w.elapse(e.time)
	if w.newest > never && e.time-w.newest > w.p.horizon() {
		// The group may have been forgotten in between; it must not matter
		// whether it was.
		w.since = e.time
		if w.usual != nil {
			w.usual = newBaseline(w.p)
		}
	}
	w.since, w.newest = min(w.since, e.time), e.time
	counts := true
	switch w.p.kind {
	case novelty:
		counts = w.novel(e)
	case rate:
		w.usual.add(w.p, e)
	}
	if f := w.open; f != nil {
		if e.time < f.until {
			if counts && (w.p.kind != absent || e.aux == 0) {
				f.take(w.p, e)
			}
			if w.p.kind == rate {
				f.value = max(f.value, w.usual.current(w.p))
			}
			w.start = i + 1
			return
		}
		w.open = nil
	}
	switch {
	case w.p.kind == novelty:
		if counts {
			w.fire(e.time, i, i, 1, e)
		}
		w.start = i + 1
	case w.p.kind == rate:
		if !w.p.atEnd && w.unusual() {
			w.rated(e.time, e)
		}
		w.start = i + 1
	case w.p.kind == absent:
		if e.aux == 1 {
			w.start = i + 1 // answers all before
		}
	case w.p.window == rule.Sliding:
		if from, value, ok := w.p.crossed(w.ev, w.start, i, w.s, w.run); ok {
			w.fire(e.time, from, i, value, e)
			w.start = i + 1
		}
	default:
		w.accumulate(i)
	}
}

// fire begins an alert of the events from … to.
func (w *walker) fire(at int64, from, to int, value float64, crossing *seen) *fire {
	f := &fire{at: at, until: at + w.p.suppress, first: w.ev[from].time, last: w.ev[from].time, crossing: *crossing, entity: w.names[crossing.uid]}
	for k := from; k <= to; k++ {
		if w.p.kind != absent || w.ev[k].aux == 0 {
			f.take(w.p, &w.ev[k])
		}
	}
	if f.value = value; w.p.kind == distinct || w.p.kind == together || w.p.kind == ordered {
		// Of what was repeated only the last counts, so that it does not matter
		// what of it is still kept.
		f.count, f.from = int64(w.p.n), w.tellers(from, to)
	}
	w.begin(f)
	return f
}

// tellers are the sources of the events from … to that are not repeated.
func (w *walker) tellers(from, to int) (bits uint64) {
	w.s.begin()
	for k := to; k >= from; k-- {
		e := &w.ev[k]
		if w.p.kind == ordered && (k == to || w.ev[k+1].aux != e.aux) || w.p.kind != ordered && w.s.add(e.aux) {
			bits |= 1 << e.from
		}
	}
	return bits
}

func (w *walker) begin(f *fire) {
	w.open = f
	w.fires = append(w.fires, f)
}

// accumulate adds an event to a tumbling window or a session.
func (w *walker) accumulate(i int) {
	e, x := &w.ev[i], &w.window
	begin := e.time
	if w.p.window == rule.Tumbling {
		begin = floorTo(e.time, w.p.span)
	}
	if x.n > 0 && w.p.window == rule.Tumbling && begin != x.begin || x.n > 0 && w.p.window == rule.Session && e.time-x.last > w.p.span {
		*x = window{}
	}
	if x.n == 0 {
		x.begin, x.first = begin, e.time
	}
	x.last = e.time
	x.crossing = *e
	x.measure.add(w.p, e)
	x.uids = note(x.uids, e)
	x.from |= 1 << e.from
	w.start = i + 1
	if w.p.atEnd {
		return
	}
	if value, ok := x.holds(w.p); ok {
		f := w.complete(e.time, value)
		if w.p.window == rule.Tumbling {
			f.until = max(f.until, begin+w.p.span)
		}
	}
}

// complete makes the window an alert.
func (w *walker) complete(at int64, value float64) *fire {
	x := &w.window
	f := &fire{at: at, until: at + w.p.suppress, first: x.first, last: x.last, count: x.n, value: value, values: x.values, total: x.total,
		crossing: x.crossing, from: x.from, entity: w.names[x.crossing.uid], uids: x.uids}
	*x = window{}
	w.begin(f)
	return f
}

// elapse says that nothing before t is expected: what waited for it is judged.
func (w *walker) elapse(t int64) {
	if t <= w.elapsed || !w.p.judged() {
		return
	}
	w.elapsed = t
	switch {
	case w.p.kind == rate:
		w.closeBuckets(t)
	case w.p.kind == absent:
		w.missing(t)
	case w.p.atEnd && w.window.n > 0:
		x := &w.window
		end := x.last + w.p.span + 1
		if w.p.window == rule.Tumbling {
			end = x.begin + w.p.span
		}
		if end > t {
			return
		}
		if value, ok := x.holds(w.p); ok {
			f := w.complete(end, value)
			if w.p.window == rule.Tumbling {
				f.until = floorTo(f.until+w.p.span-1, w.p.span)
			}
			return
		}
		*x = window{}
	}
}

// missing fires for first steps that were not followed in time.
func (w *walker) missing(t int64) {
	for {
		// What is not settled may yet get a first step before it.
		for w.start < len(w.ev) && w.ev[w.start].aux != 0 && w.ev[w.start].time < t {
			w.start++
		}
		if w.start >= len(w.ev) || w.ev[w.start].time >= t {
			return
		}
		e := w.ev[w.start]
		due := e.time + w.p.span
		if due >= t {
			return
		}
		if w.open != nil && e.time >= w.open.until {
			w.open = nil
		}
		to := w.start
		for to+1 < len(w.ev) && w.ev[to+1].time <= due {
			if to++; w.ev[to].aux == 1 {
				break
			}
		}
		if w.ev[to].aux == 1 {
			w.start = to + 1
			continue
		}
		f := w.fire(due, w.start, to, 0, &e)
		f.value = float64(f.count)
		w.start = to + 1
	}
}

// due is when the machine has something to judge that no event brings about;
// false if nothing.
func (m *machine) due(p *plan, ev []seen) (int64, bool) {
	switch {
	case p.kind == absent:
		for k := m.start; k < len(ev); k++ {
			if ev[k].aux == 0 {
				return ev[k].time + p.span + 1, true
			}
		}
	case p.kind == rate && p.atEnd && m.since < math.MaxInt64:
		return (m.usual.bucket + 1) * p.span, true
	case p.atEnd && m.window.n > 0 && p.window == rule.Tumbling:
		return m.window.begin + p.span, true
	case p.atEnd && m.window.n > 0:
		return m.window.last + p.span + 1, true
	}
	return 0, false
}

func floorTo(t, span int64) int64 {
	span = max(span, 1)
	q := t / span
	if t%span < 0 {
		q--
	}
	return q * span
}
