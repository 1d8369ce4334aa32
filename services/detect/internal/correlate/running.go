package correlate

import "github.com/vagus-hub/vagus/services/detect/internal/rule"

// running is what a sliding window of a group comes to. It follows the window by
// what enters and leaves at either end, so that looking at the next event, or at
// one that comes late, costs what lies between and not the whole window. What it
// says is a function of the events in the window.
type running struct {
	lo, hi int // the events that are in it
	m      measure
	steps  [rule.MaxSteps]int32 // events of each step
	have   int                  // steps that have any
	values map[uint64]int32     // events of each value
	chain  *chain
}

// valueBytes is about what an entry of values takes.
const valueBytes = 48

// follow moves the window to where it ends with event i: the events from start
// on that are not older than the timespan.
func (r *running) follow(p *plan, ev []seen, start, i int, s *scratch) {
	oldest := ev[i].time - p.span
	if start >= r.hi || i+1 <= r.lo {
		r.clear(s)
		r.lo, r.hi = i, i
	}
	for ; r.hi <= i; r.hi++ {
		r.enter(p, &ev[r.hi], s)
	}
	for r.hi > i+1 {
		r.hi--
		r.leave(p, &ev[r.hi], s)
	}
	for ; r.lo < start || ev[r.lo].time < oldest; r.lo++ {
		r.leave(p, &ev[r.lo], s)
	}
	for r.lo > start && ev[r.lo-1].time >= oldest {
		r.lo--
		r.enter(p, &ev[r.lo], s)
	}
}

func (r *running) enter(p *plan, e *seen, s *scratch) {
	switch p.kind {
	case distinct:
		if r.values == nil {
			r.values = map[uint64]int32{}
		}
		n := r.values[e.aux]
		if r.values[e.aux] = n + 1; n == 0 {
			*s.bytes += valueBytes
		}
	case together, ordered:
		if r.steps[e.aux&(rule.MaxSteps-1)]++; r.steps[e.aux&(rule.MaxSteps-1)] == 1 {
			r.have++
		}
	default:
		r.m.add(p, e)
	}
}

func (r *running) leave(p *plan, e *seen, s *scratch) {
	switch p.kind {
	case distinct:
		if n := r.values[e.aux]; n > 1 {
			r.values[e.aux] = n - 1
		} else {
			delete(r.values, e.aux)
			*s.bytes -= valueBytes
		}
	case together, ordered:
		if r.steps[e.aux&(rule.MaxSteps-1)]--; r.steps[e.aux&(rule.MaxSteps-1)] == 0 {
			r.have--
		}
	default:
		r.m.sub(p, e)
	}
}

// clear empties the window.
func (r *running) clear(s *scratch) {
	*s.bytes -= int64(len(r.values)) * valueBytes
	clear(r.values)
	*r = running{values: r.values, chain: r.chain}
	if r.chain != nil {
		r.chain.next = -1
	}
}

// inserted takes that event i was put in its place.
func (r *running) inserted(p *plan, ev []seen, i int, s *scratch) {
	switch {
	case i < r.lo:
		r.lo, r.hi = r.lo+1, r.hi+1
	case i < r.hi:
		r.enter(p, &ev[i], s)
		r.hi++
	}
	switch x := r.chain; {
	case x == nil || i >= x.next:
	case ev[i].aux == uint64(p.steps-1) && i >= x.start:
		x.next++ // the last step begins nothing
	default:
		x.next = -1
	}
}

// removing takes that event i is about to be taken out.
func (r *running) removing(p *plan, ev []seen, i int, s *scratch) {
	switch {
	case i < r.lo:
		r.lo, r.hi = r.lo-1, r.hi-1
	case i < r.hi:
		r.leave(p, &ev[i], s)
		r.hi--
	}
	if r.chain != nil && i < r.chain.next {
		r.chain.next = -1
	}
}

// dropping takes that the first n events are about to go.
func (r *running) dropping(p *plan, ev []seen, n int, s *scratch) {
	if n >= r.hi {
		r.clear(s)
		return
	}
	for ; r.lo < n; r.lo++ {
		r.leave(p, &ev[r.lo], s)
	}
	r.lo, r.hi = r.lo-n, r.hi-n
	if x := r.chain; x != nil && x.next >= 0 {
		x.next, x.start = max(x.next-n, -1), max(x.start-n, 0)
	}
}

// chain finds the steps in their order: for each step the latest time at which a
// chain up to it begins. Steps of one event do not follow each other.
type chain struct {
	start, next int // the events from start until before next are taken in; next -1: none are
	begun       [rule.MaxSteps]int64
	before      [rule.MaxSteps]int64 // as it was before the event whose step was taken last
}

// complete says whether the last step, with event i, ends a chain that begins in
// the window of the running measure.
func (x *chain) complete(p *plan, ev []seen, start, i int, r *running) bool {
	if x.next < 0 || x.next > i || x.start != start {
		x.start, x.next = start, r.lo
		for k := range p.steps {
			x.begun[k], x.before[k] = never, never
		}
	}
	for ; x.next <= i; x.next++ {
		e := &ev[x.next]
		if x.next == 0 || !e.same(&ev[x.next-1]) {
			copy(x.before[:p.steps], x.begun[:p.steps])
		}
		if step := e.aux; step == 0 {
			x.begun[0] = e.time
		} else if step < uint64(p.steps) {
			x.begun[step] = max(x.begun[step], x.before[step-1])
		}
	}
	return p.steps == 1 || x.before[p.steps-2] >= ev[i].time-p.span
}
