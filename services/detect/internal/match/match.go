// Package match decides which rules match which events of a block. It keeps no
// state between blocks but caches, so any number of instances give the same
// result on any split of the events.
package match

import (
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Matcher evaluates a fixed set of rules. One goroutine at a time may use it.
type Matcher struct {
	rules []compiled
	scope scope
	// failed counts evaluations that ended in an error, by rule.
	failed []uint64
}

// Failures is the number of evaluations that ended in an error so far; a
// failed evaluation is no match.
func (m *Matcher) Failures() uint64 {
	sum := uint64(0)
	for _, n := range m.failed {
		sum += n
	}
	return sum
}

// New compiles rules; disabled ones are left out.
func New(rules []*rule.Rule) *Matcher {
	m := &Matcher{}
	for _, r := range rules {
		if !r.Disabled {
			m.rules = append(m.rules, newCompiled(r))
		}
	}
	m.failed = make([]uint64, len(m.rules))
	return m
}

// Match calls emit for every match, in order of row.
func (m *Matcher) Match(b *block.Block, emit func(r *rule.Rule, row int)) {
	m.scope.open(b)
	for row := range b.Rows() {
		m.scope.seek(row)
		for i := range m.rules {
			c := &m.rules[i]
			if c.rule.Source.Families&(1<<b.Header.Family) == 0 {
				continue
			}
			ok, err := c.matches(&m.scope)
			if err != nil {
				m.failed[i]++
			}
			if ok {
				emit(c.rule, row)
			}
		}
	}
}
