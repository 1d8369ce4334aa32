package detect

import (
	"context"
	"fmt"
	"strconv"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// match consumes EVENTS. A block is acknowledged after its signals are durable.
func (s *Service) match(ctx context.Context) error {
	m := &matching{s: s, groups: map[string]*tally{}, recent: map[string]int64{}}
	return s.opts.Bus.Consume(ctx, bus.Consumer{
		Stream: subjects.StreamEvents, Durable: Durable, Ordered: true, MaxInFlight: s.opts.MaxInFlight, Stage: "detect",
	}, m.handle)
}

// matching is the state of the one goroutine that matches. Only signals
// travel on, so it keeps their number down without changing what correlation
// sees: a value_count rule needs each value once in a while, and no rule needs
// more of a group's matches in one block than a few times its threshold.
type matching struct {
	s      *Service
	block  block.Block
	key    []byte
	groups map[string]*tally // by rule and group, of the block at hand
	recent map[string]int64  // by rule, group and value: the slot last published
}

// maxRecent bounds the values remembered between blocks.
const maxRecent = 1 << 17

// slots is how finely a value_count window is divided: within a slot of its
// timespan a value is published once, so a window is exact to a sixtieth.
const slots = 60

// tally counts the matches of a rule and group in the block at hand.
type tally struct {
	rule    *rule.Rule
	matches int
	last    finding.Signal // held back until it is known whether more follow
}

// delivery is one block on its way. Its signals travel in one message a
// partition: every message is fsynced, so a message a signal would make
// detection as slow as the disk.
type delivery struct {
	*matching
	d       *bus.Delivery
	trace   string
	batches [subjects.SignalPartitions][]byte
	failure error
}

// maxBatch bounds a message of signals, in bytes.
const maxBatch = 512 << 10

func (m *matching) handle(_ context.Context, d *bus.Delivery) bus.Verdict {
	if err := block.Decode(d.Data, &m.block); err != nil {
		return bus.Permanent("bad_block", err)
	}
	s := m.s
	s.observe(d, &m.block)
	g := s.matcher.Load()
	clear(m.groups)
	if len(m.recent) > maxRecent {
		clear(m.recent)
	}
	out := &delivery{matching: m, d: d, trace: d.Header.Get(subjects.HeaderTrace)}
	failed := g.matcher.Failures()
	g.matcher.Match(&m.block, out.matched)
	for _, t := range m.groups {
		if t.matches < m.bound(t.rule) {
			continue
		}
		if more := t.matches - m.bound(t.rule); more > 0 {
			t.last.Fields[rule.NotShown] = strconv.Itoa(more)
			s.counters.capped.Add(uint64(more))
			s.log.Debug("rule matches many events of a group", "rule", t.rule.ID, "matches", t.matches, "sequence", d.Seq)
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
		// What was not published must not be taken for published.
		clear(m.recent)
		return bus.Retry(out.failure)
	}
	return bus.Done()
}

// bound is the number of signals that a group of a rule may have in a block.
func (m *matching) bound(r *rule.Rule) int {
	if r.Correlate != nil {
		return max(m.s.opts.MaxSignals, 2*r.Correlate.Threshold)
	}
	return m.s.opts.MaxSignals
}

func (o *delivery) matched(r *rule.Rule, row int) {
	o.s.counters.matches.Add(1)
	o.key = append(append(o.key[:0], r.ID...), 0x1f)
	for _, id := range r.GroupBy() {
		o.key = match.AppendKey(o.key, &o.block, id, row)
	}
	group := len(o.key)
	if c := r.Correlate; c != nil && c.Type == rule.ValueCount {
		o.key = match.AppendKey(o.key, &o.block, c.Field, row)
		slot := match.Time(&o.block, row) / max(c.Timespan.Milliseconds()/slots, 1)
		if last, ok := o.recent[string(o.key)]; ok && last == slot {
			o.s.counters.thinned.Add(1)
			return
		}
		o.recent[string(o.key)] = slot
	}
	t := o.groups[string(o.key[:group])]
	if t == nil {
		t = &tally{rule: r}
		o.groups[string(o.key[:group])] = t
	}
	t.matches++
	bound := o.bound(r)
	if t.matches > bound {
		return
	}
	sig := match.Signal(r, &o.block, row)
	sig.Traceback = o.trace
	if t.matches == bound {
		t.last = sig
		return
	}
	o.add(&sig)
}

// add puts a signal into its partition's batch, as a line of JSON.
func (o *delivery) add(sig *finding.Signal) {
	o.s.counters.signals.Add(1)
	p := subjects.Partition(xxh3.HashString(sig.Rule + "\x1f" + sig.GroupKey))
	o.batches[p] = append(appendSignal(o.batches[p], sig), '\n')
	if len(o.batches[p]) > maxBatch {
		o.flush(p)
	}
}

// flush publishes a batch. Its id has a hash of its content: a repeat of the
// block may thin its signals otherwise, and is then another message.
func (o *delivery) flush(p int) {
	data := o.batches[p]
	if o.failure != nil || len(data) == 0 {
		return
	}
	o.batches[p] = nil // the bus keeps the payload until it is acknowledged
	o.failure = o.d.Publish(bus.Msg{
		Subject: subjects.Signals(p),
		ID:      fmt.Sprintf("s:%d:%d:%016x", o.d.Seq, p, xxh3.Hash(data)),
		Data:    data,
	})
}
