package mute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Horizon is how old alerts are read at the start: an alert that has fired for
// longer is not told when its silence ends after a restart.
const Horizon = 24 * time.Hour

// Run watches silences and alerts until ctx ends, and publishes what is to be
// told. ready is called once both are known as they were at the start; what is
// applied before that may go unmuted.
func (m *Mute) Run(ctx context.Context, b *bus.Bus, every time.Duration, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	known := make(chan struct{}, 2)
	errs := make(chan error, 2)
	go func() { errs <- m.watch(ctx, b, func() { known <- struct{}{} }) }()
	go func() { errs <- m.follow(ctx, b, func() { known <- struct{}{} }) }()
	var first error
	end := func(left int, err error) error {
		cancel()
		for ; left > 0; left-- {
			err = errors.Join(err, <-errs)
		}
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	cleaned := time.Time{}
	for waiting := 2; ; {
		select {
		case <-known:
			if waiting--; waiting == 0 {
				ready()
			}
			continue
		case first = <-errs:
			return end(1, first)
		case <-ctx.Done():
			return end(2, nil)
		case <-tick.C:
		}
		if waiting > 0 {
			continue
		}
		m.tell(ctx, b)
		if m.now().Sub(cleaned) > time.Hour {
			m.clean(ctx, b)
			cleaned = m.now()
		}
	}
}

// watch follows the bucket of silences.
func (m *Mute) watch(ctx context.Context, b *bus.Bus, ready func()) error {
	for ctx.Err() == nil {
		kv, err := bus.OpenBucket[Silence](ctx, b, subjects.BucketSilences)
		if err == nil {
			seen := map[string]bool{}
			err = kv.Watch(ctx, nil, func(e bus.Entry[Silence], all bool) bool {
				switch {
				case all:
					m.keepOnly(seen)
					if ready != nil {
						ready()
						ready = nil
					}
				case e.Deleted:
					m.DeleteSilence(e.Key)
				default:
					seen[e.Key] = true
					e.Value.ID = e.Key
					m.SetSilence(e.Value)
				}
				return true
			})
		}
		if err != nil && !bus.IsBusy(err) && ctx.Err() == nil {
			return fmt.Errorf("watch silences: %w", err)
		}
		pause(ctx)
	}
	return nil
}

// keepOnly drops silences that were deleted while the connection was lost.
func (m *Mute) keepOnly(seen map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.silences {
		if !seen[id] {
			delete(m.silences, id)
		}
	}
}

// follow reads the alerts of the last day, and then every new one.
func (m *Mute) follow(ctx context.Context, b *bus.Bus, ready func()) error {
	observe := func(rec bus.Record) {
		var a finding.Alert
		if json.Unmarshal(rec.Data, &a) == nil && a.UID != "" {
			m.Observe(&a)
		}
	}
	next, known := uint64(0), false
	for !known {
		err := func() error {
			first, last, err := since(ctx, b, m.now().Add(-Horizon))
			if err != nil {
				return err
			}
			// With an end: the last alert that was counted may be gone by itself.
			for rec, err := range b.ReadFrom(ctx, subjects.StreamAlerts, nil, max(first, next), last) {
				if err != nil {
					return err
				}
				observe(rec)
				next = rec.Seq + 1
			}
			next, known = max(next, last+1), true
			return nil
		}()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !bus.IsBusy(err) {
			return fmt.Errorf("follow alerts: %w", err)
		}
		if err != nil {
			pause(ctx)
		}
	}
	ready()
	for rec, err := range b.Follow(ctx, subjects.StreamAlerts, nil, next) {
		if err != nil {
			return fmt.Errorf("follow alerts: %w", err)
		}
		observe(rec)
	}
	return nil
}

// since finds the first alert that the stream took at a time or later, and the
// last one there is.
func since(ctx context.Context, b *bus.Bus, at time.Time) (first, last uint64, err error) {
	st, err := b.JetStream().Stream(ctx, subjects.StreamAlerts)
	if err != nil {
		return 0, 0, fmt.Errorf("stream of alerts: %w: %w", bus.ErrBusy, err)
	}
	state := st.CachedInfo().State
	if state.Msgs == 0 || state.LastTime.Before(at) {
		return state.LastSeq + 1, state.LastSeq, nil
	}
	n := sort.Search(int(state.LastSeq-state.FirstSeq), func(i int) bool {
		r, gerr := b.Get(ctx, subjects.StreamAlerts, state.FirstSeq+uint64(i))
		if gerr != nil && !errors.Is(gerr, bus.ErrNotFound) && err == nil {
			err = gerr
		}
		return gerr == nil && !r.Time.Before(at)
	})
	return state.FirstSeq + uint64(n), state.LastSeq, err
}

// tell publishes the alerts whose silence or inhibition is over. Every instance
// does; the message's id makes it one.
func (m *Mute) tell(ctx context.Context, b *bus.Bus) {
	for _, a := range m.Due() {
		data, err := json.Marshal(a)
		if err == nil {
			_, err = b.Publish(ctx, bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, strconv.Itoa(a.Revision)) + ":told:" + a.Muted.ID, Data: data})
		}
		if err != nil {
			if ctx.Err() == nil {
				m.log.Warn("alert that is muted no more cannot be told yet", "alert", a.UID, "error", err)
			}
			return
		}
		m.log.Info("alert is muted no more", "alert", a.UID, "rule", a.Rule, "by", a.Muted.By, "id", a.Muted.ID)
	}
}

func (m *Mute) clean(ctx context.Context, b *bus.Bus) {
	old := m.Old()
	if len(old) == 0 {
		return
	}
	kv, err := bus.OpenBucket[Silence](ctx, b, subjects.BucketSilences)
	for i := 0; i < len(old) && err == nil; i++ {
		err = kv.Delete(ctx, old[i])
	}
	if err != nil && ctx.Err() == nil {
		m.log.Warn("old silences cannot be deleted", "error", err)
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}
