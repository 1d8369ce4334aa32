package detect

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// What a rule that rests on the past (new_value, rate_anomaly) knows of it.
const (
	Seeded  = "seeded"   // it was told what the stored events say
	Reading = "reading"  // it is about to be told
	Learns  = "learning" // it knows what came since, and raises nothing for a while
)

// Learning is what a rule that rests on the past knows of it.
type Learning struct {
	State string `json:"state"` // Seeded, Reading or Learns
	// Since is from when on it knows what happened.
	Since time.Time `json:"since"`
	// Until is how long it raises nothing, if nobody tells it of its past.
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why,omitempty"` // it was not told
}

// rank orders what is worse.
func (l Learning) rank() int {
	return map[string]int{Seeded: 1, Reading: 2, Learns: 3}[l.State]
}

func learningKey(partition int) string {
	return bus.Key("detect", "learning", strconv.Itoa(partition))
}

// readLearning joins what the owners of the partitions told last.
func readLearning(ctx context.Context, b *bus.Bus) (map[string]Learning, error) {
	kv, err := bus.OpenBucket[map[string]Learning](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	list, err := kv.List(ctx, bus.Key("detect", "learning")+".*")
	if err != nil {
		return nil, err
	}
	out := map[string]Learning{}
	for _, e := range list {
		for id, l := range e.Value {
			if have, ok := out[id]; !ok || l.rank() > have.rank() || l.rank() == have.rank() && l.Until.After(have.Until) {
				out[id] = l
			}
		}
	}
	return out, nil
}

// tell says what the rules of each partition know, when it has changed.
func (w *seeder) tell(ctx context.Context, pasts map[int][]correlate.Past) {
	maps.DeleteFunc(w.told, func(number int, _ map[string]Learning) bool { _, own := pasts[number]; return !own })
	for number, list := range pasts {
		now := map[string]Learning{}
		for i := range list {
			if p := &list[i]; !p.Lived {
				if l, ok := w.learning(p); ok {
					now[p.Rule.ID] = l
				}
			}
		}
		if said, ok := w.told[number]; ok && maps.Equal(said, now) {
			continue
		}
		kv, err := bus.OpenBucket[map[string]Learning](ctx, w.s.opts.Bus, subjects.BucketCheckpoints)
		if err == nil {
			_, err = kv.Put(ctx, learningKey(number), now)
		}
		if err != nil {
			if ctx.Err() == nil {
				w.s.log.Debug("what rules have learned cannot be told", "error", err)
			}
			continue
		}
		w.told[number] = now
	}
}

// learning is what a state knows; false if it has learned enough by itself.
func (w *seeder) learning(p *correlate.Past) (Learning, bool) {
	before := time.UnixMilli(p.Before).UTC()
	if p.Seeded {
		return Learning{State: Seeded, Since: before.Add(-min(p.Rule.Correlate.Memory(), history.MaxWarmUp))}, true
	}
	l := Learning{State: Reading, Since: before, Until: before.Add(p.Rule.Correlate.Learning)}
	why, refused := w.refused[p.Rule.StateKey()]
	switch {
	case w.s.opts.ClickHouse == nil:
		l.State, l.Why = Learns, "this process is given no ClickHouse to read history from"
	case refused:
		l.State, l.Why = Learns, why
	case w.failed != nil:
		l.State, l.Why = Learns, w.failed.Error()
	}
	return l, time.Now().Before(l.Until)
}
