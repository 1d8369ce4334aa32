package bus

import (
	"log/slog"
	"testing"
)

// What the server gives only after a later one was not handled, however much
// later that was.
func TestWhatAnOrderedConsumerHasHandled(t *testing.T) {
	r := &consumption{}
	handled := func(want map[uint64]bool) {
		t.Helper()
		for seq, w := range want {
			if got := seq <= r.lastSeq && r.handled(seq); got != w {
				t.Errorf("%d: handled %v; last %d, skipped %v", seq, got, r.lastSeq, r.skipped)
			}
		}
	}
	r.reached(18) // 17 was pending when the process began
	handled(map[uint64]bool{1: false, 17: false, 18: true, 19: false})
	r.back(16)
	handled(map[uint64]bool{16: false, 17: false, 18: false})
	for _, seq := range []uint64{17, 18, 19, 30, 31} {
		r.reached(seq)
	}
	handled(map[uint64]bool{16: false, 17: true, 19: true, 20: false, 29: false, 30: true, 31: true})
	r.back(24)
	handled(map[uint64]bool{19: true, 20: false, 24: false, 30: false})
	for seq := uint64(40); seq < 40+4*maxGaps; seq += 2 {
		r.reached(seq)
	}
	last := uint64(40 + 4*maxGaps - 2)
	handled(map[uint64]bool{17: false, last: true, last - 1: false, last - 2: true})
	if len(r.skipped) > maxGaps {
		t.Errorf("%d gaps", len(r.skipped))
	}
}

// An ordered consumer that is given a later message first goes back, and does
// not acknowledge the earlier one.
func TestALaterMessageFirst(t *testing.T) {
	r := &consumption{c: Consumer{Ordered: true, MaxInFlight: 9, MaxBytesInFlight: 1 << 20}, bus: &Bus{}, log: slog.New(slog.DiscardHandler),
		inflight: map[uint64]*Delivery{}, room: make(chan struct{}), restart: make(chan error, 1), stats: &consumerStats{}}
	if !r.admit(t.Context(), &Delivery{Seq: 18, dseq: 40, run: r}) {
		t.Fatal("the first is not taken")
	}
	if r.admit(t.Context(), &Delivery{Seq: 17, dseq: 41, run: r}) { // its msg is nil: acknowledging it would panic
		t.Fatal("17 is taken after 18")
	}
	if err := <-r.restart; err != errResync {
		t.Errorf("the session goes on: %v", err)
	}
	r.forget(&Delivery{Seq: 18})
	r.lastDseq = 0 // the next session
	for i, seq := range []uint64{17, 18} {
		if !r.admit(t.Context(), &Delivery{Seq: seq, dseq: uint64(50 + i), run: r}) {
			t.Errorf("%d is not taken in order", seq)
		}
	}
}
