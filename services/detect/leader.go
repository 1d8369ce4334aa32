package detect

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/owner"
	"github.com/vagus-hub/vagus/services/detect/internal/silence"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// What instances share: the partitions, and the work of the leader.
const (
	group  = "detect"
	leadIt = "lead"
)

func items() []string {
	var out []string
	for number := range subjects.SignalPartitions {
		out = append(out, strconv.Itoa(number))
	}
	return append(out, leadIt)
}

// Instance is a running instance of detect and what it owns.
type Instance = owner.Instance

// ReadInstances returns the instances of detect that live now, in order of
// their start. They own partitions of SIGNALS, by number, and "lead".
func ReadInstances(ctx context.Context, b *bus.Bus) ([]Instance, error) {
	return owner.List(ctx, b, group)
}

// own works on an item until ctx ends.
func (s *Service) own(ctx context.Context, item string) {
	if item == leadIt {
		s.lead(ctx)
		return
	}
	number, err := strconv.Atoi(item)
	if err != nil {
		s.log.Error("unknown work", "item", item)
		<-ctx.Done()
		return
	}
	s.correlate(ctx, number)
}

// leader does what one instance does for all: it watches over the sources and
// publishes ticks.
type leader struct {
	s   *Service
	log *slog.Logger

	mu     sync.Mutex // guards silent and heard
	silent *silence.Tracker
	heard  []observation // for ticks

	claim               *bus.Claim // of the silence's state
	unsaved             bool       // an alert was not told; only watchSources uses it
	silentNow, blindNow atomic.Int64
}

// lead leads until ctx ends.
func (s *Service) lead(ctx context.Context) {
	l := &leader{s: s, log: s.log, silent: silence.New(s.opts.Silence)}
	if err := l.restoreSilence(ctx); err != nil {
		if ctx.Err() == nil {
			l.log.Error("nobody watches the sources", "error", err)
		}
		return
	}
	sub, err := s.opts.Bus.Conn().Subscribe(subjects.DetectReports, l.report)
	if err != nil {
		l.log.Error("the observations of other instances are not heard", "error", err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	s.leader.Store(l)
	defer s.leader.Store(nil)
	var wg sync.WaitGroup
	wg.Go(func() { l.watchSources(ctx) })
	wg.Go(func() { newTicker(l).run(ctx) })
	wg.Wait()
}

// report takes the observations of another instance.
func (l *leader) report(m *nats.Msg) {
	var list []observation
	if err := json.Unmarshal(m.Data, &list); err != nil {
		l.log.Warn("observations cannot be read", "error", err)
		return
	}
	l.hear(list)
	if err := m.Respond(nil); err != nil {
		l.log.Debug("observations are not answered", "error", err)
	}
}

func (l *leader) hear(list []observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, list...)
	for i := range list {
		o := &list[i]
		if o.Replay {
			continue
		}
		for _, src := range o.Sources {
			l.silent.Add(src.Name, o.At, o.Now, src.Rows)
			for _, f := range src.Feeds {
				l.silent.Feed(src.Name, f)
			}
		}
	}
}
