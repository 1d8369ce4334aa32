package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// tick is a message in the log of every partition. It says how far the clocks
// of the sources are, where a source's clock is its newest event in the blocks
// up to Floor. Every signal of those blocks comes before it in the log.
type tick struct {
	Floor   uint64       `json:"floor"` // sequence of EVENTS
	At      int64        `json:"at"`    // when it was made, ms since 1970
	Sources []sourceTick `json:"sources"`
}

// sourceTick is one source of a tick.
type sourceTick struct {
	Source string `json:"source"`
	Clock  int64  `json:"clock"`          // ms since 1970
	Idle   bool   `json:"idle,omitempty"` // not to be waited for
}

// Bounds of ticks.
const (
	forgetAfter = 24 * time.Hour   // of a source that sends nothing
	askAfter    = time.Second      // a block is read if nobody has told of it
	floorEvery  = 10 * time.Second // a tick that says nothing but a new floor
	maxSources  = 4096
	maxBehind   = 4096 // blocks that are looked at again when there is no tick to begin with
)

// A source is idle when it has sent nothing for idleAfter, or twice its longest
// usual gap, while nothing waits to be matched. Its clock then goes on as real
// time does, so that what it does not send is noticed. Ticks that say only that
// come in these intervals, a tenth of how long all sources have been idle.
//
// Recorded logs that were sent once have clocks far behind: idle sources that
// are behind others by farBehind are not to be waited for.
const (
	farBehind   = 10 * time.Minute
	idleAfter   = 15 * time.Second
	idleSoonest = 5 * time.Second
	idleLatest  = time.Minute
)

// clock is what the ticker knows of a source. Times are in ms since 1970.
type clock struct {
	sourceTick
	event int64 // its newest event
	seen  int64 // when it sent last, by the leader's clock
	gap   int64 // its longest usual time between two blocks
}

// ticker makes the ticks; one goroutine uses it.
//
// The consumer's ack floor says up to which block all signals are durable,
// whichever instance matched which block. So a tick is a function of its floor,
// and never overtakes a signal.
type ticker struct {
	l       *leader
	sources map[string]*clock
	known   map[uint64]observation // above covered
	covered uint64                 // blocks up to here are in sources
	last    uint64                 // sequence of the last tick, 0 if there is none
	told    tick                   // without Sources
	changed bool                   // since the last tick, by events
	idled   bool                   // since the last tick, by time alone
	busy    int64                  // when a source has sent last, as clock.seen
	rounds  correlate.Rounds       // how far alerts of alerts are
	floors  []floorAt              // ack floors above covered, and when they were first seen
}

// floorAt is an ack floor and when it was reached.
type floorAt struct {
	floor uint64
	at    time.Time
}

func newTicker(l *leader) *ticker {
	return &ticker{l: l, sources: map[string]*clock{}, known: map[uint64]observation{}}
}

// run publishes ticks until ctx ends.
func (t *ticker) run(ctx context.Context) {
	every := t.l.s.opts.TickInterval
	loop := time.NewTicker(every)
	defer loop.Stop()
	restored := false
	asked := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-loop.C:
		}
		if !restored {
			if err := t.restore(ctx); err != nil {
				t.l.log.Debug("ticks wait", "error", err)
				continue
			}
			restored = true
		}
		// At rest the bus is asked now and then only.
		if heard := t.listen(); !heard && len(t.known) == 0 && !t.changed && time.Since(asked) < 10*every {
			continue
		}
		asked = time.Now()
		if err := t.round(ctx); err != nil && ctx.Err() == nil {
			// Somebody else may lead, or it is not known whether the tick is stored.
			restored = false
			t.l.log.Debug("tick", "error", err)
		}
	}
}

// restore begins with the last tick.
func (t *ticker) restore(ctx context.Context) error {
	rec, err := t.l.s.opts.Bus.Last(ctx, subjects.StreamSignals, subjects.SignalsTick)
	switch {
	case err == nil:
		var last tick
		if err := json.Unmarshal(rec.Data, &last); err != nil {
			return fmt.Errorf("read tick %d: %w", rec.Seq, err)
		}
		t.last, t.told = rec.Seq, tick{Floor: last.Floor, At: last.At}
		t.covered = max(t.covered, last.Floor)
		t.rounds.Set(t.l.s.matcher.Load().waits)
		now, told, untold := time.Now().UnixMilli(), 0, false
		for _, s := range last.Sources {
			if t.rounds.Restore(s.Source, s.Clock) {
				continue
			}
			told++
			if c := t.sources[s.Source]; c != nil && c.Clock > s.Clock {
				untold = true
				continue
			}
			t.merge(s.Source, s.Clock, now)
			t.sources[s.Source].Idle = s.Idle
		}
		// What was heard since that tick, or could not be published, is still news.
		t.changed = untold || len(t.sources) > told
		return nil
	case !errors.Is(err, bus.ErrNotFound):
		return err
	}
	t.last = 0
	pos, err := t.l.s.opts.Bus.Position(ctx, subjects.StreamEvents, Durable)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	t.covered = max(t.covered, pos.AckFloor-min(pos.AckFloor, maxBehind))
	return nil
}

// listen takes what was heard.
func (t *ticker) listen() bool {
	t.l.mu.Lock()
	heard := t.l.heard
	t.l.heard = nil
	t.l.mu.Unlock()
	for _, o := range heard {
		if o.Seq > t.covered {
			t.known[o.Seq] = o
		}
	}
	return len(heard) > 0
}

// round goes on to the ack floor and publishes a tick if there is news.
func (t *ticker) round(ctx context.Context) error {
	pos, err := t.l.s.opts.Bus.Position(ctx, subjects.StreamEvents, Durable)
	if errors.Is(err, bus.ErrNotFound) {
		return nil // not begun
	}
	if err != nil {
		return err
	}
	if err := t.cover(ctx, pos.AckFloor); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	if pos.Pending+uint64(pos.AckPending) == 0 && t.covered >= pos.AckFloor {
		if err := t.idle(ctx, now); err != nil {
			return err
		}
	}
	if err := t.pass(ctx); err != nil {
		return err
	}
	since := time.Duration(now-t.told.At) * time.Millisecond
	pause := min(max(time.Duration(now-t.busy)*time.Millisecond/10, idleSoonest), idleLatest)
	if t.changed || t.idled && since >= pause || t.covered != t.told.Floor && since >= floorEvery {
		return t.publish(ctx, now)
	}
	return nil
}

// cover takes the blocks up to floor in, as far as they are known.
func (t *ticker) cover(ctx context.Context, floor uint64) error {
	if floor <= t.covered {
		return nil
	}
	now := time.Now()
	if n := len(t.floors); n == 0 || t.floors[n-1].floor < floor {
		t.floors = append(t.floors, floorAt{floor, now})
	}
	if first, _, err := t.l.s.opts.Bus.Bounds(ctx, subjects.StreamEvents); err != nil {
		return err
	} else if t.covered < first-1 {
		t.covered = min(first-1, floor)
	}
	for t.covered < floor {
		next := t.covered + 1
		o, ok := t.known[next]
		if !ok {
			// Told by an instance that died, or to one, or not told yet.
			if t.acknowledged(next, now) < askAfter {
				break
			}
			var err error
			if o, err = t.read(ctx, next); err != nil {
				return err
			}
		}
		seen := int64(0)
		if !o.Replay {
			seen = now.UnixMilli()
		}
		for _, s := range o.Sources {
			t.merge(s.Name, s.Clock, seen)
		}
		delete(t.known, next)
		t.covered = next
	}
	t.floors = slices.DeleteFunc(t.floors, func(f floorAt) bool { return f.floor <= t.covered })
	maps.DeleteFunc(t.known, func(seq uint64, _ observation) bool { return seq <= t.covered })
	return nil
}

// acknowledged is for how long a block that is not above the ack floor has been so.
func (t *ticker) acknowledged(seq uint64, now time.Time) time.Duration {
	for _, f := range t.floors {
		if f.floor >= seq {
			return now.Sub(f.at)
		}
	}
	return 0
}

// read finds out about a block itself. One that is gone or damaged says nothing.
func (t *ticker) read(ctx context.Context, seq uint64) (observation, error) {
	rec, err := t.l.s.opts.Bus.Get(ctx, subjects.StreamEvents, seq)
	if errors.Is(err, bus.ErrNotFound) {
		return observation{Replay: true}, nil
	}
	if err != nil {
		return observation{}, err
	}
	var b block.Block
	if err := block.Decode(rec.Data, &b); err != nil {
		return observation{Replay: true}, nil
	}
	o := clocks(seq, rec.Time.UnixMilli(), &b)
	o.Replay = b.Header.Replay
	return o, nil
}

// merge takes in that a source has reached an event time; seen is 0 if it did
// not send now.
func (t *ticker) merge(name string, at, seen int64) {
	c := t.sources[name]
	if c == nil {
		if len(t.sources) >= maxSources {
			oldest := slices.MinFunc(slices.Collect(maps.Values(t.sources)), func(a, b *clock) int { return cmp.Compare(a.seen, b.seen) })
			delete(t.sources, oldest.Source)
			t.l.log.Warn("too many sources for ticks; the one that was silent for longest is left out", "source", oldest.Source, "limit", maxSources)
		}
		c = &clock{sourceTick: sourceTick{Source: name, Idle: true}}
		t.sources[name] = c
	}
	c.event = max(c.event, at)
	if at > c.Clock {
		c.Clock, t.changed = at, true
	}
	if seen > c.seen {
		if c.seen > 0 {
			gap := seen - c.seen
			c.gap = max(gap, c.gap-(c.gap-gap)/16)
		}
		c.seen, c.Idle = seen, false
		t.busy = max(t.busy, seen)
	}
}

// idle lets the clocks of idle sources go on.
func (t *ticker) idle(ctx context.Context, now int64) error {
	var idle []*clock
	for name, c := range t.sources {
		quiet := now - c.seen
		switch target := c.event + quiet - max(idleAfter.Milliseconds(), 2*c.gap); {
		case c.seen == 0:
			// Replays alone: nothing of it is expected.
		case quiet > forgetAfter.Milliseconds():
			delete(t.sources, name)
		case target > c.Clock:
			idle = append(idle, c)
		}
	}
	if len(idle) == 0 {
		return nil
	}
	// What waits to be normalized may be of any source.
	pos, err := t.l.s.opts.Bus.Position(ctx, subjects.StreamRaw, "normalize")
	if err != nil && !errors.Is(err, bus.ErrNotFound) || pos.Pending+uint64(pos.AckPending) > 0 {
		return err
	}
	for _, c := range idle {
		c.Clock = c.event + now - c.seen - max(idleAfter.Milliseconds(), 2*c.gap)
	}
	newest := int64(0)
	for _, c := range t.sources {
		newest = max(newest, c.Clock)
	}
	for _, c := range idle {
		c.Idle = c.Clock < newest-farBehind.Milliseconds()
	}
	t.idled = true
	return nil
}

// publish stores a tick, unless somebody else has stored one since the last.
func (t *ticker) publish(ctx context.Context, now int64) error {
	out := tick{Floor: t.covered, At: now, Sources: make([]sourceTick, 0, len(t.sources))}
	for _, name := range slices.Sorted(maps.Keys(t.sources)) {
		out.Sources = append(out.Sources, t.sources[name].sourceTick)
	}
	waits := t.l.s.matcher.Load().waits
	t.rounds.Set(waits)
	for _, x := range t.rounds.Clocks(now) {
		out.Sources = append(out.Sources, sourceTick{Source: x.Source, Clock: x.Clock})
	}
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ack, err := t.l.s.opts.Bus.Publish(ctx, bus.Msg{
		Subject: subjects.SignalsTick, Data: data,
		Header: bus.Header{"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(t.last, 10)}},
	})
	if err != nil {
		return err
	}
	t.last, t.told, t.changed, t.idled = ack.Seq, tick{Floor: out.Floor, At: now}, false, false
	t.l.s.counters.ticks.Add(1)
	t.rounds.Tick(ack.Seq, now, t.least())
	return nil
}

// least is the least clock of the sources that are waited for; 0 if there is none.
func (t *ticker) least() (least int64) {
	for _, c := range t.sources {
		if !c.Idle && (least == 0 || c.Clock < least) {
			least = c.Clock
		}
	}
	return least
}

// pass finds out how far all partitions are.
func (t *ticker) pass(ctx context.Context) error {
	if !t.rounds.Waiting() {
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
	if t.rounds.Passed(least) {
		t.idled = true
	}
	return nil
}
