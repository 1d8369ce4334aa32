package correlate

import (
	"maps"
	"slices"
	"sort"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// Tick says how far a source has come: of events before Clock, at most those
// within the allowed lateness are still to come. Ticks are part of the log.
type Tick struct {
	Source string
	Clock  int64 // event time, ms since 1970
	At     int64 // when it was made, ms since 1970
	Idle   bool  // nothing comes; others do not wait for it
}

// Ticks takes how far sources have come. A source is never taken to be further
// than the tick itself, so that a wrong clock does not end everybody's windows.
func (c *Correlator) Ticks(list []Tick, emit func(finding.Alert)) {
	moved := map[uint32]*ruleState{}
	for i := range list {
		t := &list[i]
		c.received = max(c.received, t.At)
		x := c.sourceOf(t.Source)
		if clock := min(t.Clock, t.At); clock > x.clock {
			x.clock, x.moved = clock, c.received
		}
		x.idle = t.Idle
		for _, s := range x.feeds {
			moved[s.number] = s
		}
	}
	c.born()
	for _, n := range slices.Sorted(maps.Keys(moved)) {
		c.advance(moved[n], c.watermark(moved[n]), emit)
	}
}

// advanceTo takes every source that is known to have come to a time, in ms since
// 1970, but those of alerts. It is for those who know that nothing is missing,
// such as a backtest.
func (c *Correlator) advanceTo(ms int64, emit func(finding.Alert)) {
	c.received = max(c.received, ms)
	for _, x := range c.sources {
		if !isAlertSource(x.name) {
			x.clock, x.moved = max(x.clock, ms), c.received
		}
	}
	for _, s := range c.ordered() {
		c.advance(s, c.watermark(s), emit)
	}
}

// least is the least clock of the sources that are waited for, but for alerts.
func (c *Correlator) least() int64 {
	out := int64(forever)
	for _, x := range c.sources {
		if !isAlertSource(x.name) && !x.idle {
			out = min(out, x.clock)
		}
	}
	if out == forever {
		return never
	}
	return out
}

// levels is the number of levels of rules over rules, with that of events.
func (c *Correlator) levels() int {
	n := 0
	for _, s := range c.rules {
		n = max(n, s.level+1)
	}
	return n
}

// Flush takes all events to have come and time to go on without any: windows
// end, what is absent stays absent, and every alert reaches its last state.
// Nothing may be added afterwards.
func (c *Correlator) Flush(emit func(finding.Alert)) {
	for level := range c.levels() {
		c.flush(level, emit)
	}
}

// flush does so for the rules of a level. The alerts that they raise may be
// added before the next one.
func (c *Correlator) flush(level int, emit func(finding.Alert)) {
	c.received = forever + int64(level)*8*maxLate
	for _, s := range c.ordered() {
		if s.level == level {
			c.advance(s, forever/2, emit)
		}
	}
}

// Conclude tells the present state of the alerts that still go on.
func (c *Correlator) Conclude(emit func(finding.Alert)) {
	for _, s := range c.ordered() {
		for id := s.oldest; id != 0; id = c.groups.at(id).newer {
			c.end(s, c.groups.at(id), emit)
		}
	}
}

// ordered lists the rules by id, so that what they emit has an order.
func (c *Correlator) ordered() []*ruleState {
	out := make([]*ruleState, 0, len(c.rules))
	for _, s := range c.rules {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *ruleState) int {
		if a.rule.ID < b.rule.ID {
			return -1
		}
		return 1
	})
	return out
}

// advance moves a rule's watermark and does what is due.
func (c *Correlator) advance(s *ruleState, mark int64, emit func(finding.Alert)) {
	s.mark = max(s.mark, mark)
	waiting := s.waiting
	s.waiting = nil
	for _, id := range waiting {
		if g := c.groups.at(id); g.live && g.rule == s.number && g.heavy != 0 && c.heavies[g.heavy].due <= s.mark {
			c.due(s, id, emit)
		}
	}
	for len(s.timers) > 0 && s.timers[0].due <= s.mark {
		t := s.timers.pop()
		g := c.groups.at(t.group)
		if !g.live || g.hash != t.hash || g.heavy == 0 || c.heavies[g.heavy].due != t.due {
			continue
		}
		c.due(s, t.group, emit)
	}
	c.expire(s, s.groups, emit)
}

// settledTo is the time before which a group expects no event. What comes out
// of a backlog is older than the watermark: as long as its group is fed, the
// group's own newest event counts.
func (c *Correlator) settledTo(s *ruleState, g *group) int64 {
	if c.received-g.touched <= s.late {
		return min(s.mark, g.last-s.late)
	}
	return s.mark
}

// due judges what a group's timer was set for.
func (c *Correlator) due(s *ruleState, id uint32, emit func(finding.Alert)) {
	g := c.groups.at(id)
	h := c.heavies[g.heavy]
	to := c.settledTo(s, g)
	if to < h.due {
		s.waiting = append(s.waiting, id)
		return
	}
	h.due = forever
	c.judge(s, g, h, to)
	c.settle(s, g, nil, emit)
	c.fold(s, g, emit)
	c.schedule(s, id, to)
}

// judge says that nothing before a time is expected.
func (c *Correlator) judge(s *ruleState, g *group, h *heavy, to int64) {
	h.judged = max(h.judged, to)
	w := c.walk(s, &h.tail, h, c.groups.events(g))
	w.elapse(h.judged)
}

// schedule sets the group's timer, to a time after what was judged already.
func (c *Correlator) schedule(s *ruleState, id uint32, after int64) {
	g := c.groups.at(id)
	if g.heavy == 0 {
		return
	}
	h := c.heavies[g.heavy]
	due := int64(forever)
	if t, ok := h.tail.due(&s.plan, c.groups.events(g)); ok {
		due = t
	}
	for _, f := range h.tail.fires {
		if due = min(due, f.until+s.late); !s.told(h, f) {
			due = min(due, f.at)
		}
	}
	for _, k := range h.known {
		if k.retracted {
			due = min(due, k.at+s.suppress+s.late)
		}
	}
	c.wake(s, id, g, h, max(due, after+1))
}

// wake sets the timer of a group, unless it is set for an earlier time.
func (c *Correlator) wake(s *ruleState, id uint32, g *group, h *heavy, due int64) {
	if due < h.due {
		h.due = due
		s.timers.push(timer{due, id, g.hash})
	}
}

// makeRoom settles and forgets what it can of a group that is full, if that is
// worth its while, and otherwise lets it grow up to its bound.
func (c *Correlator) makeRoom(s *ruleState, g *group, emit func(finding.Alert)) {
	to := c.settledTo(s, g) - s.late
	ev := c.groups.events(g)
	until := func(t int64) int { return sort.Search(len(ev), func(k int) bool { return ev[k].time >= t }) }
	n := until(to - s.span)
	if g.heavy != 0 {
		used := until(to)
		if s.slides() || s.kind == absent {
			used = min(used, c.heavies[g.heavy].tail.start)
		}
		n = max(n, used)
	}
	if n > len(ev)/8 || len(ev) >= c.most(s) {
		c.foldTo(s, g, to, emit)
	}
	c.cut(s, g, emit)
}

// fold settles the events that cannot change any more and forgets those that no
// window can hold.
func (c *Correlator) fold(s *ruleState, g *group, emit func(finding.Alert)) {
	c.foldTo(s, g, c.settledTo(s, g)-s.late, emit)
}

func (c *Correlator) foldTo(s *ruleState, g *group, to int64, emit func(finding.Alert)) {
	to = max(to, g.floor)
	ev := c.groups.events(g)
	if g.heavy == 0 {
		n := 0
		for n < len(ev) && ev[n].time < to-s.span {
			n++
		}
		if n > 0 {
			g.floor = to
			c.groups.drop(g, n)
			c.shrink(g)
		}
		return
	}
	h := c.heavies[g.heavy]
	// What is settled must have been told.
	c.judge(s, g, h, to)
	c.settle(s, g, nil, emit)
	w := c.walk(s, &h.base, h, ev)
	w.base = true
	cut := s.scratch.cut
	for h.done < len(ev) && ev[h.done].time < to {
		w.step(h.done)
		h.done++
	}
	w.elapse(to)
	g.floor = to
	n := h.done
	switch {
	case s.slides():
		n = min(n, max(h.base.start, 0))
		for n < h.done && ev[n].time < to-s.span {
			n++
		}
	case s.kind == absent:
		n = min(n, h.base.start)
	}
	for k := range n {
		delete(h.names, ev[k].uid)
	}
	c.drop(s, g, n)
	h.base.start, h.done = max(h.base.start-n, 0), h.done-n
	h.base.fires = slices.DeleteFunc(h.base.fires, func(f *fire) bool { return c.closed(s, g, h, f, to, emit) })
	if f := h.base.open; f != nil && f.until <= to {
		h.base.open = nil
	}
	h.known = slices.DeleteFunc(h.known, func(k *known) bool { return k.over || k.retracted && k.at+s.suppress <= to })
	c.shrink(g)
	if s.kind == novelty && s.scratch.cut > cut {
		h.base.memory.mark(&s.plan, c.groups.events(g))
	}
	if !s.heavy && h.base.open == nil && len(h.known) == 0 && h.base.start == 0 && g.len < hotLen/2 {
		c.dropHeavy(g)
		return
	}
	if s.kind == rate {
		h.verdicts.settled(h.base.usual.bucket, &s.scratch)
	}
	c.refresh(s, g, h)
}

// drop takes the first n events away.
func (c *Correlator) drop(s *ruleState, g *group, n int) {
	if g.heavy != 0 && s.slides() {
		c.heavies[g.heavy].run.dropping(&s.plan, c.groups.events(g), n, &s.scratch)
	}
	c.groups.drop(g, n)
}

// shrink gives back room that a group does not need any more.
func (c *Correlator) shrink(g *group) {
	if g.cap < 16 || 4*g.len > g.cap {
		return
	}
	n := 4
	for n < 2*int(g.len) {
		n = nextCap(n)
	}
	c.groups.setCap(g, n)
}

// most is the bound of the events of a group.
func (c *Correlator) most(s *ruleState) int { return max(c.limits.Events, 2*s.n) }

// cut keeps a group within its bound of events. What repeats is left out first,
// where only the last of its kind matters; then the oldest go.
func (c *Correlator) cut(s *ruleState, g *group, emit func(finding.Alert)) {
	if g.len < 64 || g.len < g.cap {
		return
	}
	if s.kind == distinct || s.kind == together || s.kind == ordered {
		c.compact(s, g)
	}
	most := c.most(s)
	if int(g.len) < most {
		if g.len > g.cap-g.cap/8 {
			c.groups.setCap(g, nextCap(int(g.cap)))
		}
		return
	}
	n := int(g.len) / 4
	ev := c.groups.events(g)
	to := ev[n].time
	if to == ev[0].time {
		to++
	}
	before := g.len
	c.foldTo(s, g, max(to, g.floor+1), emit)
	if g.len < before {
		return // they were used up, or belong to an alert
	}
	// They are still in a window that may fire.
	c.drop(s, g, n)
	s.scratch.cut += uint64(n)
	if g.heavy != 0 {
		h := c.heavies[g.heavy]
		h.done, h.base.start = max(h.done-n, 0), max(h.base.start-n, 0)
		c.rerun(s, g)
	}
	c.warn(s, "correlation forgets events of a group that is too busy", "max_events", most)
}

// compact leaves out settled events that are followed by one of the same kind:
// a window that holds the first and matters holds the second.
func (c *Correlator) compact(s *ruleState, g *group) {
	ev := c.groups.events(g)
	end := len(ev)
	if g.heavy != 0 {
		end = c.heavies[g.heavy].done
	} else {
		to := c.settledTo(s, g) - s.late
		for end > 0 && ev[end-1].time >= to {
			end--
		}
		g.floor = max(g.floor, to)
	}
	s.scratch.begin()
	keep := end
	after := ^uint64(0)
	for k := end - 1; k >= 0; k-- {
		aux := ev[k].aux
		again := aux == after
		if after = aux; s.kind != ordered {
			again = !s.scratch.add(aux)
		}
		if !again {
			keep--
			ev[keep] = ev[k]
		}
	}
	if g.heavy != 0 {
		c.heavies[g.heavy].run.clear(&s.scratch)
	}
	c.groups.drop(g, keep)
	if g.heavy != 0 {
		c.heavies[g.heavy].done -= keep
		c.rerun(s, g)
	}
}

// expire forgets up to n groups that cannot matter any more.
func (c *Correlator) expire(s *ruleState, n int, emit func(finding.Alert)) {
	keep := s.horizon()
	for ; n > 0 && s.oldest != 0; n-- {
		g := c.groups.at(s.oldest)
		if c.received-g.touched <= keep || s.mark-g.last <= keep {
			return
		}
		c.end(s, g, emit)
		c.remove(s, s.oldest)
	}
}

// end publishes the last state of a group's alerts.
func (c *Correlator) end(s *ruleState, g *group, emit func(finding.Alert)) {
	if g.heavy == 0 {
		return
	}
	h := c.heavies[g.heavy]
	for _, f := range h.tail.fires {
		c.conclude(s, c.knownOf(s, g, h, f), f, emit)
	}
}

// bound forgets the groups touched longest ago when there are too many.
func (c *Correlator) bound(s *ruleState, but uint32, emit func(finding.Alert)) {
	evict := func(s *ruleState) {
		c.end(s, c.groups.at(s.oldest), emit)
		c.remove(s, s.oldest)
		s.evicted++
		c.stats.Evicted++
		c.warn(s, "correlation forgets groups for lack of room", "max_groups", c.limits.Groups, "max_memory", c.limits.Bytes, "evicted", s.evicted)
	}
	if s.groups > c.limits.Groups && s.oldest != but {
		evict(s)
	}
	for c.bytes() > c.limits.Bytes {
		// The rule with the most groups gives way.
		most := s
		for _, o := range c.states {
			if o != nil && (o.groups > most.groups || o.groups == most.groups && o.number < most.number) {
				most = o
			}
		}
		if most.oldest == 0 || most.oldest == but {
			return
		}
		for range max(most.groups/64, 1) {
			if most.oldest != 0 && most.oldest != but {
				evict(most)
			}
		}
	}
}

func (c *Correlator) bytes() int64 { return c.groups.bytes + c.values }

// warn logs each time what happened has doubled.
func (c *Correlator) warn(s *ruleState, text string, args ...any) {
	n := s.evicted + s.scratch.cut
	if n < 2*s.logged {
		return
	}
	s.logged = n
	c.log.Warn(text, append([]any{"rule", s.rule.ID}, append(args, "hint", "group by fewer or less variable fields, shorten timespan, lateness and suppress, or raise the bound under detect.correlation")...)...)
}
