package correlate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// ofAlerts is the family of signals that are made of alerts.
const ofAlerts = "finding"

// OfAlert makes a change of an alert signals for a rule that correlates the
// alerts of others: none if it means nothing to the rule, two if the alert goes
// from one group to another. The time of a signal is that at which the alert
// fired.
func OfAlert(f *rule.Feed, a *finding.Alert) []finding.Signal {
	now := signalOf(f, a, a.Time, a.Fields, a.Sources)
	now.Retracted = a.Status == finding.Retracted
	if a.Status != finding.Amended || a.Before == nil {
		return []finding.Signal{now}
	}
	was := signalOf(f, a, a.Before.Time, a.Before.Fields, a.Before.Sources)
	switch {
	case was.GroupKey != now.GroupKey:
		was.Retracted = true
		return []finding.Signal{was, now}
	case was.Time != now.Time || was.Source != now.Source || was.Value != now.Value || was.Number != now.Number || !slices.Equal(was.Fields, now.Fields):
		// An alert that no longer tells what is measured takes no part any more.
		now.Retracted = len(f.Value) > 0 && now.Number == 0 && strings.Trim(now.Value, "\x1f") == ""
		return []finding.Signal{now}
	}
	return nil
}

// signalOf is an alert as a signal, if it fired at a time and has these fields and
// sources.
func signalOf(f *rule.Feed, a *finding.Alert, at time.Time, fields map[string]string, sources []string) finding.Signal {
	s := finding.Signal{
		Rule: f.Rule.ID, Version: f.Rule.Version, Step: f.Step, Time: at.UnixMilli(), Received: a.RaisedAt.UnixMilli(),
		Source: strings.Join(append([]string{AlertSource(1)}, sources...), "\x1f"), Family: ofAlerts, Traceback: a.Traceback,
	}
	s.EventUID, _ = finding.ParseEventUID(a.UID)
	value := func(path string) string {
		if v := lookup(a.Group, path); v != "" {
			return v
		}
		return fields[path]
	}
	var key, values []string
	for _, x := range f.Group {
		key = append(key, value(x.Path()))
	}
	for _, x := range f.Value {
		values = append(values, value(x.Path()))
	}
	s.GroupKey = strings.Join(key, "\x1f")
	if f.Numeric() {
		s.Number = numberOf(values[0])
	} else {
		s.Value = strings.Join(values, "\x1f")
	}
	for _, id := range f.Shown {
		path := event.Columns[id].Path
		s.Fields = append(s.Fields, finding.Pair{Path: path, Value: value(path)})
	}
	return s
}

// numberOf reads a number that an alert tells as text; 0, which is absent, if it
// is none.
func numberOf(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) {
		return 0
	}
	return v
}

// takeAlert takes a change of an alert of another rule. To its group an alert is
// one event, by its uid: if it fired at another time than was thought, it goes
// to its new place; if it was retracted, it goes.
func (c *Correlator) takeAlert(s *ruleState, e seen, sig *finding.Signal, emit func(finding.Alert)) {
	again := false
	id, i := c.findAlert(s, sig.GroupKey, &e)
	if id != 0 {
		g := c.groups.at(id)
		old := &c.groups.events(g)[i]
		same := old.time == e.time && old.aux == e.aux && !sig.Retracted
		told := same && old.from == e.from
		switch settled := old.time < g.floor || g.heavy != 0 && i < c.heavies[g.heavy].done; {
		case same && (settled || !s.renamed(c, g, &e, sig) && told):
			c.stats.Duplicates++
			return
		case settled:
			s.tooLate++
			c.stats.Late++
			return
		case same:
			old.from = e.from
		default:
			c.takeOut(s, g, i)
		}
		again = !sig.Retracted && !same && c.stays(s, id, sig.GroupKey, e.time)
		if !again {
			c.rerun(s, g)
			c.settle(s, g, sig, emit)
			c.schedule(s, id, never)
		}
		if same {
			return
		}
	}
	if sig.Retracted {
		return
	}
	if id = c.group(s, sig.GroupKey, e.time, emit); id != 0 {
		c.take(s, id, e, sig, again, emit)
	}
}

// findAlert finds where an alert is; 0 if it is in neither lane of its group.
func (c *Correlator) findAlert(s *ruleState, key string, e *seen) (id uint32, i int) {
	for _, lane := range [...]bool{false, true} {
		if id = c.groups.find(s.number, hashOf(s.seed, key, lane), key, lane); id == 0 {
			continue
		}
		i = slices.IndexFunc(c.groups.events(c.groups.at(id)), func(x seen) bool { return x.uid == e.uid && (!s.byStep() || x.aux == e.aux) })
		if i >= 0 {
			return id, i
		}
	}
	return 0, 0
}

// stays says that an event of a time belongs to the group it was taken out of.
func (c *Correlator) stays(s *ruleState, id uint32, key string, time int64) bool {
	g := c.groups.at(id)
	if time < g.floor || !g.lane {
		return time >= g.floor
	}
	main := c.groups.find(s.number, hashOf(s.seed, key, false), key, false)
	return main != 0 && time < c.groups.at(main).floor
}

// renamed takes the entity of an alert that is in its place already, and says
// whether it is another than before.
func (s *ruleState) renamed(c *Correlator, g *group, e *seen, sig *finding.Signal) bool {
	if !s.named || g.heavy == 0 {
		return false
	}
	h := c.heavies[g.heavy]
	name := s.entityOf(sig)
	if h.names[e.uid] == name {
		return false
	}
	h.names[e.uid] = name
	return true
}
