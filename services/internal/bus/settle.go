package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
			r.back(d.Seq - 1)
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
			r.back(d.Seq - 1)
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
