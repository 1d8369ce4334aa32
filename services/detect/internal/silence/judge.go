package silence

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// RuleID is the rule of the alerts.
const RuleID = "source-silent"

// expectation is what a source should be doing.
type expectation struct {
	Rate float64 // records a minute
	Low  float64 // records in the emptiest ten minutes
	Gap  int64   // longest usual gap
}

// silence is how long a gap must be to be told.
func (t *Tracker) silence(e expectation) int64 {
	return max(int64(t.cfg.Factor*float64(e.Gap)), t.cfg.Least.Milliseconds())
}

// Tick judges all sources at a moment and calls emit for every alert raised,
// amended or ended, in order of source. now is the clock; asOf is up to when
// all that arrived has been counted, which is before now while there is a
// backlog. Call it at least every minute: a longer pause means that nobody was
// watching, and silence in it is no silence.
func (t *Tracker) Tick(now, asOf int64, emit func(finding.Alert)) {
	if t.cfg.Off {
		return
	}
	if t.tick == 0 || now-t.tick > pause || now < t.tick {
		t.resumed = now
		for _, s := range t.sources {
			s.Whole = false
		}
	}
	asOf = min(asOf, now)
	t.asOf = max(asOf, t.asOf)
	for name, c := range t.cfg.Sources {
		if c.Expect > 0 && !c.Off && t.sources[name] == nil && len(t.sources) < maxSources {
			t.sources[name] = &source{Name: name, Hour: now / hour, Minute: now / minute}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.sources)) {
		s := t.sources[name]
		t.roll(s, t.asOf)
		t.judge(s, t.asOf, emit)
	}
	t.tick = now
}

func (t *Tracker) judge(s *source, at int64, emit func(finding.Alert)) {
	from := max(s.Last, t.resumed)
	quiet := at - from
	if ep := s.Episode; ep != nil {
		t.follow(s, ep, at, quiet, emit)
		return
	}
	if s.Last > 0 && at-s.Last > 2*forget {
		delete(t.sources, s.Name)
		return
	}
	want, ok := t.expected(s, at)
	if !ok {
		return
	}
	if quiet > t.silence(want) {
		t.raise(s, &Episode{Since: cmp.Or(s.Last, from), Expected: want}, at, emit)
		return
	}
	// The window must have been watched as a whole, and the source known in it.
	if at-t.resumed < (window+2)*minute || at-s.First < (window+2)*minute || at-s.Back < (window+2)*minute || want.Rate*window < enough {
		return
	}
	if n := s.recent(at); n < collapsed*want.Rate*window && n < want.Low/2 {
		t.raise(s, &Episode{Collapse: true, Since: at - window*minute, Expected: want}, at, emit)
	}
}

// follow looks whether an episode ends, or a collapse has become silence.
func (t *Tracker) follow(s *source, ep *Episode, at, quiet int64, emit func(finding.Alert)) {
	a := &ep.Alert
	lasted := time.Duration(at-ep.Since) * time.Millisecond
	end := func(format string, args ...any) {
		a.Status, a.Revision, a.Reason = finding.Retracted, a.Revision+1, fmt.Sprintf(format, args...)
		a.LastSeen, a.RaisedAt = stamp(at), stamp(at)
		s.Episode, s.Whole, s.Back = nil, false, at
		emit(*a)
	}
	switch limit := t.silence(ep.Expected); {
	case t.cfg.Sources[s.Name].Off:
		end("the source is no longer watched (detect.silence.sources)")
	case at-max(s.Last, ep.Since) > forget && t.cfg.Sources[s.Name].Expect == 0:
		end("gave up after %s: the source is taken for removed", rounded(lasted))
		delete(t.sources, s.Name)
	case !ep.Collapse && s.Last > ep.Since && at-s.Last < limit:
		end("records arrive again after %s", rounded(lasted))
	case ep.Collapse && s.recent(at) >= recovered*ep.Expected.Rate*window:
		end("the rate is back after %s: %.0f records in %d minutes", rounded(lasted), s.recent(at), window)
	case ep.Collapse && quiet > limit:
		ep.Collapse = false
		ep.Since = max(s.Last, ep.Since)
		a.Status, a.Revision = finding.Amended, a.Revision+1
		t.describe(s, ep, at)
		emit(*a)
	}
}

func (t *Tracker) raise(s *source, ep *Episode, at int64, emit func(finding.Alert)) {
	s.Episode = ep
	ep.Alert = finding.Alert{
		UID: finding.UID(RuleID, s.Name, strconv.FormatInt(ep.Since, 10)), Status: finding.Raised, Revision: 1,
		Rule: RuleID, RuleTitle: "A source fell silent", Version: "1", Level: finding.Medium, Lane: finding.Alerts,
		Entity: finding.Entity{Type: "source", Value: s.Name}, Group: []finding.Pair{{Path: "source", Value: s.Name}},
		Tags: []string{"attack.t1685"}, Sources: []string{s.Name}, Count: 1, FirstSeen: stamp(ep.Since), RaisedAt: stamp(at),
		Until: stamp(ep.Since + forget), Risk: 45,
	}
	t.describe(s, ep, at)
	emit(ep.Alert)
}

// describe says what is wrong with the numbers.
func (t *Tracker) describe(s *source, ep *Episode, at int64) {
	a, want := &ep.Alert, ep.Expected
	a.LastSeen = stamp(at)
	if ep.Collapse {
		n := s.recent(at)
		a.Title = s.Name + " sends next to nothing"
		a.Reason = fmt.Sprintf("%.0f records in %d minutes, usual are %.0f", n, window, want.Rate*window)
		a.Value, a.Threshold = n, collapsed*want.Rate*window
		return
	}
	limit := t.silence(want)
	quiet := time.Duration(at-ep.Since) * time.Millisecond
	a.Title = s.Name + " has fallen silent"
	a.Value, a.Threshold = quiet.Seconds(), float64(limit)/1000
	a.Reason = fmt.Sprintf("no record for %s; usual are %s a minute with gaps of at most %s",
		rounded(quiet), strconv.FormatFloat(want.Rate, 'g', 3, 64), rounded(time.Duration(want.Gap)*time.Millisecond))
	if s.First == 0 {
		a.Reason = fmt.Sprintf("no record ever since %s; expected are %s a minute", stamp(ep.Since).Format(time.RFC3339), strconv.FormatFloat(want.Rate, 'g', 3, 64))
	}
}

// expected says what the source should be doing, if that can be said: it must
// have been regular in this hour, the one before and the one after, so that
// work that starts a little later than last week raises no alarm.
func (t *Tracker) expected(s *source, at int64) (expectation, bool) {
	if c := t.cfg.Sources[s.Name]; c.Expect > 0 {
		return expectation{Rate: c.Expect, Low: c.Expect * window, Gap: int64(float64(minute) / c.Expect)}, true
	}
	if s.First == 0 || at-s.First < t.cfg.Learn.Milliseconds() {
		return expectation{}, false
	}
	now := at / hour
	e := expectation{Rate: -1}
	for h := now - 1; h <= now+1; h++ {
		one, ok := s.usual(h)
		if !ok {
			return e, false
		}
		if e.Rate < 0 {
			e = one
			continue
		}
		e = expectation{min(e.Rate, one.Rate), min(e.Low, one.Low), max(e.Gap, one.Gap)}
	}
	return e, true
}

// usual is what an hour is like by the days and the week before it.
func (s *source) usual(h int64) (expectation, bool) {
	known := make([]slot, 0, 7)
	for d := int64(1); d <= 7; d++ {
		if sl := s.Week[(h-24*d)%weekHours]; sl.Hour > 0 && sl.Hour <= h-24*d {
			known = append(known, sl)
		}
	}
	if len(known) == 0 {
		return expectation{}, false
	}
	// An hour that is just over has this week's part in its slot already.
	if week := s.Week[h%weekHours]; week.Hour > 0 && h-s.First/hour >= weekHours {
		// The weekday counts for itself; the median of the days must agree.
		return usualOf(median(known), week)
	}
	// Without a week to compare with, only what never rests is judged.
	return s.lastDay(h)
}

// lastDay is the careful end of the day before h, of which most must have been
// watched.
func (s *source) lastDay(h int64) (expectation, bool) {
	day := make([]slot, 0, 24)
	for i := h - 25; i < h-1; i++ {
		if sl := s.Week[i%weekHours]; sl.Hour == i {
			day = append(day, sl)
		}
	}
	if len(day) < 18 {
		return expectation{}, false
	}
	return usualOf(day...)
}

// usualOf is the careful end of slots, all of which must be regular.
func usualOf(slots ...slot) (expectation, bool) {
	e := expectation{Rate: float64(slots[0].Rate), Low: float64(slots[0].Low)}
	for _, s := range slots {
		if s.Gap > regularGap || s.Rate <= 0 {
			return e, false
		}
		e = expectation{min(e.Rate, float64(s.Rate)), min(e.Low, float64(s.Low)), max(e.Gap, s.Gap)}
	}
	return e, true
}

// median is the slot in the middle by gap, with the median rate.
func median(slots []slot) slot {
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.Rate, b.Rate) })
	out := slots[(len(slots)-1)/2]
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.Gap, b.Gap) })
	out.Gap = slots[len(slots)/2].Gap
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.Low, b.Low) })
	out.Low = slots[(len(slots)-1)/2].Low
	return out
}

func stamp(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func rounded(d time.Duration) time.Duration {
	if d > 10*time.Minute {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}
