package correlate

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// OfAlert makes an alert a signal for a rule that correlates the alerts of
// others. Its time is that at which the alert fired; an alert that fired at
// another time than was thought takes the place of the first.
func OfAlert(f *rule.Feed, a *finding.Alert) finding.Signal {
	s := finding.Signal{
		Rule: f.Rule.ID, Version: f.Rule.Version, Step: f.Step, Time: a.Time.UnixMilli(), Received: a.RaisedAt.UnixMilli(), Family: ofAlerts,
		Retracted: a.Status == finding.Retracted, Traceback: a.Traceback,
	}
	s.EventUID, _ = finding.ParseEventUID(a.UID)
	if len(a.Sources) > 0 {
		s.Source = a.Sources[0]
	}
	value := func(path string) string {
		if v := lookup(a.Group, path); v != "" {
			return v
		}
		return a.Fields[path]
	}
	var key, values []string
	for _, x := range f.Group {
		key = append(key, value(x.Path()))
	}
	for _, x := range f.Value {
		values = append(values, value(x.Path()))
	}
	s.GroupKey, s.Value = strings.Join(key, "\x1f"), strings.Join(values, "\x1f")
	for _, id := range f.Shown {
		path := event.Columns[id].Path
		s.Fields = append(s.Fields, finding.Pair{Path: path, Value: value(path)})
	}
	return s
}

// ofAlerts is the family of signals that are made of alerts.
const ofAlerts = "finding"

// Local is the correlation of a whole set of rules in one place, where the
// alerts that other rules correlate come back at once. Tests and backtests use
// it; in the running service they come back through the log.
type Local struct {
	c       *Correlator
	feeds   *rule.Feeds
	emit    func(finding.Alert)
	pending []finding.Signal
	clocks  map[string]Tick
}

// NewLocal makes one that calls emit for every change of an alert.
func NewLocal(rules []*rule.Rule, log *slog.Logger, emit func(finding.Alert)) *Local {
	return &Local{c: New(rules, log), feeds: rule.NewFeeds(rules), emit: emit, clocks: map[string]Tick{}}
}

// Feeds are those of the set.
func (l *Local) Feeds() *rule.Feeds { return l.feeds }

// Stats returns the correlator's counters.
func (l *Local) Stats() Stats { return l.c.Stats() }

// Add takes a signal.
func (l *Local) Add(sig *finding.Signal) {
	l.c.Add(sig, l.take)
	l.back()
}

// Seen notes that a source has an event of a time; Tick tells the correlator.
func (l *Local) Seen(source string, time, received int64) {
	t := l.clocks[source]
	l.clocks[source] = Tick{Source: source, Clock: max(t.Clock, time), At: max(t.At, received)}
}

// Tick tells how far the sources are that were seen since the last time. It
// belongs after the signals of each block of events.
func (l *Local) Tick() {
	list := make([]Tick, 0, len(l.clocks))
	for _, t := range l.clocks {
		list = append(list, t)
	}
	clear(l.clocks)
	slices.SortFunc(list, func(a, b Tick) int { return strings.Compare(a.Source, b.Source) })
	l.c.Ticks(list, l.take)
	l.back()
}

// AdvanceTo says that all events before a time, in ms since 1970, are there.
func (l *Local) AdvanceTo(ms int64) {
	l.c.AdvanceTo(ms, l.take)
	l.back()
}

// Flush lets time go on without events until every alert has its last state.
func (l *Local) Flush() {
	// What is raised now may fire a correlation of alerts, and that another.
	for range maxDepth {
		l.c.Flush(l.take)
		if !l.back() {
			return
		}
	}
}

// maxDepth bounds correlations of correlations.
const maxDepth = 16

func (l *Local) take(a finding.Alert) {
	l.emit(a)
	feeds := l.feeds.OfAlert(a.Rule)
	for i := range feeds {
		l.pending = append(l.pending, OfAlert(&feeds[i], &a))
	}
}

// back adds what came back and reports whether there was anything.
func (l *Local) back() (any bool) {
	for len(l.pending) > 0 {
		any = true
		list := l.pending
		l.pending = nil
		for i := range list {
			l.c.Add(&list[i], l.take)
		}
	}
	return any
}
