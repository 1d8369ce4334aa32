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
	changed chan struct{}         // closed and replaced when an alert became durable
	gone    error                 // the bus is closed: nothing becomes durable any more
	chains  map[string][]chainMsg // by alert: the first is on its way
}

// chainMsg is an alert that is a signal again.
type chainMsg struct {
	n uint64
	m bus.Msg
}

func newOutbox(s *Service) *outbox {
	o := &outbox{s: s, open: map[uint64]struct{}{}, chains: map[string][]chainMsg{}, changed: make(chan struct{})}
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
			o.chained(n, uid)
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

// chain publishes a message after those of the same alert that were given before:
// that it is retracted must not come before that it is raised.
func (o *outbox) chain(n uint64, uid string, m bus.Msg) {
	o.mu.Lock()
	before := len(o.chains[uid])
	o.chains[uid] = append(o.chains[uid], chainMsg{n, m})
	o.mu.Unlock()
	if before == 0 {
		o.publish(n, uid, m, 0)
	}
}

// chained is called when the first chained message of an alert has its place.
func (o *outbox) chained(n uint64, uid string) {
	o.mu.Lock()
	list := o.chains[uid]
	if len(list) == 0 || list[0].n != n {
		o.mu.Unlock()
		return // it was the alert itself
	}
	if list = list[1:]; len(list) == 0 {
		delete(o.chains, uid)
		o.mu.Unlock()
		return
	}
	o.chains[uid] = list
	o.mu.Unlock()
	// Off this goroutine, which is the bus's: it may have to wait for room.
	go o.publish(list[0].n, uid, list[0].m, 0)
}

func (o *outbox) refused(n uint64, uid string, err error) {
	o.s.counters.lostAlerts.Add(1)
	o.s.log.Error("alert cannot be published", "alert", uid, "error", err)
	o.settle(n)
	o.chained(n, uid)
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
