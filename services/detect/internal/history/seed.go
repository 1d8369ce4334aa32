package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// The bounds of what rules are told of their past.
const (
	maxSeedMatches = 20_000_000
	maxSeedBytes   = 32 << 20 // of one rule
)

var seedLimits = correlate.Limits{Groups: 200_000, Bytes: 256 << 20, Events: 16_384}

// ErrTooMuch says that more events of the past match than are read.
var ErrTooMuch = errors.New("too many events of the past match")

// Learned is what the stored events tell rules that rest on the past.
type Learned struct {
	From, To time.Time
	Events   uint64 // judged
	Matches  uint64
	// Groups has what the groups of each rule have learned, in order of group.
	Groups map[string][]correlate.Grown
	// Left counts the groups that there was no room for, those that were active
	// longest ago.
	Left map[string]int
}

// Learn judges the stored events before a time for rules whose correlation rests
// on the past (rule.Correlate.Memory), as far back as they look and 30 days at
// most. Known are all rules that they may name.
func Learn(ctx context.Context, db Database, rules, known []*rule.Rule, before time.Time) (*Learned, error) {
	return learn(ctx, db, rules, known, before, maxSeedMatches, maxSeedBytes)
}

func learn(ctx context.Context, db Database, rules, known []*rule.Rule, before time.Time, matches uint64, size int) (*Learned, error) {
	var all []*rule.Rule
	for _, r := range rules {
		for _, x := range rule.Needed(r, known) {
			if !slices.Contains(all, x) {
				all = append(all, x)
			}
		}
	}
	s := NewSet(all)
	out := &Learned{From: before.Add(-s.warmUp()), To: before, Groups: map[string][]correlate.Grown{}, Left: map[string]int{}}
	e := newEvaluation(s, func(finding.Alert) {})
	e.corr.SetLimits(seedLimits)
	q := Query{From: out.From, To: before, Sets: []*Set{s}}
	p, err := Scan(ctx, db, q, func(m Match) error {
		if out.Matches++; out.Matches > matches {
			return fmt.Errorf("%w: more than %d since %s", ErrTooMuch, matches, out.From.Format(time.DateOnly))
		}
		e.add(m)
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	out.Events = p.Events
	e.end(before)
	evicted := e.corr.Evicted()
	for _, r := range rules {
		list := e.corr.Harvest(r.ID, before.UnixMilli())
		out.Left[r.ID] = int(evicted[r.ID])
		total := 0
		for i := range list {
			total += list[i].Size()
		}
		if total > size {
			slices.SortStableFunc(list, func(a, b correlate.Grown) int { return int(min(max(b.Newest-a.Newest, -1), 1)) })
			n := 0
			for total = 0; n < len(list) && total+list[n].Size() <= size; n++ {
				total += list[n].Size()
			}
			out.Left[r.ID] += len(list) - n
			list = list[:n]
			correlate.SortGrown(list)
		}
		out.Groups[r.ID] = list
	}
	return out, nil
}
