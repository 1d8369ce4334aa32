package match

import (
	"bytes"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Sample is what matchers have learned of the events: of every kind of event
// that a rule wants, the texts of a few rows. It decides which parts of rules
// are witnesses, so it changes what matching costs and never what matches. It
// stays in memory, is bounded, and may be shared by several goroutines.
type Sample struct {
	mu     sync.Mutex
	strata map[routeKey]*stratum
	events uint64
	size   int // bytes of texts
}

// stratum is a sample of the events of one kind.
type stratum struct {
	seen uint64 // blocks that had such events, as a weight
	rows []texts
}

// texts are the folded texts of an event; whoever has one only reads it.
type texts map[lang.Field]string

// The bounds of a sample.
const (
	sampleRows   = 96      // of one kind of event
	sampleKinds  = 256     // kinds of event
	sampleValue  = 1024    // bytes of one text
	sampleBytes  = 8 << 20 // of all texts
	sampleBlocks = 16      // once a kind has its rows, every so many blocks replace one
)

// NewSample makes an empty sample.
func NewSample() *Sample { return &Sample{strata: map[routeKey]*stratum{}} }

// Events is the number of events in the blocks that the sample was taken from.
func (s *Sample) Events() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// learn takes a row of every kind of event in the block at hand that the sample
// still lacks some of.
func (s *Sample) learn(b *block.Block, m *Matcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events += uint64(b.Rows())
	r := &m.router
	n := len(r.rows)
	start := int(m.blocks * 7919 % uint64(n))
	taken := 0
	for place, at := range r.local {
		if !at.some {
			continue
		}
		st := s.strata[at.key]
		if st == nil {
			if len(s.strata) >= sampleKinds {
				continue
			}
			st = &stratum{}
			s.strata[at.key] = st
		}
		st.seen++
		if len(st.rows) >= sampleRows && st.seen%sampleBlocks != 0 || taken >= 8 {
			continue
		}
		for i := range n {
			if row := (start + i) % n; r.rows[row] == uint16(place) {
				s.take(st, m, at, row)
				taken++
				break
			}
		}
	}
}

func (s *Sample) take(st *stratum, m *Matcher, at *route, row int) {
	values := texts{}
	size := 0
	for _, id := range at.learn {
		c := m.scope.cols[id]
		if c == nil || c.Kind() == event.KindKeywords || !c.Kind().Text() {
			continue
		}
		if v := c.Text(row); v != "" {
			f := m.fields.field(id)
			values[f] = strings.Clone(lang.Fold(v[:min(len(v), sampleValue)]))
			size += len(values[f])
		}
	}
	if s.size+size > sampleBytes {
		return
	}
	s.size += size
	if len(st.rows) < sampleRows {
		st.rows = append(st.rows, values)
		return
	}
	old := &st.rows[st.seen/sampleBlocks%sampleRows]
	for _, v := range *old {
		s.size -= len(v)
	}
	*old = values
}

// rows returns sampled events with a need.
func (s *Sample) rows(n *need) []texts {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []texts
	for k, st := range s.strata {
		if len(out) < 2*sampleRows && n.fits(&k) {
			out = append(out, st.rows...)
		}
	}
	return out
}

// holdsIn says whether a literal holds in a sampled row; not ok if the row does
// not tell.
func holdsIn(l *lang.Literal, row texts) (holds, ok bool) {
	if l.View == lang.Anywhere || l.Field.Kind() == event.KindKeywords || !l.Field.Kind().Text() {
		return false, false
	}
	v := row[l.Field]
	switch l.Kind {
	case lang.LitEq:
		return v == l.Text, true
	case lang.LitPrefix:
		return strings.HasPrefix(v, l.Text), true
	case lang.LitSuffix:
		return strings.HasSuffix(v, l.Text), true
	case lang.LitContains:
		return strings.Contains(v, l.Text), true
	case lang.LitPresent:
		return v != "", true
	}
	return false, false
}

// grams tells in what share of the sampled texts about a gram of four bytes
// occurs.
func (s *Sample) grams() func(gram []byte) float64 {
	if s == nil {
		return neverSeen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make([]uint16, 1<<16)
	texts := 1
	for _, st := range s.strata {
		for _, row := range st.rows {
			for _, v := range row {
				texts++
				for i := 0; i+4 <= len(v); i++ {
					if c := &counts[gramHash(v[i:i+4])]; *c < 1<<16-1 {
						*c++
					}
				}
			}
		}
	}
	return func(gram []byte) float64 {
		if len(gram) != 4 {
			return 0
		}
		return float64(counts[gramHash(string(bytes.Clone(gram)))]) / float64(texts)
	}
}

func gramHash(g string) uint16 {
	k := uint32(g[0]) | uint32(g[1])<<8 | uint32(g[2])<<16 | uint32(g[3])<<24
	return uint16(k * 0x9E3779B1 >> 16)
}
