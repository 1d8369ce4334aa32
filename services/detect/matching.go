package detect

import (
	"context"
	"encoding/json"
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

// cappedField is the field of a signal that stands for more matches than were
// published.
const cappedField = "vagus.matches_not_shown"

// match consumes EVENTS. A block is acknowledged after its signals are durable.
func (s *Service) match(ctx context.Context) error {
	m := &matching{s: s, perRule: map[*rule.Rule]*tally{}}
	return s.opts.Bus.Consume(ctx, bus.Consumer{
		Stream: subjects.StreamEvents, Durable: Durable, Ordered: true, MaxInFlight: s.opts.MaxInFlight, Stage: "detect",
	}, m.handle)
}

// matching is the state of the one goroutine that matches.
type matching struct {
	s       *Service
	block   block.Block
	perRule map[*rule.Rule]*tally
}

// tally counts the matches of a rule in the block at hand.
type tally struct {
	matches int
	last    finding.Signal // held back until it is known whether more follow
}

func (m *matching) handle(_ context.Context, d *bus.Delivery) bus.Verdict {
	if err := block.Decode(d.Data, &m.block); err != nil {
		return bus.Permanent("bad_block", err)
	}
	s := m.s
	g := s.matcher.Load()
	clear(m.perRule)
	trace := d.Header.Get(subjects.HeaderTrace)
	var failure error
	publish := func(sig *finding.Signal) {
		if failure != nil {
			return
		}
		data, err := json.Marshal(sig)
		if err != nil {
			failure = fmt.Errorf("encode signal: %w", err)
			return
		}
		s.counters.signals.Add(1)
		failure = d.Publish(bus.Msg{
			Subject: subjects.Signals(subjects.Partition(xxh3.HashString(sig.Rule + "\x1f" + sig.GroupKey))),
			ID:      "s:" + sig.Rule + ":" + sig.EventUID,
			Data:    data,
		})
	}
	failedBefore := g.matcher.Failures()
	g.matcher.Match(&m.block, func(r *rule.Rule, row int) {
		t := m.perRule[r]
		if t == nil {
			t = &tally{}
			m.perRule[r] = t
		}
		t.matches++
		s.counters.matches.Add(1)
		if t.matches > s.opts.MaxSignals {
			return
		}
		sig := match.Signal(r, &m.block, row)
		sig.Traceback = trace
		if t.matches == s.opts.MaxSignals {
			t.last = sig
			return
		}
		publish(&sig)
	})
	for r, t := range m.perRule {
		if t.matches < s.opts.MaxSignals {
			continue
		}
		if more := t.matches - s.opts.MaxSignals; more > 0 {
			t.last.Fields[cappedField] = strconv.Itoa(more)
			s.counters.capped.Add(uint64(more))
			s.log.Warn("rule matches too many events of a block", "rule", r.ID, "matches", t.matches, "published", s.opts.MaxSignals,
				"event_seq", d.Seq, "hint", "narrow the rule or add an exception")
		}
		publish(&t.last)
	}
	if n := g.matcher.Failures() - failedBefore; n > 0 {
		s.counters.failed.Add(n)
	}
	s.counters.blocks.Add(1)
	s.counters.events.Add(uint64(m.block.Rows()))
	if failure != nil {
		return bus.Retry(failure)
	}
	return bus.Done()
}
