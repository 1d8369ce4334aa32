package correlate

import (
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// tellers numbers the sources of a rule's events, so that an alert can name those
// of its own. Many are kept as bits.
type tellers struct {
	names  []string // by number
	last   string   // Source of the signal before, and its number
	number uint8
}

// Bounds of tellers: further sources of a rule, and of an alert, are not named.
const (
	maxTellers = 63
	maxSources = 16
)

// clockAnd is the source whose clock a signal follows, and those that it is from,
// in one text. The signal of an alert has both (OfAlert).
func clockAnd(sig *finding.Signal) (clock, from string) {
	if sig.Family == ofAlerts {
		return cutKey(sig.Source)
	}
	return sig.Source, sig.Source
}

// hear notes which sources a signal is from.
func (c *Correlator) hear(s *ruleState, sig *finding.Signal) {
	if i := slices.Index(s.tellers.names, sig.Source); i >= 0 && sig.Family != ofAlerts {
		s.tellers.last, s.tellers.number = s.tellers.names[i], uint8(i)
		return
	}
	clock, from := clockAnd(sig)
	c.feed(s, c.sourceOf(clock))
	s.tellers.last, s.tellers.number = strings.Clone(sig.Source), s.tellers.numberOf(from)
}

// numberOf is the number of a source; all beyond the bound share one.
func (t *tellers) numberOf(from string) uint8 {
	i := slices.Index(t.names, from)
	if i < 0 {
		if i = len(t.names); i < maxTellers {
			t.names = append(t.names, strings.Clone(from))
		}
	}
	return uint8(i)
}

// of lists the sources of events, sorted.
func (t *tellers) of(bits uint64) []string {
	var out []string
	for i, from := range t.names {
		if bits&(1<<i) == 0 {
			continue
		}
		for name := range strings.SplitSeq(from, "\x1f") {
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxSources)]
}
