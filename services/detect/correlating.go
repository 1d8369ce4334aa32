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

// correlate follows SIGNALS from the last checkpoint on.
func (s *Service) correlate(ctx context.Context) error {
	if err := s.restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	out := newOutbox(s)
	done := make(chan struct{})
	restored := s.position
	go func() {
		defer close(done)
		s.saveLoop(ctx, out, restored)
	}()
	err := s.follow(ctx, out)
	<-done
	if err != nil {
		return err
	}
	// What was published last must be durable before the state may say so.
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	if err := s.save(final, out); err != nil {
		s.log.Warn("no checkpoint at shutdown; the next start replays a little more", "error", err)
	}
	out.close()
	return nil
}

func (s *Service) follow(ctx context.Context, out *outbox) error {
	s.corrMu.Lock()
	first := s.position + 1
	s.corrMu.Unlock()
	if !s.awaitMutes(ctx) {
		return nil
	}
	var reader signalReader
	for rec, err := range s.opts.Bus.Follow(ctx, subjects.StreamSignals, nil, first) {
		if err != nil {
			return fmt.Errorf("follow signals: %w", err)
		}
		matched, bad := reader.read(rec.Data)
		s.corrMu.Lock()
		if gap := rec.Seq - s.position - 1; gap > 0 && s.position > 0 {
			s.counters.missed.Add(gap)
			s.log.Error("signals are gone before they were correlated", "count", gap, "from", s.position+1,
				"hint", "give the SIGNALS stream more space or age")
		}
		s.position = rec.Seq
		var alerts []finding.Alert
		for i := range matched {
			s.corr.Add(&matched[i], func(a finding.Alert) { alerts = append(alerts, a) })
		}
		// Numbered under the lock, so that a checkpoint waits for them.
		number := out.reserve(len(alerts))
		s.corrMu.Unlock()
		if bad != nil {
			s.counters.badSignals.Add(1)
			s.log.Error("signal cannot be read", "sequence", rec.Seq, "error", bad)
		}
		for i := range alerts {
			out.send(number+uint64(i), &alerts[i])
		}
	}
	return nil
}

// restore loads the last checkpoint.
func (s *Service) restore(ctx context.Context) error {
	var seq uint64
	var state []byte
	for {
		var err error
		seq, state, err = s.opts.Bus.LoadCheckpoint(ctx, Checkpoint)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err == nil {
			break
		}
		if !bus.IsBusy(err) || ctx.Err() != nil {
			return fmt.Errorf("restore correlation: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	st, err := s.opts.Bus.JetStream().Stream(ctx, subjects.StreamSignals)
	if err != nil {
		return fmt.Errorf("restore correlation: %w", err)
	}
	if last := st.CachedInfo().State.LastSeq; last < seq {
		s.log.Error("the SIGNALS stream is older than the checkpoint; correlation starts afresh", "checkpoint", seq, "stream", last)
		return nil
	}
	s.corrMu.Lock()
	defer s.corrMu.Unlock()
	if err := s.corr.Load(state); err != nil {
		s.log.Error("checkpoint cannot be used; correlation replays the whole SIGNALS stream", "error", err)
		return nil
	}
	s.position = seq
	s.log.Info("correlation restored", "sequence", seq, "bytes", len(state))
	return nil
}

// saveLoop saves checkpoints while there is something new. Big states are
// saved less often, so that it costs a twentieth of the time at most.
func (s *Service) saveLoop(ctx context.Context, out *outbox, saved uint64) {
	wait := s.opts.CheckpointInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		s.corrMu.Lock()
		same := s.position == saved
		s.corrMu.Unlock()
		if same {
			continue
		}
		begin := time.Now()
		s.corrMu.Lock()
		saved = s.position
		s.corrMu.Unlock()
		if err := s.save(ctx, out); err != nil && ctx.Err() == nil {
			saved = 0
			s.log.Warn("checkpoint", "error", err)
		}
		wait = max(s.opts.CheckpointInterval, 20*time.Since(begin))
	}
}

// save stores state and position once every alert up to the position is durable.
func (s *Service) save(ctx context.Context, out *outbox) error {
	s.corrMu.Lock()
	seq := s.position
	last := out.reserved()
	state, err := s.corr.Save(nil)
	s.corrMu.Unlock()
	if err != nil || seq == 0 {
		return err
	}
	if err := out.wait(ctx, last); err != nil {
		return err
	}
	// A checkpoint that was begun is finished, so that shutdown does not leave
	// half of one to be cleaned up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := s.opts.Bus.SaveCheckpoint(ctx, Checkpoint, seq, state); err != nil {
		return err
	}
	s.counters.checkpoints.Add(1)
	return s.opts.Bus.SetFloor(ctx, subjects.StreamSignals, Checkpoint, seq)
}

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
		case o.ctx.Err() == nil && !errors.Is(err, bus.ErrClosed):
			delay := min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)
			time.AfterFunc(delay, func() { o.publish(n, uid, m, attempt+1) })
		}
	}
	if err := o.s.opts.Bus.PublishAsync(o.ctx, m, func(_ bus.Ack, err error) { result(err) }); err != nil {
		result(err)
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
	close(o.changed)
	o.changed = make(chan struct{})
	o.mu.Unlock()
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
		changed := o.changed
		o.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d alerts to be stored: %w", left, ctx.Err())
		case <-changed:
		}
	}
}
