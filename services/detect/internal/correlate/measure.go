package correlate

import (
	"math"
	"math/bits"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// unit is what numbers are counted in: whole millionths. Sums of them are exact
// and do not depend on the order.
const unit = 1e6

// fixed turns a number into millionths; what is beyond 9.2e12 is cut.
func fixed(v float64) uint64 {
	switch {
	case v != v:
		return 0
	case v >= math.MaxInt64/unit:
		return math.MaxInt64
	case v <= math.MinInt64/unit:
		return uint64(1) << 63 // the least
	}
	return uint64(int64(math.Round(v * unit)))
}

// sum is a 128-bit sum of millionths.
type sum struct {
	hi int64
	lo uint64
}

func (s *sum) add(v int64) {
	lo, carry := bits.Add64(s.lo, uint64(v), 0)
	s.lo = lo
	s.hi += v>>63 + int64(carry)
}

func (s *sum) sub(v int64) {
	lo, borrow := bits.Sub64(s.lo, uint64(v), 0)
	s.lo = lo
	s.hi -= v>>63 + int64(borrow)
}

func (s *sum) float() float64 {
	return (float64(s.hi)*(1<<64) + float64(s.lo)) / unit
}

// measure is what a window comes to. All of it can be added up in any order.
type measure struct {
	n      int64 // events
	total  sum
	below  [2]int64 // events whose number is below that of each comparison …
	equal  [2]int64 // … or equal to it
	values *values  // distinct
}

func (m *measure) add(p *plan, e *seen) {
	m.n++
	switch p.kind {
	case counting:
		m.n += hidden(e)
	case distinct:
		if m.values == nil {
			m.values = &values{}
		}
		m.values.add(e.aux)
	case summing, averaging:
		m.total.add(int64(e.aux))
	case percentile:
		for i := range min(len(p.c.Condition), 2) {
			switch v, x := int64(e.aux), p.edges[i]; {
			case v < x:
				m.below[i]++
			case v == x:
				m.equal[i]++
			}
		}
	}
}

// sub takes an event out again. Not for distinct, which cannot.
func (m *measure) sub(p *plan, e *seen) {
	m.n--
	switch p.kind {
	case counting:
		m.n -= hidden(e)
	case summing, averaging:
		m.total.sub(int64(e.aux))
	case percentile:
		for i := range min(len(p.c.Condition), 2) {
			switch v, x := int64(e.aux), p.edges[i]; {
			case v < x:
				m.below[i]--
			case v == x:
				m.equal[i]--
			}
		}
	}
}

// holds says what was measured and whether the condition holds of it. Of a
// percentile only its place around the thresholds is known, which is all that
// the condition needs: the value is then the first threshold.
func (m *measure) holds(p *plan) (float64, bool) {
	switch p.kind {
	case counting:
		return float64(m.n), p.c.Holds(float64(m.n))
	case distinct:
		v := float64(0)
		if m.values != nil {
			v = float64(m.values.count())
		}
		return v, p.c.Holds(v)
	case summing:
		return m.total.float(), p.c.Holds(m.total.float())
	case averaging:
		v := m.total.float() / float64(m.n)
		return v, m.n >= int64(p.c.MinEvents) && p.c.Holds(v)
	}
	// The nearest rank: the least value that at least so many are not above.
	rank := max(int64(math.Ceil(p.c.Percentile/100*float64(m.n))), 1)
	for i := range min(len(p.c.Condition), 2) {
		// The percentile is below, equal to or above the threshold.
		var v float64
		switch {
		case rank <= m.below[i]:
			v = -1
		case rank > m.below[i]+m.equal[i]:
			v = 1
		}
		if !(rule.Comparison{Op: p.c.Condition[i].Op}).Holds(v) {
			return 0, false
		}
	}
	return p.c.Threshold(), m.n >= int64(p.c.MinEvents)
}

func (m measure) clone() measure {
	m.values = m.values.clone()
	return m
}
