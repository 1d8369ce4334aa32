package correlate

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// MaxGroups bounds the groups of one rule; beyond it the group that was touched
// longest ago is forgotten, counted and logged.
const MaxGroups = 100_000

// Stats counts what happened since the start; not part of the state.
type Stats struct {
	Signals    uint64
	Alerts     uint64 // raised
	Amended    uint64
	Duplicates uint64 // signals of an event that was counted already
	Unknown    uint64 // signals of a rule that is gone
	Ungrouped  uint64 // signals without any value to group by
	Evicted    uint64 // groups forgotten for lack of room
	Groups     int    // live now
}

// Correlator holds the state of all rules. One goroutine at a time may use it.
type Correlator struct {
	rules     map[string]*ruleState
	stats     Stats
	log       *slog.Logger
	maxGroups int
}

// New makes a correlator with empty state.
func New(rules []*rule.Rule, log *slog.Logger) *Correlator {
	c := &Correlator{rules: map[string]*ruleState{}, log: log, maxGroups: MaxGroups}
	c.SetRules(rules)
	return c
}

// SetRules replaces the rules. A rule keeps its state unless what the state
// means has changed.
func (c *Correlator) SetRules(rules []*rule.Rule) {
	next := make(map[string]*ruleState, len(rules))
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		old := c.rules[r.ID]
		if old != nil && old.key == r.StateKey() {
			old.rule = r
			next[r.ID] = old
			continue
		}
		if old != nil && len(old.groups) > 0 {
			c.log.Info("correlation starts afresh, the rule has changed", "rule", r.ID, "groups", len(old.groups))
		}
		next[r.ID] = newRuleState(r)
	}
	c.rules = next
}

// Stats returns the counters.
func (c *Correlator) Stats() Stats {
	out := c.stats
	for _, s := range c.rules {
		out.Groups += len(s.groups)
	}
	return out
}

// Add takes the next signal of the log and calls emit for the alert that it
// raises or amends, if any.
func (c *Correlator) Add(sig *finding.Signal, emit func(finding.Alert)) {
	c.stats.Signals++
	s := c.rules[sig.Rule]
	if s == nil {
		c.stats.Unknown++
		return
	}
	if s.rule.Correlate != nil && strings.Trim(sig.GroupKey, "\x1f") == "" {
		// Events that lack the group's identity have nothing in common.
		c.stats.Ungrouped++
		return
	}
	s.clock = max(s.clock, sig.Time)
	g := s.touch(sig.GroupKey)
	g.last = max(g.last, sig.Time)
	c.bound(s)
	c.add(s, g, sig, emit)
	if len(g.window) == 0 && g.episode == nil {
		s.remove(g)
	}
}

// bound forgets groups that are over, and the oldest ones if there are too many.
func (c *Correlator) bound(s *ruleState) {
	for range 2 {
		g := s.oldest
		if g == s.newest || g.last+s.horizon() >= s.clock {
			break
		}
		s.remove(g)
	}
	if len(s.groups) <= c.maxGroups {
		return
	}
	s.remove(s.oldest)
	if c.stats.Evicted++; c.stats.Evicted&(c.stats.Evicted-1) == 0 {
		c.log.Warn("correlation forgets groups for lack of room", "rule", s.rule.ID, "limit", c.maxGroups, "evicted", c.stats.Evicted,
			"hint", "group by fewer or less variable fields, or shorten timespan and suppress")
	}
}

func (c *Correlator) add(s *ruleState, g *group, sig *finding.Signal, emit func(finding.Alert)) {
	e := seen{time: sig.Time, uid: parseUID(sig.EventUID)}
	byValue := s.rule.Correlate != nil && s.rule.Correlate.Type == rule.ValueCount
	if byValue {
		if sig.Value == "" {
			c.stats.Ungrouped++
			return
		}
		e.value = xxh3.HashString(sig.Value)
	}
	if ep := g.episode; ep != nil {
		if sig.Time < ep.until {
			c.amend(s, ep, e, byValue, sig, emit)
			return
		}
		g.episode = nil
	}
	g.prune(g.last - s.timespan() - s.lateness())
	i, ok := g.insert(e, byValue)
	if !ok {
		c.stats.Duplicates++
		return
	}
	first, ok := g.full(i, s.threshold(), s.timespan())
	if !ok {
		return
	}
	c.raise(s, g, g.window[first:first+s.threshold()], byValue, sig, emit)
}

func (c *Correlator) raise(s *ruleState, g *group, window []seen, byValue bool, sig *finding.Signal, emit func(finding.Alert)) {
	r := s.rule
	last := window[len(window)-1].time
	ep := &episode{until: last + r.Alert.Suppress.Milliseconds(), emitted: int64(len(window))}
	ep.alert = finding.Alert{
		UID: finding.UID(r.ID, sig.GroupKey, window[0].uid.String()), Status: finding.Raised, Revision: 1,
		Rule: r.ID, RuleTitle: r.Title, Version: r.Version, Level: r.Level, Lane: r.Lane, Tags: r.Tags,
		Group: sig.Group, Count: int64(len(window)), Value: float64(len(window)), Threshold: float64(s.threshold()),
		FirstSeen: at(window[0].time), LastSeen: at(last), RaisedAt: at(sig.Received), Until: at(ep.until), Traceback: sig.Traceback,
	}
	for _, e := range window {
		ep.note(e.uid)
		if byValue {
			if ep.values == nil {
				ep.values = map[uint64]struct{}{}
			}
			ep.values[e.value] = struct{}{}
		}
	}
	ep.show(r, sig)
	ep.alert.Reason = ep.reason(s)
	c.stats.Alerts++
	emit(ep.snapshot())
	g.window = nil
	if r.Alert.Suppress > 0 {
		g.episode = ep
	}
}

func (c *Correlator) amend(s *ruleState, ep *episode, e seen, byValue bool, sig *finding.Signal, emit func(finding.Alert)) {
	if ep.has(e.uid) {
		c.stats.Duplicates++
		return
	}
	ep.note(e.uid)
	a := &ep.alert
	a.Count++
	if n, err := strconv.ParseInt(sig.Fields[rule.NotShown], 10, 64); err == nil && n > 0 && n < 1<<32 {
		a.Count += n
	}
	if byValue && len(ep.values) < maxValues {
		ep.values[e.value] = struct{}{}
		a.Value = float64(len(ep.values))
	} else if !byValue {
		a.Value = float64(a.Count)
	}
	if t := at(e.time); t.Before(a.FirstSeen) {
		a.FirstSeen = t
	} else if t.After(a.LastSeen) {
		a.LastSeen = t
	}
	ep.show(s.rule, sig)
	if a.Count < 2*ep.emitted {
		return
	}
	ep.emitted = a.Count
	a.Status, a.Revision = finding.Amended, a.Revision+1
	a.Reason = ep.reason(s)
	c.stats.Amended++
	emit(ep.snapshot())
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// show takes over what the newest signal says.
func (ep *episode) show(r *rule.Rule, sig *finding.Signal) {
	a := &ep.alert
	a.Fields = sig.Fields
	if !slices.Contains(a.Sources, sig.Source) && len(a.Sources) < 16 {
		a.Sources = append(a.Sources, sig.Source)
	}
	value := func(name string) string {
		switch name {
		case "count":
			return strconv.FormatInt(a.Count, 10)
		case "value":
			return strconv.FormatFloat(a.Value, 'f', -1, 64)
		case "threshold":
			return strconv.FormatFloat(a.Threshold, 'f', -1, 64)
		}
		if v := sig.Fields[name]; v != "" {
			return v
		}
		for _, p := range a.Group {
			if p.Path == name {
				return p.Value
			}
		}
		return ""
	}
	if v := value(event.Columns[r.Alert.EntityPath].Path); v != "" {
		for _, id := range r.Alert.EntityScope {
			if scope := value(event.Columns[id].Path); scope != "" {
				v = scope + "/" + v
			}
		}
		a.Entity = finding.Entity{Type: r.Alert.EntityType, Value: v}
	}
	a.Entities, a.Risk = r.Involved(value), max(a.Risk, r.Risk(sig.Fields))
	a.Title = r.Alert.Title.Fill(value)
}

// reason says why in one sentence.
func (ep *episode) reason(s *ruleState) string {
	a, c := &ep.alert, s.rule.Correlate
	var who []string
	for _, p := range a.Group {
		who = append(who, p.Path+" "+p.Value)
	}
	of := strings.Join(who, ", ")
	over := a.LastSeen.Sub(a.FirstSeen).Round(time.Millisecond)
	switch {
	case c == nil && a.Count == 1:
		return "1 matching event of " + of
	case c == nil:
		return fmt.Sprintf("%d matching events of %s within %s", a.Count, of, over)
	case c.Type == rule.ValueCount:
		more := ""
		if len(ep.values) >= maxValues {
			more = "at least "
		}
		return fmt.Sprintf("%s%d different values of %s for %s within %s (threshold %d in %s)", more, len(ep.values),
			event.Columns[c.Field[0]].Path, of, over, c.Count(), c.Timespan)
	}
	return fmt.Sprintf("%d matching events of %s within %s (threshold %d in %s)", a.Count, of, over, c.Count(), c.Timespan)
}

// snapshot is the alert as it is published.
func (ep *episode) snapshot() finding.Alert {
	a := ep.alert
	a.Sources = slices.Clone(a.Sources)
	for _, u := range ep.uids[max(0, len(ep.uids)-maxShown):] {
		a.EventUIDs = append(a.EventUIDs, u.String())
	}
	return a
}
