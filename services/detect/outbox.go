package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// outbox publishes alerts and knows which are durable. A busy bus is tried
// again until the outbox is closed.
type outbox struct {
	s       *Service
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	next    uint64
	open    map[uint64]struct{}
	changed chan struct{} // closed and replaced when an alert became durable
	gone    error         // the bus is closed: nothing becomes durable any more
	chains  []chainMsg    // to be sent in order, one after the other
	busy    bool          // somebody sends them
}

// chainMsg is an alert that is a signal again.
type chainMsg struct {
	n uint64
	m bus.Msg
}

func newOutbox(s *Service) *outbox {
	o := &outbox{s: s, open: map[uint64]struct{}{}, changed: make(chan struct{})}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o
}

func (o *outbox) close() { o.cancel() }

// reserve numbers n alerts that are about to be sent and returns the first.
func (o *outbox) reserve(n int) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := o.next + 1
	for range n {
		o.next++
		o.open[o.next] = struct{}{}
	}
	return first
}

func (o *outbox) reserved() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

func (o *outbox) send(n uint64, a *finding.Alert) {
	o.s.mute.Apply(a)
	data, err := json.Marshal(a)
	if err != nil {
		o.refused(n, a.UID, err)
		return
	}
	o.publish(n, a.UID, bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, strconv.Itoa(a.Revision)), Data: data}, 0)
}

func (o *outbox) publish(n uint64, uid string, m bus.Msg, attempt int) {
	result := func(err error) {
		switch {
		case err == nil:
			o.settle(n)
		case errors.Is(err, bus.ErrRefused):
			o.refused(n, uid, err)
		case errors.Is(err, bus.ErrClosed):
			o.lose(err)
		case o.ctx.Err() == nil:
			delay := min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)
			time.AfterFunc(delay, func() { o.publish(n, uid, m, attempt+1) })
		}
	}
	if err := o.s.opts.Bus.PublishAsync(o.ctx, m, func(_ bus.Ack, err error) { result(err) }); err != nil {
		result(err)
	}
}

// chain publishes a message after those that were given before: an alert that is
// retracted must not come before it is raised.
func (o *outbox) chain(n uint64, m bus.Msg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.chains = append(o.chains, chainMsg{n, m})
	if !o.busy {
		o.busy = true
		go o.sendChains()
	}
}

func (o *outbox) sendChains() {
	for attempt := 0; ; {
		o.mu.Lock()
		if len(o.chains) == 0 || o.gone != nil || o.ctx.Err() != nil {
			o.busy = false
			o.mu.Unlock()
			return
		}
		next := o.chains[0]
		o.mu.Unlock()
		_, err := o.s.opts.Bus.Publish(o.ctx, next.m)
		switch {
		case err == nil:
			o.settle(next.n)
		case errors.Is(err, bus.ErrRefused):
			o.refused(next.n, next.m.ID, err)
		case errors.Is(err, bus.ErrClosed):
			o.lose(err)
			continue
		default:
			attempt++
			select {
			case <-o.ctx.Done():
			case <-time.After(min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)):
			}
			continue
		}
		attempt = 0
		o.mu.Lock()
		o.chains = o.chains[1:]
		o.mu.Unlock()
	}
}

func (o *outbox) refused(n uint64, uid string, err error) {
	o.s.counters.lostAlerts.Add(1)
	o.s.log.Error("alert cannot be published", "alert", uid, "error", err)
	o.settle(n)
}

func (o *outbox) settle(n uint64) {
	o.mu.Lock()
	delete(o.open, n)
	o.tell()
	o.mu.Unlock()
}

// lose notes that nothing becomes durable any more.
func (o *outbox) lose(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = err
	o.tell()
}

// tell wakes who waits; the lock is held.
func (o *outbox) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// wait returns when every alert up to n is durable.
func (o *outbox) wait(ctx context.Context, n uint64) error {
	for {
		o.mu.Lock()
		left := 0
		for k := range o.open {
			if k <= n {
				left++
			}
		}
		changed, gone := o.changed, o.gone
		o.mu.Unlock()
		if left == 0 {
			return nil
		}
		if gone != nil {
			return fmt.Errorf("wait for %d alerts to be stored: %w", left, gone)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d alerts to be stored: %w", left, ctx.Err())
		case <-changed:
		}
	}
}
