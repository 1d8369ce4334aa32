package history

import (
	"context"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Comparison is what one version of rules would have raised and another would
// not have.
type Comparison struct {
	From    time.Time       `json:"from"`
	To      time.Time       `json:"to"`
	Events  uint64          `json:"events"` // judged
	Old     int             `json:"old"`    // alerts of the old version
	New     int             `json:"new"`
	Kept    int             `json:"kept"` // alerts of both, also if they begin elsewhere
	Added   []finding.Alert `json:"added"`
	Lost    []finding.Alert `json:"lost"`
	Changed []Changed       `json:"changed"` // in level, lane, title or subject
	// Truncated says that there were more alerts than are kept, so that the
	// lists are not complete.
	Truncated bool          `json:"truncated,omitempty"`
	Elapsed   time.Duration `json:"elapsed_ns"`
}

// Changed is an alert of both versions that looks different.
type Changed struct {
	Old finding.Alert `json:"old"`
	New finding.Alert `json:"new"`
}

// Side is one of the versions.
type Side struct {
	Set    *Set
	Wanted []*rule.Rule
}

// Compare runs two versions over the same events, which are read once.
func Compare(ctx context.Context, db Database, before, after Side, o Options) (*Comparison, error) {
	c, _, _, err := compared(ctx, db, before, after, o)
	return c, err
}

// compared is Compare that gives the alerts of both versions too.
func compared(ctx context.Context, db Database, before, after Side, o Options) (c *Comparison, olds, news []finding.Alert, err error) {
	begin := time.Now()
	books := map[*Set]*ledger{before.Set: newLedger(o, before.Wanted), after.Set: newLedger(o, after.Wanted)}
	runs := map[*Set]*evaluation{}
	for s, l := range books {
		runs[s] = newEvaluation(s, l.add)
	}
	warm := max(before.Set.warmUp(), after.Set.warmUp())
	q := Query{From: o.From.Add(-warm), To: o.To, Sets: []*Set{before.Set, after.Set}, NoPushdown: o.NoPushdown}
	p, err := Scan(ctx, db, q, func(m Match) error {
		runs[m.Set].add(m)
		return nil
	}, o.Progress)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range runs {
		e.end(o.To)
	}
	old, now := books[before.Set].standing(), books[after.Set].standing()
	c = compare(old, now, len(before.Wanted) == 1 && len(after.Wanted) == 1)
	c.From, c.To, c.Events, c.Elapsed = o.From, o.To, p.Events, time.Since(begin)
	c.Truncated = books[before.Set].cut || books[after.Set].cut
	return c, old, now, nil
}

// compare pairs alerts: those of one uid, then those of the same rule and
// subject whose times overlap. With one rule on each side its id may differ.
func compare(old, now []finding.Alert, renamed bool) *Comparison {
	out := &Comparison{Old: len(old), New: len(now), Added: []finding.Alert{}, Lost: []finding.Alert{}, Changed: []Changed{}}
	key := func(a *finding.Alert) subject {
		s := subject{a.Rule, finding.Entity{Type: a.Entity.Type, Value: a.Entity.Value}}
		if renamed {
			s.rule = ""
		}
		return s
	}
	taken := make([]bool, len(old))
	byUID, bySubject := map[string]int{}, map[subject][]int{}
	for i := range old {
		byUID[old[i].UID] = i
		bySubject[key(&old[i])] = append(bySubject[key(&old[i])], i)
	}
	pair := func(i int, a *finding.Alert) {
		taken[i] = true
		out.Kept++
		b := &old[i]
		if a.Level != b.Level || a.Lane != b.Lane || a.Entity != b.Entity || a.Title != b.Title {
			out.Changed = append(out.Changed, Changed{*b, *a})
		}
	}
	var rest []int
	for n := range now {
		if i, ok := byUID[now[n].UID]; ok {
			pair(i, &now[n])
		} else {
			rest = append(rest, n)
		}
	}
	for _, n := range rest {
		a := &now[n]
		i := slices.IndexFunc(bySubject[key(a)], func(i int) bool {
			return !taken[i] && !a.FirstSeen.After(old[i].LastSeen) && !a.LastSeen.Before(old[i].FirstSeen)
		})
		if i < 0 {
			out.Added = append(out.Added, *a)
			continue
		}
		pair(bySubject[key(a)][i], a)
	}
	for i := range old {
		if !taken[i] {
			out.Lost = append(out.Lost, old[i])
		}
	}
	return out
}
