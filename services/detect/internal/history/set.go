package history

import (
	"time"

	"log/slog"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Set is a set of rules as it would run: linked, so that correlations get what
// they name.
type Set struct {
	Rules   []*rule.Rule
	matched []*rule.Rule
	feeds   *rule.Feeds
}

// NewSet links rules. Every rule takes part, also one that is not enabled: who
// asks about it wants to know.
func NewSet(rules []*rule.Rule) *Set {
	s := &Set{}
	for _, r := range rules {
		if r.Disabled {
			on := *r
			on.Disabled = false
			r = &on
		}
		s.Rules = append(s.Rules, r)
	}
	s.matched, s.feeds = rule.Matched(s.Rules), rule.NewFeeds(s.Rules)
	return s
}

// evaluation correlates the matches of a set, which come in order of time.
type evaluation struct {
	set   *Set
	corr  *correlate.Local
	clock int64 // how far event time was told to be, ms since 1970
}

func newEvaluation(s *Set, emit func(finding.Alert)) *evaluation {
	return &evaluation{set: s, corr: correlate.NewLocal(s.Rules, slog.New(slog.DiscardHandler), emit)}
}

// tick is how far event time goes on, in ms, before the correlation is told.
const tick = 60_000

func (e *evaluation) add(m Match) {
	if m.Time >= e.clock+tick {
		e.clock = m.Time
		e.corr.AdvanceTo(m.Time)
	}
	feeds := e.set.feeds.Of(m.Rule)
	for i := range feeds {
		sig := match.Signal(&feeds[i], m.Block, m.Row)
		e.corr.Add(&sig)
	}
}

// end lets event time reach a moment, which ends what waits for it, and tells what
// the alerts that go on have come to.
func (e *evaluation) end(at time.Time) {
	e.corr.AdvanceTo(at.UnixMilli())
	e.corr.Conclude()
}
