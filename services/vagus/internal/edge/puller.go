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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
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

// Puller moves one stream of one edge. Hub is the hub's bus; Edge is a bus that
// reaches the edge's streams (bus.Options.Edge).
type Puller struct {
	Hub, Edge    *bus.Bus
	Name, Stream string
	Logger       *slog.Logger

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
	base := cons.CachedInfo().Delivered.Consumer
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(512, 16<<20), jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second))
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
	err = p.move(ctx, it, base)
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
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	js := p.Edge.JetStream()
	st, err := js.Stream(ctx, p.Stream)
	if err != nil {
		return nil, nil, fmt.Errorf("ask edge for %s: %w", p.Stream, err)
	}
	if _, err := st.CreateOrUpdateConsumer(ctx, Durable(p.Name)); err != nil {
		return nil, nil, fmt.Errorf("make consumer at edge: %w", err)
	}
	// What was delivered to a session that is gone comes again at once.
	if _, err := js.ResetConsumer(ctx, p.Stream, bus.HubConsumer(p.Name)); err != nil {
		return nil, nil, fmt.Errorf("reset consumer at edge: %w", err)
	}
	cons, err := st.Consumer(ctx, bus.HubConsumer(p.Name))
	if err != nil {
		return nil, nil, fmt.Errorf("ask edge for consumer: %w", err)
	}
	info, err := st.Info(ctx)
	return cons, info, err
}

// Durable is the hub's place in an edge's streams. The edge makes it too, so
// that it counts what the hub has not taken before the hub has ever called.
func Durable(edge string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: bus.HubConsumer(edge), AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: -1,
		MaxAckPending: 4096, DeliverPolicy: jetstream.DeliverAllPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
}

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

// move publishes what comes, in order, without waiting for each.
func (p *Puller) move(ctx context.Context, it jetstream.MessagesContext, base uint64) error {
	created := p.pos.stream()
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

// checked is what the hub stores of a message. An edge can put anything into
// its streams; what is no block of this stream becomes a dead letter.
func (p *Puller) checked(m jetstream.Msg) bus.Msg {
	header := bus.Header{}
	for k, v := range m.Headers() {
		if !strings.HasPrefix(k, "Nats-") {
			header[k] = v
		}
	}
	id := m.Headers().Get(subjects.HeaderMsgID)
	h, _, err := block.Split(m.Data())
	want := subjects.Raw(h.Source)
	kind := block.KindRaw
	if p.Stream == subjects.StreamDead {
		want, kind = subjects.Dead("ingest", h.Source), block.KindDead
	}
	if err == nil && h.Kind == kind && m.Subject() == want {
		return bus.Msg{Subject: want, ID: id, Header: header, Data: m.Data()}
	}
	if err == nil {
		err = fmt.Errorf("a block of kind %d and source %q on %q", h.Kind, h.Source, m.Subject())
	}
	id = "edge:" + p.Name + ":" + id
	b := block.NewDeadBuilder()
	now := time.Now().UnixMilli()
	b.AppendDead(block.UID(id, 0), now, m.Data()[:min(len(m.Data()), 64<<10)], "edge_message", err.Error())
	return bus.Msg{Subject: subjects.Dead("edge", p.Name), ID: id, Header: header,
		Data: b.AppendTo(nil, block.Header{Source: p.Name, Auth: "edge", Received: now})}
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
