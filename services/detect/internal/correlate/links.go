package correlate

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// AlertSource is the source of ticks that say up to which time all alerts that
// rules of a level correlate are in the log in their last place; Rounds finds that
// out. Level 1 correlates the alerts of rules that correlate events, level 2 also
// those of level 1, and so on. Signals that are alerts have the source of level 1.
func AlertSource(level int) string {
	if level == 1 {
		return alertSources
	}
	return alertSources + "." + strconv.Itoa(level)
}

const alertSources = "vagus.alerts"

func isAlertSource(name string) bool { return strings.HasPrefix(name, alertSources) }

// link is what follows for a rule from the rules whose alerts it correlates.
type link struct {
	level int   // 0: it correlates events alone; else one more than those rules
	late  int64 // how late its events may be, in ms
	wait  int64 // how long after its events its alerts may be told, by received time, in ms
	feeds bool  // others correlate its alerts
}

// maxLate bounds what the latenesses of rules over rules add up to, in ms.
const maxLate = 1 << 45

// linksOf follows the rules that are enabled. Rules that correlate each other in
// a circle, which Link reports, are taken as if the circle were cut.
func linksOf(rules []*rule.Rule) map[string]*link {
	all := map[string]*rule.Rule{}
	for _, r := range rules {
		if !r.Disabled {
			all[r.ID] = r
		}
	}
	out := make(map[string]*link, len(all))
	feeds := map[string]bool{}
	var visit func(r *rule.Rule) *link
	visit = func(r *rule.Rule) *link {
		if l, ok := out[r.ID]; ok {
			return l // nil: it is being visited
		}
		out[r.ID] = nil
		p := newPlan(r)
		l := &link{late: p.late}
		for _, of := range taken(r, all) {
			feeds[of.ID] = true
			x := visit(of)
			if x == nil {
				continue
			}
			q := newPlan(of)
			l.level = max(l.level, x.level+1)
			// The last state of an alert is told when its events can change no more.
			l.late = max(l.late, min(p.late+q.span+q.suppress+4*x.late, maxLate))
		}
		if r.Correlate != nil && r.Correlate.Type == rule.Chain {
			l.level = max(l.level, 1)
		}
		if p.judged() {
			l.wait = l.late
		}
		out[r.ID] = l
		return l
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		visit(all[id])
	}
	for id, l := range out {
		l.feeds = feeds[id]
	}
	return out
}

// taken lists the rules whose alerts a rule correlates.
func taken(r *rule.Rule, all map[string]*rule.Rule) (out []*rule.Rule) {
	if r.Correlate == nil {
		return nil
	}
	for _, step := range r.Correlate.Steps {
		if of := all[step.ID]; of != nil && (of.Correlate != nil || r.Correlate.Type == rule.Chain) {
			out = append(out, of)
		}
	}
	return out
}

// linkRules brings what rules have from one another up to date.
func (c *Correlator) linkRules() {
	rules := make([]*rule.Rule, 0, len(c.rules))
	for _, s := range c.rules {
		rules = append(rules, s.rule)
	}
	links := linksOf(rules)
	for id, s := range c.rules {
		l := links[id]
		s.late, s.level, s.feeds = l.late, l.level, l.feeds
		// An alert that repeats may be taken back, and what it repeats then counts.
		if s.slot = 0; s.c != nil && s.level == 0 {
			s.slot = s.c.Slot().Milliseconds()
		}
		if s.level > 0 {
			c.feed(s, c.sourceOf(AlertSource(s.level)))
		}
	}
}
