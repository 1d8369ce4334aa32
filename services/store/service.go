// Package store moves what the other services published into ClickHouse: raw
// records, events, dead letters, alerts, playbook runs, and the ledger that
// proves none was lost. Blocks are forwarded as they are.
//
// Every row is stored once, whatever is killed when: a batch is planned in the
// bus before it is inserted, inserted under a token made of the plan, and
// redone from the stream with the same token after a crash.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sqlfiles "github.com/vagus-hub/vagus/schemas/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/store/internal/migrate"
	"github.com/vagus-hub/vagus/services/store/internal/writer"
)

type database = writer.Database

// Service is one store.
type Service struct {
	opts    Options
	list    []migrate.Migration
	metrics *writer.Metrics
	ready   chan struct{}
}

// New checks the options.
func New(opts Options) (*Service, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.db == nil {
		opts.db = opts.ClickHouse
	}
	list, err := migrate.Load(sqlfiles.Files, opts.Retention.days())
	if err != nil {
		return nil, fmt.Errorf("store options: %w", err)
	}
	return &Service{opts: opts, list: list, metrics: writer.NewMetrics(opts.Metrics), ready: make(chan struct{})}, nil
}

// Migrate makes or updates the tables. Run does so itself; it is for commands
// that need the tables without a running store.
func (s *Service) Migrate(ctx context.Context) error {
	return migrate.Run(ctx, s.opts.db, s.list, s.opts.Logger)
}

// Ready is closed when the tables are there.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Run makes the tables, then moves messages until ctx ends and what it has
// taken is stored, and returns nil. It waits while bus or ClickHouse are away.
func (s *Service) Run(ctx context.Context) error {
	writers := make([]*writer.Writer, len(s.opts.Streams))
	for i, stream := range s.opts.Streams {
		writers[i] = writer.New(writer.Options{
			Bus: s.opts.Bus, DB: s.opts.db, Stream: stream, MaxRows: s.opts.MaxRows, MaxBytes: s.opts.MaxBytes,
			Linger: s.opts.Linger, MaxWait: s.opts.MaxWait, Busy: s.opts.Busy, Parallel: s.opts.Parallel, Settings: s.opts.Settings,
			Grace: s.opts.Grace, Metrics: s.metrics, Logger: s.opts.Logger, Hook: s.opts.hook,
		})
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.prepare(ctx, writers)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if clickhouse.Code(err) != 0 && !clickhouse.IsRetryable(err) {
			return fmt.Errorf("store: %w", err)
		}
		s.opts.Logger.Warn("tables not ready, trying again", "after", wait, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
	close(s.ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.opts.Streams))
	for i, w := range writers {
		wg.Go(func() {
			if errs[i] = w.Run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// prepare holds the streams, then makes the tables: while ClickHouse is away,
// what waits for it must not be trimmed.
func (s *Service) prepare(ctx context.Context, writers []*writer.Writer) error {
	for _, w := range writers {
		if err := w.Announce(ctx); err != nil {
			return err
		}
	}
	return s.Migrate(ctx)
}
