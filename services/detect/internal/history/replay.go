package history

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
)

// Replay compares what live detection raised with what the rules as they are
// raise over the stored events.
type Replay struct {
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Events   uint64       `json:"events"`
	Live     int          `json:"live"`
	Replayed int          `json:"replayed"`
	Same     int          `json:"same"`
	Missed   []Difference `json:"missed"` // live did not raise
	Extra    []Difference `json:"extra"`  // only live raised
	// Truncated says that there were more alerts than are kept.
	Truncated bool          `json:"truncated,omitempty"`
	Elapsed   time.Duration `json:"elapsed_ns"`
}

// Difference is an alert of one side, with the likely reasons why the other
// does not have it.
type Difference struct {
	Rule   string         `json:"rule"`
	UID    string         `json:"uid"`
	Title  string         `json:"title"`
	Entity finding.Entity `json:"entity"`
	First  time.Time      `json:"first_seen"`
	Last   time.Time      `json:"last_seen"`
	Why    []string       `json:"why"`
}

// lateBy is how much later than it happened an event must have been received to
// count as late.
const lateBy = time.Minute

// RunReplay replays a set over history and compares.
func RunReplay(ctx context.Context, db Database, s *Set, o Options) (*Replay, error) {
	begin := time.Now()
	l := newLedger(o, s.Rules)
	e := newEvaluation(s, l.add)
	late := map[string]time.Duration{} // by uid of matching events
	q := Query{From: o.From.Add(-s.warmUp()), To: o.To, Sets: []*Set{s}, NoPushdown: o.NoPushdown}
	p, err := Scan(ctx, db, q, func(m Match) error {
		e.add(m)
		if c := m.Block.Column(event.ReceivedAt); c != nil {
			if d := time.Duration(c.Int(m.Row)-m.Time) * time.Millisecond; d >= lateBy && len(late) < maxTunedRows {
				late[m.Block.Column(event.EventUID).Text(m.Row)] = d
			}
		}
		return nil
	}, o.Progress)
	if err != nil {
		return nil, err
	}
	e.end(o.To)
	ids := make([]string, len(s.Rules))
	versions := map[string]string{}
	for i, r := range s.Rules {
		ids[i], versions[r.ID] = r.ID, r.Version
	}
	live, err := Alerts(ctx, db, ids, o.From, o.To, nil)
	if err != nil {
		return nil, err
	}
	out := &Replay{From: o.From, To: o.To, Events: p.Events, Live: len(live), Missed: []Difference{}, Extra: []Difference{}, Truncated: l.cut}
	c := newCounterparts(live)
	ran := map[string]map[string]bool{} // versions that live detection raised alerts with, by rule
	first := map[string]time.Time{}     // when it first raised one with the version at hand
	for i := range live {
		j := &live[i]
		if ran[j.Rule] == nil {
			ran[j.Rule] = map[string]bool{}
		}
		ran[j.Rule][j.Version] = true
		if t, ok := first[j.Rule]; j.Version == versions[j.Rule] && (!ok || j.Raised.Before(t)) {
			first[j.Rule] = j.Raised
		}
	}
	found := map[string]bool{}
	standing := l.standing()
	for i := range standing {
		a := &standing[i]
		out.Replayed++
		if j := c.of(a); j != nil && j.Status != finding.Retracted {
			found[j.UID] = true
			continue
		} else if j != nil {
			found[j.UID] = true
			out.Missed = append(out.Missed, difference(a, "live took it back: "+j.Reason))
			continue
		}
		why := lateness(a.EventUIDs, late)
		switch versions := ran[a.Rule]; {
		case len(versions) > 0 && !versions[a.Version]:
			why = append(why, "rule changed: live raised with version "+strings.Join(keysOf(versions), ", ")+", replayed is "+a.Version)
		case !first[a.Rule].IsZero() && a.LastSeen.Before(first[a.Rule]):
			why = append(why, "perhaps rule changed: live raised nothing with this version before "+first[a.Rule].Format(time.RFC3339))
		}
		if len(why) == 0 {
			why = append(why, "nothing here explains it: the rule was added or enabled after, detection did not run, or signals were lost (vagus status; metric vagus_detect_signals_missed_total)")
		}
		out.Missed = append(out.Missed, difference(a, why...))
	}
	for i := range live {
		j := &live[i]
		if found[j.UID] {
			out.Same++
			continue
		}
		if j.Status == finding.Retracted || j.Last.Before(o.From) || !j.Last.Before(o.To) {
			continue
		}
		why, err := whyExtra(ctx, db, j, versions[j.Rule], late)
		if err != nil {
			return nil, err
		}
		out.Extra = append(out.Extra, Difference{j.Rule, j.UID, j.Title, j.Entity, j.First, j.Last, why})
	}
	out.Elapsed = time.Since(begin)
	return out, nil
}

func difference(a *finding.Alert, why ...string) Difference {
	return Difference{a.Rule, a.UID, a.Title, a.Entity, a.FirstSeen, a.LastSeen, why}
}

func keysOf(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// lateness says which of an alert's events came late.
func lateness(uids []string, late map[string]time.Duration) []string {
	n, most := 0, time.Duration(0)
	for _, uid := range uids {
		if d, ok := late[uid]; ok {
			n++
			most = max(most, d)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("late: %d of its %d events came up to %s after they happened", n, len(uids), most.Round(time.Second))}
}

// whyExtra looks for reasons why an alert is not raised again.
func whyExtra(ctx context.Context, db Database, j *Judged, version string, late map[string]time.Duration) ([]string, error) {
	var why []string
	if j.Version != version {
		why = append(why, "rule changed: live raised it with version "+j.Version+", replayed is "+version)
	}
	if j.Muted != "" {
		why = append(why, "muted live by "+j.Muted)
	}
	stored := uint64(0)
	if len(j.Events) > 0 {
		span := Span{From: j.First.Add(-time.Millisecond), To: j.Last.Add(time.Millisecond)}
		rows, err := db.Query(ctx, "SELECT count() FROM events WHERE "+span.sql()+" AND toString("+name(event.EventUID)+") IN ("+quoteAll(j.Events)+")")
		if err != nil {
			return nil, fmt.Errorf("look for the events of alert %s: %w", j.UID, err)
		}
		defer func() { _ = rows.Close() }() // read whole, or failed
		for rows.Next() {
			if err := rows.Scan(&stored); err != nil {
				return nil, fmt.Errorf("look for the events of alert %s: %w", j.UID, err)
			}
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("look for the events of alert %s: %w", j.UID, err)
		}
		if stored < uint64(len(j.Events)) {
			why = append(why, fmt.Sprintf("loss: %d of its %d events are not stored (retention, or vagus ledger tells)", uint64(len(j.Events))-stored, len(j.Events)))
		}
	}
	why = append(why, lateness(j.Events, late)...)
	if len(why) == 0 {
		why = append(why, "nothing here explains it: events that were corrected since, or an exception that ended")
	}
	return why, nil
}
