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

// SetPrice is what a whole set of rules costs. Times are of the matching stage
// alone, on one core, the least of the rounds.
type SetPrice struct {
	Rules           int     `json:"rules"`
	Events          int     `json:"events"`
	CompileSeconds  float64 `json:"compile_seconds"` // building the index
	NsPerEvent      float64 `json:"ns_per_event"`
	EventsPerSecond float64 `json:"events_per_second"`
	// Applicable is the number of rules of an event's source; of these
	// Candidates are evaluated, which is the share CandidateShare. Sampled.
	Applicable     float64 `json:"applicable_rules_per_event"`
	Candidates     float64 `json:"candidates_per_event"`
	CandidateShare float64 `json:"candidate_share"`
	Matches        float64 `json:"matches_per_event"`
	Allocs         float64 `json:"allocs_per_event"`
}

// OfSet prices a set on blocks of events, in as many rounds; at least one. With
// learn the set first sees the events once, as in a hub that has run.
func OfSet(set []*rule.Rule, blocks []*block.Block, rounds int, learn bool) SetPrice {
	rules := rule.Matched(set)
	p := SetPrice{Rules: len(rules)}
	for _, b := range blocks {
		p.Events += b.Rows()
	}
	n := float64(max(p.Events, 1))
	var sample *match.Sample
	if learn {
		sample = match.NewSample()
		once(match.NewLearned(rules, sample), blocks)
	}
	start := time.Now()
	m := match.NewLearned(rules, sample)
	p.CompileSeconds = time.Since(start).Seconds()
	for range 2 {
		once(m, blocks) // fills caches, as in a service that runs
	}
	before := m.Stats()
	var mem, after runtime.MemStats
	runtime.ReadMemStats(&mem)
	once(m, blocks)
	runtime.ReadMemStats(&after)
	p.Allocs = float64(after.Mallocs-mem.Mallocs) / n
	p.Candidates, p.Matches = float64(m.Stats().Candidates-before.Candidates)/n, float64(m.Stats().Matches-before.Matches)/n
	best := math.Inf(1)
	for range max(rounds, 1) {
		best = min(best, pass(m, blocks))
	}
	p.NsPerEvent, p.EventsPerSecond = best/n, n*1e9/best
	if p.Applicable = applicable(rules, blocks, p.Events); p.Applicable > 0 {
		p.CandidateShare = p.Candidates / p.Applicable
	}
	return p
}

// maxLooked bounds the events that applicable rules are counted for.
const maxLooked = 2000

// applicable is the mean number of rules of an event's source.
func applicable(rules []*rule.Rule, blocks []*block.Block, events int) float64 {
	step, at, looked, sum := max(1, events/maxLooked), 0, 0, 0
	for _, b := range blocks {
		for row := range b.Rows() {
			if at++; at%step != 0 {
				continue
			}
			looked++
			for _, r := range rules {
				if trace.Routed(r.Source, b, row) {
					sum++
				}
			}
		}
	}
	return float64(sum) / float64(max(looked, 1))
}
