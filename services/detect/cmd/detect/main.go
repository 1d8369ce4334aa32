// Command detect runs the detect service as a process of its own; with `rules`
// it is the rule author's tool.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func root() *cobra.Command {
	opts := detect.DefaultOptions()
	var url, format, level, dsn string
	// history opens the stored events. The environment keeps a password out of
	// the list of processes.
	history := func() func(context.Context) (*clickhouse.Client, error) {
		if dsn == "" {
			dsn = os.Getenv("VAGUS_CLICKHOUSE_DSN")
		}
		if dsn == "" {
			return nil
		}
		return func(ctx context.Context) (*clickhouse.Client, error) { return clickhouse.Open(ctx, dsn) }
	}
	cmd := &cobra.Command{
		Use: "detect", Short: "Match rules against events and correlate the matches into alerts", SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if opts.RulesDir == "" {
				return fmt.Errorf("detect: --rules is missing: a folder of <domain>/<slug>.yml")
			}
			log, err := telemetry.NewLogger(os.Stderr, format, level)
			if err != nil {
				return err
			}
			b, err := bus.Connect(c.Context(), bus.Options{URL: url, Token: os.Getenv("VAGUS_NATS_TOKEN"), Name: "detect", Logger: log})
			if err != nil {
				return err
			}
			defer b.Close()
			opts.Bus, opts.Logger, opts.ClickHouse = b, log, history()
			s, err := detect.New(opts)
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&url, "nats", "nats://127.0.0.1:4222", "URL of the bus; the token comes from VAGUS_NATS_TOKEN")
	f.StringVar(&opts.RulesDir, "rules", "", "folder of <domain>/<slug>.yml")
	f.DurationVar(&opts.CheckpointInterval, "checkpoint-interval", opts.CheckpointInterval, "least time between checkpoints")
	f.DurationVar(&opts.Heartbeat, "heartbeat", opts.Heartbeat, "how often this instance tells the others that it lives")
	f.DurationVar(&opts.Expiry, "expiry", opts.Expiry, "how long after its last heartbeat an instance is taken for dead")
	f.IntVar(&opts.Correlation.Groups, "max-groups", opts.Correlation.Groups, "most correlation groups of a rule in a partition; beyond, those touched longest ago are forgotten")
	f.Int64Var(&opts.Correlation.Bytes, "max-memory", opts.Correlation.Bytes, "most memory of the groups of a partition, in bytes; an instance owns up to four")
	f.IntVar(&opts.Correlation.Events, "max-events", opts.Correlation.Events, "most events of a correlation group; beyond, the oldest are forgotten")
	f.StringVar(&format, "log-format", "text", "text or json")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.PersistentFlags().StringVar(&dsn, "clickhouse", "", "where the stored events are, http://user:password@host:8123/database; with a password rather in VAGUS_CLICKHOUSE_DSN. New rules learn from them; without, they learn from what comes")
	cmd.AddCommand(detect.Command(detect.CommandOptions{ClickHouse: func(ctx context.Context) (*clickhouse.Client, error) {
		if open := history(); open != nil {
			return open(ctx)
		}
		return nil, errors.New("say where with --clickhouse or VAGUS_CLICKHOUSE_DSN")
	}}))
	return cmd
}
