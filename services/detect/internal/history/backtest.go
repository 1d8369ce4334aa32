package history

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Options says how rules are run over history.
type Options struct {
	// From and To bound the event time of what is counted; To is excluded.
	From, To time.Time
	// NoPushdown reads every event of the rules' sources.
	NoPushdown bool
	// Samples is how many matching events are kept.
	Samples int
	// Verdicts are the newest of analysts by alert, as far as they are known to be
	// newer than those that are stored: the store batches what it writes. An empty
	// verdict takes one back.
	Verdicts map[string]finding.Disposition
	// Progress, if given, hears how far it is.
	Progress func(Progress)
}

// The bounds of what a backtest keeps. What is beyond is left out, and it says
// so.
const (
	maxAlerts = 100_000
	// MaxWarmUp bounds how much is read before From.
	MaxWarmUp = 30 * 24 * time.Hour
)

// Backtest is what rules would have done.
type Backtest struct {
	From       time.Time         `json:"from"`
	To         time.Time         `json:"to"`
	WarmUp     time.Duration     `json:"warm_up_ns"` // read before From, so that correlations know what went before
	Events     uint64            `json:"events"`     // judged
	Candidates uint64            `json:"candidates"` // sent by ClickHouse
	Matches    uint64            `json:"matches"`
	Failures   uint64            `json:"failures,omitempty"`
	Raised     int               `json:"raised"`
	PerRule    []Count           `json:"by_rule"`
	PerDay     []Day             `json:"per_day"`
	Entities   []Count           `json:"entities"` // most alerts first
	Precision  Precision         `json:"precision"`
	Alerts     []finding.Alert   `json:"alerts"`              // in their last state, in order of raising
	Truncated  bool              `json:"truncated,omitempty"` // there were more alerts than are kept
	Samples    []json.RawMessage `json:"samples,omitempty"`   // the columns that were read of matching events
	Elapsed    time.Duration     `json:"elapsed_ns"`
}

// Day counts alerts by the day they were raised for.
type Day struct {
	Day    time.Time `json:"day"`
	Alerts int       `json:"alerts"`
}

// Count is a value with its number.
type Count struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// warmUp is how long before an event what happened still counts for a set.
func (s *Set) warmUp() time.Duration {
	var most time.Duration
	for _, r := range s.Rules {
		span := r.Alert.Suppress
		if c := r.Correlate; c != nil {
			span = max(span, c.Timespan, c.Memory())
			span += c.Lateness
		}
		most = max(most, span)
	}
	return min(most, MaxWarmUp)
}

// ledger collects the alerts of a set.
type ledger struct {
	o       Options
	alerts  []finding.Alert
	index   map[string]int
	cut     bool
	wanted  map[string]bool // rules that are asked about
	samples []json.RawMessage
}

func newLedger(o Options, wanted []*rule.Rule) *ledger {
	l := &ledger{o: o, index: map[string]int{}, wanted: map[string]bool{}}
	for _, r := range wanted {
		l.wanted[r.ID] = true
	}
	return l
}

func (l *ledger) add(a finding.Alert) {
	if i, ok := l.index[a.UID]; ok {
		l.alerts[i] = a
		return
	}
	if !l.wanted[a.Rule] || a.Status != finding.Raised || a.Time.Before(l.o.From) || !a.Time.Before(l.o.To) {
		return
	}
	if len(l.alerts) == maxAlerts {
		l.cut = true
		return
	}
	l.index[a.UID] = len(l.alerts)
	l.alerts = append(l.alerts, a)
}

// Run runs a set over history and tells what the wanted rules of it would have
// raised.
func Run(ctx context.Context, db Database, s *Set, wanted []*rule.Rule, o Options) (*Backtest, error) {
	begin := time.Now()
	warm := s.warmUp()
	l := newLedger(o, wanted)
	e := newEvaluation(s, l.add)
	q := Query{From: o.From.Add(-warm), To: o.To, Sets: []*Set{s}, NoPushdown: o.NoPushdown}
	matches := uint64(0)
	p, err := Scan(ctx, db, q, func(m Match) error {
		e.add(m)
		if m.Time >= o.From.UnixMilli() {
			if matches++; len(l.samples) < o.Samples {
				l.samples = append(l.samples, json.RawMessage(m.Block.AppendJSON(nil, m.Row)))
			}
		}
		return nil
	}, o.Progress)
	if err != nil {
		return nil, err
	}
	e.end(o.To)
	b := &Backtest{
		From: o.From, To: o.To, WarmUp: warm, Events: p.Events, Candidates: p.Candidates, Matches: matches, Failures: p.Failures,
		Alerts: l.standing(), Truncated: l.cut, Samples: l.samples,
	}
	b.count()
	if err := b.judge(ctx, db, wanted, o.Verdicts); err != nil {
		return nil, err
	}
	b.Elapsed = time.Since(begin)
	return b, nil
}

// judge looks up what analysts said of the alerts that live detection raised.
func (b *Backtest) judge(ctx context.Context, db Database, wanted []*rule.Rule, recent map[string]finding.Disposition) error {
	if len(b.Alerts) == 0 {
		return nil
	}
	ids := make([]string, len(wanted))
	for i, r := range wanted {
		ids[i] = r.ID
	}
	live, err := Alerts(ctx, db, ids, b.From, b.To, recent)
	if err != nil {
		return err
	}
	c := newCounterparts(live)
	for i := range b.Alerts {
		v := finding.Verdict("")
		if j := c.of(&b.Alerts[i]); j != nil {
			v = j.Verdict
		}
		b.Precision.count(v)
	}
	return nil
}

// standing lists the alerts that were raised and not taken back.
func (l *ledger) standing() []finding.Alert {
	return slices.DeleteFunc(slices.Clone(l.alerts), func(a finding.Alert) bool { return a.Status == finding.Retracted })
}

// count fills in what follows from the alerts.
func (b *Backtest) count() {
	b.Raised, b.PerDay = len(b.Alerts), []Day{}
	rules, who, days := map[string]int{}, map[string]int{}, map[time.Time]int{}
	for i := range b.Alerts {
		a := &b.Alerts[i]
		rules[a.Rule]++
		if a.Entity.Value == "" {
			who["(none: the event lacks it)"]++
		} else {
			who[a.Entity.Type+":"+a.Entity.Value]++
		}
		days[a.Time.UTC().Truncate(24*time.Hour)]++
	}
	for d, n := range days {
		b.PerDay = append(b.PerDay, Day{d, n})
	}
	slices.SortFunc(b.PerDay, func(x, y Day) int { return x.Day.Compare(y.Day) })
	b.PerRule, b.Entities = ranked(rules), ranked(who)
}

// ranked sorts counts, the greatest first.
func ranked(m map[string]int) []Count {
	out := []Count{}
	for v, n := range m {
		out = append(out, Count{v, n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Value, b.Value)) })
	return out
}
