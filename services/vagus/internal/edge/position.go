package edge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Position is where the hub is in one stream of an edge. It is kept in the
// bucket of checkpoints.
type Position struct {
	// Created tells the edge's stream from one that was made anew, in
	// nanoseconds since 1970; Epoch counts the times that it lost its end.
	Created int64 `json:"created"`
	Epoch   int64 `json:"epoch,omitempty"`
	// Seq is the sequence at the edge up to which everything is stored here.
	Seq uint64 `json:"seq"`
	// Stored is a sequence of the hub's stream: what is stored of later messages
	// of the edge comes after it.
	Stored uint64 `json:"stored"`
	// Last is the edge's last sequence as far as the hub knows, Seen when it was
	// heard of last.
	Last uint64    `json:"last"`
	Seen time.Time `json:"seen"`
}

// stream names the edge's stream in the header.
func (p Position) stream() int64 { return p.Created + p.Epoch }

// Lag is the number of messages that the hub knows to be still at the edge.
func (p Position) Lag() uint64 { return max(p.Last, p.Seq) - p.Seq }

// Key is where a Position is kept.
func Key(edge, stream string) string { return bus.Key("edge", edge, stream) }

// resume reads the position and looks for what is stored beyond it.
func (p *Puller) resume(ctx context.Context, info *jetstream.StreamInfo) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if p.positions == nil {
		var err error
		if p.positions, err = bus.OpenBucket[Position](ctx, p.Hub, subjects.BucketCheckpoints); err != nil {
			return err
		}
	}
	hub, err := p.Hub.JetStream().Stream(ctx, p.Stream)
	if err != nil {
		return fmt.Errorf("hub's %s: %w", p.Stream, err)
	}
	state := hub.CachedInfo().State
	e, err := p.positions.Get(ctx, Key(p.Name, p.Stream))
	pos, created := e.Value, info.Created.UnixNano()
	switch {
	case errors.Is(err, bus.ErrNotFound):
		pos = Position{Created: created, Stored: state.LastSeq}
		// Written before the first message, or a crash would leave no trace of
		// where to look.
		if _, err := p.positions.Put(ctx, Key(p.Name, p.Stream), pos); err != nil {
			return err
		}
	case err != nil:
		return err
	case pos.Created != created:
		p.Logger.Warn("the edge has a new stream and begins anew", "edge", p.Name, "stream", p.Stream, "was_at", pos.Seq)
		pos = Position{Created: created, Stored: pos.Stored}
		if _, err := p.positions.Put(ctx, Key(p.Name, p.Stream), pos); err != nil {
			return err
		}
	case pos.Seq > info.State.LastSeq:
		p.Logger.Warn("the edge lost the end of its stream", "edge", p.Name, "stream", p.Stream, "was_at", pos.Seq, "is_at", info.State.LastSeq)
		pos.Seq = info.State.LastSeq
		pos.Epoch++ // its sequences will stand for other messages
		if _, err := p.positions.Put(ctx, Key(p.Name, p.Stream), pos); err != nil {
			return err
		}
	}
	if state.FirstSeq > pos.Stored+1 && state.Msgs > 0 && pos.Stored > 0 {
		p.Logger.Info("the hub's stream begins after the place to look from", "edge", p.Name, "stream", p.Stream, "first", state.FirstSeq, "from", pos.Stored+1)
	}
	done := map[uint64]bool{}
	if state.LastSeq > pos.Stored && state.Msgs > 0 {
		for r, err := range p.Hub.ReadFrom(ctx, p.Stream, nil, max(pos.Stored+1, state.FirstSeq), state.LastSeq) {
			if err != nil {
				return err
			}
			if at, ok := parsePlace(r.Header.Get(subjects.HeaderEdge)); ok && at.edge == p.Name && at.created == pos.stream() && at.seq > pos.Seq {
				done[at.seq] = true
			}
		}
	}
	for done[pos.Seq+1] {
		pos.Seq++
		delete(done, pos.Seq)
	}
	pos.Last, pos.Seen = info.State.LastSeq, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pos, p.done, p.open, p.known, p.up = pos, done, map[uint64]uint64{}, state.LastSeq, true
	p.high, p.err, p.quit = pos.Seq, nil, make(chan struct{})
	return nil
}

// keep writes the position now and then, and asks how much waits at the edge.
func (p *Puller) keep(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	asked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(asked) > 5*time.Second {
			asked = time.Now()
			p.ask(ctx)
		}
		p.save(ctx)
	}
}

// ask learns how far both streams are, while nothing flows.
func (p *Puller) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	hub, err := p.Hub.JetStream().Stream(ctx, p.Stream)
	if err != nil {
		return
	}
	p.mu.Lock()
	// Asked before looking at what is in flight: what begins from now on is
	// stored after it.
	if last := hub.CachedInfo().State.LastSeq; len(p.open) == 0 && len(p.done) == 0 && last > p.pos.Stored+slack {
		p.known = max(p.known, last)
		p.advance()
	}
	p.mu.Unlock()
	far, err := p.Edge.JetStream().Stream(ctx, p.Stream)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.pos.Last, p.pos.Seen = max(p.pos.Last, far.CachedInfo().State.LastSeq), time.Now()
	p.mu.Unlock()
}

func (p *Puller) save(ctx context.Context) {
	p.mu.Lock()
	pos := p.pos
	old := p.saved
	p.mu.Unlock()
	if pos.Seq == old.Seq && pos.Stored == old.Stored && pos.Created == old.Created && pos.Seen.Sub(old.Seen) < seenEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := p.positions.Put(ctx, Key(p.Name, p.Stream), pos); err != nil {
		return // the next one will do
	}
	p.mu.Lock()
	p.saved = pos
	p.mu.Unlock()
}

// place is where a message was at an edge.
type place struct {
	edge    string
	created int64
	seq     uint64
}

// String is the value of the header.
func (p place) String() string {
	return p.edge + "/" + strconv.FormatInt(p.created, 36) + "/" + strconv.FormatUint(p.seq, 10)
}

func parsePlace(text string) (place, bool) {
	name, rest, ok := strings.Cut(text, "/")
	created, seq, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return place{}, false
	}
	c, err := strconv.ParseInt(created, 36, 64)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	return place{name, c, n}, err == nil && err2 == nil
}
