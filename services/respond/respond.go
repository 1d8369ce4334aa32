// Package respond acts on alerts: it groups them into incidents, runs
// playbooks over them durably, and serves the decisions that gateways enforce.
package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/respond/internal/api"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/content"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/incident"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
)

// Service is the running service. Make one with New.
type Service struct {
	opts      Options
	envelope  engine.Envelope
	specs     []*connector.Spec
	playbooks []*playbook.Playbook
	health    *telemetry.Health
	listener  net.Listener
	stale     atomic.Int64 // alerts too old to act on
	muted     atomic.Int64 // alerts that nobody is to be told of
}

// New checks the options, loads the content and binds the address; Run serves
// it. A Service that is not run must be closed with Close.
func New(opts Options) (*Service, error) {
	if opts.Bus == nil {
		return nil, errors.New("respond: no bus given")
	}
	if opts.Content == nil {
		return nil, errors.New("respond: no content given (the playbooks folder)")
	}
	if opts.Token == "" {
		return nil, errors.New("respond: no token given: the API is never open (set a random one)")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = telemetry.NewRegistry()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.KeepRuns <= 0 {
		opts.KeepRuns = DefaultOptions().KeepRuns
	}
	if opts.MaxAge <= 0 {
		opts.MaxAge = DefaultOptions().MaxAge
	}
	s := &Service{opts: opts, envelope: opts.envelope(), health: telemetry.NewHealth(opts.Metrics)}
	if err := s.envelope.Validate(); err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	roots := append([]fs.FS{opts.Content}, opts.More...)
	var err error
	if s.specs, err = content.Connectors(roots...); s.specs == nil {
		return nil, fmt.Errorf("respond: no connectors: %w", cause(err))
	} else if err != nil {
		opts.Logger.Error("connectors with mistakes are left out", "error", err)
	}
	// A mistake in the settings stops the start: silently not acting is worse.
	set, err := connector.New(connector.Options{Specs: s.specs, Config: opts.Connectors, Natives: map[string]connector.Native{"vagus": &feed.Connector{}}, Now: opts.Now})
	if err != nil {
		return nil, fmt.Errorf("respond: %w", err)
	}
	set.Close()
	if s.playbooks, err = content.Playbooks(set, roots...); err != nil {
		opts.Logger.Error("playbooks with mistakes are left out", "error", err)
	}
	for id := range opts.Vars {
		if !slices.ContainsFunc(s.playbooks, func(p *playbook.Playbook) bool { return p.ID == id }) {
			opts.Logger.Warn("variables for a playbook that is not there", "playbook", id)
		}
	}
	if s.listener, err = net.Listen("tcp", opts.Addr); err != nil {
		return nil, fmt.Errorf("respond: listen: %w (choose another address)", err)
	}
	return s, nil
}

func cause(err error) error {
	if err == nil {
		return errors.New("the folder connectors is empty")
	}
	return err
}

// Addr is the address the API listens on.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// Close frees the address of a Service that was not run.
func (s *Service) Close() error { return s.listener.Close() }

// Health tells whether the service works; it is also at /readyz of the API.
func (s *Service) Health() *telemetry.Health { return s.health }

// parts are what Run wires together once the buckets are open.
type parts struct {
	engine    *engine.Engine
	feed      *feed.Feed
	writer    *feed.Writer
	incidents *incident.Book
	set       *connector.Set
	decisions *bus.Bucket[decision.Decision]
	approvals *bus.Bucket[run.Approval]
}

func (s *Service) open(ctx context.Context) (*parts, error) {
	b := s.opts.Bus
	runs, err := bus.OpenBucket[engine.Doc](ctx, b, subjects.BucketRuns)
	if err != nil {
		return nil, err
	}
	texts, err := bus.OpenBucket[string](ctx, b, subjects.BucketRuns)
	if err != nil {
		return nil, err
	}
	budgets, err := bus.OpenBucket[engine.Budget](ctx, b, subjects.BucketRuns)
	if err != nil {
		return nil, err
	}
	incidents, err := bus.OpenBucket[run.Incident](ctx, b, subjects.BucketRuns)
	if err != nil {
		return nil, err
	}
	p := &parts{}
	if p.approvals, err = bus.OpenBucket[run.Approval](ctx, b, subjects.BucketApprovals); err != nil {
		return nil, err
	}
	if p.decisions, err = bus.OpenBucket[decision.Decision](ctx, b, subjects.BucketDecisions); err != nil {
		return nil, err
	}
	p.writer = &feed.Writer{Store: p.decisions, Now: s.opts.Now}
	p.set, err = connector.New(connector.Options{
		Specs: s.specs, Config: s.opts.Connectors, Now: s.opts.Now,
		Natives: map[string]connector.Native{"vagus": &feed.Connector{Writer: p.writer}},
	})
	if err != nil {
		return nil, err
	}
	if p.incidents, err = incident.Open(ctx, incidents, b); err != nil {
		return nil, err
	}
	p.feed = feed.New(s.opts.Logger, b.Ready)
	p.engine = engine.New(engine.Settings{
		Runs: runs, Texts: texts, Budgets: budgets, Approvals: p.approvals, Publisher: b, Actor: p.set, Playbooks: s.playbooks,
		Vars: s.opts.Vars, Envelope: s.envelope, Workers: s.opts.Workers, Now: s.opts.Now, Logger: s.opts.Logger,
	})
	return p, nil
}

// Run works until ctx ends and what was begun is stored. Alerts are
// acknowledged after their incident and runs are stored.
func (s *Service) Run(ctx context.Context) error {
	defer s.listener.Close()
	p, err := s.open(ctx)
	for wait := 100 * time.Millisecond; err != nil; p, err = s.open(ctx) {
		if errors.Is(err, bus.ErrClosed) || errors.Is(err, bus.ErrRefused) {
			return fmt.Errorf("respond: %w", err)
		}
		// The process that makes the buckets may start after this one.
		s.opts.Logger.Warn("the bus is not ready for playbooks yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
	defer p.set.Close()
	s.observe(p)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if n, err := p.engine.Resume(ctx); err != nil {
		return fmt.Errorf("respond: %w", err)
	} else if n > 0 {
		s.opts.Logger.Info("runs resumed", "count", n)
	}
	srv := &http.Server{
		Handler: api.New(api.Settings{
			Engine: p.engine, Feed: p.feed, Writer: p.writer, Incidents: p.incidents, Approvals: p.approvals, Publisher: s.opts.Bus,
			Token: s.opts.Token, AuthNetworks: s.opts.AuthNetworks, Now: s.opts.Now, Logger: s.opts.Logger,
			Health: s.health.Handler(), Metrics: s.opts.Metrics,
		}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // long polls end with the service
		ErrorLog:    slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				errs <- fmt.Errorf("respond %s: %w", name, err)
				stop()
			}
		})
	}
	start("feed", func(ctx context.Context) error { return p.feed.Run(ctx, p.decisions) })
	start("engine", p.engine.Run)
	start("janitor", func(ctx context.Context) error { return s.janitor(ctx, p) })
	start("alerts", func(ctx context.Context) error {
		return s.opts.Bus.Consume(ctx, bus.Consumer{
			Stream: subjects.StreamAlerts, Durable: Durable, Ordered: true, Stage: "respond",
		}, func(ctx context.Context, d *bus.Delivery) bus.Verdict { return s.alert(ctx, p, d) })
	})
	start("api", func(context.Context) error {
		if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	<-ctx.Done()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if srv.Shutdown(sctx) != nil {
		srv.Close()
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// maxAlert bounds an alert, in bytes.
const maxAlert = 512 << 10

// alert handles one message of ALERTS.
func (s *Service) alert(ctx context.Context, p *parts, d *bus.Delivery) bus.Verdict {
	var a finding.Alert
	if len(d.Data) > maxAlert {
		return bus.Permanent("too_large", fmt.Errorf("alert: %d bytes, at most %d", len(d.Data), maxAlert))
	}
	if err := json.Unmarshal(d.Data, &a); err != nil {
		return bus.Permanent("json", fmt.Errorf("alert: %w", err))
	}
	if a.UID == "" || a.Status == "" {
		return bus.Permanent("alert", errors.New("alert: uid or status is missing"))
	}
	if a.Lane == finding.Hunt {
		return bus.Done() // stored only: nobody is to be bothered
	}
	if !a.Told() {
		s.muted.Add(1)
		return bus.Done()
	}
	if a.Unmuted() && a.Status == finding.Amended {
		// Nobody has heard of it so far: to us it is new. An alert that was told
		// before it was muted is in its incident and has its runs already, and
		// both notice.
		a.Status = finding.Raised
	}
	in, err := p.incidents.Add(ctx, a)
	if err != nil {
		return bus.Retry(err)
	}
	if age := s.opts.Now().Sub(d.Time); age > s.opts.MaxAge {
		s.stale.Add(1)
		s.opts.Logger.Warn("alert starts no playbook: it is too old", "alert", a.UID, "age", age.Round(time.Second), "max_age", s.opts.MaxAge)
		return bus.Done()
	}
	if _, err = p.engine.Start(ctx, a, in); err != nil {
		return bus.Retry(err)
	}
	return bus.Done()
}

// maxRuns is how many finished runs stay listed, however young.
const maxRuns = 10_000

// janitor frees the buckets of what is over.
func (s *Service) janitor(ctx context.Context, p *parts) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := p.writer.Sweep(ctx, time.Minute)
		if n%10 == 0 {
			before := s.opts.Now().Add(-s.opts.KeepRuns)
			_, perr := p.engine.Prune(ctx, before, maxRuns)
			err = errors.Join(err, perr, p.incidents.Prune(ctx, before), p.engine.PruneQuestions(ctx, s.opts.Now().Add(-time.Hour)))
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("cleaning up", "error", err)
		}
	}
}

// observe registers health checks and metrics.
func (s *Service) observe(p *parts) {
	s.health.Check("bus", s.opts.Bus.Ready)
	s.health.Check("decisions", func(context.Context) error {
		switch {
		case !p.feed.Synced():
			return errors.New("decisions are not loaded yet")
		case !p.feed.Live():
			return errors.New("changes of decisions do not arrive: those in memory stay in force")
		}
		return nil
	})
	s.opts.Metrics.OnCollect(func(m *telemetry.Snapshot) {
		st := p.engine.Stats()
		for name, v := range map[string]int64{
			"runs_started": st.Runs, "runs_finished": st.Finished, "transitions": st.Transitions,
			"actions": st.Actions, "action_failures": st.Failures, "undone": st.Undone,
		} {
			m.Set("vagus_respond_"+name+"_total", "Playbook engine: "+name+" since the start.", float64(v))
		}
		m.Set("vagus_respond_stale_alerts_total", "Alerts that were too old to start playbooks.", float64(s.stale.Load()))
		m.Set("vagus_respond_muted_alerts_total", "Alerts left alone because a silence or an inhibition mutes them.", float64(s.muted.Load()))
		live := 0.0
		if p.feed.Live() {
			live = 1
		}
		m.Set("vagus_respond_decisions_live", "1 while changes of decisions arrive.", live)
		m.Set("vagus_respond_decisions_revision", "Revision of the decisions in memory.", float64(p.feed.Revision()))
	})
}
