package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Retention is how many days rows are kept; every value is at least 1.
type Retention struct{ Events, Raw, Dead, Alerts, Runs, Ledger, Rollups int }

// Options configures the service. Bus and ClickHouse are required.
type Options struct {
	Bus        *bus.Bus
	ClickHouse *clickhouse.Client
	// Streams to move; default RAW, EVENTS, DEAD, ALERTS and RUNS. One store
	// a stream at a time.
	Streams   []string
	Retention Retention

	// MaxRows and MaxBytes end a batch: rows of one table, bytes of all.
	MaxRows, MaxBytes int
	// Linger is how long a batch waits for more when little arrives, MaxWait
	// when more than Busy rows did: an insert costs some 60 ms of CPU however
	// small it is, so under load larger ones cost a third of small ones.
	Linger, MaxWait time.Duration
	Busy            int
	// Parallel is the number of tables that a stream inserts into at once.
	Parallel int
	// Settings of ClickHouse for every insert.
	Settings map[string]any
	// Grace bounds the work after Run was stopped.
	Grace time.Duration

	// Metrics and Logger may be nil.
	Metrics *telemetry.Registry
	Logger  *slog.Logger

	// hook is a failpoint of the tests.
	hook func(point string) error
	// db replaces ClickHouse in tests that make it fail.
	db database
}

// DefaultOptions returns batches that suit one node and retention for a month.
func DefaultOptions() Options {
	return Options{
		Streams:   []string{subjects.StreamRaw, subjects.StreamEvents, subjects.StreamDead, subjects.StreamAlerts, subjects.StreamRuns},
		Retention: Retention{Events: 30, Raw: 7, Dead: 30, Alerts: 365, Runs: 365, Ledger: 90, Rollups: 365},
		MaxRows:   196_608, MaxBytes: 80 << 20, Linger: 400 * time.Millisecond, MaxWait: 2500 * time.Millisecond, Busy: 4096,
		Parallel: 2, Grace: 15 * time.Second,
	}
}

func (o *Options) check() error {
	if o.Bus == nil || o.ClickHouse == nil {
		return errors.New("store options: Bus and ClickHouse are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = telemetry.NewRegistry()
	}
	if o.MaxRows <= 0 || o.MaxBytes <= 0 || o.Linger <= 0 || o.MaxWait < o.Linger || o.Grace <= 0 || len(o.Streams) == 0 {
		return fmt.Errorf("store options: MaxRows %d, MaxBytes %d, Linger %s, MaxWait %s, Grace %s, %d streams: all must be positive, MaxWait at least Linger (start from DefaultOptions)",
			o.MaxRows, o.MaxBytes, o.Linger, o.MaxWait, o.Grace, len(o.Streams))
	}
	return nil
}

func (r Retention) days() map[string]int {
	return map[string]int{"events": r.Events, "raw": r.Raw, "dead": r.Dead, "alerts": r.Alerts, "runs": r.Runs, "ledger": r.Ledger, "rollups": r.Rollups}
}
