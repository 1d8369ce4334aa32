package detect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// storeFloor is the name under which the store tells how much of EVENTS is in
// ClickHouse.
const storeFloor = "store"

// Times of seeding.
const (
	seedTimeout = 15 * time.Minute // of one reading of history
	seedTaken   = time.Minute      // what was published is not published again before
	seedAgain   = 15               // intervals after a failure, and then twice that …
	seedLatest  = 600              // … up to this
)

// seeder tells the partitions of this instance what the stored events say of the
// time before the state of a rule began. Only its goroutine uses it.
type seeder struct {
	s       *Service
	refused map[string]string    // by rule.StateKey: what cannot be told, and why
	sent    map[seedOf]time.Time // when it was told
	stored  map[int64]uint64     // by time before which history counts: what of EVENTS must be in ClickHouse
	failed  error                // of the last reading
	wait    time.Duration
	next    time.Time
	told    map[int]map[string]Learning
}

// seedOf is the seed of a state.
type seedOf struct {
	key       string // rule.StateKey
	before    int64
	partition int
}

// seedJob is what one reading of history is for.
type seedJob struct {
	before int64
	rules  []*rule.Rule
	parts  map[string][]int // partitions by rule
}

// seeding looks for rules to be told of their past until ctx ends.
func (s *Service) seeding(ctx context.Context) error {
	w := &seeder{s: s, refused: map[string]string{}, sent: map[seedOf]time.Time{}, stored: map[int64]uint64{}, told: map[int]map[string]Learning{}}
	tick := time.NewTicker(s.opts.SeedInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		pasts := s.pasts()
		w.tell(ctx, pasts)
		if s.opts.ClickHouse == nil || time.Now().Before(w.next) {
			continue
		}
		jobs := w.jobs(pasts)
		maps.DeleteFunc(w.stored, func(before int64, _ uint64) bool {
			return !slices.ContainsFunc(jobs, func(j seedJob) bool { return j.before == before })
		})
		for _, j := range jobs {
			if err := w.run(ctx, &j); err != nil && ctx.Err() == nil {
				w.wait = min(max(2*w.wait, seedAgain*s.opts.SeedInterval), seedLatest*s.opts.SeedInterval)
				w.failed, w.next = err, time.Now().Add(w.wait)
				s.log.Warn("rules cannot be told of their past and learn from what comes; it is tried again", "rules", j.names(), "error", err, "in", w.wait)
				break
			}
			w.failed, w.wait = nil, 0
		}
	}
}

// pasts is what the partitions of this instance, as far as they have caught up
// with the log, know of the past.
func (s *Service) pasts() map[int][]correlate.Past {
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	out := map[int][]correlate.Past{}
	for number, p := range s.parts {
		p.mu.Lock()
		if p.position >= p.end {
			out[number] = p.corr.Pasts()
		}
		p.mu.Unlock()
	}
	return out
}

// jobs lists the readings of history that are needed, the oldest first. Rules
// that were taken over together are read together.
func (w *seeder) jobs(pasts map[int][]correlate.Past) []seedJob {
	missing := func(number int, p *correlate.Past) bool {
		return !p.Seeded && !p.Lived && w.refused[p.Rule.StateKey()] == "" && time.Since(w.sent[seedOf{p.Rule.StateKey(), p.Before, number}]) > seedTaken
	}
	// Partitions hear of the time one after the other; the last counts for all.
	latest := map[string]int64{}
	for number, list := range pasts {
		for i := range list {
			if p := &list[i]; missing(number, p) && !p.Fixed {
				latest[p.Rule.ID] = max(latest[p.Rule.ID], p.Before)
			}
		}
	}
	byTime := map[int64]*seedJob{}
	for _, number := range slices.Sorted(maps.Keys(pasts)) {
		for _, p := range pasts[number] {
			if !missing(number, &p) {
				continue
			}
			before := p.Before
			if !p.Fixed {
				before = latest[p.Rule.ID]
			}
			j := byTime[before]
			if j == nil {
				j = &seedJob{before: before, parts: map[string][]int{}}
				byTime[before] = j
			}
			if j.parts[p.Rule.ID] == nil {
				j.rules = append(j.rules, p.Rule)
			}
			j.parts[p.Rule.ID] = append(j.parts[p.Rule.ID], number)
		}
	}
	var out []seedJob
	for _, before := range slices.Sorted(maps.Keys(byTime)) {
		out = append(out, *byTime[before])
	}
	return out
}

func (j *seedJob) names() string {
	ids := make([]string, len(j.rules))
	for i, r := range j.rules {
		ids[i] = r.ID
	}
	return strings.Join(ids, ", ")
}

// run reads history and publishes what it says.
func (w *seeder) run(ctx context.Context, j *seedJob) error {
	if ready, err := w.isStored(ctx, j.before); err != nil || !ready {
		return err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	db, err := w.s.opts.ClickHouse(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	w.s.partsMu.Lock()
	known := w.s.rules
	w.s.partsMu.Unlock()
	learned, err := history.Learn(ctx, db, j.rules, known, time.UnixMilli(j.before).UTC())
	if errors.Is(err, history.ErrTooMuch) && len(j.rules) > 1 {
		// One of them is too much for all.
		for _, r := range j.rules {
			if err := w.run(ctx, &seedJob{before: j.before, rules: []*rule.Rule{r}, parts: j.parts}); err != nil {
				return err
			}
		}
		return nil
	}
	if errors.Is(err, history.ErrTooMuch) {
		w.refused[j.rules[0].StateKey()] = err.Error()
		w.s.log.Warn("rule cannot be told of its past and learns from what comes", "rule", j.rules[0].ID, "error", err, "hint", "narrow its condition, or shorten what it remembers")
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range j.rules {
		groups := learned.Groups[r.ID]
		if err := w.publish(ctx, r, j, groups); err != nil {
			return fmt.Errorf("tell rule %s of its past: %w", r.ID, err)
		}
		w.s.counters.seeds.Add(1)
		if n := learned.Left[r.ID]; n > 0 {
			w.s.log.Warn("there is no room for all of a rule's past: the groups that were active longest ago learn from what comes", "rule", r.ID, "left", n, "told", len(groups))
		}
		if looks := r.Correlate.Memory(); looks > history.MaxWarmUp {
			w.s.log.Warn("rule looks back further than it is told of its past", "rule", r.ID, "looks", looks, "told", history.MaxWarmUp)
		}
		w.s.log.Info("rule was told of its past", "rule", r.ID, "from", learned.From, "before", learned.To, "groups", len(groups), "events", learned.Events, "matches", learned.Matches, "took", time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// isStored says that ClickHouse has what EVENTS had when it was first asked for
// a time: everything that happened before and has come.
func (w *seeder) isStored(ctx context.Context, before int64) (bool, error) {
	seq, asked := w.stored[before]
	if !asked {
		_, last, err := w.s.opts.Bus.Bounds(ctx, subjects.StreamEvents)
		if err != nil {
			return false, err
		}
		w.stored[before], seq = last, last
	}
	floors, err := w.s.opts.Bus.Floors(ctx, subjects.StreamEvents)
	if err != nil {
		return false, err
	}
	floor, stores := floors[storeFloor]
	return !stores || floor >= seq, nil
}

// publish puts a rule's seed into the logs of the partitions.
func (w *seeder) publish(ctx context.Context, r *rule.Rule, j *seedJob, groups []correlate.Grown) error {
	var by [subjects.SignalPartitions][]correlate.Grown
	for i := range groups {
		number := partitionFor(r.ID, groups[i].Group)
		by[number] = append(by[number], groups[i])
	}
	for _, number := range j.parts[r.ID] {
		for list := by[number]; ; {
			n, size := 0, 0
			for n < len(list) && (n == 0 || size+list[n].Size() < maxBatch) {
				size += list[n].Size()
				n++
			}
			data := correlate.AppendSeed(nil, r, j.before, list[:n], n == len(list))
			m := bus.Msg{Subject: subjects.SignalsSeed(number), ID: fmt.Sprintf("seed:%d:%016x", number, xxh3.Hash(data)), Data: data}
			if _, err := w.s.opts.Bus.Publish(ctx, m); err != nil {
				return err
			}
			if list = list[n:]; len(list) == 0 {
				break
			}
		}
		w.sent[seedOf{r.StateKey(), j.before, number}] = time.Now()
	}
	return nil
}
