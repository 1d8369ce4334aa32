package correlate

import (
	"slices"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Rounds finds out how far the alerts are that rules correlate: the clocks of
// AlertSource. When every partition has passed a tick, all alerts of events up
// to the tick's clocks are in the log. The next tick says so. When that has been
// passed, what rules make of those alerts is in the log too, and so on for each
// level of rules over rules. Where an alert may be told only some time after its
// events, because a backlog seems to come, the tick that is to be passed is one
// that much later.
type Rounds struct {
	waits   []int64    // by level, ms of received time
	lists   [][]passed // by level; the oldest first
	clocks  []int64    // for the rules of the level above; 0: not known yet
	awaited int64
}

// passed is a tick that the partitions are yet to pass.
type passed struct {
	seq   uint64 // 0: that of a tick to come, made at from or later
	from  int64  // ms since 1970; 0: the wait of its level after the next tick
	clock int64
}

// maxPassed bounds the ticks that wait to be passed; then every other is left out.
const maxPassed = 256

// Waits says how long the alerts of each level of rules may be told after their
// events, in ms; the length is the number of levels whose alerts others correlate.
func Waits(rules []*rule.Rule) []int64 {
	var out []int64
	for _, l := range linksOf(rules) {
		if l.feeds {
			out = append(out, make([]int64, max(l.level+1-len(out), 0))...)
			out[l.level] = max(out[l.level], l.wait)
		}
	}
	return out
}

// Set takes the waits of the rules that run now.
func (r *Rounds) Set(waits []int64) {
	r.waits = waits
	for len(r.lists) < len(waits) {
		r.lists, r.clocks = append(r.lists, nil), append(r.clocks, 0)
	}
	r.lists, r.clocks = r.lists[:len(waits)], r.clocks[:len(waits)]
}

// Restore begins with what a tick said of a source, and reports whether the
// source is one of alerts.
func (r *Rounds) Restore(source string, clock int64) bool {
	if !isAlertSource(source) {
		return false
	}
	for level := range r.clocks {
		if AlertSource(level+1) == source {
			r.clocks[level] = max(r.clocks[level], clock)
		}
	}
	return true
}

// Clocks are the sources of alerts with how far they are, for the next tick,
// which is made at a time in ms since 1970.
func (r *Rounds) Clocks(at int64) (out []Tick) {
	for level, clock := range r.clocks {
		if clock > 0 {
			out = append(out, Tick{Source: AlertSource(level + 1), Clock: clock, At: at})
		}
	}
	return out
}

// Waiting says that ticks are to be passed.
func (r *Rounds) Waiting() bool {
	return slices.ContainsFunc(r.lists, func(list []passed) bool { return len(list) > 0 })
}

// Tick takes that a tick was made, at a time and with the least clock of the
// sources that are waited for, both in ms since 1970. Its seq is above 0 and
// above that of the tick before.
func (r *Rounds) Tick(seq uint64, at, least int64) {
	if least > r.awaited && len(r.lists) > 0 {
		r.awaited = least
		r.lists[0] = append(r.lists[0], passed{clock: least})
	}
	for level, list := range r.lists {
		for k := range list {
			p := &list[k]
			if p.seq == 0 && p.from == 0 {
				p.from = at + r.waits[level]
			}
			if p.seq == 0 && at >= p.from {
				p.seq = seq
			}
		}
		if len(list) > maxPassed {
			n := 0
			for k := 1; k < len(list); k += 2 {
				list[n] = list[k]
				n++
			}
			r.lists[level] = list[:n]
		}
	}
}

// Passed takes that all partitions have passed the ticks up to seq, and that
// what followed from them is in the log. It reports whether that leads on.
func (r *Rounds) Passed(seq uint64) (on bool) {
	for level := len(r.lists) - 1; level >= 0; level-- {
		list, n := r.lists[level], 0
		for n < len(list) && list[n].seq != 0 && list[n].seq <= seq {
			n++
		}
		if n == 0 {
			continue
		}
		on = true
		clock := list[n-1].clock
		r.lists[level] = slices.Delete(list, 0, n)
		r.clocks[level] = max(r.clocks[level], clock)
		if level+1 < len(r.lists) {
			r.lists[level+1] = append(r.lists[level+1], passed{clock: clock})
		}
	}
	return on
}
