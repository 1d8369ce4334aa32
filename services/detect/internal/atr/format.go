package atr

import "github.com/vagus-hub/vagus/services/detect/internal/rule"

// Format makes ATR's files load as they are.
type Format struct{}

var _ rule.Format = Format{}

// Recognize implements rule.Format.
func (Format) Recognize(data []byte) bool { return Recognize(data) }

// Load implements rule.Format.
func (Format) Load(files []rule.File) ([]*rule.Rule, []rule.Problem) {
	var rules []*rule.Rule
	var problems []rule.Problem
	for _, f := range files {
		c := Convert(f.Name, f.Data)
		problems = append(problems, c.Problems...)
		if c.Rule != nil {
			rules = append(rules, c.Rule)
		}
	}
	return rules, problems
}
