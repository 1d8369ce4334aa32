// Package edge moves what edges received into the hub's streams: each message
// once, whatever dies on either side and however long the line was cut.
//
// The hub does all of it. It reads an edge's streams through the leaf
// connection, stores each message in its own stream of the same name, and
// acknowledges to the edge what is stored; an edge forgets nothing that is not
// acknowledged. Three things together keep a message from being stored twice:
//
//   - every message carries its place in the edge's stream in a header
//     (subjects.HeaderEdge), so the hub's stream itself says what it holds;
//   - a position in the checkpoints says up to where everything of an edge is
//     stored, and from which message of the hub's stream on to look for what
//     lies beyond. It is looked for at every new session, so nothing depends on
//     how long the server remembers message ids;
//   - the message id is the edge's, so a publish that is still on its way when
//     a session ends and the next one begins is caught by the server.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Streams are those that an edge fills.
func Streams() []string { return []string{subjects.StreamRaw, subjects.StreamDead} }

const (
	// slack is how many messages of the hub's stream a session may have to look
	// through beyond those of the last second.
	slack = 2000
	// saveEvery is how often positions are written while messages flow.
	saveEvery = 500 * time.Millisecond
	// seenEvery is how often a quiet edge's position is written, for its time.
	seenEvery = 15 * time.Second
)

// Puller moves one stream of one edge. Hub is the hub's bus; Edge is a bus that
// reaches the edge's streams (bus.Options.Edge).
type Puller struct {
	Hub, Edge    *bus.Bus
	Name, Stream string
	// Sources, if given, are those that the edge may hand over: ids and
	// "vendor.*".
	Sources []string
	Logger  *slog.Logger

	positions *bus.Bucket[Position]

	mu    sync.Mutex
	pos   Position
	saved Position
	up    bool
	open  map[uint64]uint64 // in flight: sequence at the edge → hub's last sequence known when it was sent
	done  map[uint64]bool   // stored, beyond pos.Seq
	high  uint64            // highest sequence at the edge seen in this session
	known uint64            // highest sequence of the hub's stream known
	err   error             // ends the session
	quit  chan struct{}     // closed with err
}

// Position returns where the puller is, and whether it hears from the edge.
func (p *Puller) Position() (pos Position, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos, p.up
}

// Run moves messages until ctx ends. It never gives up on an edge.
func (p *Puller) Run(ctx context.Context) error {
	log := p.Logger.With("edge", p.Name, "stream", p.Stream)
	for quiet := false; ctx.Err() == nil; {
		began := time.Now()
		err := p.session(ctx)
		p.mu.Lock()
		was := p.up
		p.up = false
		p.mu.Unlock()
		if ctx.Err() != nil {
			break
		}
		if was || !quiet {
			log.Warn("edge is away; trying again", "error", err)
		}
		quiet = !was || time.Since(began) < time.Second
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// session finds out what is stored, then moves messages until something fails.
func (p *Puller) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cons, info, err := p.reach(ctx)
	if err != nil {
		return err
	}
	if err := p.resume(ctx, info); err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(512, 16<<20), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(2*time.Second))
	if err != nil {
		return fmt.Errorf("pull from edge: %w", err)
	}
	p.Logger.Info("edge is here", "edge", p.Name, "stream", p.Stream, "from", p.pos.Seq+1, "waiting", p.pos.Lag())
	var wg sync.WaitGroup
	wg.Go(func() { p.keep(ctx) })
	stop := context.AfterFunc(ctx, it.Stop)
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-p.quit:
			it.Stop()
		}
	})
	err = p.move(ctx, it)
	it.Stop()
	stop()
	p.settle()
	cancel()
	wg.Wait()
	p.save(context.WithoutCancel(ctx))
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.err, err)
}

// reach makes sure that the edge answers and that its durable begins with what
// the hub has not acknowledged.
func (p *Puller) reach(ctx context.Context) (jetstream.Consumer, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*pullExpiry)
	defer cancel()
	js := p.Edge.JetStream()
	st, err := js.Stream(ctx, p.Stream)
	if err != nil {
		return nil, nil, fmt.Errorf("ask edge for %s: %w", p.Stream, err)
	}
	cons, err := st.CreateOrUpdateConsumer(ctx, Durable(p.Name))
	if err != nil {
		return nil, nil, fmt.Errorf("make consumer at edge: %w", err)
	}
	if err := p.alone(ctx, cons); err != nil {
		return nil, nil, err
	}
	// What was delivered to a session that is gone comes again at once, and the
	// deliveries are counted from one.
	if _, err := js.ResetConsumer(ctx, p.Stream, bus.HubConsumer(p.Name)); err != nil {
		return nil, nil, fmt.Errorf("reset consumer at edge: %w", err)
	}
	info, err := st.Info(ctx)
	return cons, info, err
}

// alone waits until no session before has a request left at the edge: it would
// be given messages that nobody takes. As a rule its end is known there by now;
// a request ends by itself after pullExpiry.
func (p *Puller) alone(ctx context.Context, cons jetstream.Consumer) error {
	for {
		info, err := cons.Info(ctx)
		if err != nil {
			return fmt.Errorf("ask edge for consumer: %w", err)
		}
		if info.NumWaiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d requests of an earlier session wait at the edge: %w", info.NumWaiting, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Durable is the hub's place in an edge's streams. The edge makes it too, so
// that it counts what the hub has not taken before the hub has ever called.
func Durable(edge string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: bus.HubConsumer(edge), AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: -1,
		MaxAckPending: 4096, DeliverPolicy: jetstream.DeliverAllPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
}

// pullExpiry is how long a request for messages may wait at the edge.
const pullExpiry = 10 * time.Second

// move publishes what comes, in order, without waiting for each.
func (p *Puller) move(ctx context.Context, it jetstream.MessagesContext) error {
	created := p.pos.stream()
	// Not what the edge says now: what it delivered to somebody else since the
	// consumer was reset is missing here.
	base := uint64(0)
	for {
		m, err := it.Next()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return nil
			}
			return fmt.Errorf("pull from edge: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("pull from edge: %w", err)
		}
		if meta.Sequence.Consumer != base+1 {
			// Going on would move the position past what was lost on the way.
			return fmt.Errorf("pull from edge: delivery %d follows %d: some were lost on the way", meta.Sequence.Consumer, base)
		}
		base++
		switch p.begin(meta) {
		case stored:
			_ = m.Ack() // if this is lost it only comes again
			continue
		case sent:
			continue
		}
		seq := meta.Sequence.Stream
		msg := p.checked(m)
		msg.Header.Set(subjects.HeaderEdge, place{p.Name, created, seq}.String())
		err = p.Hub.PublishAsync(ctx, msg,
			func(a bus.Ack, err error) {
				if p.end(seq, a, err) {
					_ = m.Ack()
				}
			})
		if err != nil {
			p.end(seq, bus.Ack{}, err)
			return err
		}
	}
}

// What begin finds.
const (
	fresh  = iota // now in flight
	sent          // was in flight already
	stored        // is stored
)

// begin notes a message as in flight.
func (p *Puller) begin(meta *jetstream.MsgMetadata) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := meta.Sequence.Stream
	p.pos.Seen = time.Now()
	p.pos.Last = max(p.pos.Last, seq+meta.NumPending)
	p.high = max(p.high, seq)
	if _, open := p.open[seq]; open {
		return sent
	}
	if seq <= p.pos.Seq || p.done[seq] {
		p.advance()
		return stored
	}
	p.open[seq] = p.known
	return fresh
}

// end notes what became of a publish; true: it is stored.
func (p *Puller) end(seq uint64, a bus.Ack, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		// It may be stored or not: the session ends, and the next one looks.
		if p.err == nil {
			p.err = fmt.Errorf("store what came from the edge: %w", err)
			close(p.quit)
		}
		delete(p.open, seq)
		p.high = min(p.high, seq-1) // never counts as stored
		return false
	}
	delete(p.open, seq)
	p.done[seq] = true
	p.known = max(p.known, a.Seq)
	p.advance()
	return true
}

// advance moves the position past all that is stored. Sequences between that
// never came are gone from the edge's stream: deliveries have no gaps.
func (p *Puller) advance() {
	if p.err != nil {
		return
	}
	low, base := p.high, p.known
	for seq, b := range p.open {
		low, base = min(low, seq-1), min(base, b)
	}
	for seq := range p.done {
		if seq <= low {
			delete(p.done, seq)
		}
	}
	if low < p.pos.Seq {
		return
	}
	p.pos.Seq = low
	// Stored messages beyond the position must be found again, so the place to
	// look from moves only when there are none.
	if len(p.done) == 0 {
		p.pos.Stored = max(p.pos.Stored, base)
	}
}

// settle waits until nothing is in flight: each publish ends within the bus's
// time limit.
func (p *Puller) settle() {
	for {
		p.mu.Lock()
		n := len(p.open)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
