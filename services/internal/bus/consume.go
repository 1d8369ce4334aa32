package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Handler processes one message. It may run in several goroutines at once
// (Consumer.Workers). It must return soon after ctx ends. A panic becomes
// Permanent("panic", …) with the stack in the error.
type Handler func(ctx context.Context, d *Delivery) Verdict

// Consumer says what to consume and how. Stream and Durable are required.
type Consumer struct {
	// Stream to read.
	Stream string
	// Durable names the position in the stream; processes that share it share
	// the work.
	Durable string
	// Filters are subjects, with wildcards; none means all.
	Filters []string
	// NewOnly starts a durable that does not exist yet at the stream's end.
	NewOnly bool
	// Ordered calls the handler in stream order, one call at a time, with
	// several inputs awaiting acks. A Retry is repeated in place, so later
	// messages wait. After a restart or lost delivery it goes back to the
	// oldest unacknowledged message, so handlers see repeats, but never a gap.
	// Outputs that had to be tried again may be stored out of order.
	Ordered bool
	// Exclusive says no other process uses this durable now, so messages that
	// a dead predecessor left unacknowledged come again at once rather than
	// after AckWait. Ordered implies it.
	Exclusive bool
	// Workers is the number of concurrent handler calls; default 1.
	Workers int
	// MaxInFlight bounds messages that are delivered and not settled; default 256.
	MaxInFlight int
	// MaxBytesInFlight bounds their payload bytes; default 32 MiB. Up to 16 MiB
	// more wait in the client's buffer. One message is always let through.
	MaxBytesInFlight int
	// AckWait is how long the server waits before it thinks this process dead;
	// the bus extends it while a handler works. Default 30 s.
	AckWait time.Duration
	// MaxDeliver turns a Retry into a dead letter (reason "max_deliver") at
	// that many attempts, and also ends messages that crashed the process that
	// often. 0 means never: right for failures of the surroundings.
	MaxDeliver int
	// Stage names this stage in dead letters; default Durable.
	Stage string
	// DeadLetter builds the payload of a dead letter; subject, id and headers
	// are filled in when empty. Default: the payload as it was.
	DeadLetter func(d *Delivery, reason string, err error) (Msg, error)
	// Grace is how long handlers and outputs may take to end after ctx ended;
	// default 10 s. Then their inputs are left to be delivered again.
	Grace time.Duration
}

func (c *Consumer) defaults() error {
	if c.Stream == "" || c.Durable == "" {
		return errors.New("consume: no stream or no durable name given")
	}
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&c.Workers, 1)
	set(&c.MaxInFlight, 256)
	set(&c.MaxBytesInFlight, 32<<20)
	if c.Ordered {
		c.Workers, c.Exclusive = 1, true
	}
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Second
	}
	if c.Stage == "" {
		c.Stage = c.Durable
	}
	return nil
}

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
	work := make(chan *Delivery)
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() {
			for d := range work {
				r.handle(ctx, d)
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
	close(work)
	if ctx.Err() != nil {
		err = nil
	}
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
			r.lastSeq = max(r.lastSeq, d.Seq)
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

// handle runs the handler, in place again and again for an ordered Retry.
func (r *consumption) handle(ctx context.Context, d *Delivery) {
	if r.c.MaxDeliver > 0 && d.NumDelivered > r.c.MaxDeliver {
		d.v = Permanent("max_deliver", fmt.Errorf("%d deliveries without an answer", d.NumDelivered-1))
		d.finish(nil)
		return
	}
	for {
		v := r.call(d)
		if v.kind != kindRetry || !r.c.Ordered || r.spent(d) {
			d.v = v
			break
		}
		r.stats.retried()
		delay := r.delay(d, v)
		r.log.Warn("retry in place", "seq", d.Seq, "attempt", d.NumDelivered, "after", delay, "error", v.err)
		select {
		case <-ctx.Done():
			d.v = v
			d.finish(nil)
			return
		case <-time.After(delay):
		}
		d.NumDelivered++
	}
	d.finish(nil)
}

func (r *consumption) spent(d *Delivery) bool {
	return r.c.MaxDeliver > 0 && d.NumDelivered >= r.c.MaxDeliver
}

// call shields the process from a panic in the handler.
func (r *consumption) call(d *Delivery) (v Verdict) {
	defer func() {
		if p := recover(); p != nil {
			r.stats.panicked()
			v = Permanent("panic", fmt.Errorf("panic: %v: %s", p, debug.Stack()))
			r.log.Error("handler panicked", "seq", d.Seq, "subject", d.Subject, "error", v.err)
		}
	}()
	return r.handler(r.hctx, d)
}

func (r *consumption) delay(d *Delivery, v Verdict) time.Duration {
	if v.after > 0 {
		return v.after
	}
	return min(100*time.Millisecond<<min(max(d.NumDelivered-1, 0), 9), 30*time.Second)
}

// settle answers the server once handler and outputs are through. It may run
// on the publisher's goroutine, so it must not block.
func (r *consumption) settle(d *Delivery) {
	v := d.verdict()
	if v.kind == kindRetry && r.spent(d) {
		v = Permanent("max_deliver", fmt.Errorf("after %d attempts: %w", d.NumDelivered, v.err))
	}
	switch v.kind {
	case kindPermanent:
		// Off this goroutine: sending may have to wait for room in the window,
		// which the publisher's goroutine makes.
		go r.bury(d, v)
		return
	case kindRetry:
		r.stats.retried()
		delay := r.delay(d, v)
		if r.hctx.Err() == nil {
			r.log.Warn("retry", "seq", d.Seq, "subject", d.Subject, "attempt", d.NumDelivered, "after", delay, "error", v.err)
		}
		if r.c.Ordered {
			// Giving one message back would put it behind the next ones.
			r.mu.Lock()
			r.lastDseq = lost
			r.lastSeq = min(r.lastSeq, d.Seq-1)
			r.mu.Unlock()
			r.again(errResync)
		} else {
			_ = d.message().NakWithDelay(delay)
		}
		r.forget(d)
		return
	case kindDrop:
		r.stats.dropped(v.reason)
	default:
		r.stats.acked()
	}
	r.ack(d)
}

// bury writes the dead letter and acknowledges the input when it is stored.
func (r *consumption) bury(d *Delivery, v Verdict) {
	r.log.Warn("dead letter", "seq", d.Seq, "subject", d.Subject, "reason", v.reason, "error", v.err)
	m, err := d.deadLetter(v, r.c.DeadLetter)
	if err != nil {
		r.log.Error("dead letter in plain form", "seq", d.Seq, "error", err)
		m, _ = d.deadLetter(v, plainDeadLetter)
	}
	r.sendDead(d, v, m)
}

func (r *consumption) sendDead(d *Delivery, v Verdict, m Msg) {
	done := func(_ Ack, err error) {
		switch {
		case err == nil:
			r.stats.buried(v.reason)
			r.ack(d)
		case errors.Is(err, ErrRefused) && len(m.Data) > 0:
			// Too large with its headers: keep the headers, which say where the
			// payload still is.
			r.log.Error("dead letter without its payload", "seq", d.Seq, "error", err)
			m.Data = nil
			go r.sendDead(d, v, m)
		default:
			// Refused altogether or closing: left unacknowledged, so it comes
			// again after AckWait or the restart.
			if errors.Is(err, ErrRefused) {
				r.log.Error("dead letter refused", "seq", d.Seq, "error", err)
			}
			r.mu.Lock()
			r.lastSeq = min(r.lastSeq, d.Seq-1)
			r.mu.Unlock()
			r.forget(d)
		}
	}
	if err := r.bus.pub.send(r.hctx, m, true, done); err != nil {
		done(Ack{}, err)
	}
}

// ack acknowledges the input. A lost ack only repeats work.
func (r *consumption) ack(d *Delivery) {
	if err := d.message().Ack(); err != nil {
		r.log.Debug("ack not sent", "seq", d.Seq, "error", err)
	}
	d.mu.Lock()
	acked := d.acked
	d.mu.Unlock()
	for _, f := range acked {
		f()
	}
	r.forget(d)
}

// heartbeat tells the server that messages in flight are being worked on.
func (r *consumption) heartbeat(done <-chan struct{}) {
	tick := time.NewTicker(max(r.c.AckWait/3, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		msgs := make([]jetstream.Msg, 0, len(r.inflight))
		for _, d := range r.inflight {
			msgs = append(msgs, d.message())
		}
		r.mu.Unlock()
		for _, m := range msgs {
			_ = m.InProgress()
		}
	}
}
