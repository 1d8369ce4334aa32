package correlate

import (
	"math"
	"math/bits"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// kind says how a rule judges a group's events.
type kind uint8

const (
	counting   kind = iota // so many events
	distinct               // so many different values
	summing                // sum of a number
	averaging              // its average
	percentile             // its percentile
	together               // so many of the steps
	ordered                // the steps in their order
	absent                 // the first step without the second
	novelty                // a value that was not there before
	rate                   // more or less than is usual
)

var kinds = map[string]kind{
	rule.EventCount: counting, rule.ValueCount: distinct, rule.ValueSum: summing, rule.ValueAvg: averaging, rule.ValuePercentile: percentile,
	rule.Temporal: together, rule.TemporalOrdered: ordered, rule.Chain: ordered, rule.Absence: absent, rule.NewValue: novelty, rule.RateAnomaly: rate,
}

// plan is what a rule's correlation comes down to.
type plan struct {
	kind     kind
	n        int   // events, values or steps that are enough
	span     int64 // ms
	suppress int64
	late     int64
	window   string
	atEnd    bool
	c        *rule.Correlate // nil: each match counts
	steps    int
	hour     bool // baseline by hour of week
	sums     bool // rate of a number rather than of events
	learning int64
	// edges are the numbers of the condition, in millionths (percentile).
	edges [2]int64
	// slot is the time within which a value or step counts once, in ms; 0: each
	// time.
	slot int64
	// heavy says that all groups have heavy state, not only those that fired.
	heavy bool
	// named says that the entity is not part of the group, so that each event
	// has its own.
	named bool
}

// defaultLate is the lateness of rules without correlation, in ms.
const defaultLate = 60_000

func newPlan(r *rule.Rule) plan {
	p := plan{n: 1, suppress: r.Alert.Suppress.Milliseconds(), late: defaultLate, window: rule.Sliding, named: !grouped(r)}
	c := r.Correlate
	if c == nil {
		p.heavy = p.named
		return p
	}
	p.c, p.kind, p.window, p.atEnd, p.steps = c, kinds[c.Type], c.Window, c.AtEnd(), len(c.Steps)
	p.span, p.late, p.learning = c.Timespan.Milliseconds(), c.Lateness.Milliseconds(), c.Learning.Milliseconds()
	p.hour = c.Season == rule.HourOfWeek
	for i := range min(len(c.Condition), len(p.edges)) {
		p.edges[i] = int64(fixed(c.Condition[i].Value))
	}
	p.sums = p.kind == rate && len(c.Field) > 0
	switch p.kind {
	case counting, distinct, together:
		if p.n = c.Count(); p.n == 0 && p.kind == together {
			p.n = p.steps
		}
	case ordered:
		// A chain may want fewer than all: then their order does not matter.
		if p.n = p.steps; len(c.Condition) > 0 && c.Count() < p.steps {
			p.n, p.kind = c.Count(), together
		}
	}
	p.heavy = p.named || p.window != rule.Sliding || p.kind >= absent
	return p
}

// grouped says that an alert's entity follows from its group.
func grouped(r *rule.Rule) bool {
	names := map[string]bool{}
	for _, k := range r.GroupBy() {
		names[k.Name] = true
	}
	if r.Alert.EntityAlias != "" {
		return names[r.Alert.EntityAlias]
	}
	for _, path := range entityPaths(r) {
		if !names[path] {
			return false
		}
	}
	return true
}

// slides says that events stay in the group as long as a window may hold them,
// and the window is looked for among them.
func (p *plan) slides() bool { return p.window == rule.Sliding && p.kind < absent }

// atOnce says that events alone make the rule fire, so that its alerts are told at
// once.
func (p *plan) atOnce() bool { return !p.atEnd && p.kind != absent }

// judged says that time alone changes something.
func (p *plan) judged() bool { return !p.atOnce() || p.kind == rate }

// byStep says that an event counts once for each step.
func (p *plan) byStep() bool { return p.kind == together || p.kind == ordered || p.kind == absent }

// horizon is how long after its last event a group may still matter.
func (p *plan) horizon() int64 {
	h := max(p.span, p.suppress) + 2*p.late
	if p.kind == rate {
		h += p.c.Baseline.Milliseconds()
	}
	if p.kind == absent {
		h += p.span + p.suppress
	}
	return h
}

// follows says that a running measure of the window tells whether it fires.
func (p *plan) follows(s *scratch) bool { return p.slides() && (p.kind != counting || s.hidden) }

// crossed says whether a window that ends with event i fires; from is its first
// event. Events before start are used up. Only for what slides. Without a
// running measure the whole window is looked at.
func (p *plan) crossed(ev []seen, start, i int, s *scratch, r *running) (from int, value float64, ok bool) {
	if r == nil || !p.follows(s) {
		return p.look(ev, start, i, s)
	}
	if p.kind == ordered && ev[i].aux != uint64(p.steps-1) {
		return 0, 0, false
	}
	r.follow(p, ev, start, i, s)
	switch p.kind {
	case counting:
		ok = r.m.n >= int64(p.n)
	case distinct:
		ok = len(r.values) >= p.n
	case together:
		ok = r.have >= p.n
	case ordered:
		if ok = r.have == p.steps; ok {
			if r.chain == nil {
				r.chain = &chain{next: -1}
			}
			ok = r.chain.complete(p, ev, start, i, r)
		}
	default:
		value, ok = r.m.holds(p)
		return r.lo, value, ok
	}
	if !ok {
		return 0, 0, false
	}
	return p.look(ev, start, i, s)
}

// look does so by looking at the window's events, the newest first.
func (p *plan) look(ev []seen, start, i int, s *scratch) (from int, value float64, ok bool) {
	oldest := ev[i].time - p.span
	switch p.kind {
	case counting:
		if from = i - p.n + 1; from >= start && ev[from].time >= oldest {
			return from, float64(p.n), true
		}
		if !s.hidden {
			return 0, 0, false
		}
		n := int64(0)
		for k := i; k >= start && ev[k].time >= oldest; k-- {
			if n += 1 + hidden(&ev[k]); n >= int64(p.n) {
				return k, float64(n), true
			}
		}
	case distinct:
		if i-start+1 < p.n {
			return 0, 0, false
		}
		s.begin()
		for k := i; k >= start && ev[k].time >= oldest; k-- {
			if s.add(ev[k].aux) && s.len() == p.n {
				return k, float64(p.n), true
			}
		}
	case together:
		found := uint64(0)
		for k := i; k >= start && ev[k].time >= oldest; k-- {
			if found |= 1 << (ev[k].aux & 63); bits.OnesCount64(found) >= p.n {
				return k, float64(p.n), true
			}
		}
	case ordered:
		want := uint64(p.steps - 1)
		if ev[i].aux != want {
			return 0, 0, false
		}
		last := i
		for k := i; k >= start && ev[k].time >= oldest; k-- {
			if ev[k].aux != want || k != i && ev[k].same(&ev[last]) {
				continue
			}
			if want == 0 {
				return k, float64(p.n), true
			}
			want, last = want-1, k
		}
	default:
		var m measure
		for from = i; from >= start && ev[from].time >= oldest; from-- {
			m.add(p, &ev[from])
		}
		value, ok = m.holds(p)
		return from + 1, value, ok
	}
	return 0, 0, false
}

// hidden is the number of matches that travelled with an event as a number.
func hidden(e *seen) int64 { return int64(e.aux >> 32) }

// hide packs the number of matches and how much newer the newest is, in ms.
func hide(more uint32, later int64) uint64 {
	return uint64(more)<<32 | uint64(min(max(later, 0), math.MaxUint32))
}

// scratch is memory for judging.
type scratch struct {
	bytes  *int64 // memory that the state takes beyond groups
	hidden bool   // events may have hidden matches
	cut    uint64 // what was dropped for lack of room
	few    [32]uint64
	n      int
	many   map[uint64]struct{}
	// of relearn
	totals  []float32
	buckets []int64
}

func (s *scratch) begin() {
	s.n = 0
	clear(s.many)
}

func (s *scratch) len() int { return s.n }

// add reports whether the value is new.
func (s *scratch) add(v uint64) bool {
	for k := range min(s.n, len(s.few)) {
		if s.few[k] == v {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = v
		s.n++
		return true
	}
	if _, ok := s.many[v]; ok {
		return false
	}
	if s.many == nil {
		s.many = map[uint64]struct{}{}
	}
	s.many[v] = struct{}{}
	s.n++
	return true
}
