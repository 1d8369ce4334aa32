package correlate

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Local is the correlation of a whole set of rules in one place, where the
// alerts that other rules correlate come back at once. Tests and backtests use
// it; in the running service they come back through the log.
type Local struct {
	c       *Correlator
	feeds   *rule.Feeds
	emit    func(finding.Alert)
	pending []finding.Signal
	clocks  map[string]Tick
	rounds  Rounds
	ticks   uint64
}

// NewLocal makes one that calls emit for every change of an alert.
func NewLocal(rules []*rule.Rule, log *slog.Logger, emit func(finding.Alert)) *Local {
	l := &Local{c: New(rules, log), feeds: rule.NewFeeds(rules), emit: emit, clocks: map[string]Tick{}}
	l.rounds.Set(Waits(rules))
	return l
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
	l.c.Ticks(append(list, l.rounds.Clocks(l.c.received)...), l.take)
	l.ticked()
}

// AdvanceTo says that all events before a time, in ms since 1970, are there.
func (l *Local) AdvanceTo(ms int64) {
	l.c.advanceTo(ms, l.take)
	l.c.Ticks(l.rounds.Clocks(ms), l.take)
	l.ticked()
}

// ticked takes what came of a tick, which nobody has yet to pass.
func (l *Local) ticked() {
	l.back()
	if len(l.rounds.lists) == 0 {
		return
	}
	l.ticks++
	l.rounds.Tick(l.ticks, l.c.received, l.c.least())
	l.rounds.Passed(l.ticks)
}

// Conclude tells the present state of the alerts that still go on.
func (l *Local) Conclude() {
	l.c.Conclude(l.take)
	l.back()
}

// Flush lets time go on without events until every alert has its last state.
func (l *Local) Flush() {
	for level := range l.c.levels() {
		l.c.flush(level, l.take)
		l.back()
	}
}

func (l *Local) take(a finding.Alert) {
	l.emit(a)
	feeds := l.feeds.OfAlert(a.Rule)
	for i := range feeds {
		l.pending = append(l.pending, OfAlert(&feeds[i], &a)...)
	}
}

// back adds what came back.
func (l *Local) back() {
	for len(l.pending) > 0 {
		list := l.pending
		l.pending = nil
		for i := range list {
			l.c.Add(&list[i], l.take)
		}
	}
}
