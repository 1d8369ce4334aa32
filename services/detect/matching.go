package detect

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// match consumes EVENTS, together with the other instances. A block is
// acknowledged after its signals are durable. What an instance that was killed
// left unfinished comes again after half the Expiry. It is not asked for at once:
// the bus would take an acknowledgement of an instance that only seemed dead for
// one of a block that it has not delivered again yet, and skip blocks.
func (s *Service) match(ctx context.Context) error {
	m := &matching{s: s, groups: map[string]*tally{}, values: map[string]int64{}, room: room{bus: s.opts.Bus, log: s.log}}
	return s.opts.Bus.Consume(ctx, bus.Consumer{
		Stream: subjects.StreamEvents, Durable: Durable, MaxInFlight: s.opts.MaxInFlight, AckWait: s.opts.Expiry / 2, Stage: "detect",
	}, m.handle)
}

// matching is the state of the one goroutine that matches. Only signals
// travel on; of rules that need no more than a few of a group's matches in one
// block, the rest is counted. What is left out follows from the block alone, so
// it does not matter which instance gets it, and how often.
type matching struct {
	s      *Service
	block  block.Block
	key    []byte
	groups map[string]*tally // by rule and group, of the block at hand
	values map[string]int64  // by rule, group, value and slot: the first time told of
	order  []*tally
	room   room
}

// slots is how finely the timespan of a correlation is divided where matches
// are left out: a block of an archive may hold days, and what is left out is
// placed at the newest match of its slot.
const slots = 60

// slotOf numbers the slot of a time, in ms. A slot has a second at least; rules
// without a correlation have but one.
func slotOf(r *rule.Rule, t int64) int64 {
	if r.Correlate == nil {
		return 0
	}
	return t / max(r.Correlate.Timespan.Milliseconds()/slots, time.Second.Milliseconds())
}

// tally counts the matches of a rule, group and slot in the block at hand.
type tally struct {
	feed    *rule.Feed
	matches int
	last    finding.Signal // held back until it is known whether more follow
	newest  int64          // event time of those that are only counted
}

// delivery is one block on its way. Its signals travel in one message a
// partition: every message is fsynced, so a message a signal would make
// detection as slow as the disk.
type delivery struct {
	*matching
	ctx     context.Context
	d       *bus.Delivery
	trace   string
	batches [subjects.SignalPartitions]finding.SignalWriter
	failure error
}

// maxBatch bounds a message of signals, in bytes.
const maxBatch = 512 << 10

func (m *matching) handle(ctx context.Context, d *bus.Delivery) bus.Verdict {
	if err := block.Decode(d.Data, &m.block); err != nil {
		return bus.Permanent("bad_block", err)
	}
	s := m.s
	s.seen.add(s.observe(d, &m.block))
	g := s.matcher.Load()
	clear(m.groups)
	clear(m.values)
	m.order = m.order[:0]
	out := &delivery{matching: m, ctx: ctx, d: d, trace: d.Header.Get(subjects.HeaderTrace)}
	failed := g.matcher.Failures()
	g.matcher.Match(&m.block, func(r *rule.Rule, row int) {
		s.counters.matches.Add(1)
		for i := range g.feeds.Of(r) {
			out.matched(&g.feeds.Of(r)[i], row)
		}
	})
	for _, t := range m.order {
		bound := t.feed.Bound(s.opts.MaxSignals)
		if bound == 0 || t.matches < bound {
			continue
		}
		if more := t.matches - bound; more > 0 {
			t.last.More, t.last.MoreUntil = uint32(more), t.newest
			s.counters.capped.Add(uint64(more))
			s.log.Debug("rule matches many events of a group", "rule", t.feed.Rule.ID, "matches", t.matches, "sequence", d.Seq)
		}
		out.add(&t.last)
	}
	for p := range out.batches {
		out.flush(p)
	}
	s.counters.failed.Add(g.matcher.Failures() - failed)
	s.counters.blocks.Add(1)
	s.counters.events.Add(uint64(m.block.Rows()))
	if out.failure != nil {
		return bus.Retry(out.failure)
	}
	return bus.Done()
}

func (o *delivery) matched(f *rule.Feed, row int) {
	o.key = append(append(o.key[:0], f.Rule.ID...), 0x1f)
	for _, id := range f.Group {
		o.key = match.AppendKey(o.key, &o.block, id, row)
	}
	at := match.Time(&o.block, row)
	if o.again(f, row, at) {
		o.s.counters.capped.Add(1)
		return
	}
	o.key = binary.LittleEndian.AppendUint64(o.key, uint64(slotOf(f.Rule, at)))
	t := o.groups[string(o.key)]
	if t == nil {
		t = &tally{feed: f}
		o.groups[string(o.key)] = t
		o.order = append(o.order, t)
	}
	t.matches++
	bound := f.Bound(o.s.opts.MaxSignals)
	if bound > 0 && t.matches > bound {
		t.newest = max(t.newest, at)
		return
	}
	sig := match.Signal(f, &o.block, row)
	sig.Traceback = o.trace
	if t.matches == bound {
		t.last = sig
		return
	}
	o.add(&sig)
}

// again says that the block has told of this value or step of a group before,
// within a slot in which correlation counts it once. The key so far is the group's.
func (o *delivery) again(f *rule.Feed, row int, at int64) bool {
	if f.Slot == 0 {
		return false
	}
	group := len(o.key)
	for _, id := range f.Value {
		o.key = match.AppendKey(o.key, &o.block, id, row)
	}
	if len(f.Value) == 0 {
		o.key = append(o.key, byte(f.Step))
	}
	o.key = binary.LittleEndian.AppendUint64(o.key, uint64(at/f.Slot.Milliseconds()))
	first, told := o.values[string(o.key)]
	if !told || at < first {
		o.values[string(o.key)] = at
	}
	o.key = o.key[:group]
	return told && at >= first
}

// partitionOf is where the signals of a rule and group are correlated.
func partitionOf(sig *finding.Signal) int { return partitionFor(sig.Rule, sig.GroupKey) }

func partitionFor(rule, group string) int {
	return subjects.Partition(xxh3.HashString(rule + "\x1f" + group))
}

// add puts a signal into its partition's batch.
func (o *delivery) add(sig *finding.Signal) {
	o.s.counters.signals.Add(1)
	p := partitionOf(sig)
	if o.batches[p].Signal(sig); o.batches[p].Len() > maxBatch {
		o.flush(p)
	}
}

// flush publishes a batch. Its id has a hash of its content: after a reload the
// repeat of a block may have other signals, and is then another message.
func (o *delivery) flush(p int) {
	if o.failure != nil || o.batches[p].Len() == 0 {
		return
	}
	data := o.batches[p].Take()
	o.room.take(o.ctx, len(data))
	o.failure = o.d.Publish(bus.Msg{
		Subject: subjects.Signals(p),
		ID:      fmt.Sprintf("s:%d:%d:%016x", o.d.Seq, p, xxh3.Hash(data)),
		Data:    data,
	})
}
