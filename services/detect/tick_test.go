package detect

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// Times are in seconds after an hour; the clock of "slow" is two minutes behind
// and it sends every five minutes, "old" was recorded long ago.
func TestIdleSources(t *testing.T) {
	const hour = int64(3600_000)
	s := &Service{log: slog.New(slog.DiscardHandler)}
	s.opts.Bus = testkit.Bus(t)
	x := newTicker(&leader{s: s, log: s.log})
	sec := func(n int64) int64 { return hour + n*1000 }
	for i := int64(0); i <= 600; i++ {
		x.merge("busy", sec(i), sec(i))
		if i%300 == 0 {
			x.merge("slow", sec(i-120), sec(i))
			x.merge("old", i, sec(i))
		}
	}
	x.merge("replayed", sec(5), 0)
	for name, tt := range map[string]struct {
		after             int64 // seconds
		busy, slow        int64 // clocks
		slowIdle, oldIdle bool
	}{
		"within the pause":                     {10, 600, 480, false, false},
		"a minute":                             {60, 600 + 60 - 15, 480, false, false},
		"within twice the gap of the slow one": {600, 600 + 600 - 15, 480, false, false},
		"beyond it":                            {900, 600 + 900 - 15, 480 + 900 - 600, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			y := newTicker(x.l)
			for n, c := range x.sources {
				cp := *c
				y.sources[n] = &cp
			}
			y.changed = false
			if err := y.idle(t.Context(), sec(600+tt.after)); err != nil {
				t.Fatal(err)
			}
			if got := y.sources["busy"].Clock; got != sec(tt.busy) {
				t.Errorf("busy is at %d, want %d", (got-hour)/1000, tt.busy)
			}
			if got := y.sources["slow"].Clock; got != sec(tt.slow) {
				t.Errorf("slow is at %d, want %d", (got-hour)/1000, tt.slow)
			}
			if y.sources["slow"].Idle != tt.slowIdle || y.sources["old"].Idle != tt.oldIdle || y.sources["busy"].Idle {
				t.Errorf("idle: slow %v, old %v, busy %v", y.sources["slow"].Idle, y.sources["old"].Idle, y.sources["busy"].Idle)
			}
			if y.changed || y.idled != (tt.after > 15) {
				t.Errorf("changed %v, idled %v", y.changed, y.idled)
			}
			y.merge("slow", sec(600), sec(1600))
			if y.sources["slow"].Idle {
				t.Error("it has sent, and is idle")
			}
		})
	}
	if err := x.idle(t.Context(), sec(600+int64(forgetAfter/time.Second)+1)); err != nil || len(x.sources) != 1 || !x.sources["replayed"].Idle || x.sources["replayed"].Clock != sec(5) {
		t.Errorf("after a day without a word: %+v, %v", x.sources, err)
	}
}

// What a leader heard while somebody else stored a tick, so that its own was
// refused, is told with its next.
func TestARefusedTickIsMadeUpFor(t *testing.T) {
	b := testkit.Bus(t)
	s := &Service{log: slog.New(slog.DiscardHandler)}
	s.opts.Bus = b
	s.matcher.Store(&generation{})
	const hour = int64(3600_000)
	told := func() map[string]int64 {
		rec, err := b.Last(t.Context(), subjects.StreamSignals, subjects.SignalsTick)
		if err != nil {
			t.Fatal(err)
		}
		var last tick
		if err := json.Unmarshal(rec.Data, &last); err != nil {
			t.Fatal(err)
		}
		out := map[string]int64{}
		for _, s := range last.Sources {
			out[s.Source] = s.Clock
		}
		return out
	}
	one, two := newTicker(&leader{s: s, log: s.log}), newTicker(&leader{s: s, log: s.log})
	one.merge("nginx.access", hour, hour)
	if err := one.publish(t.Context(), hour); err != nil {
		t.Fatal(err)
	}
	if err := two.restore(t.Context()); err != nil || two.changed {
		t.Fatalf("%v, changed %v", err, two.changed)
	}
	two.merge("litellm", 2*hour, 2*hour)
	if err := two.publish(t.Context(), 2*hour); err != nil {
		t.Fatal(err)
	}
	one.merge("nginx.access", 3*hour, 3*hour)
	if err := one.publish(t.Context(), 3*hour); err == nil {
		t.Fatal("one of two leaders did not notice the other")
	}
	if err := one.restore(t.Context()); err != nil || !one.changed {
		t.Fatalf("%v, changed %v", err, one.changed)
	}
	if err := one.publish(t.Context(), 4*hour); err != nil {
		t.Fatal(err)
	}
	if got, want := told(), (map[string]int64{"nginx.access": 3 * hour, "litellm": 2 * hour}); !maps.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// Blocks of which a leader hears nothing, here and there among others, are read
// together once they have been acknowledged for long enough: what an instance that
// was killed has matched costs one wait, and not one each.
func TestBlocksThatNobodyTellsOf(t *testing.T) {
	b := testkit.Bus(t)
	s := &Service{log: slog.New(slog.DiscardHandler)}
	s.opts.Bus = b
	x := newTicker(&leader{s: s, log: s.log})
	const blocks = 9
	for seq := uint64(1); seq <= blocks; seq++ {
		publish(t, b, strconv.FormatUint(seq, 10), failures("192.0.2.1", int(seq), 1))
		if seq%2 == 0 {
			x.known[seq] = observation{Seq: seq, Sources: []observed{{Name: "told", Clock: int64(seq)}}}
		}
	}
	if err := x.cover(t.Context(), blocks-1); err != nil || x.covered != 0 {
		t.Fatalf("covered up to %d at once, %v", x.covered, err)
	}
	x.floors[0].at = x.floors[0].at.Add(-askAfter) // time passes
	if err := x.cover(t.Context(), blocks); err != nil || x.covered != blocks-1 {
		t.Fatalf("covered up to %d, want %d; %v", x.covered, blocks-1, err)
	}
	if len(x.sources) != 2 || x.sources["told"].Clock != blocks-1 {
		t.Errorf("sources %v", slices.Sorted(maps.Keys(x.sources)))
	}
	if len(x.floors) != 1 || x.floors[0].floor != blocks { // acknowledged just now
		t.Errorf("floors %v", x.floors)
	}
}

// A sender's wrong clock takes its source a minute ahead at most.
func TestAClockThatIsAhead(t *testing.T) {
	received := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for name, tt := range map[string]struct{ event, want int64 }{
		"behind": {received - 5000, received - 5000}, "a little ahead": {received + 5000, received + 5000},
		"years ahead": {received + 1e12, received + maxAhead},
	} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []string{"nginx.access", auto} {
				o := clocks(7, received, eventAt(t, source, tt.event))
				if len(o.Sources) != 1 || o.Sources[0].Name != "nginx.access" || o.Sources[0].Clock != tt.want || o.Seq != 7 {
					t.Errorf("block of %s: %+v, want clock %d", source, o, tt.want)
				}
			}
		})
	}
}

// What is kept of a block's sources does not change with the block's memory.
func TestObservationsOutliveTheirBlock(t *testing.T) {
	b := block.NewBuilder(event.FamilyNetwork)
	names := []string{"nginx.access", "vllm.server", "wazuh.alerts"}
	for _, name := range names {
		b.SetString(event.Source, name)
		b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		b.EndRow()
	}
	data := b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: auto})
	s := &Service{log: slog.New(slog.DiscardHandler)}
	var x block.Block
	if err := block.Decode(data, &x); err != nil {
		t.Fatal(err)
	}
	o := s.observe(&bus.Delivery{NumDelivered: 1}, &x)
	clear(data)
	dict := x.Column(event.Source).Dict()
	for i := range len(names) + 1 { // the next block is decoded into the same memory
		clear(dict.Bytes(i))
	}
	var got []string
	for _, src := range o.Sources {
		got = append(got, src.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("sources %q, want %q", got, names)
	}
}

func eventAt(t *testing.T, source string, ms int64) *block.Block {
	t.Helper()
	b := block.NewBuilder(event.FamilyNetwork)
	b.SetInt(event.Time, ms)
	b.SetString(event.Source, "nginx.access")
	b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
	b.EndRow()
	var out block.Block
	if err := block.Decode(b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: source}), &out); err != nil {
		t.Fatal(err)
	}
	return &out
}
