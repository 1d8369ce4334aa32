// Command store runs the store service as its own process.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/store"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run() error {
	opts := store.DefaultOptions()
	url := flag.String("nats", "nats://127.0.0.1:4222", "URL of the bus")
	flag.IntVar(&opts.MaxRows, "max-rows", opts.MaxRows, "rows of an insert")
	flag.IntVar(&opts.MaxBytes, "max-bytes", opts.MaxBytes, "bytes of a batch")
	flag.DurationVar(&opts.MaxWait, "max-wait", opts.MaxWait, "longest wait for a full batch")
	flag.IntVar(&opts.Retention.Events, "events-days", opts.Retention.Events, "days that events are kept")
	flag.IntVar(&opts.Retention.Raw, "raw-days", opts.Retention.Raw, "days that raw records are kept")
	level := flag.String("log-level", "info", "debug, info, warn or error")
	flag.Parse()

	log, err := telemetry.NewLogger(os.Stderr, "text", *level)
	if err != nil {
		return err
	}
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	connect, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	// Secrets travel in the environment: flags show in the process list.
	dsn := os.Getenv("VAGUS_CLICKHOUSE_DSN")
	if dsn == "" {
		dsn = "http://default@127.0.0.1:8123/default"
	}
	if opts.ClickHouse, err = open(connect, dsn, log); err != nil {
		return fmt.Errorf("%w (set VAGUS_CLICKHOUSE_DSN)", err)
	}
	defer opts.ClickHouse.Close()
	if opts.Bus, err = bus.Connect(connect, bus.Options{URL: *url, Token: os.Getenv("VAGUS_NATS_TOKEN"), Name: "store", Logger: log}); err != nil {
		return err
	}
	defer opts.Bus.Close()
	opts.Logger = log
	s, err := store.New(opts)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// open waits for a ClickHouse that is starting: the services of a machine come
// up in any order.
func open(ctx context.Context, dsn string, log *slog.Logger) (*clickhouse.Client, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		c, err := clickhouse.Open(ctx, dsn)
		if err == nil || !clickhouse.IsRetryable(err) {
			return c, err
		}
		log.Warn("ClickHouse is not ready yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}
