package correlate

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Correlator holds the state of all rules. One goroutine at a time may use it.
type Correlator struct {
	rules    map[string]*ruleState
	states   []*ruleState // by number; nil are free
	groups   *groups
	heavies  []*heavy // by number; 0 is not used
	noHeavy  []uint32
	values   int64 // bytes that running measures take for values
	sources  map[string]*source
	received int64 // newest received time of the log
	stats    Stats
	limits   Limits
	awaits   bool // that seeds come
	log      *slog.Logger
}

// ruleState is the state of one rule.
type ruleState struct {
	plan
	rule    *rule.Rule
	number  uint32
	key     string // StateKey
	level   int    // of rules over rules: 0 takes events alone
	feeds   bool   // other rules correlate its alerts
	seed    uint64
	oldest  uint32 // groups in order of touch
	newest  uint32
	groups  int
	mark    int64 // watermark
	fed     []*source
	tellers tellers
	timers  timers
	waiting []uint32 // due, but of a backlog that is still coming
	scratch scratch
	events  uint64 // signals taken
	evicted uint64
	tooLate uint64
	logged  uint64
	past    past
}

// heavy is what a group has beyond its events.
type heavy struct {
	base  machine // after the events that are settled
	done  int     // so many of the group's events are settled
	tail  machine // after all events
	known []*known
	names map[finding.EventUID]string // entities of events, if they are not part of the group
	due   int64                       // of the timer that is set
	// judged is the time before which nothing was expected when it was last
	// asked: what only time can show is told up to here.
	judged int64
	run    running
	// verdicts are what is usual for the buckets that are not settled (rate).
	verdicts verdicts
}

const heavyBytes = 1500

// New makes a correlator with empty state.
func New(rules []*rule.Rule, log *slog.Logger) *Correlator {
	c := &Correlator{rules: map[string]*ruleState{}, groups: newGroups(), heavies: make([]*heavy, 1), sources: map[string]*source{},
		received: never, limits: DefaultLimits(), log: log}
	c.SetRules(rules)
	return c
}

// SetRules replaces the rules. A rule keeps its state unless what the state
// means has changed. Alerts of rules that are gone stay as they are.
func (c *Correlator) SetRules(rules []*rule.Rule) {
	next := make(map[string]*ruleState, len(rules))
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		old := c.rules[r.ID]
		if old != nil && old.key == r.StateKey() {
			old.rule, old.c = r, r.Correlate
			next[r.ID] = old
			delete(c.rules, r.ID)
			continue
		}
		if old != nil && old.groups > 0 {
			c.log.Info("correlation starts afresh, the rule has changed", "rule", r.ID, "groups", old.groups)
		}
		next[r.ID] = c.newState(r)
	}
	for _, s := range c.rules {
		for s.oldest != 0 {
			c.remove(s, s.oldest)
		}
		for _, x := range s.fed {
			x.feeds = slices.DeleteFunc(x.feeds, func(o *ruleState) bool { return o == s })
		}
		c.states[s.number] = nil
	}
	c.rules = next
	c.linkRules()
	for _, name := range slices.Sorted(maps.Keys(c.sources)) {
		for _, s := range next {
			if s.awaits(name) {
				c.feed(s, c.sources[name])
			}
		}
	}
}

func (c *Correlator) newState(r *rule.Rule) *ruleState {
	s := &ruleState{plan: newPlan(r), rule: r, key: r.StateKey(), seed: xxh3.HashString(r.ID), mark: never, past: past{before: c.received}}
	s.scratch.bytes = &c.values
	i := slices.Index(c.states, nil)
	if i < 0 {
		i = len(c.states)
		c.states = append(c.states, nil)
	}
	c.states[i], s.number = s, uint32(i)
	return s
}

// awaits says that the rule waits for a source even before it has sent anything
// that matches: an absence must not be seen before who could fill it has come
// as far.
func (s *ruleState) awaits(source string) bool {
	if isAlertSource(source) {
		return s.level > 0 && source == AlertSource(s.level)
	}
	if s.kind != absent {
		return false
	}
	for _, step := range s.c.Steps {
		if step.Rule == nil || len(step.Rule.Source.Products) == 0 || slices.Contains(step.Rule.Source.Products, source) {
			return true
		}
	}
	return false
}

// Add takes the next signal of the log and calls emit for what it raises, amends
// or retracts.
func (c *Correlator) Add(sig *finding.Signal, emit func(finding.Alert)) {
	c.stats.Signals++
	s := c.rules[sig.Rule]
	if s == nil {
		c.stats.Unknown++
		return
	}
	c.received = max(c.received, sig.Received)
	if sig.Source != s.tellers.last || len(s.fed) == 0 {
		c.hear(s, sig)
	}
	e, ok := s.seen(sig)
	if !ok {
		c.stats.Ungrouped++
		return
	}
	s.events++
	if s.kind >= novelty {
		c.remember(s, sig)
	}
	c.expire(s, 2, emit)
	if sig.Family == ofAlerts {
		c.takeAlert(s, e, sig, emit)
		return
	}
	if id := c.group(s, sig.GroupKey, e.time, emit); id != 0 {
		c.take(s, id, e, sig, false, emit)
	}
}

// seen is what a signal is to its rule; false if it lacks what it must have. What
// is taken back needs no value.
func (s *ruleState) seen(sig *finding.Signal) (seen, bool) {
	e := seen{time: min(max(sig.Time, -latest), latest), uid: sig.EventUID, from: s.tellers.number}
	if s.c != nil && len(s.c.GroupBy) > 0 && strings.Trim(sig.GroupKey, "\x1f") == "" {
		// Events that lack the group's identity have nothing in common.
		return e, false
	}
	switch {
	case s.byStep():
		e.aux = uint64(sig.Step)
		return e, sig.Step < max(s.steps, 1)
	case s.kind == distinct || s.kind == novelty:
		e.aux = xxh3.HashString(sig.Value)
		return e, sig.Retracted || strings.Trim(sig.Value, "\x1f") != ""
	case s.kind == counting:
		if sig.More > 0 {
			e.aux = hide(sig.More, sig.MoreUntil-sig.Time)
			s.scratch.hidden = true
		}
	case s.kind != rate || s.sums:
		// An absent number reads zero, so that zero takes no part.
		e.aux = fixed(sig.Number)
		return e, sig.Retracted || sig.Number != 0
	}
	return e, true
}

// group finds or makes the group of an event; 0 if the event is too late even
// for the lane of late events.
func (c *Correlator) group(s *ruleState, key string, time int64, emit func(finding.Alert)) uint32 {
	for _, lane := range [...]bool{false, true} {
		hash := hashOf(s.seed, key, lane)
		id := c.groups.find(s.number, hash, key, lane)
		if id == 0 {
			id = c.groups.add(s.number, hash, key, lane)
			s.groups++
			c.link(s, id)
			if s.heavy {
				c.makeHeavy(s, c.groups.at(id))
			}
			c.bound(s, id, emit)
			return id
		}
		if time >= c.groups.at(id).floor {
			c.unlink(s, id)
			c.link(s, id)
			return id
		}
	}
	s.tooLate++
	c.stats.Late++
	return 0
}

// take puts an event into its group and finds out what that changes. With again
// the automaton has to walk again whatever the place, as another event was taken
// out.
func (c *Correlator) take(s *ruleState, id uint32, e seen, sig *finding.Signal, again bool, emit func(finding.Alert)) {
	g := c.groups.at(id)
	g.last = max(g.last, min(e.time, c.received))
	g.touched = c.received
	if g.len == g.cap && g.cap >= 4 {
		c.makeRoom(s, g, emit)
	}
	ev := c.groups.events(g)
	i, found := place(ev, &e, s.byStep())
	if found {
		c.stats.Duplicates++
		return
	}
	repeats, later := s.repeated(ev, i, &e)
	if repeats {
		c.stats.Duplicates++
		return
	}
	to := i
	if later >= 0 && c.takeOut(s, g, later) {
		to = later + 1
	}
	c.groups.insert(g, i, e)
	ev = c.groups.events(g)
	fires := false
	if g.heavy == 0 {
		if fires = s.mayFire(ev, 0, i, nil); !fires && (g.len < hotLen || !s.follows(&s.scratch)) {
			return
		}
		c.makeHeavy(s, g)
		if !fires {
			return
		}
		again = true
	}
	h := c.heavies[g.heavy]
	if s.slides() {
		h.run.inserted(&s.plan, ev, i, &s.scratch)
	}
	if s.named {
		h.names[e.uid] = s.entityOf(sig)
	}
	if s.kind == novelty {
		to = h.base.memory.put(&s.plan, ev, i)
	}
	if again {
		to = -1
	}
	c.move(s, id, g, h, i, to, sig, emit)
}

// hotLen is the number of events from which a group has a running measure.
const hotLen = 64

// repeated looks for an event with the value of e in its slot, of which only the
// first counts: again says that one is there before place i; later is the place
// of one after it, or -1. So a value that is there all the time costs little, and
// what counts does not depend on the order of arrival.
func (s *ruleState) repeated(ev []seen, i int, e *seen) (again bool, later int) {
	if s.slot == 0 {
		return false, -1
	}
	slot := e.time / s.slot
	for k := i - 1; k >= 0 && ev[k].time/s.slot == slot; k-- {
		if ev[k].aux == e.aux {
			return true, -1
		}
	}
	for k := i; k < len(ev) && ev[k].time/s.slot == slot; k++ {
		if ev[k].aux == e.aux {
			return false, k
		}
	}
	return false, -1
}

// takeOut removes the event in place i, unless it is settled.
func (c *Correlator) takeOut(s *ruleState, g *group, i int) bool {
	ev := c.groups.events(g)
	if g.heavy != 0 {
		h := c.heavies[g.heavy]
		if i < h.done {
			return false
		}
		delete(h.names, ev[i].uid)
		if s.slides() {
			h.run.removing(&s.plan, ev, i, &s.scratch)
		}
	}
	value := ev[i].aux
	copy(ev[i:], ev[i+1:])
	c.groups.setLen(g, int(g.len)-1)
	if s.kind == novelty {
		c.heavies[g.heavy].base.memory.taken(&s.plan, ev[:g.len], i, value)
	}
	return true
}

// move takes the automaton over the event that was put in place i, and tells what
// that changes. Up to place to there may be other changes; -1: anywhere.
func (c *Correlator) move(s *ruleState, id uint32, g *group, h *heavy, i, to int, sig *finding.Signal, emit func(finding.Alert)) {
	ev := c.groups.events(g)
	e := &ev[i]
	n := len(h.tail.fires)
	switch {
	case to < 0 || i < h.done:
		c.rerun(s, g)
	case to == i && i == len(ev)-1 && e.time >= h.tail.elapsed:
		w := c.walk(s, &h.tail, h, ev)
		w.step(i)
		if s.atOnce() {
			// No other alert than the last has changed.
			if h.tail.open != nil {
				c.tell(s, g, h, h.tail.open, sig, emit)
			}
			if len(h.tail.fires) > n {
				c.wake(s, id, g, h, h.tail.open.until+s.late)
			}
			return
		}
	case s.kind >= novelty && e.time < h.tail.since:
		c.rerun(s, g)
	case s.kind == rate:
		w, ok := c.relearn(s, g, h, i)
		switch {
		case !ok:
			c.rerun(s, g)
		case !w.changed():
			return
		case s.atOnce():
			c.settleWalk(s, id, g, h, w, sig, emit)
			return
		}
	case s.kind == novelty && to == i && (!e.novel || e.time-h.tail.since < s.learning):
		return // it is nothing new, and what is stays so
	case s.slides() && to == i && i >= h.tail.start && (n == 0 || e.time >= h.tail.fires[n-1].until) && !s.mayFire(ev, h.tail.start, i, &h.run):
		return // nothing has fired since, and nothing does
	default:
		if f := h.tail.holding(&s.plan, e); f != nil && to == i {
			if s.kind != absent || e.aux == 0 {
				f.take(&s.plan, e)
			}
			h.tail.start = max(h.tail.start, i) + 1
			c.tell(s, g, h, f, sig, emit)
			return
		}
		if w := c.rewalk(s, g, h, i, to); s.atOnce() {
			if w.changed() {
				c.settleWalk(s, id, g, h, w, sig, emit)
			}
			return
		}
	}
	c.settle(s, g, sig, emit)
	c.schedule(s, id, never)
}

func (c *Correlator) walk(s *ruleState, m *machine, h *heavy, ev []seen) walker {
	return walker{machine: m, p: &s.plan, ev: ev, names: h.names, s: &s.scratch, run: &h.run, verdicts: &h.verdicts}
}

// mayFire says whether a group in which nothing fires from start on does so with
// the event in place i.
func (s *ruleState) mayFire(ev []seen, start, i int, r *running) bool {
	if s.kind == ordered && ev[i].aux == uint64(s.steps-1) {
		// A last step means nothing to the windows of later events.
		_, _, ok := s.look(ev, start, i, &s.scratch)
		return ok
	}
	for k := i; k < len(ev) && (k == i || ev[k].time <= ev[i].time+s.span); k++ {
		if _, _, ok := s.crossed(ev, start, k, &s.scratch, r); ok {
			return true
		}
	}
	return false
}

func (c *Correlator) makeHeavy(s *ruleState, g *group) {
	h := &heavy{base: newMachine(&s.plan), due: forever, judged: never}
	h.tail = h.base.clone()
	if s.named {
		h.names = map[finding.EventUID]string{}
	}
	if n := len(c.noHeavy); n > 0 {
		g.heavy = c.noHeavy[n-1]
		c.noHeavy = c.noHeavy[:n-1]
	} else {
		g.heavy = uint32(len(c.heavies))
		c.heavies = append(c.heavies, nil)
	}
	c.heavies[g.heavy] = h
	c.groups.charge(s.number, heavyBytes)
	// What is settled did not fire; without the events before, it might seem to.
	for ev := c.groups.events(g); h.done < len(ev) && ev[h.done].time < g.floor; {
		h.done++
	}
}

func (c *Correlator) dropHeavy(g *group) {
	if g.heavy != 0 {
		s := &scratch{bytes: &c.values}
		c.heavies[g.heavy].run.clear(s)
		c.heavies[g.heavy].verdicts.clear(s)
		c.heavies[g.heavy] = nil
		c.noHeavy = append(c.noHeavy, g.heavy)
		c.groups.charge(g.rule, -heavyBytes)
		g.heavy = 0
	}
}

// link makes a group the newest of its rule.
func (c *Correlator) link(s *ruleState, id uint32) {
	g := c.groups.at(id)
	g.older, g.newer = s.newest, 0
	if s.newest != 0 {
		c.groups.at(s.newest).newer = id
	}
	if s.newest = id; s.oldest == 0 {
		s.oldest = id
	}
}

func (c *Correlator) unlink(s *ruleState, id uint32) {
	g := c.groups.at(id)
	if g.older != 0 {
		c.groups.at(g.older).newer = g.newer
	} else {
		s.oldest = g.newer
	}
	if g.newer != 0 {
		c.groups.at(g.newer).older = g.older
	} else {
		s.newest = g.older
	}
}

func (c *Correlator) remove(s *ruleState, id uint32) {
	c.unlink(s, id)
	c.dropHeavy(c.groups.at(id))
	c.groups.remove(id)
	s.groups--
}
