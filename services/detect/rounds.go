package detect

import (
	"context"
	"slices"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// alertSource is the source of signals that are alerts of other rules. Its clock
// is how far all partitions are: the clocks of a tick that all of them have
// passed, so that every alert that follows from it is in the log before. Alerts
// of rules that correlate alerts themselves need a round more.
const (
	alertSource = "vagus.alerts"
	alertRounds = 2
)

// passed is a tick that the partitions are yet to pass.
type passed struct {
	seq   uint64 // of SIGNALS; 0 as long as it is to be the next one
	clock int64  // the least of the sources that are waited for
}

// maxPassed bounds the ticks that wait to be passed; then every other is left out.
const maxPassed = 256

// pass finds out how far all partitions are.
func (t *ticker) pass(ctx context.Context) error {
	if len(t.rounds[0])+len(t.rounds[1]) == 0 {
		return nil
	}
	floors, err := t.l.s.opts.Bus.Floors(ctx, subjects.StreamSignals)
	if err != nil {
		return err
	}
	least := ^uint64(0)
	for number := range subjects.SignalPartitions {
		least = min(least, floors[checkpointName(number)])
	}
	for i := len(t.rounds) - 1; i >= 0; i-- {
		n := 0
		for n < len(t.rounds[i]) && t.rounds[i][n].seq != 0 && t.rounds[i][n].seq <= least {
			n++
		}
		if n == 0 {
			continue
		}
		clock := t.rounds[i][n-1].clock
		t.rounds[i] = slices.Delete(t.rounds[i], 0, n)
		if i+1 < len(t.rounds) {
			// What follows from them is before the next tick.
			t.rounds[i+1] = append(t.rounds[i+1], passed{clock: clock})
			t.idled = true
		} else if clock > t.alerts {
			t.alerts, t.idled = clock, true
		}
	}
	return nil
}

// await notes a tick that the partitions are to pass.
func (t *ticker) await(seq uint64) {
	least := int64(0)
	for _, c := range t.sources {
		if !c.Idle && (least == 0 || c.Clock < least) {
			least = c.Clock
		}
	}
	for i := range t.rounds[1:] {
		for k := range t.rounds[1+i] {
			if p := &t.rounds[1+i][k]; p.seq == 0 {
				p.seq = seq
			}
		}
	}
	if least > t.awaited {
		t.awaited = least
		t.rounds[0] = append(t.rounds[0], passed{seq, least})
	}
	for i, list := range t.rounds {
		if len(list) > maxPassed {
			n := 0
			for k := 1; k < len(list); k += 2 {
				list[n] = list[k]
				n++
			}
			t.rounds[i] = list[:n]
		}
	}
}
