package correlate

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// known is an alert that was published.
type known struct {
	alert     finding.Alert // as it was published last, without EventUIDs
	at        int64         // when it fired
	count     int64         // when it was raised or had doubled
	retracted bool
	stands    bool // seen in the walk at hand
	over      bool // can not change any more; about to be forgotten
}

// uid is the uid of the alert that a fire is.
func (c *Correlator) uid(s *ruleState, g *group, f *fire) string {
	if f.uid == "" {
		f.uid = s.uidOf(g, string(c.groups.key(g)), f)
	}
	return f.uid
}

// uidOf names an alert. One alert at most fires in each suppress interval of a
// group, so that the interval names it; with no suppression it is the event.
func (s *ruleState) uidOf(g *group, key string, f *fire) string {
	of := strconv.FormatInt(floorTo(f.at, max(s.suppress, 1)), 10)
	if s.suppress == 0 {
		of = f.crossing.uid.String() + strconv.FormatInt(f.at, 10)
	}
	if g.lane {
		of += "late"
	}
	return finding.UID(s.rule.ID, key, of)
}

// settle compares what the automaton says with what was published and emits the
// difference. sig is nil if time alone brought it about.
func (c *Correlator) settle(s *ruleState, g *group, sig *finding.Signal, emit func(finding.Alert)) {
	if g.heavy == 0 {
		return
	}
	h := c.heavies[g.heavy]
	if len(h.tail.fires) == 0 && len(h.known) == 0 {
		return
	}
	for _, f := range h.tail.fires {
		if k := c.tell(s, g, h, f, sig, emit); k != nil {
			k.stands = true
		}
	}
	for _, k := range h.known {
		c.retract(k, emit)
		k.stands = false
	}
}

// settleWalk does so after an automaton has walked again over a part, and sets
// the group's timer. Only for rules whose alerts are told at once.
func (c *Correlator) settleWalk(s *ruleState, id uint32, g *group, h *heavy, w rewalked, sig *finding.Signal, emit func(finding.Alert)) {
	due := int64(forever)
	for _, f := range w.now {
		c.tell(s, g, h, f, sig, emit).stands = true
		due = min(due, f.until+s.late)
	}
	for _, f := range w.before {
		if k := c.knownOf(s, g, h, f); k != nil {
			if c.retract(k, emit); k.retracted {
				due = min(due, k.at+s.suppress+s.late)
			}
		}
	}
	for _, f := range w.now {
		c.knownOf(s, g, h, f).stands = false
	}
	c.wake(s, id, g, h, due)
}

// retract takes back an alert that does not stand.
func (c *Correlator) retract(k *known, emit func(finding.Alert)) {
	if k.stands || k.retracted {
		return
	}
	k.retracted = true
	k.alert.Status, k.alert.Revision = finding.Retracted, k.alert.Revision+1
	k.alert.Reason = "events that came late show that this was not so: " + k.alert.Reason
	c.stats.Retracted++
	emit(k.alert)
}

// tell publishes what is new of an alert. It returns what is known of the alert,
// nil if it may not be told yet.
func (c *Correlator) tell(s *ruleState, g *group, h *heavy, f *fire, sig *finding.Signal, emit func(finding.Alert)) *known {
	if !s.told(h, f) {
		return nil
	}
	at, found := c.placeOf(s, g, h, f)
	if !found {
		h.known = slices.Insert(h.known, at, &known{})
	}
	k := h.known[at]
	if !found {
		c.fill(s, g, k, f)
		c.publish(s, k, f, finding.Raised, s.signalOf(f, sig), emit)
		c.stats.Alerts++
	} else if k.retracted {
		c.publish(s, k, f, finding.Raised, s.signalOf(f, sig), emit)
	} else if f.count >= 2*k.count {
		c.publish(s, k, f, finding.Amended, sig, emit)
	} else if s.feeds && f.at != k.at {
		// Who correlates the alert must know when it fired. It is still told when
		// it has doubled.
		doubles := k.count
		c.publish(s, k, f, finding.Amended, sig, emit)
		k.count = doubles
	}
	return k
}

// told says whether an alert may be told already: what only time can show waits
// for the watermark, though an event of a later time may have come.
func (s *ruleState) told(h *heavy, f *fire) bool {
	return s.atOnce() || f.at < h.judged || f.at == h.judged && s.kind != absent
}

// knownOf is the published alert that a fire is, or nil.
func (c *Correlator) knownOf(s *ruleState, g *group, h *heavy, f *fire) *known {
	if i, found := c.placeOf(s, g, h, f); found {
		return h.known[i]
	}
	return nil
}

// placeOf is where the alert that a fire is stands among the published ones, or
// would stand. They are in order of their suppress intervals, or without such of
// the moments and, in one moment, of their uids.
func (c *Correlator) placeOf(s *ruleState, g *group, h *heavy, f *fire) (int, bool) {
	of := floorTo(f.at, s.suppress)
	return slices.BinarySearchFunc(h.known, f, func(k *known, f *fire) int {
		if d := cmp.Compare(floorTo(k.at, s.suppress), of); d != 0 || s.suppress > 0 {
			return d // one alert an interval: the uid need not be made to know it again
		}
		return cmp.Compare(k.alert.UID, c.uid(s, g, f))
	})
}

// publish emits an alert in its present state.
func (c *Correlator) publish(s *ruleState, k *known, f *fire, status finding.Status, sig *finding.Signal, emit func(finding.Alert)) {
	a := &k.alert
	var before *finding.Before
	if s.feeds && status == finding.Amended {
		before = &finding.Before{Time: a.Time, Fields: a.Fields, Sources: a.Sources}
	}
	k.retracted, k.at, k.count = false, f.at, f.count
	a.Status, a.Revision = status, a.Revision+1
	a.Count, a.Value, a.Sources = f.count, f.value, s.tellers.of(f.from)
	a.Time, a.FirstSeen, a.LastSeen, a.Until = at(f.at), at(f.first), at(f.last), at(f.until)
	if status == finding.Amended {
		c.stats.Amended++
	}
	s.show(k, f, sig, c.received)
	out := *a
	out.Before = before
	for _, u := range f.uids[max(0, len(f.uids)-maxShown):] {
		out.EventUIDs = append(out.EventUIDs, u.uid.String())
	}
	emit(out)
}

// differs says that an alert was published otherwise than it is now.
func (s *ruleState) differs(k *known, f *fire) bool {
	a := &k.alert
	return a.Count != f.count || a.Value != f.value || a.Time.UnixMilli() != f.at || a.FirstSeen.UnixMilli() != f.first || a.LastSeen.UnixMilli() != f.last ||
		a.Until.UnixMilli() != f.until || f.entity != "" && a.Entity.Value != f.entity || !slices.Equal(a.Sources, s.tellers.of(f.from))
}

// conclude publishes the last state of an alert if it was not told yet.
func (c *Correlator) conclude(s *ruleState, k *known, f *fire, emit func(finding.Alert)) {
	if k != nil && !k.retracted && s.differs(k, f) {
		c.publish(s, k, f, finding.Amended, nil, emit)
	}
}

// closed ends a fire that cannot change any more.
func (c *Correlator) closed(s *ruleState, g *group, h *heavy, f *fire, to int64, emit func(finding.Alert)) bool {
	if f.until > to {
		return false
	}
	if k := c.knownOf(s, g, h, f); k != nil {
		c.conclude(s, k, f, emit)
		k.over = true
	}
	return true
}

// fill sets what does not change of an alert.
func (c *Correlator) fill(s *ruleState, g *group, k *known, f *fire) {
	r := s.rule
	k.alert = finding.Alert{
		UID: c.uid(s, g, f), Rule: r.ID, RuleTitle: r.Title, Version: r.Version, Level: r.Level, Lane: r.Lane, Tags: r.Tags,
		Group: groupOf(r, string(c.groups.key(g))), Threshold: 1,
	}
	if s.c != nil {
		if k.alert.Threshold = s.c.Threshold(); s.kind == counting && s.n > 0 {
			k.alert.Threshold = float64(s.n)
		}
		if s.byStep() {
			k.alert.Threshold = float64(s.n)
		}
	}
}

// groupOf pairs the values of a key with what they are of.
func groupOf(r *rule.Rule, key string) []finding.Pair {
	var out []finding.Pair
	for i, k := range r.GroupBy() {
		v := key
		if i+1 < len(r.GroupBy()) {
			v, key = cutKey(key)
		}
		out = append(out, finding.Pair{Path: k.Name, Value: v})
	}
	return out
}
