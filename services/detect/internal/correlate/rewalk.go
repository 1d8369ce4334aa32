package correlate

import (
	"slices"
	"sort"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// An alert takes all events of its group until it ends, and the automaton then
// begins afresh. So an event that comes late is either taken by the alert that
// it falls into, or changes what lies between the end of the alert before and
// the moment from which on the automaton does what it did without the event.
// What is new is marked in the events (memory.put), and what is usual goes on being
// learned through alerts (relearn).

// begun says that a fire has come about once event e is reached.
func (p *plan) begun(f *fire, e *seen) bool {
	switch {
	case p.kind == absent:
		return f.at < e.time
	case p.atEnd:
		return f.at <= e.time
	}
	return f.crossing.before(e)
}

// begunBy is the number of fires that have begun once e is reached.
func (m *machine) begunBy(p *plan, e *seen) int {
	return sort.Search(len(m.fires), func(k int) bool { return !p.begun(m.fires[k], e) })
}

// holding is the fire that an event falls into, or nil.
func (m *machine) holding(p *plan, e *seen) *fire {
	if n := m.begunBy(p, e); n > 0 && e.time < m.fires[n-1].until {
		return m.fires[n-1]
	}
	return nil
}

// from is the place of the first event that is not before a time.
func from(ev []seen, time int64) int {
	return sort.Search(len(ev), func(k int) bool { return ev[k].time >= time })
}

// after is the place of the first event that a fire does not take; 0 if there is
// no fire.
func (p *plan) after(ev []seen, f *fire) int {
	if f == nil {
		return 0
	}
	n := from(ev, f.until)
	switch {
	case p.kind == absent:
		return max(n, from(ev, f.at+1))
	case p.atEnd:
		return n
	}
	return max(n, sort.Search(len(ev), func(k int) bool { return f.crossing.before(&ev[k]) }))
}

// rewalked is what a walk found: the fires before, and those in their place.
type rewalked struct{ before, now []*fire }

func (w *rewalked) changed() bool { return len(w.before)+len(w.now) > 0 }

// rewalk takes the automaton again over what has changed: event i came late, and
// one just before place to is gone if to is not i.
func (c *Correlator) rewalk(s *ruleState, g *group, h *heavy, i, to int) rewalked {
	ev, old := c.groups.events(g), &h.tail
	kept := old.begunBy(&s.plan, &ev[i])
	begin := i
	if kept > 0 && ev[i].time < old.fires[kept-1].until {
		kept-- // it is another one now
		begin = min(i, from(ev, old.fires[kept].crossing.time))
	}
	m, k := s.before(h, ev, begin, kept)
	w := c.walk(s, &m, h, ev)
	passed := kept // so many of the old fires have begun at k
	session := k
	for ; k < len(ev); k++ {
		if k > session && ev[k].time-ev[k-1].time > s.span {
			session = k
		}
		if k > to {
			w.elapse(ev[k].time)
			for passed < len(old.fires) && s.begun(old.fires[passed], &ev[k]) {
				passed++
			}
			if s.alike(ev, to, k, session, last(m.fires), last(old.fires[:passed])) {
				out := rewalked{slices.Clone(old.fires[kept:passed]), m.fires[min(kept, 1):]}
				s.join(h, ev, i, to, out.now, kept, passed)
				return out
			}
		}
		w.step(k)
	}
	w.elapse(h.judged)
	out := rewalked{slices.Clone(old.fires[kept:]), m.fires[min(kept, 1):]}
	m.fires = append(old.fires[:kept], out.now...)
	h.tail = m
	return out
}

// rerun walks over all that is not settled, whatever has changed.
func (c *Correlator) rerun(s *ruleState, g *group) {
	if g.heavy == 0 {
		return
	}
	h := c.heavies[g.heavy]
	h.verdicts.clear(&s.scratch)
	c.refresh(s, g, h)
}

// refresh does so after the base has moved on.
func (c *Correlator) refresh(s *ruleState, g *group, h *heavy) {
	h.tail = h.base.clone()
	w := c.walk(s, &h.tail, h, c.groups.events(g))
	for i := h.done; i < len(w.ev); i++ {
		w.step(i)
	}
	w.elapse(h.judged)
}

func last(list []*fire) *fire {
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// before is the automaton as it was after so many fires, at a place not after
// event i from which on it has to walk. Of the fires it has the last.
func (s *ruleState) before(h *heavy, ev []seen, i, kept int) (m machine, k int) {
	if kept == 0 {
		m, k = h.base.clone(), h.done
	} else {
		m = newMachine(&s.plan)
		m.fires = h.tail.fires[kept-1 : kept : kept]
		m.start = max(s.after(ev, m.fires[0]), h.done)
		k = m.start
	}
	m.since, m.newest, m.memory = h.tail.since, h.tail.newest, h.base.memory
	switch {
	case m.open != nil:
	case s.kind == absent:
		// What began earlier was answered, or it would have fired.
		n := from(ev, ev[i].time-s.span)
		k, m.start = max(k, n), max(m.start, n)
	case s.window == rule.Sliding:
		k = max(k, i)
	default:
		if n := s.windowAt(ev, i, k); n > k {
			k, m.window = n, window{}
		}
	}
	return m, k
}

// windowAt is the place where the window that holds event i begins, or a place
// not after k.
func (p *plan) windowAt(ev []seen, i, k int) int {
	if p.window == rule.Tumbling {
		return from(ev, floorTo(ev[i].time, p.span))
	}
	for i > k && ev[i].time-ev[i-1].time <= p.span {
		i--
	}
	return i
}

// alike says that from event k on the automaton does what it did before there was
// a change up to place to: nothing is open, and what it may look back at is the
// same. now and then are the last fires that have begun by then.
func (p *plan) alike(ev []seen, to, k, session int, now, then *fire) bool {
	at := ev[k].time
	if now != nil && at < now.until || then != nil && at < then.until {
		return false
	}
	back := session
	switch {
	case p.kind == novelty:
		return true // it looks back at nothing
	case p.window == rule.Tumbling:
		back = from(ev, floorTo(at, p.span))
	case p.window == rule.Sliding:
		back = from(ev, at-p.span)
	}
	x, y := p.after(ev, now), p.after(ev, then)
	return to < back && x <= back && y <= back || x == y && to < x
}

// join puts what was walked again in the place of the old fires from kept up to
// passed.
func (s *ruleState) join(h *heavy, ev []seen, i, to int, now []*fire, kept, passed int) {
	old := &h.tail
	if passed == len(old.fires) {
		old.open = nil
	}
	old.fires = slices.Replace(old.fires, kept, passed, now...)
	switch f := last(old.fires); {
	case s.slides() && f != nil:
		old.start = max(s.after(ev, f), h.done)
	case s.slides():
		old.start = h.base.start
	case to > i && old.start >= to: // one came, one is gone
	case old.start > i, old.start == i && s.kind == absent: // which is answered, or has fired
		old.start++
	}
}
