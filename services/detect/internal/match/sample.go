package match

import "github.com/vagus-hub/vagus/services/detect/internal/lang"

// Sample is what was learned of the events.
type Sample struct{}

// shares estimates, for each clause, the share of the events with a need that
// fulfil it.
func (s *Sample) shares(n *need, clauses []lang.Clause) []float64 {
	out := make([]float64, len(clauses))
	for i := range clauses {
		out[i] = clauses[i].Cost
	}
	return out
}

// grams tells how often a gram occurs.
func (s *Sample) grams() func([]byte) float64 { return func([]byte) float64 { return 0 } }
