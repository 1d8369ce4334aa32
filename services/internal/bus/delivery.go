package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// Delivery is one attempt to process a message. It belongs to the handler
// until that returns; Data stays valid (and must stay unchanged) after.
type Delivery struct {
	// Subject the message was published to.
	Subject string
	// Header of the message; read only.
	Header Header
	// Data is the payload; read only.
	Data []byte
	// Stream and Seq name the message for ever.
	Stream string
	Seq    uint64
	// Time is when the stream stored it.
	Time time.Time
	// NumDelivered counts attempts, this one included.
	NumDelivered int
	// Pending is how many messages of the consumer wait behind this one.
	Pending uint64

	msg   jetstream.Msg
	dseq  uint64 // delivery sequence: gaps mean lost deliveries
	run   *consumption
	ctx   context.Context
	mu    sync.Mutex
	open  int // outputs without an ack, +1 while the handler runs
	acked []func()
	fail  error
	v     Verdict
	after func(*Delivery)
}

// Publish sends an output of this input. The input is acknowledged only after
// the output is. While the bus is busy the output is tried again for ever
// (the input stays in flight, so at most MaxInFlight inputs wait); an output
// that is refused turns the input into a dead letter. It blocks while too many
// bytes are unacknowledged. Do not call it after the handler returned.
func (d *Delivery) Publish(m Msg) error {
	d.mu.Lock()
	d.open++
	d.mu.Unlock()
	err := d.run.bus.pub.send(d.ctx, m, true, func(_ Ack, err error) { d.finish(err) })
	if err != nil {
		d.finish(err)
	}
	return err
}

// OnAck calls f, which must not block, right after the input was acknowledged.
// Ordered handlers use it to know their safe position.
func (d *Delivery) OnAck(f func()) {
	d.mu.Lock()
	d.acked = append(d.acked, f)
	d.mu.Unlock()
}

// message is the newest delivery of the input.
func (d *Delivery) message() jetstream.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.msg
}

// finish ends one of the things the input waits for.
func (d *Delivery) finish(err error) {
	d.mu.Lock()
	if err != nil && d.fail == nil {
		d.fail = err
	}
	d.open--
	last := d.open == 0
	d.mu.Unlock()
	if last {
		d.after(d)
	}
}

// verdict combines the handler's verdict with what became of the outputs.
func (d *Delivery) verdict() Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail == nil || d.v.kind == kindRetry || d.v.kind == kindPermanent {
		return d.v
	}
	if errors.Is(d.fail, ErrRefused) {
		return Permanent("output_refused", d.fail)
	}
	return Retry(d.fail)
}

// deadLetter builds the message for the DEAD stream.
func (d *Delivery) deadLetter(v Verdict, build func(*Delivery, string, error) (Msg, error)) (Msg, error) {
	c := &d.run.c
	if build == nil {
		build = plainDeadLetter
	}
	m, err := build(d, v.reason, v.err)
	if err != nil {
		return Msg{}, fmt.Errorf("build dead letter of %s %d: %w", d.Stream, d.Seq, err)
	}
	if m.Subject == "" {
		m.Subject = subjects.Dead(c.Stage, source(d))
	}
	if m.ID == "" {
		m.ID = subjects.DeadID(c.Stage, d.Stream, d.Seq)
	}
	h := Header{}
	for k, val := range m.Header {
		h[k] = val
	}
	text := ""
	if v.err != nil {
		text = clip(v.err.Error(), 2048)
	}
	h.Set(subjects.HeaderStage, c.Stage)
	h.Set(subjects.HeaderReason, clip(v.reason, 128))
	h.Set(subjects.HeaderError, text)
	h.Set(subjects.HeaderOrigin, d.Subject)
	h.Set(subjects.HeaderOriginSeq, fmt.Sprint(d.Seq))
	m.Header = h
	return m, nil
}

// plainDeadLetter keeps the payload as it is; the headers say the rest.
func plainDeadLetter(d *Delivery, _ string, _ error) (Msg, error) {
	return Msg{Data: d.Data}, nil
}

func source(d *Delivery) string {
	if s := d.Header.Get(subjects.HeaderSource); s != "" {
		return s
	}
	if s, ok := subjects.ParseRaw(d.Subject); ok {
		return s
	}
	return d.Subject
}

// clip shortens s to at most n bytes and takes out what a header line cannot
// hold.
func clip(s string, n int) string {
	b := []byte(s[:min(len(s), n)])
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}
