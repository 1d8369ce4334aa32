package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pullBytes is what one pull asks for. It is above the largest message (a pull
// that cannot hold the next message ends at once) and low enough that two
// pulls, as after a reconnect, fit in the client's buffer of 64 MiB.
const pullBytes = 16 << 20

var errResync = errors.New("a delivery was lost")

// consumption is one running Consume.
type consumption struct {
	bus     *Bus
	c       Consumer
	handler Handler
	log     *slog.Logger
	stats   *consumerStats
	hctx    context.Context // of handlers: outlives ctx by Grace

	mu       sync.Mutex
	inflight map[uint64]*Delivery
	bytes    int
	room     chan struct{}
	restart  chan error // size 1
	lastDseq uint64     // ordered: the last delivery sequence seen
	lastSeq  uint64     // ordered: the highest stream sequence handled
	skipped  []gap      // ordered: what was not delivered below lastSeq
}

// gap are stream sequences from … to, both included.
type gap struct{ from, to uint64 }

// maxGaps bounds the gaps that are remembered one by one.
const maxGaps = 256

// reached notes that a sequence is handled. What lies between is gone from the
// stream, or the server gives it later. The lock is held.
func (r *consumption) reached(seq uint64) {
	if seq > r.lastSeq+1 {
		r.skipped = append(r.skipped, gap{r.lastSeq + 1, seq - 1})
		if n := len(r.skipped); n > maxGaps {
			// Two become one: what was handled between them is handled again at worst.
			r.skipped[1].from = r.skipped[0].from
			r.skipped = r.skipped[1:]
		}
	}
	r.lastSeq = max(r.lastSeq, seq)
}

// back takes what comes after a sequence for not handled. The lock is held.
func (r *consumption) back(seq uint64) {
	r.lastSeq = min(r.lastSeq, seq)
	for n := len(r.skipped); n > 0 && r.skipped[n-1].to > r.lastSeq; n-- {
		if g := &r.skipped[n-1]; g.from <= r.lastSeq {
			g.to = r.lastSeq
			return
		}
		r.skipped = r.skipped[:n-1]
	}
}

// handled says that a sequence not above lastSeq was handled. The lock is held.
func (r *consumption) handled(seq uint64) bool {
	for _, g := range r.skipped {
		if g.from <= seq && seq <= g.to {
			return false
		}
	}
	return true
}

// Consume delivers messages to h until ctx ends; it then lets running handlers
// finish (up to Grace) and returns nil. It survives reconnects, server
// restarts and a deleted durable (which it creates again). It returns an error
// only for a wrong Consumer or a closed Bus.
func (b *Bus) Consume(ctx context.Context, c Consumer, h Handler) error {
	if err := c.defaults(); err != nil {
		return err
	}
	hctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r := &consumption{
		bus: b, c: c, handler: h, hctx: hctx, stats: b.statsFor(c.Stream, c.Durable),
		log:      b.log.With("stream", c.Stream, "durable", c.Durable),
		inflight: map[uint64]*Delivery{}, room: make(chan struct{}), restart: make(chan error, 1),
	}
	// work is never closed: the client's goroutine may still offer a delivery
	// when a session is over. It stops at ctx, the workers at quit.
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, quit := make(chan *Delivery), make(chan struct{})
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() {
			for {
				select {
				case d := <-work:
					r.handle(ctx, d)
				case <-quit:
					return
				}
			}
		})
	}
	done := make(chan struct{})
	var beat sync.WaitGroup
	beat.Go(func() { r.heartbeat(done) })

	var err error
	wait := 20 * time.Millisecond
	for first := true; ctx.Err() == nil; first = false {
		began := time.Now()
		if err = r.session(ctx, first, work); errors.Is(err, ErrClosed) || errors.Is(err, ErrRefused) {
			break
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > 5*time.Second {
			wait = 20 * time.Millisecond
		}
		if !errors.Is(err, errResync) {
			r.log.Warn("consumer restarts", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
	if caller.Err() != nil {
		err = nil
	}
	cancel()
	close(quit)
	timer := time.AfterFunc(c.Grace, stop)
	workers.Wait()
	r.settled(hctx)
	timer.Stop()
	close(done)
	beat.Wait()
	if err != nil {
		return fmt.Errorf("consume %s as %s: %w", c.Stream, c.Durable, err)
	}
	return nil
}

// session makes the durable and pulls until ctx ends or something breaks.
func (r *consumption) session(ctx context.Context, first bool, work chan<- *Delivery) error {
	cfg := jetstream.ConsumerConfig{
		Durable: r.c.Durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: r.c.AckWait,
		MaxDeliver: -1, MaxAckPending: r.c.MaxInFlight + 1024, FilterSubjects: r.c.Filters,
		DeliverPolicy: jetstream.DeliverAllPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
	if r.c.NewOnly {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	sctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if r.c.Ordered {
		// What is in flight must be settled before going back, or it would be
		// handled twice at once.
		r.settled(ctx)
	}
	cons, err := r.bus.js.CreateOrUpdateConsumer(sctx, r.c.Stream, cfg)
	if err != nil {
		return classify("create consumer", err)
	}
	if r.c.Ordered || r.c.Exclusive && first {
		// Unconditional: what the server thinks in flight may be lost on the way.
		if _, err := r.bus.js.ResetConsumer(sctx, r.c.Stream, r.c.Durable); err != nil {
			return classify("reset consumer", err)
		}
	}
	select { // a leftover of the last session
	case <-r.restart:
	default:
	}
	r.mu.Lock()
	r.lastDseq = 0
	r.mu.Unlock()
	cc, err := cons.Consume(func(m jetstream.Msg) { r.receive(ctx, m, work) },
		jetstream.PullMaxBytes(pullBytes), jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { r.trouble(err) }))
	if err != nil {
		return classify("pull", err)
	}
	var cause error
	select {
	case <-ctx.Done():
	case <-r.bus.gone:
		cause = ErrClosed
	case cause = <-r.restart:
	}
	// Drain hands the buffered messages to receive, which gives them back to
	// the server, so that they need not wait for AckWait.
	r.mu.Lock()
	r.lastDseq = lost
	r.mu.Unlock()
	if cause != nil && !errors.Is(cause, errResync) {
		cc.Stop()
	} else {
		cc.Drain()
	}
	// The next session must not start beside this one: order would be lost.
	select {
	case <-cc.Closed():
	case <-r.bus.gone:
	case <-ctx.Done():
	}
	return cause
}

// lost as lastDseq refuses every delivery until the next session.
const lost = ^uint64(0)

// trouble handles an error of the pull subscription.
func (r *consumption) trouble(err error) {
	switch {
	case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, jetstream.ErrConsumerLeadershipChanged):
		r.log.Debug("consumer", "error", err) // the library pulls again
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed):
		r.again(ErrClosed)
	default:
		// Consumer deleted, JetStream not up yet after a restart, ….
		r.again(fmt.Errorf("%w: %w", ErrBusy, err))
	}
}

func (r *consumption) again(err error) {
	select {
	case r.restart <- err:
	default:
	}
}

// receive is called by the client for each message, in order, by one goroutine.
func (r *consumption) receive(ctx context.Context, m jetstream.Msg, work chan<- *Delivery) {
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("message without metadata", "error", err)
		return
	}
	d := &Delivery{
		Subject: m.Subject(), Header: m.Headers(), Data: m.Data(), Stream: meta.Stream, Seq: meta.Sequence.Stream,
		Time: meta.Timestamp, NumDelivered: int(meta.NumDelivered), Pending: meta.NumPending,
		msg: m, dseq: meta.Sequence.Consumer, run: r, ctx: r.hctx, open: 1, after: r.settle,
	}
	if !r.admit(ctx, d) {
		return
	}
	select {
	case work <- d:
	case <-ctx.Done():
		_ = m.Nak()
		r.forget(d)
	}
}

// admit waits for room and reports whether d shall be handled.
func (r *consumption) admit(ctx context.Context, d *Delivery) bool {
	for {
		r.mu.Lock()
		if ctx.Err() != nil || r.lastDseq == lost {
			r.mu.Unlock()
			if !r.c.Ordered {
				_ = d.msg.Nak()
			}
			return false
		}
		if was := r.inflight[d.Seq]; was != nil && was != d {
			// The server thought us dead. The delivery at work settles it, with
			// the newer delivery's reply address.
			r.lastDseq = d.dseq
			r.mu.Unlock()
			was.mu.Lock()
			was.msg = d.msg
			was.mu.Unlock()
			return false
		}
		if r.c.Ordered {
			if r.lastDseq != 0 && d.dseq != r.lastDseq+1 {
				r.lastDseq = lost
				r.mu.Unlock()
				r.again(errResync)
				return false
			}
			if d.Seq <= r.lastSeq && !r.handled(d.Seq) {
				// After a reset the server may give a later one first. In order again:
				r.back(d.Seq - 1)
				r.lastDseq = lost
				r.mu.Unlock()
				r.again(errResync)
				return false
			}
			if d.Seq <= r.lastSeq {
				// Settled in this process already; its ack was lost.
				r.lastDseq = d.dseq
				r.mu.Unlock()
				_ = d.msg.Ack()
				return false
			}
		}
		if len(r.inflight) == 0 || len(r.inflight) < r.c.MaxInFlight && r.bytes+len(d.Data) <= r.c.MaxBytesInFlight {
			r.inflight[d.Seq] = d
			r.bytes += len(d.Data)
			r.lastDseq = d.dseq
			if r.c.Ordered {
				r.reached(d.Seq)
			}
			r.mu.Unlock()
			r.stats.delivered(d)
			return true
		}
		room := r.room
		r.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// forget takes d out of flight.
func (r *consumption) forget(d *Delivery) {
	r.mu.Lock()
	delete(r.inflight, d.Seq)
	r.bytes -= len(d.Data)
	close(r.room)
	r.room = make(chan struct{})
	r.mu.Unlock()
}

// settled waits until nothing is in flight, or ctx ends.
func (r *consumption) settled(ctx context.Context) {
	for {
		r.mu.Lock()
		n, room := len(r.inflight), r.room
		r.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-room:
		case <-ctx.Done():
			return
		case <-r.bus.gone:
			return
		}
	}
}
