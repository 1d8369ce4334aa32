package mute

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// maxFiring bounds the alerts remembered: those that mute others and those that
// are muted. Beyond it the one that ends first is forgotten, and counted.
const maxFiring = 20_000

// grace is how long after its end an alert is remembered as one that inhibits:
// alerts of the same time may come late.
const grace = 10 * time.Minute

// Stats counts what is in force.
type Stats struct {
	Silences  int // active now
	Firing    int // alerts that may inhibit others
	Muted     int // alerts that are muted and still fire
	Forgotten uint64
}

// Mute holds what mutes alerts. Safe for concurrent use.
type Mute struct {
	log         *slog.Logger
	now         func() time.Time
	inhibitions []Inhibition

	mu        sync.Mutex
	silences  map[string]*Silence
	sources   map[string]*source
	muted     map[string]*muted
	forgotten uint64
}

// source is an alert that inhibits others.
type source struct {
	alert       finding.Alert
	inhibitions []int
}

// muted is an alert that somebody may have to be told of later.
type muted struct {
	alert finding.Alert
	seen  bool // in the stream
}

// New makes a Mute that knows no silence yet.
func New(inhibitions []Inhibition, log *slog.Logger) *Mute {
	return &Mute{log: log, now: time.Now, inhibitions: inhibitions, silences: map[string]*Silence{}, sources: map[string]*source{}, muted: map[string]*muted{}}
}

// SetSilence adds or replaces a silence.
func (m *Mute) SetSilence(s Silence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silences[s.ID] = &s
}

// DeleteSilence forgets a silence.
func (m *Mute) DeleteSilence(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.silences, id)
}

// Apply notes in an alert that is about to be published what mutes it.
func (m *Mute) Apply(a *finding.Alert) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.muted[a.UID]
	if was != nil && a.Revision <= was.alert.Revision {
		// Published before; the bus takes this one for the repeat it is.
		a.Muted = was.alert.Muted
		return
	}
	m.fire(a)
	now := m.now()
	if a.Muted = m.verdict(a, now, false); a.Muted != nil {
		m.remember(a, false)
		return
	}
	if was != nil {
		ended := *was.alert.Muted
		ended.Ended = now.UTC()
		a.Muted = &ended
	}
}

// Observe takes an alert as it stands in the stream: only what is there has
// been told.
func (m *Mute) Observe(a *finding.Alert) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fire(a)
	if a.Told() || a.Status == finding.Retracted {
		if was := m.muted[a.UID]; was != nil && was.alert.Revision <= a.Revision {
			delete(m.muted, a.UID)
		}
		return
	}
	if was := m.muted[a.UID]; was == nil || was.alert.Revision <= a.Revision {
		m.remember(a, true)
	}
}

// fire remembers an alert that inhibits others, or that it does not any more.
func (m *Mute) fire(a *finding.Alert) {
	if a.Status == finding.Retracted {
		delete(m.sources, a.UID)
		return
	}
	if s := m.sources[a.UID]; s != nil && s.alert.Revision > a.Revision {
		return
	}
	var as []int
	for i := range m.inhibitions {
		if all(m.inhibitions[i].Source, a) {
			as = append(as, i)
		}
	}
	if as == nil {
		delete(m.sources, a.UID)
		return
	}
	m.sources[a.UID] = &source{alert: *a, inhibitions: as}
	if len(m.sources) > maxFiring {
		m.forget(func(min func(uid string, end time.Time)) {
			for uid, s := range m.sources {
				min(uid, until(&s.alert))
			}
		}, func(uid string) { delete(m.sources, uid) })
	}
}

func (m *Mute) remember(a *finding.Alert, seen bool) {
	m.muted[a.UID] = &muted{alert: *a, seen: seen}
	if len(m.muted) > maxFiring {
		m.forget(func(min func(uid string, end time.Time)) {
			for uid, s := range m.muted {
				min(uid, until(&s.alert))
			}
		}, func(uid string) { delete(m.muted, uid) })
	}
}

// forget drops the entries that end first, a tenth at a time.
func (m *Mute) forget(walk func(func(string, time.Time)), drop func(string)) {
	ends := map[string]time.Time{}
	walk(func(uid string, end time.Time) { ends[uid] = end })
	order := slices.SortedFunc(maps.Keys(ends), func(x, y string) int { return ends[x].Compare(ends[y]) })
	for _, uid := range order[:len(order)/10+1] {
		drop(uid)
	}
	m.forgotten += uint64(len(order)/10 + 1)
	m.log.Warn("muted alerts are forgotten for lack of room: they are not told when their silence ends", "limit", maxFiring, "forgotten", m.forgotten)
}

// verdict says what mutes an alert now. Silences come first, the one that ends
// last; of inhibiting alerts the one that began first. With live, an alert whose
// time to fire has passed by the clock inhibits no more.
func (m *Mute) verdict(a *finding.Alert, now time.Time, live bool) *finding.Muted {
	var best *Silence
	for _, s := range m.silences {
		if s.State(now) != "active" || best != nil && (s.EndsAt.Before(best.EndsAt) || s.EndsAt.Equal(best.EndsAt) && s.ID > best.ID) || !s.Matches(a) {
			continue
		}
		best = s
	}
	if best != nil {
		return &finding.Muted{By: finding.BySilence, ID: best.ID, Reason: best.Reason()}
	}
	for i := range m.inhibitions {
		in := &m.inhibitions[i]
		if !all(in.Target, a) {
			continue
		}
		var by *finding.Alert
		for _, s := range m.sources {
			if live && !now.Before(until(&s.alert)) {
				continue
			}
			if slices.Contains(s.inhibitions, i) && in.inhibits(&s.alert, a) && (by == nil || earlier(&s.alert, by)) {
				by = &s.alert
			}
		}
		if by != nil {
			return &finding.Muted{By: finding.ByInhibition, ID: in.Name, Reason: "while alert " + by.UID + " fires: " + by.Rule + ": " + by.Title}
		}
	}
	return nil
}

func earlier(a, b *finding.Alert) bool {
	if c := a.FirstSeen.Compare(b.FirstSeen); c != 0 {
		return c < 0
	}
	return a.UID < b.UID
}

// Due returns the alerts that were muted and are to be told now, as they are to
// be published, and forgets what fires no more. The caller publishes them; they
// come again until Observe has seen them.
func (m *Mute) Due() []finding.Alert {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for uid, s := range m.sources {
		if now.Sub(until(&s.alert)) > grace {
			delete(m.sources, uid)
		}
	}
	var out []finding.Alert
	for uid, e := range m.muted {
		if !now.Before(until(&e.alert)) {
			delete(m.muted, uid)
			continue
		}
		if !e.seen || m.verdict(&e.alert, now, true) != nil {
			continue
		}
		a := e.alert
		ended := *a.Muted
		ended.Ended = now.UTC()
		a.Status, a.Muted = finding.Amended, &ended
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y finding.Alert) int { return x.RaisedAt.Compare(y.RaisedAt) })
	return out
}

// Old returns the silences that ended so long ago that they are to be deleted.
func (m *Mute) Old() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id, s := range m.silences {
		if m.now().Sub(s.EndsAt) > Keep {
			out = append(out, id)
		}
	}
	return out
}

// Stats returns the counters.
func (m *Mute) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Stats{Firing: len(m.sources), Muted: len(m.muted), Forgotten: m.forgotten}
	for _, s := range m.silences {
		if s.State(m.now()) == "active" {
			st.Silences++
		}
	}
	return st
}
