package match

import (
	"math"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// plan chooses the witnesses of a unit: first the part that the fewest events
// fulfil, then whatever holds least often when those before hold.
type plan struct {
	clauses []lang.Clause
	facts   [][]bool // by clause and sampled row; nil: the rows do not tell
	rows    []bool   // that fulfil the witnesses chosen so far
	taken   []int
}

// The bounds of further witnesses.
const (
	maxGates    = 2
	maxGate     = 0.7 // share of events above which one is not worth its place in the index
	maxGateLits = 128
	maxLearned  = 256 // literals of a clause that are compared with the rows
	assumed     = 8   // an assumption counts as much as so many rows
)

func newPlan(clauses []lang.Clause, rows []texts) *plan {
	p := &plan{clauses: clauses, facts: make([][]bool, len(clauses)), rows: make([]bool, len(rows))}
	for i := range rows {
		p.rows[i] = true
	}
	if len(clauses) < 2 {
		return p
	}
	for i := range clauses {
		p.facts[i] = factsOf(&clauses[i], rows)
	}
	return p
}

func factsOf(c *lang.Clause, rows []texts) []bool {
	if len(c.Literals) > maxLearned {
		return nil
	}
	out := make([]bool, len(rows))
	for i, row := range rows {
		for j := range c.Literals {
			holds, ok := holdsIn(&c.Literals[j], row)
			if !ok {
				return nil
			}
			if out[i] = holds; holds {
				break
			}
		}
		out[i] = out[i] != c.Refused
	}
	return out
}

// first chooses the first witness, -1 if there is none.
func (p *plan) first() int {
	return p.rarest(1, func(c *lang.Clause) bool { return !c.Refused })
}

// next chooses a further one.
func (p *plan) next() int { return p.rarest(maxGate, gated) }

// gated says that a clause may be a further witness: literals over ordinary
// fields, and not many.
func gated(c *lang.Clause) bool {
	return len(c.Literals) <= maxGateLits && !slices.ContainsFunc(c.Literals, func(l lang.Literal) bool { return l.View == lang.Anywhere })
}

// rarest takes the clause with the least share, which must not be above a bound.
func (p *plan) rarest(bound float64, fits func(*lang.Clause) bool) int {
	best, least := -1, math.Inf(1)
	for i := range p.clauses {
		c := &p.clauses[i]
		if !fits(c) || slices.ContainsFunc(p.taken, func(j int) bool { return p.clauses[j].Node == c.Node }) {
			continue
		}
		s := p.share(i)
		if s < least || s == least && len(c.Literals) < len(p.clauses[best].Literals) {
			best, least = i, s
		}
	}
	if best < 0 || least > bound && len(p.taken) > 0 {
		return -1
	}
	p.taken = append(p.taken, best)
	if f := p.facts[best]; f != nil {
		for i := range p.rows {
			p.rows[i] = p.rows[i] && f[i]
		}
	}
	return best
}

// share estimates in what share of the events that fulfil the chosen witnesses
// a clause holds, too.
func (p *plan) share(i int) float64 {
	guess := p.guess(i)
	f := p.facts[i]
	if f == nil {
		return guess
	}
	hits, of := 0, 0
	for j, on := range p.rows {
		if on {
			of++
			if f[j] {
				hits++
			}
		}
	}
	return (float64(hits) + assumed*guess) / float64(of+assumed)
}

// guess is the share without a sample. A part that refuses is there because
// much of what fulfils the others is harmless, so it holds less often among
// these than among all events. A part that another one implies says nothing.
func (p *plan) guess(i int) float64 {
	c := &p.clauses[i]
	guess := min(c.Cost, 1)
	if c.Refused && len(p.taken) > 0 {
		guess /= 2
	}
	for _, j := range p.taken {
		if !c.Refused && implies(&p.clauses[j], c) {
			return 1
		}
	}
	return guess
}

// implies says that a text that holds a literal of one clause holds one of
// another, too.
func implies(c, d *lang.Clause) bool {
	if c.Refused {
		return false
	}
	for i := range c.Literals {
		l := &c.Literals[i]
		if !slices.ContainsFunc(d.Literals, func(k lang.Literal) bool {
			return k.Field == l.Field && (k.Kind == lang.LitPresent || k.Kind == lang.LitContains && strings.Contains(l.Text, k.Text))
		}) {
			return false
		}
	}
	return true
}
