// Package detect finds attacks: it matches rules against blocks of events
// (EVENTS → SIGNALS, stateless) and correlates the matches into alerts
// (SIGNALS → ALERTS, a checkpointed state machine). It has no side effects but
// on the bus.
package detect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/correlate"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/mute"
	"github.com/vagus-hub/vagus/services/detect/internal/owner"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Names of this service's positions on the bus.
const (
	Durable    = "detect"    // consumer of EVENTS
	Checkpoint = "correlate" // checkpoints of SIGNALS, followed by "-" and the partition
)

// Options configures the service. Bus is required.
type Options struct {
	Bus    *bus.Bus
	Logger *slog.Logger
	// Content holds the built-in rules as <domain>/<slug>.yml, at its root or
	// below "rules"; nil means none.
	Content fs.FS
	// RulesDir is a folder of more rules; one with the id of a built-in rule
	// replaces it. Empty means none.
	RulesDir string
	// PollInterval is how often RulesDir is looked at for changes; 0 never.
	PollInterval time.Duration
	// CheckpointInterval is the least time between checkpoints of the
	// correlation's state. A restart replays the signals since the last one.
	CheckpointInterval time.Duration
	// Heartbeat is how often this instance tells the others that it lives, and
	// Expiry how long after its last heartbeat an instance is taken for dead.
	Heartbeat, Expiry time.Duration
	// TickInterval is the least time between two ticks, which tell correlation
	// how far the clocks of the sources are.
	TickInterval time.Duration
	// MaxInFlight bounds blocks whose signals are not yet durable.
	MaxInFlight int
	// MaxSignals bounds the signals of one rule, group and block (a rule with a
	// higher threshold gets twice that); further matches are counted and noted
	// in the group's last signal.
	MaxSignals int
	// Correlation bounds what the correlation of each partition keeps in memory.
	Correlation Limits
	// Silence is how sources that stop sending are noticed, SilenceInterval how
	// often they are looked at (below two minutes).
	Silence         Silence
	SilenceInterval time.Duration
	// Inhibit mutes alerts while others fire.
	Inhibit []Inhibition
	// ClickHouse opens the stored events, which the caller closes. Rules that
	// rest on the past (new_value, rate_anomaly) learn from them when they are
	// new; nil: they learn from what comes.
	ClickHouse func(context.Context) (*clickhouse.Client, error)
	// SeedInterval is how often it is looked for such rules.
	SeedInterval time.Duration
	// Budget is what the evaluation of one rule may cost before it rests; zero
	// means any.
	Budget Budget
	// Metrics receives the service's counters; nil means none.
	Metrics *telemetry.Registry
}

// DefaultOptions are sensible bounds without rules.
func DefaultOptions() Options {
	return Options{
		Logger: slog.Default(), PollInterval: 2 * time.Second, CheckpointInterval: 3 * time.Second,
		Heartbeat: time.Second, Expiry: 5 * time.Second, TickInterval: 500 * time.Millisecond,
		MaxInFlight: 64, MaxSignals: 100, SilenceInterval: 15 * time.Second, Correlation: DefaultLimits(), SeedInterval: time.Second, Budget: DefaultBudget(),
	}
}

// Service is the running stage. Make one with New.
type Service struct {
	opts Options
	log  *slog.Logger

	mu       sync.Mutex // guards the set, and reloads one at a time
	set      *set
	pushed   *pushed // nil: none
	applied  snapshot.Applied
	matcher  atomic.Pointer[generation]
	counters counters
	print    uint64 // of RulesDir when New read it

	mute       *mute.Mute
	mutesKnown chan struct{} // closed once the mutes are
	stalled    time.Duration // see stallTime; set once

	partsMu sync.Mutex // guards what follows
	rules   []*rule.Rule
	parts   map[int]*partition // owned now
	past    correlate.Stats    // of partitions owned before

	sample *match.Sample // what the matchers learned of the events
	costs  costs

	seen   seen // by the match stage, to be told to the leader
	leader atomic.Pointer[leader]
}

// generation is a rule set compiled for matching. Only the consumer of EVENTS
// uses the matcher.
type generation struct {
	rules   []*rule.Rule
	matcher *match.Matcher
	feeds   *rule.Feeds
	waits   []int64 // of the rules over rules, see correlate.Waits
}

type counters struct {
	blocks, events, matches, signals, capped, failed, missed, badSignals, lostAlerts, checkpoints, ticks, seeds atomic.Uint64
}

// New loads the rules. A rule with errors is logged and left out; New fails
// only if the rules cannot be read at all.
func New(opts Options) (*Service, error) {
	if opts.Bus == nil {
		return nil, errors.New("detect: no bus given")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.CheckpointInterval <= 0 || opts.Heartbeat <= 0 || opts.Expiry <= opts.Heartbeat || opts.TickInterval <= 0 || opts.MaxInFlight <= 0 || opts.MaxSignals <= 0 || opts.SilenceInterval <= 0 || opts.SeedInterval <= 0 {
		return nil, errors.New("detect: intervals and bounds must be above zero (start from DefaultOptions)")
	}
	if err := opts.Silence.Check(); err != nil {
		return nil, fmt.Errorf("detect: silence: %w", err)
	}
	if err := opts.Correlation.Check(); err != nil {
		return nil, fmt.Errorf("detect: correlation: %w", err)
	}
	if err := opts.Budget.Check(); err != nil {
		return nil, fmt.Errorf("detect: budget: %w", err)
	}
	for i := range opts.Inhibit {
		if err := opts.Inhibit[i].Check(); err != nil {
			return nil, fmt.Errorf("detect: inhibit %d %s: %w", i, opts.Inhibit[i].Name, err)
		}
	}
	s := &Service{opts: opts, log: opts.Logger, parts: map[int]*partition{}, mute: mute.New(opts.Inhibit, opts.Logger), mutesKnown: make(chan struct{}), stalled: stallTime, sample: match.NewSample(),
		costs: costs{resting: map[string]float64{}, names: map[string]float64{}, told: make(chan match.Verdict, maxTold)}}
	if opts.RulesDir != "" {
		// Before reading, so that a change in between is not missed.
		s.print = fingerprint(opts.RulesDir)
	}
	loaded, err := loadSet(opts.Content, opts.RulesDir, nil, nil)
	if err != nil {
		return nil, err
	}
	s.install(loaded)
	s.report(loaded)
	if opts.Metrics != nil {
		opts.Metrics.OnCollect(s.collect)
	}
	return s, nil
}

// Run matches and correlates until ctx ends, then drains and hands over. Several
// instances share the work: blocks go to any of them, a partition of SIGNALS
// belongs to one at a time.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := owner.New(owner.Options{
		Bus: s.opts.Bus, Group: group, Items: items(), Heartbeat: s.opts.Heartbeat, Expiry: s.opts.Expiry, Logger: s.log,
	})
	var wg sync.WaitGroup
	var failure error
	// The rules must be complete before the state of their correlations is read.
	known := make(chan struct{})
	wg.Go(func() {
		if failure = s.followContent(ctx, table.ID(), func() { close(known) }); failure != nil {
			cancel()
		}
	})
	select {
	case <-known:
	case <-ctx.Done():
		wg.Wait()
		return failure
	}
	others, err := table.Join(ctx)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("detect: %w", err)
		} else {
			err = nil
		}
		cancel()
		wg.Wait()
		return errors.Join(failure, err)
	}
	s.log.Info("detection begins", "instance", table.ID(), "others", others)
	parts := []func(context.Context) error{
		func(ctx context.Context) error { table.Run(ctx, s.own); return nil },
		s.match, s.watch, s.tell, s.muting, s.tellCosts, s.relearn, s.seeding,
	}
	errs := make([]error, len(parts))
	for i, f := range parts {
		wg.Go(func() {
			if errs[i] = f(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, failure)...)
}

// Reload reads the rules again. A file with errors is reported and its rule
// keeps running as it was. It returns the problems found.
func (s *Service) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	loaded, err := loadSet(s.opts.Content, s.opts.RulesDir, s.pushed, s.set)
	if err != nil {
		return fmt.Errorf("reload rules: %w (the rules in place keep running)", err)
	}
	s.install(loaded)
	s.report(loaded)
	return nil
}

// install compiles a set aside and swaps it in between blocks.
func (s *Service) install(loaded *set) {
	g := &generation{rules: loaded.rules, matcher: s.compile(loaded.rules), feeds: rule.NewFeeds(loaded.rules), waits: correlate.Waits(loaded.rules)}
	s.set = loaded
	s.costs.awake()
	s.matcher.Store(g)
	s.partsMu.Lock()
	defer s.partsMu.Unlock()
	s.rules = loaded.rules
	for _, p := range s.parts {
		p.mu.Lock()
		p.corr.SetRules(s.rules)
		p.mu.Unlock()
	}
}

func (s *Service) report(loaded *set) {
	for _, p := range loaded.problems {
		if p.Warning {
			s.log.Debug("rule warning", "problem", p.String())
		} else {
			s.log.Error("rule has an error", "problem", p.String())
		}
	}
	s.log.Info("rules loaded", "rules", len(loaded.rules), "kept", loaded.kept)
}

// watch reloads when a file below RulesDir changes.
func (s *Service) watch(ctx context.Context) error {
	if s.opts.RulesDir == "" || s.opts.PollInterval <= 0 {
		<-ctx.Done()
		return nil
	}
	last := s.print
	tick := time.NewTicker(s.opts.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := fingerprint(s.opts.RulesDir)
		if now == last {
			continue
		}
		last = now
		if err := s.Reload(); err != nil {
			s.log.Error("reload", "error", err)
		}
	}
}
