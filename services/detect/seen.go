package detect

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/silence"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// auto is the source of blocks whose rows are of several sources.
const auto = "auto"

// maxAhead is how far the clock of a source may be ahead of the time at which
// its records were received, in milliseconds: a sender whose clock is years
// ahead must not make the events of the others late.
const maxAhead = 60_000

// observation is what a block says about its sources. Seq, Sources.Name and
// Sources.Clock follow from the block alone.
type observation struct {
	Seq     uint64     `json:"seq"` // of EVENTS
	At      int64      `json:"at"`  // when it arrived, ms since 1970
	Now     int64      `json:"now"` // when it was matched, ms since 1970
	Replay  bool       `json:"replay,omitempty"`
	Sources []observed `json:"sources"`
}

// observed is one source of a block.
type observed struct {
	Name  string         `json:"name"`
	Clock int64          `json:"clock"`          // its newest event, ms since 1970
	Rows  uint32         `json:"rows,omitempty"` // that count as sent now
	Feeds []silence.Feed `json:"feeds,omitempty"`
}

// observe says what a delivery tells about its sources. A replay says nothing
// about what they send now.
func (s *Service) observe(d *bus.Delivery, b *block.Block) observation {
	at := d.Time.UnixMilli()
	o := clocks(d.Seq, at, b)
	o.Now = time.Now().UnixMilli()
	if o.Replay = b.Header.Replay || d.NumDelivered > 1; o.Replay || s.opts.Silence.Off {
		return o
	}
	h := &b.Header
	if h.Source != auto {
		// Counted by records, on the first block of a message only; what was left
		// out on purpose has arrived, too.
		n := uint32(b.Rows())
		if h.In > 0 {
			n = h.In - min(h.In, h.Dead)
		}
		o.source(h.Source).Rows = n
	}
	sources, classes := b.Column(event.Source), b.Column(event.ClassUID)
	if sources == nil || classes == nil {
		return o
	}
	keys := sources.Keys()
	for row, n := 0, uint32(0); row < len(keys); row++ {
		n++
		if row+1 < len(keys) && keys[row+1] == keys[row] && classes.Int(row+1) == classes.Int(row) {
			continue
		}
		src := o.source(sources.Dict().At(int(keys[row])))
		if h.Source == auto {
			src.Rows += n
		}
		if f := (silence.Feed{Family: h.Family, Class: uint32(classes.Int(row))}); !slices.Contains(src.Feeds, f) {
			src.Feeds = append(src.Feeds, f)
		}
		n = 0
	}
	return o
}

// clocks finds the newest event of each source of a block; stored is when the
// stream took the block.
func clocks(seq uint64, stored int64, b *block.Block) observation {
	h := &b.Header
	o := observation{Seq: seq, At: h.Received}
	if o.At == 0 {
		o.At = stored
	}
	limit := o.At + maxAhead
	if h.Source != auto {
		o.source(h.Source).Clock = min(h.MaxTime, limit)
		return o
	}
	sources := b.Column(event.Source)
	if sources == nil {
		return o
	}
	for row, key := range sources.Keys() {
		src := o.source(sources.Dict().At(int(key)))
		src.Clock = max(src.Clock, min(match.Time(b, row), limit))
	}
	return o
}

// source is what is observed of a source. The name may be a block's, which is
// another one after the next block: what is kept is a copy.
func (o *observation) source(name string) *observed {
	for i := range o.Sources {
		if o.Sources[i].Name == name {
			return &o.Sources[i]
		}
	}
	o.Sources = append(o.Sources, observed{Name: strings.Clone(name)})
	return &o.Sources[len(o.Sources)-1]
}

// seen collects observations until the leader has them.
type seen struct {
	mu   sync.Mutex
	list []observation
}

// maxSeen bounds observations that wait for a leader. The leader reads blocks of
// which it hears nothing itself.
const maxSeen = 8192

func (s *seen) add(list ...observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, list...)
	if more := len(s.list) - maxSeen; more > 0 {
		s.list = slices.Delete(s.list, 0, more)
	}
}

func (s *seen) take() []observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// tell brings observations to the leader until ctx ends.
func (s *Service) tell(ctx context.Context) error {
	tick := time.NewTicker(min(200*time.Millisecond, s.opts.TickInterval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		list := s.seen.take()
		if len(list) == 0 {
			continue
		}
		if l := s.leader.Load(); l != nil {
			l.hear(list)
			continue
		}
		data, err := json.Marshal(list)
		if err == nil {
			_, err = s.opts.Bus.Conn().Request(subjects.DetectReports, data, time.Second)
		}
		if err != nil {
			// Nobody leads at the moment.
			s.log.Debug("observations are kept", "blocks", len(list), "error", err)
			s.seen.add(list...)
		}
	}
}
