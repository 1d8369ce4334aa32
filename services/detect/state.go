package detect

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Limits bound what the correlation of a partition keeps in memory.
type Limits = correlate.Limits

// DefaultLimits are a million groups of a rule, 512 MiB and 16,384 events of a group.
func DefaultLimits() Limits { return correlate.DefaultLimits() }

// RuleState is what correlation holds for a rule.
type RuleState = correlate.RuleStats

// Correlation is what correlation holds, in all partitions together. Counts are
// since the owners of the partitions began.
type Correlation struct {
	Groups  int    `json:"groups"`
	Bytes   int64  `json:"bytes"` // about
	Evicted uint64 `json:"evicted"`
	Cut     uint64 `json:"cut"`
	Late    uint64 `json:"late"`
	// Rules are those that take most, by id: at most 20 of each partition, first
	// those for which something was forgotten.
	Rules map[string]RuleState `json:"rules"`
}

// toldRules is the number of rules of which a partition or an instance tells.
const toldRules = 20

func stateKey(partition int) string { return bus.Key("detect", "state", strconv.Itoa(partition)) }

// ReadCorrelation returns what the owners of the partitions told last, which is
// some seconds old.
func ReadCorrelation(ctx context.Context, b *bus.Bus) (Correlation, error) {
	out := Correlation{Rules: map[string]RuleState{}}
	kv, err := bus.OpenBucket[Correlation](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return out, err
	}
	list, err := kv.List(ctx, bus.Key("detect", "state")+".*")
	if err != nil {
		return out, err
	}
	for _, e := range list {
		out.add(&e.Value)
	}
	return out, nil
}

func (x *Correlation) add(y *Correlation) {
	x.Groups, x.Bytes = x.Groups+y.Groups, x.Bytes+y.Bytes
	x.Evicted, x.Cut, x.Late = x.Evicted+y.Evicted, x.Cut+y.Cut, x.Late+y.Late
	for id, r := range y.Rules {
		if have, ok := x.Rules[id]; ok {
			r = have.Plus(r)
		}
		x.Rules[id] = r
	}
}

// state is what the partition holds.
func (p *partition) state() Correlation {
	p.mu.Lock()
	st, rules := p.corr.Stats(), p.corr.Rules()
	p.mu.Unlock()
	return Correlation{Groups: st.Groups, Bytes: st.Bytes, Evicted: st.Evicted, Cut: st.Cut, Late: st.Late, Rules: heaviest(rules, toldRules)}
}

// heaviest are the n rules that take most memory, first those for which something
// was forgotten.
func heaviest(rules map[string]RuleState, n int) map[string]RuleState {
	ids := slices.SortedFunc(maps.Keys(rules), func(a, b string) int {
		x, y := rules[a], rules[b]
		forgot := func(r RuleState) int { return int(min(r.Evicted+r.Cut, 1)) }
		return cmp.Or(forgot(y)-forgot(x), cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(a, b))
	})
	out := make(map[string]RuleState, min(n, len(ids)))
	for _, id := range ids[:min(n, len(ids))] {
		out[id] = rules[id]
	}
	return out
}

// tellState tells what the partition holds if it has moved on, at every third
// checkpoint or so.
func (p *partition) tellState(ctx context.Context) {
	at := p.at()
	if at == p.toldAt || time.Since(p.told) < 3*p.s.opts.CheckpointInterval {
		return
	}
	kv, err := bus.OpenBucket[Correlation](ctx, p.s.opts.Bus, subjects.BucketCheckpoints)
	if err == nil {
		_, err = kv.Put(ctx, stateKey(p.number), p.state())
	}
	if err != nil {
		if ctx.Err() == nil {
			p.log.Debug("the state of correlation cannot be told", "error", err)
		}
		return
	}
	p.toldAt, p.told = at, time.Now()
}

// collectRules sets what correlation holds for the rules that take most in the
// partitions of this instance.
func collectRules(out *telemetry.Snapshot, all *Correlation) {
	for id, r := range heaviest(all.Rules, toldRules) {
		set := func(name, help string, v float64) { out.Set("vagus_detect_rule_"+name, help, v, "rule", id) }
		set("groups", "correlation groups of a rule, of those that take most memory", float64(r.Groups))
		set("events", "events that the groups of a rule hold", float64(r.Events))
		set("bytes", "memory of the groups of a rule, about", float64(r.Bytes))
		set("groups_evicted_total", "groups of a rule forgotten for lack of room", float64(r.Evicted))
		set("events_cut_total", "events and values of a rule forgotten because their group has too many", float64(r.Cut))
		if r.Lag >= 0 {
			set("watermark_lag_seconds", "how far the watermark of a rule is behind the newest record", float64(r.Lag)/1000)
		}
	}
}
