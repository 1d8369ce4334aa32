package correlate

import (
	"math"
	"slices"
	"sort"
)

// What is usual (rate) goes on being learned through alerts. But what is usual for
// a bucket changes seldom when one before it has an event more, and an alert that
// goes on asks for nothing. So a late event changes what lies in its own bucket and
// in those for which something else is usual now, and the alerts that these touch.

// stretch is what a baseline has learned without a break, up to the tail.
type stretch struct {
	first int64     // bucket
	known int64     // buckets before it
	base  *baseline // it goes on from here; nil: it has begun since
}

// stretch finds where the baseline of a tail began; false if that is not known.
func (s *ruleState) stretch(h *heavy) (x stretch, ok bool) {
	base, tail := &h.base, &h.tail
	switch {
	case base.usual.begun && base.since == tail.since:
		x = stretch{base.usual.bucket, base.usual.known, base.usual}
	case base.since == math.MaxInt64 || base.since < tail.since:
		x.first = s.bucket(tail.since)
	default:
		return x, false
	}
	return x, tail.usual.begun
}

// bucket is the number of the bucket of a time.
func (p *plan) bucket(time int64) int64 { return floorTo(time, p.span) / p.span }

// sum adds the events of a bucket before place end, those that are settled
// included.
func (x *stretch) sum(p *plan, h *heavy, ev []seen, bucket int64, end int) baseline {
	b := baseline{begun: true, bucket: bucket}
	if o := x.base; o != nil && bucket == x.first {
		b.n, b.total, b.first, b.last, b.from = o.n, o.total, o.first, o.last, o.from
	}
	for k := max(from(ev, bucket*p.span), h.done); k < end; k++ {
		b.add(p, &ev[k])
	}
	return b
}

// rewind takes what a baseline knows back to the begin of the bucket of b, for b.
// It keeps what it overwrites: the newest totals.
func (x *stretch) rewind(p *plan, h *heavy, ev []seen, b *baseline, s *scratch) {
	tail := h.tail.usual
	n := int64(len(tail.past))
	b.past, b.known = tail.past, min(x.known+b.bucket-x.first, n)
	s.totals = s.totals[:0]
	for k := max(b.bucket, tail.bucket-n); k < tail.bucket; k++ {
		s.totals = append(s.totals, *tail.slot(k))
	}
	for k := b.bucket - n; k < min(b.bucket, tail.bucket-n); k++ {
		total := tail.slot(k)
		switch {
		case k >= x.first:
			of := x.sum(p, h, ev, k, from(ev, (k+1)*p.span))
			*total = float32(of.current(p))
		case x.base != nil:
			*total = *x.base.slot(k)
		}
	}
}

// restore puts back what rewind has kept.
func (b *baseline) restore(s *scratch) {
	for i, v := range s.totals {
		*b.slot(b.bucket - int64(len(s.totals)-i)) = v
	}
}

// relearn takes the automaton of a rate again over what event i, which came late,
// changes; false if that may be anything.
func (c *Correlator) relearn(s *ruleState, g *group, h *heavy, i int) (rewalked, bool) {
	r := relearner{c: c, s: s, h: h, ev: c.groups.events(g)}
	ev, tail, p := r.ev, &h.tail, &s.plan
	e, at := &ev[i], s.bucket(ev[i].time)
	ok := false
	if r.stretch, ok = s.stretch(h); !ok || e.time < tail.since || at < r.first || h.verdicts.over {
		return rewalked{}, false
	}
	b, most := r.sum(p, h, ev, at, i), math.Inf(-1)
	for k := i; k < len(ev) && ev[k].time < (at+1)*s.span; k++ {
		b.add(p, &ev[k])
		most = max(most, b.current(p)) // from the event on
	}
	if at < tail.usual.bucket {
		was, is := b, float32(b.current(p))
		was.n--
		was.total.sub(int64(e.aux))
		r.others = h.verdicts.swap(p, at, float64(float32(was.current(p))), float64(is), &s.scratch)
		if tail.usual.bucket-at <= int64(len(tail.usual.past)) {
			*tail.usual.slot(at) = is
		}
	}
	q := i - 1 // the last event before anything changes
	if n := tail.begunBy(p, e); n > 0 && e.time < tail.fires[n-1].until {
		f := tail.fires[n-1]
		if f.until > (at+1)*s.span && (!s.sums || int64(e.aux) >= 0) && (!s.atEnd || r.pause(i) <= s.c.Baseline.Milliseconds()) {
			// The alert takes it, and all of its bucket after it.
			f.take(p, e)
			f.value = max(f.value, most)
			if tail.newest = max(tail.newest, e.time); at == tail.usual.bucket {
				tail.usual.n, tail.usual.total, tail.usual.first, tail.usual.last, tail.usual.from = b.n, b.total, b.first, b.last, b.from
			}
			r.before, r.now = append(r.before, f), append(r.now, f)
			r.rest()
			return r.rewalked, true
		}
		q = s.ahead(ev, f)
	}
	if q >= h.done && ev[q].time < tail.since {
		return rewalked{}, false
	}
	if r.walk(q, i, at) {
		r.rest()
	}
	return r.rewalked, true
}

// ahead is the place of the last event before a fire.
func (p *plan) ahead(ev []seen, f *fire) int {
	if p.atEnd {
		return from(ev, f.at) - 1
	}
	return sort.Search(len(ev), func(k int) bool { return !ev[k].before(&f.crossing) }) - 1
}

// relearner walks again over parts of a group.
type relearner struct {
	c *Correlator
	s *ruleState
	h *heavy
	stretch
	ev       []seen
	others   []int64 // buckets to come for which something else is usual now
	rewalked         // what came of it
}

// pause is the time that is without events but for event i.
func (r *relearner) pause(i int) int64 {
	begin, end := r.h.base.newest, r.h.tail.elapsed
	if i > r.h.done {
		begin = r.ev[i-1].time
	}
	if i+1 < len(r.ev) {
		end = r.ev[i+1].time
	}
	return end - begin
}

// rest walks over the buckets for which something else is usual, unless an alert
// goes on all the time.
func (r *relearner) rest() {
	for len(r.others) > 0 {
		bucket := r.others[0]
		r.others = r.others[1:]
		begin, fires := bucket*r.s.span, r.h.tail.fires
		q := from(r.ev, begin) - 1
		n := sort.Search(len(fires), func(k int) bool { return fires[k].at > begin || fires[k].at == begin && !r.s.atEnd })
		if n > 0 {
			q = max(q, from(r.ev, fires[n-1].until)-1)
		}
		if q >= r.h.done && r.s.bucket(r.ev[q].time) > bucket {
			continue
		}
		if !r.walk(q, q, bucket) {
			return
		}
	}
}

// walk takes the automaton over the events after q, until it is beyond event past
// and a bucket, and does what it did before; false if that was never so.
func (r *relearner) walk(q, past int, bucket int64) bool {
	s, h, ev, p := r.s, r.h, r.ev, &r.s.plan
	tail := &h.tail
	kept, begin := 0, h.done
	var m machine
	if q < h.done {
		m = h.base.clone()
	} else {
		begin = q + 1
		kept = sort.Search(len(tail.fires), func(k int) bool { return q <= s.ahead(ev, tail.fires[k]) })
		m = machine{start: begin, elapsed: ev[q].time, since: tail.since, newest: ev[q].time}
		if f := last(tail.fires[:kept]); f != nil && ev[q].time < f.until {
			m.open = f // it takes no more
		}
		b := r.sum(p, h, ev, s.bucket(ev[q].time), begin)
		r.rewind(p, h, ev, &b, &s.scratch)
		m.usual = &b
	}
	w := r.c.walk(s, &m, h, ev)
	passed := kept
	for k := begin; k < len(ev); k++ {
		w.elapse(ev[k].time)
		for passed < len(tail.fires) && s.begun(tail.fires[passed], &ev[k]) {
			passed++
		}
		now := s.bucket(ev[k].time)
		for len(r.others) > 0 && r.others[0] < now {
			r.others = r.others[1:]
		}
		then := last(tail.fires[:passed])
		if k > past && now > bucket && (len(r.others) == 0 || r.others[0] > now) &&
			(m.open == nil || ev[k].time >= m.open.until) && (then == nil || ev[k].time >= then.until) {
			if q >= h.done {
				tail.usual.restore(&s.scratch)
			}
			if passed == len(tail.fires) {
				tail.open = nil
			}
			r.before, r.now = append(r.before, tail.fires[kept:passed]...), append(r.now, m.fires...)
			tail.fires = slices.Replace(tail.fires, kept, passed, m.fires...)
			return true
		}
		w.step(k)
	}
	w.elapse(h.judged)
	r.before, r.now = append(r.before, tail.fires[kept:]...), append(r.now, m.fires...)
	m.fires = append(tail.fires[:kept], m.fires...)
	*tail = m
	return false
}
