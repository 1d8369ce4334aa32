// Package price says what rules cost: how many events they look at, how often
// they match, and the time and memory that takes, alone and within a set.
package price

import (
	"math"
	"runtime"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/author/trace"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Price is what a rule costs. Times are of the matching stage alone, on one
// core, the least of the rounds.
type Price struct {
	Rule       string  `json:"rule"`
	Events     int     `json:"events"`
	Read       int     `json:"read"`       // events of the rule's source
	Candidates uint64  `json:"candidates"` // … that it was evaluated for
	Matches    uint64  `json:"matches"`
	NsPerEvent float64 `json:"ns_per_event"` // alone, over all events
	Allocs     float64 `json:"allocs_per_event"`
	// SetNs is the set's time without the rule, AddsNs what the rule adds to
	// it, both per event; what is below the noise reads zero.
	SetNs  float64 `json:"set_ns_per_event"`
	AddsNs float64 `json:"adds_ns_per_event"`
}

// Share is the rule's part of the time of the set that it is in.
func (p Price) Share() float64 {
	if all := p.SetNs + p.AddsNs; all > 0 {
		return p.AddsNs / all
	}
	return 0
}

// Of prices a rule on blocks of events, beside the other rules of a set, in as
// many rounds; at least one.
func Of(r *rule.Rule, set []*rule.Rule, blocks []*block.Block, rounds int) Price {
	own := rule.Matched([]*rule.Rule{r})
	var others []*rule.Rule
	for _, o := range set {
		if o.ID != r.ID {
			others = append(others, o)
		}
	}
	others = rule.Matched(others)
	p := Price{Rule: r.ID}
	for _, b := range blocks {
		p.Events += b.Rows()
		for row := range b.Rows() {
			for _, m := range own {
				if trace.Routed(m.Source, b, row) {
					p.Read++
					break
				}
			}
		}
	}
	alone := match.New(own)
	with, without := match.New(append(others[:len(others):len(others)], own...)), match.New(others)
	for _, m := range []*match.Matcher{alone, with, without} {
		once(m, blocks) // fills caches, as in a service that runs
	}
	before := alone.Stats()
	var mem, after runtime.MemStats
	runtime.ReadMemStats(&mem)
	once(alone, blocks)
	runtime.ReadMemStats(&after)
	p.Candidates, p.Matches = alone.Stats().Candidates-before.Candidates, alone.Stats().Matches-before.Matches
	n := float64(max(p.Events, 1))
	p.Allocs = float64(after.Mallocs-mem.Mallocs) / n
	best := [3]float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	for range max(rounds, 1) {
		for i, m := range []*match.Matcher{alone, with, without} {
			best[i] = min(best[i], pass(m, blocks))
		}
	}
	p.NsPerEvent, p.SetNs, p.AddsNs = best[0]/n, best[2]/n, max(0, best[1]-best[2])/n
	return p
}

// least is how long the passes of one measurement take together: a single one
// over few events is shorter than what disturbs it.
const least = 20 * time.Millisecond

// pass matches all blocks and returns the nanoseconds of one time.
func pass(m *match.Matcher, blocks []*block.Block) float64 {
	passes := 0
	start := time.Now()
	for {
		once(m, blocks)
		if passes++; time.Since(start) >= least {
			return float64(time.Since(start).Nanoseconds()) / float64(passes)
		}
	}
}

func once(m *match.Matcher, blocks []*block.Block) {
	for _, b := range blocks {
		m.Match(b, func(*rule.Rule, int) {})
	}
}
