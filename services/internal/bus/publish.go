package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// Header is a message's headers, case-sensitive.
type Header = nats.Header

// Msg is a message to publish. The bus keeps Header and Data until the ack:
// do not change them before.
type Msg struct {
	// Subject must belong to a stream.
	Subject string
	// ID makes the publish idempotent; it must be the same on every attempt.
	ID string
	// Header may be nil.
	Header Header
	// Data is the payload.
	Data []byte
}

// Ack says that a message is stored, and where.
type Ack struct {
	// Seq is the message's sequence in its stream.
	Seq uint64
	// Duplicate says an earlier publish with the same ID was stored; Seq is
	// that one's.
	Duplicate bool
}

// Publish stores m and returns once it is durable. The error wraps ErrBusy
// (try again, same ID), ErrRefused (never) or ErrClosed. After a timeout or a
// cancelled ctx the message may or may not be stored.
func (b *Bus) Publish(ctx context.Context, m Msg) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	ch := make(chan result, 1)
	err := b.PublishAsync(ctx, m, func(a Ack, err error) { ch <- result{a, err} })
	if err != nil {
		return Ack{}, err
	}
	select {
	case r := <-ch:
		return r.ack, r.err
	case <-ctx.Done():
		return Ack{}, fmt.Errorf("publish %s: %w: %w", m.Subject, ErrBusy, ctx.Err())
	}
}

// PublishAsync sends m and calls done exactly once, from the bus's goroutine,
// when it is durable or has failed; done must not block. It blocks while too
// many bytes are unacknowledged, until ctx ends. When it returns an error,
// done is not called.
func (b *Bus) PublishAsync(ctx context.Context, m Msg, done func(Ack, error)) error {
	if b.server != nil && b.server.low.Load() {
		// Outputs of a Delivery may still go on: they need far less, and
		// finishing them is what frees space.
		return fmt.Errorf("publish %s: %w: the disk is nearly full", m.Subject, ErrBusy)
	}
	return b.pub.send(ctx, m, false, done)
}

// maxOpen bounds unacknowledged messages: with a slow fsync each, more of them
// would time out waiting for one another.
const maxOpen = 512

// pending is one publish without an ack.
type pending struct {
	msg      *nats.Msg
	size     int
	deadline time.Time
	persist  bool // try again for ever while busy
	attempt  int
	timer    *time.Timer // a scheduled retry
	done     func(Ack, error)
}

// publisher keeps a window of unacknowledged messages. The client library has
// one too; this one bounds bytes instead of messages, calls back instead of
// needing a goroutine a message, and fails at once when the connection drops.
type publisher struct {
	maxBytes int
	timeout  time.Duration
	nc       *nats.Conn
	sub      *nats.Subscription
	prefix   string
	stop     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	next   uint64
	bytes  int
	open   map[uint64]*pending
	room   chan struct{} // closed and replaced when space frees up
}

func newPublisher(maxBytes int, timeout time.Duration) *publisher {
	return &publisher{
		maxBytes: maxBytes, timeout: timeout, open: map[uint64]*pending{},
		room: make(chan struct{}), stop: make(chan struct{}),
	}
}

func (p *publisher) start(nc *nats.Conn) (err error) {
	p.nc = nc
	p.prefix = nc.NewInbox() + "."
	if p.sub, err = nc.Subscribe(p.prefix+"*", p.reply); err != nil {
		return err
	}
	p.wg.Go(p.sweep)
	return nil
}

func (p *publisher) send(ctx context.Context, m Msg, persist bool, done func(Ack, error)) error {
	size := len(m.Data) + len(m.Subject) + 128
	if limit := p.nc.MaxPayload(); limit > 0 && int64(len(m.Data)) > limit {
		return fmt.Errorf("publish %s: %w: %d bytes, the server takes %d", m.Subject, ErrRefused, len(m.Data), limit)
	}
	h := m.Header
	if m.ID != "" {
		h = make(Header, len(m.Header)+1)
		for k, v := range m.Header {
			h[k] = v
		}
		h[subjects.HeaderMsgID] = []string{m.ID}
	}
	pe := &pending{msg: &nats.Msg{Subject: m.Subject, Header: h, Data: m.Data}, size: size, persist: persist, done: done}
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return fmt.Errorf("publish %s: %w", m.Subject, ErrClosed)
		}
		// One message always fits, however large.
		if len(p.open) == 0 || p.bytes+size <= p.maxBytes && len(p.open) < maxOpen {
			break
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("publish %s: %w: too many unacknowledged: %w", m.Subject, ErrBusy, ctx.Err())
		}
	}
	p.next++
	id := p.next
	p.bytes += size
	p.open[id] = pe
	pe.msg.Reply = p.prefix + strconv.FormatUint(id, 36)
	pe.deadline = time.Now().Add(p.timeout)
	p.mu.Unlock()

	if err := p.nc.PublishMsg(pe.msg); err != nil {
		err = classify("publish "+m.Subject, err)
		if persist && IsBusy(err) {
			p.fail(id, err) // schedules the next attempt
			return nil
		}
		if p.take(id) == nil {
			// A disconnect took it meanwhile, so done reports the error.
			return nil
		}
		return err
	}
	return nil
}

// take removes a pending publish; whoever gets it calls done.
func (p *publisher) take(id uint64) *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeLocked(id)
}

func (p *publisher) takeLocked(id uint64) *pending {
	pe := p.open[id]
	if pe == nil {
		return nil
	}
	delete(p.open, id)
	p.bytes -= pe.size
	close(p.room)
	p.room = make(chan struct{})
	return pe
}

// fail ends an attempt: done with the error, or another attempt later.
func (p *publisher) fail(id uint64, err error) {
	p.mu.Lock()
	pe := p.open[id]
	if pe == nil || pe.timer != nil {
		p.mu.Unlock()
		return
	}
	if pe.persist && IsBusy(err) && !p.closed {
		wait := min(50*time.Millisecond<<min(pe.attempt, 7), 5*time.Second)
		pe.attempt++
		pe.timer = time.AfterFunc(wait, func() { p.again(id) })
		p.mu.Unlock()
		return
	}
	p.takeLocked(id)
	p.mu.Unlock()
	pe.done(Ack{}, err)
}

// again repeats a failed attempt under the same message id.
func (p *publisher) again(id uint64) {
	p.mu.Lock()
	pe := p.open[id]
	if pe == nil || p.closed {
		p.mu.Unlock()
		return
	}
	pe.timer = nil
	pe.deadline = time.Now().Add(p.timeout)
	p.mu.Unlock()
	if err := p.nc.PublishMsg(pe.msg); err != nil {
		p.fail(id, classify("publish "+pe.msg.Subject, err))
	}
}

// reply handles an ack or an error from the server.
func (p *publisher) reply(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, p.prefix), 36, 64)
	if err != nil {
		return
	}
	var resp struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch {
	case len(m.Data) == 0:
		// "No responders": no stream takes the subject, or not yet.
		p.fail(id, fmt.Errorf("publish: %w: no stream answers (server starting, disk full, or streams not created)", ErrBusy))
	case json.Unmarshal(m.Data, &resp) != nil:
		p.fail(id, fmt.Errorf("publish: %w: unreadable answer", ErrBusy))
	case resp.Error != nil:
		p.fail(id, classify("publish", resp.Error))
	default:
		if pe := p.take(id); pe != nil {
			if pe.timer != nil {
				pe.timer.Stop()
			}
			pe.done(Ack{Seq: resp.Seq, Duplicate: resp.Duplicate}, nil)
		}
	}
}

// disconnected fails every attempt: its answer went with the connection.
func (p *publisher) disconnected() {
	p.failAll(func(*pending) bool { return true },
		fmt.Errorf("publish: %w: %w", ErrBusy, nats.ErrDisconnected))
}

func (p *publisher) failAll(which func(*pending) bool, err error) {
	p.mu.Lock()
	var ids []uint64
	for id, pe := range p.open {
		if pe.timer == nil && which(pe) {
			ids = append(ids, id)
		}
	}
	p.mu.Unlock()
	for _, id := range ids {
		p.fail(id, err)
	}
}

// sweep fails attempts without an answer.
func (p *publisher) sweep() {
	tick := time.NewTicker(max(p.timeout/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			p.failAll(func(pe *pending) bool { return now.After(pe.deadline) },
				fmt.Errorf("publish: %w: no answer in %s", ErrBusy, p.timeout))
		}
	}
}

func (p *publisher) close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	open := p.open
	p.open = map[uint64]*pending{}
	close(p.room)
	p.room = make(chan struct{})
	p.mu.Unlock()
	close(p.stop)
	p.wg.Wait()
	for _, pe := range open {
		// Nobody else has it any more: it left the map under the lock.
		if pe.timer != nil {
			pe.timer.Stop()
		}
		pe.done(Ack{}, fmt.Errorf("publish %s: %w", pe.msg.Subject, ErrClosed))
	}
}
