package correlate

import "math"

// never is earlier than all times, with room to calculate.
const never = math.MinInt64 / 4

// forever is later than all times.
const forever = math.MaxInt64 / 4

// latest bounds the times of events, so that sums of times stay sound.
const latest = int64(1) << 52

// idleAfter is how long a source may stand still, in received time, before
// others do not wait for it any more.
const idleAfter = 5 * 60_000

// source is a source of events and how far it has come.
type source struct {
	name  string
	clock int64 // newest event time, at most when it was received
	moved int64 // received time of the log when it last moved
	idle  bool
	feeds []*ruleState
}

// sourceOf finds or makes a source.
func (c *Correlator) sourceOf(name string) *source {
	x := c.sources[name]
	if x == nil {
		x = &source{name: string(append([]byte(nil), name...)), clock: never, moved: c.received}
		c.sources[x.name] = x
		for _, s := range c.rules {
			if s.awaits(x.name) {
				c.feed(s, x)
			}
		}
	}
	return x
}

// feed notes that the rule waits for the source.
func (c *Correlator) feed(s *ruleState, x *source) {
	for _, y := range s.fed {
		if y == x {
			return
		}
	}
	s.fed = append(s.fed, x)
	x.feeds = append(x.feeds, s)
}

// watermark is the event time before which the rule expects nothing: the least
// clock of the sources that are not idle, minus the allowed lateness.
func (c *Correlator) watermark(s *ruleState) int64 {
	least := int64(forever)
	for _, x := range s.fed {
		// The alerts of other rules are always waited for: that they stand still
		// means that some partition does.
		if isAlertSource(x.name) || !x.idle && c.received-x.moved <= idleAfter {
			least = min(least, x.clock)
		}
	}
	if least == forever {
		return s.mark
	}
	return max(s.mark, least-s.late)
}

// timer is when a group has something to judge, by the watermark.
type timer struct {
	due   int64
	group uint32
	hash  uint64 // so that a group that took the place of another is not meant
}

// timers is a heap of timers, the earliest first.
type timers []timer

func (h *timers) push(t timer) {
	*h = append(*h, t)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if q[up].due <= q[i].due {
			break
		}
		q[up], q[i] = q[i], q[up]
		i = up
	}
}

func (h *timers) pop() timer {
	q := *h
	out := q[0]
	last := len(q) - 1
	q[0] = q[last]
	q = q[:last]
	for i := 0; ; {
		least := i
		for _, k := range [...]int{2*i + 1, 2*i + 2} {
			if k < last && q[k].due < q[least].due {
				least = k
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	*h = q
	return out
}
