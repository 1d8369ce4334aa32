package syslog

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

const (
	// A batch is submitted at this size, this number of messages, or when its
	// first message is this old.
	batchBytes = 512 << 10
	batchCount = 16 << 10
	batchAge   = 150 * time.Millisecond
	// maxSenders bounds the batches that keep datagrams of different senders
	// apart; those of further senders share batches without an address.
	maxSenders = 64
	// parallel bounds the batches of one flush that are on their way at once.
	parallel = 8
	// keepBuffer is the largest buffer that waits for the next batch.
	keepBuffer = 1 << 20
)

// groupKey says which messages may share a Batch.
type groupKey struct {
	source string
	from   netip.Addr
}

// group is a Batch that is being filled.
type group struct {
	groupKey
	body   []byte
	frames frame.Frames
}

// collector sorts messages into batches. It is not safe for concurrent use.
type collector struct {
	groups map[groupKey]*group
	last   *group // of the message before: most are like the one before
	bytes  int
	count  int
	first  time.Time // when the oldest message came
	pool   *sync.Pool
}

func newCollector(pool *sync.Pool) *collector {
	return &collector{groups: map[groupKey]*group{}, pool: pool}
}

func (c *collector) group(source string, from netip.Addr) *group {
	key := groupKey{source, from}
	if c.last != nil && c.last.groupKey == key {
		return c.last
	}
	g := c.groups[key]
	if g == nil && len(c.groups) >= maxSenders {
		key.from = netip.Addr{}
		g = c.groups[key]
	}
	if g == nil {
		g, _ = c.pool.Get().(*group)
		if g == nil {
			g = new(group)
		}
		g.groupKey = key
		c.groups[key] = g
	}
	c.last = g
	return g
}

func (c *collector) add(source string, from netip.Addr, msg []byte) {
	g := c.group(source, from)
	g.frames.Records = append(g.frames.Records, g.span(msg))
	c.grew(len(msg))
}

func (c *collector) bad(source string, from netip.Addr, msg []byte, reason, text string) {
	g := c.group(source, from)
	g.frames.Bad = append(g.frames.Bad, frame.Bad{Span: g.span(msg), Reason: reason, Error: text})
	c.grew(len(msg))
}

func (g *group) span(msg []byte) frame.Span {
	off := len(g.body)
	g.body = append(g.body, msg...)
	return frame.Span{Off: uint32(off), End: uint32(len(g.body))}
}

func (c *collector) grew(n int) {
	if c.count == 0 {
		c.first = time.Now()
	}
	c.bytes += n
	c.count++
}

func (c *collector) full() bool { return c.bytes >= batchBytes || c.count >= batchCount }

// submitter hands batches to the hub and repeats them until they are stored.
type submitter struct {
	hub    intake.Hub
	auth   string
	logger *slog.Logger
	lost   func(n int, why string)
	grace  time.Duration // after ctx ends
}

// flush submits all that c holds and empties it. It returns when everything is
// stored; after ctx has ended it gives up after the time of grace.
func (s *submitter) flush(ctx context.Context, c *collector) {
	if c.count == 0 {
		return
	}
	// Usually there is one.
	if len(c.groups) == 1 {
		s.submit(ctx, c.last)
	} else {
		var wg sync.WaitGroup
		slots := make(chan struct{}, parallel)
		for _, g := range c.groups {
			slots <- struct{}{}
			wg.Go(func() {
				s.submit(ctx, g)
				<-slots
			})
		}
		wg.Wait()
	}
	for key, g := range c.groups {
		delete(c.groups, key)
		if cap(g.body) <= keepBuffer {
			g.body = g.body[:0]
			g.frames.Reset()
			c.pool.Put(g)
		}
	}
	c.last, c.bytes, c.count = nil, 0, 0
}

func (s *submitter) submit(ctx context.Context, g *group) {
	b := intake.Batch{Source: g.source, Envelope: intake.Syslog, Auth: s.auth, Key: rand.Text(), Body: g.body, Frames: g.frames}
	if g.from.IsValid() {
		b.Remote = g.from.String()
	}
	n := len(g.frames.Records) + len(g.frames.Bad)
	err := s.again(ctx, func() error {
		_, err := s.hub.Submit(ctx, &b)
		return err
	})
	if err != nil {
		s.lost(n, "refused")
		s.logger.Error("syslog messages lost", "source", g.source, "messages", n, "error", err)
	}
}

// again repeats f, with growing pauses, while the hub is busy.
func (s *submitter) again(ctx context.Context, f func() error) error {
	var end <-chan time.Time
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := f()
		if err == nil || !errors.Is(err, intake.ErrBusy) {
			return err
		}
		done := ctx.Done()
		if ctx.Err() != nil {
			if done = nil; end == nil {
				end = time.After(s.grace)
			}
		}
		select {
		case <-time.After(wait):
		case <-done:
		case <-end:
			return err
		}
	}
}
