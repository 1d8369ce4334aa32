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
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Silence configures the watch over sources that stop sending.
type Silence = silence.Config

// SilentSource is the configuration of one source in Silence.
type SilentSource = silence.Source

const silenceCheckpoint = "silence"

// auto is the source of blocks whose rows are of several sources.
const auto = "auto"

// Health is what detection cannot see at the moment.
type Health struct {
	At     time.Time         `json:"at"`
	Silent []silence.Silence `json:"silent"`
	// Blind has the rules all of whose sources are silent, with these sources.
	Blind map[string][]string `json:"blind"`
}

// ReadHealth returns what the running service told last, at most some seconds
// ago; bus.ErrNotFound if it never told.
func ReadHealth(ctx context.Context, b *bus.Bus) (Health, error) {
	kv, err := bus.OpenBucket[Health](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return Health{}, err
	}
	e, err := kv.Get(ctx, healthKey())
	return e.Value, err
}

func healthKey() string { return bus.Key("detect", "health") }

// observe counts a block for its sources. A replay says nothing about what
// they send now.
func (s *Service) observe(d *bus.Delivery, b *block.Block) {
	h := &b.Header
	if h.Replay || d.NumDelivered > 1 || s.opts.Silence.Off {
		return
	}
	at := h.Received
	if at == 0 {
		at = d.Time.UnixMilli()
	}
	s.silMu.Lock()
	defer s.silMu.Unlock()
	now := time.Now().UnixMilli()
	if h.Source != auto {
		// Counted by records, on the first block of a message only; what was left
		// out on purpose has arrived, too.
		n := uint32(b.Rows())
		if h.In > 0 {
			n = h.In - min(h.In, h.Dead)
		}
		s.silent.Add(h.Source, at, now, n)
	}
	sources, classes := b.Column(event.Source), b.Column(event.ClassUID)
	if sources == nil || classes == nil {
		return
	}
	keys := sources.Keys()
	for row, n := 0, uint32(0); row < len(keys); row++ {
		n++
		if row+1 < len(keys) && keys[row+1] == keys[row] && classes.Int(row+1) == classes.Int(row) {
			continue
		}
		name := sources.Dict().At(int(keys[row]))
		if h.Source == auto {
			s.silent.Add(name, at, now, n)
		}
		s.silent.Feed(name, silence.Feed{Family: h.Family, Class: uint32(classes.Int(row))})
		n = 0
	}
}

// restoreSilence loads what was learned.
func (s *Service) restoreSilence(ctx context.Context) {
	for {
		_, state, err := s.opts.Bus.LoadCheckpoint(ctx, silenceCheckpoint)
		switch {
		case err == nil:
			s.silMu.Lock()
			err = s.silent.Load(state)
			s.silMu.Unlock()
			if err != nil {
				s.log.Error("the usual rates of the sources are learned afresh", "error", err)
			}
			return
		case errors.Is(err, bus.ErrNotFound) || ctx.Err() != nil:
			return
		case !bus.IsBusy(err):
			s.log.Error("the usual rates of the sources are learned afresh", "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// watchSources judges the sources until ctx ends.
func (s *Service) watchSources(ctx context.Context) error {
	if s.opts.Silence.Off {
		return nil
	}
	if !s.awaitMutes(ctx) {
		return nil
	}
	tick := time.NewTicker(s.opts.SilenceInterval)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-ctx.Done():
			// A restart must not think that nobody watched since the last checkpoint.
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.saveSilence(final)
			return nil
		case <-tick.C:
		}
		alerts := s.judgeSources(ctx)
		if !s.publishSilence(ctx, alerts) {
			continue
		}
		if len(alerts) > 0 || time.Since(saved) >= time.Minute {
			s.saveSilence(ctx)
			saved = time.Now()
		}
		s.tellHealth(ctx)
	}
}

func (s *Service) judgeSources(ctx context.Context) []finding.Alert {
	// While messages wait, the newest counted arrival is as far as we know.
	waiting := true
	if lags, err := s.opts.Bus.Lag(ctx); err == nil {
		waiting = slices.ContainsFunc(lags, func(l bus.Lag) bool {
			return (l.Stream == subjects.StreamRaw && l.Durable == "normalize" || l.Stream == subjects.StreamEvents && l.Durable == Durable) && l.Pending+uint64(l.AckPending) > 0
		})
	}
	var alerts []finding.Alert
	s.silMu.Lock()
	defer s.silMu.Unlock()
	now := time.Now().UnixMilli()
	asOf := now
	if waiting {
		asOf = s.silent.Newest()
	}
	s.silent.Tick(now, asOf, func(a finding.Alert) { alerts = append(alerts, a) })
	return alerts
}

// publishSilence returns when all are durable, or false when ctx has ended: then
// no state is saved either, and the next start tells them again.
func (s *Service) publishSilence(ctx context.Context, alerts []finding.Alert) bool {
	for i := range alerts {
		a := &alerts[i]
		s.mute.Apply(a)
		data, err := json.Marshal(a)
		for err == nil {
			m := bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, strconv.Itoa(a.Revision)), Data: data}
			if _, err = s.opts.Bus.Publish(ctx, m); err == nil {
				break
			}
			if ctx.Err() != nil {
				s.silenceUnsaved = true
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
			s.counters.lostAlerts.Add(1)
			s.log.Error("alert cannot be published", "alert", a.UID, "error", err)
			continue
		}
		s.log.Warn("source", "source", a.Entity.Value, "status", a.Status, "reason", a.Reason)
	}
	return true
}

func (s *Service) saveSilence(ctx context.Context) {
	if s.silenceUnsaved {
		return
	}
	s.silMu.Lock()
	state, err := s.silent.Save()
	s.silMu.Unlock()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = s.opts.Bus.SaveCheckpoint(ctx, silenceCheckpoint, 1, state)
	}
	if err != nil {
		s.log.Warn("checkpoint of the sources' rates", "error", err)
	}
}

// health says what cannot be seen now.
func (s *Service) health() Health {
	rules := s.matcher.Load().rules
	s.silMu.Lock()
	defer s.silMu.Unlock()
	h := Health{At: time.Now().UTC(), Silent: s.silent.Silent(), Blind: map[string][]string{}}
	if len(h.Silent) == 0 {
		return h
	}
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		src := &r.Source
		silent := s.silent.Blind(src.Products, func(f silence.Feed) bool {
			return src.Families.Has(event.Family(f.Family)) && (len(src.Classes) == 0 || slices.Contains(src.Classes, f.Class))
		})
		if len(silent) > 0 {
			h.Blind[r.ID] = silent
		}
	}
	return h
}

func (s *Service) tellHealth(ctx context.Context) {
	h := s.health()
	s.silentNow.Store(int64(len(h.Silent)))
	s.blindNow.Store(int64(len(h.Blind)))
	kv, err := bus.OpenBucket[Health](ctx, s.opts.Bus, subjects.BucketCheckpoints)
	if err == nil {
		_, err = kv.Put(ctx, healthKey(), h)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Debug("health", "error", err)
	}
}
