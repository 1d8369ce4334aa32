package detect

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/silence"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Silence configures the watch over sources that stop sending.
type Silence = silence.Config

// SilentSource is the configuration of one source in Silence.
type SilentSource = silence.Source

const silenceCheckpoint = "silence"

// Health is what detection cannot see at the moment.
type Health struct {
	At     time.Time         `json:"at"`
	Silent []silence.Silence `json:"silent"`
	// Blind has the rules all of whose sources are silent, with these sources.
	Blind map[string][]string `json:"blind"`
	// Resting has the rules that are not evaluated for a while because they cost
	// too much, with the share of a core that they took. It is what the leading
	// instance knows of itself.
	Resting map[string]float64 `json:"resting,omitempty"`
	// Learning has the rules that rest on the past, with what they know of it, as
	// long as they have not lived through all they look back at.
	Learning map[string]Learning `json:"learning,omitempty"`
}

// ReadHealth returns what the running service told last, at most some seconds
// ago; bus.ErrNotFound if it never told.
func ReadHealth(ctx context.Context, b *bus.Bus) (Health, error) {
	kv, err := bus.OpenBucket[Health](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return Health{}, err
	}
	e, err := kv.Get(ctx, healthKey())
	if err != nil {
		return e.Value, err
	}
	e.Value.Learning, err = readLearning(ctx, b)
	return e.Value, err
}

func healthKey() string { return bus.Key("detect", "health") }

// restoreSilence claims what was learned.
func (l *leader) restoreSilence(ctx context.Context) (err error) {
	for {
		l.claim, err = l.s.opts.Bus.ClaimCheckpoint(ctx, "", silenceCheckpoint)
		if !bus.IsBusy(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	if l.claim == nil {
		return err
	}
	state := l.claim.State
	if err == nil && l.claim.Seq == 0 {
		// As it was kept before claims.
		if _, state, err = l.s.opts.Bus.LoadCheckpoint(ctx, silenceCheckpoint); errors.Is(err, bus.ErrNotFound) {
			return nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.silent.Load(state)
	}
	if err != nil {
		l.log.Error("the usual rates of the sources are learned afresh", "error", err)
	}
	return nil
}

// watchSources judges the sources until ctx ends.
func (l *leader) watchSources(ctx context.Context) {
	if l.s.opts.Silence.Off {
		return
	}
	if !l.s.awaitMutes(ctx) {
		return
	}
	tick := time.NewTicker(l.s.opts.SilenceInterval)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-ctx.Done():
			// A restart must not think that nobody watched since the last checkpoint.
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			l.saveSilence(final)
			return
		case <-tick.C:
		}
		alerts := l.judgeSources(ctx)
		if !l.publishSilence(ctx, alerts) {
			continue
		}
		if len(alerts) > 0 || time.Since(saved) >= time.Minute {
			l.saveSilence(ctx)
			saved = time.Now()
		}
		l.tellHealth(ctx)
	}
}

func (l *leader) judgeSources(ctx context.Context) []finding.Alert {
	// While messages wait, the newest counted arrival is as far as we know.
	waiting := true
	if lags, err := l.s.opts.Bus.Lag(ctx); err == nil {
		waiting = slices.ContainsFunc(lags, func(g bus.Lag) bool {
			return (g.Stream == subjects.StreamRaw && g.Durable == "normalize" || g.Stream == subjects.StreamEvents && g.Durable == Durable) && g.Pending+uint64(g.AckPending) > 0
		})
	}
	var alerts []finding.Alert
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixMilli()
	asOf := now
	if waiting {
		asOf = l.silent.Newest()
	}
	l.silent.Tick(now, asOf, func(a finding.Alert) { alerts = append(alerts, a) })
	return alerts
}

// publishSilence returns when all are durable, or false when ctx has ended: then
// no state is saved either, and the next start tells them again.
func (l *leader) publishSilence(ctx context.Context, alerts []finding.Alert) bool {
	for i := range alerts {
		a := &alerts[i]
		l.s.mute.Apply(a)
		data, err := json.Marshal(a)
		for err == nil {
			m := bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, strconv.Itoa(a.Revision)), Data: data}
			if _, err = l.s.opts.Bus.Publish(ctx, m); err == nil {
				break
			}
			if ctx.Err() != nil {
				l.unsaved = true
				return false
			}
			if bus.IsBusy(err) {
				err = nil
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
		if err != nil {
			l.s.counters.lostAlerts.Add(1)
			l.log.Error("alert cannot be published", "alert", a.UID, "error", err)
			continue
		}
		l.log.Warn("source", "source", a.Entity.Value, "status", a.Status, "reason", a.Reason)
	}
	return true
}

func (l *leader) saveSilence(ctx context.Context) {
	if l.unsaved {
		return
	}
	l.mu.Lock()
	state, err := l.silent.Save()
	l.mu.Unlock()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = l.claim.Save(ctx, 1, state)
	}
	if err != nil {
		l.log.Warn("checkpoint of the sources' rates", "error", err)
	}
}

// health says what cannot be seen now.
func (l *leader) health() Health {
	rules := l.s.matcher.Load().rules
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Health{At: time.Now().UTC(), Silent: l.silent.Silent(), Blind: map[string][]string{}, Resting: l.s.costs.restingNow()}
	if len(h.Silent) == 0 {
		return h
	}
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		src := &r.Source
		silent := l.silent.Blind(src.Products, func(f silence.Feed) bool {
			return src.Families.Has(event.Family(f.Family)) && (len(src.Classes) == 0 || slices.Contains(src.Classes, f.Class))
		})
		if len(silent) > 0 {
			h.Blind[r.ID] = silent
		}
	}
	return h
}

func (l *leader) tellHealth(ctx context.Context) {
	h := l.health()
	l.silentNow.Store(int64(len(h.Silent)))
	l.blindNow.Store(int64(len(h.Blind)))
	kv, err := bus.OpenBucket[Health](ctx, l.s.opts.Bus, subjects.BucketCheckpoints)
	if err == nil {
		_, err = kv.Put(ctx, healthKey(), h)
	}
	if err != nil && ctx.Err() == nil {
		l.log.Debug("health", "error", err)
	}
}
