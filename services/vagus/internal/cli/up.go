package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/internal/telemetry"
	hub "github.com/vagus-hub/vagus/services/vagus"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
)

// hubFlags are the flags of the commands that start a hub.
type hubFlags struct {
	config, ingest, api, clickhouseAddr, dsn, natsURL, logLevel, logFormat string
}

func (f *hubFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file (docs/configuration.md)")
	c.Flags().StringVar(&f.ingest, "ingest-addr", "", "where ingest listens (default 127.0.0.1:8480)")
	c.Flags().StringVar(&f.api, "api-addr", "", "where the API and the decisions feed listen (default 127.0.0.1:8481)")
	c.Flags().StringVar(&f.clickhouseAddr, "clickhouse-addr", "", "where the embedded ClickHouse listens (default 127.0.0.1:8123)")
	c.Flags().StringVar(&f.dsn, "clickhouse", "", "DSN of an outside ClickHouse, or env:NAME (default: the embedded engine)")
	c.Flags().StringVar(&f.natsURL, "nats", "", "URL of an outside NATS server; its token is read from VAGUS_NATS_TOKEN (default: the embedded one)")
	c.Flags().StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error (default warn on a terminal's `up`)")
	c.Flags().StringVar(&f.logFormat, "log-format", "", "text or json")
}

// load puts the flags over the file over the defaults.
func (f *hubFlags) load(data string, dataSet bool) (config.Config, error) {
	cfg, err := config.Load(f.config)
	if err != nil {
		return cfg, err
	}
	if dataSet || f.config == "" {
		cfg.Data = data
	}
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	set(&cfg.Ingest.Addr, f.ingest)
	set(&cfg.Respond.Addr, f.api)
	set(&cfg.ClickHouse.Addr, f.clickhouseAddr)
	set((*string)(&cfg.ClickHouse.DSN), f.dsn)
	if f.natsURL != "" {
		cfg.Bus.URL = f.natsURL
		if cfg.Bus.Token == "" && os.Getenv("VAGUS_NATS_TOKEN") != "" {
			cfg.Bus.Token = "env:VAGUS_NATS_TOKEN"
		}
	}
	set(&cfg.Log.Level, f.logLevel)
	set(&cfg.Log.Format, f.logFormat)
	cfg.Data, err = filepath.Abs(cfg.Data)
	return cfg, err
}

func (a *app) upCommand() *cobra.Command {
	var f hubFlags
	var demo bool
	var profile string
	c := &cobra.Command{
		Use: "up", Short: "Run the whole hub in one process until Ctrl-C", Args: cobra.NoArgs,
		Long: "Runs the whole hub in one process until Ctrl-C: bus, ClickHouse and every service. With\n--demo the recorded logs of all sources are replayed and what they raise is printed.",
	}
	f.add(c)
	c.Flags().BoolVar(&demo, "demo", false, "replay the recorded logs of all sources")
	c.Flags().StringVar(&profile, "pprof-addr", "", "serve Go's profiler on this loopback address (for benchmarks)")
	_ = c.Flags().MarkHidden("pprof-addr")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if profile != "" {
			stop, err := serveProfiler(profile)
			if err != nil {
				return err
			}
			defer stop()
		}
		cfg, err := f.load(a.data, cmd.Flags().Changed("data"))
		if err != nil {
			return err
		}
		a.data = cfg.Data
		if demo {
			return a.runDemo(cmd, cfg, true)
		}
		h, err := start(cmd.Context(), cmd.ErrOrStderr(), cfg, "info")
		if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return nil // Ctrl-C while starting
		}
		if err != nil {
			return err
		}
		banner(cmd.OutOrStdout(), h, a.data)
		return h.Wait()
	}
	return c
}

// start starts a hub, saying what takes long.
func start(ctx context.Context, w io.Writer, cfg config.Config, level string) (*hub.Hub, error) {
	if cfg.Log.Level == "info" || cfg.Log.Level == "" {
		cfg.Log.Level = level
	}
	log, err := telemetry.NewLogger(w, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return nil, err
	}
	return hub.Start(ctx, hub.Options{
		Config: cfg, Logger: log, OnFetch: fetchProgress(w),
		OnProgress: func(step string) { fmt.Fprintln(w, step) },
	})
}

// banner tells a person where everything is.
func banner(w io.Writer, h *hub.Hub, data string) {
	s := h.State()
	fmt.Fprintf(w, `
the hub is up (process %d, data in %s)

  send logs      POST %s/v1/ingest/<source>   Authorization: Bearer %s
  decisions      GET  %s/v1/decisions/auth    (nginx auth_request; see deploy/nginx)
  API            %s   token in %s
  ClickHouse     %s   user grafana, read-only, password in secrets.json
  look           vagus --data %s status | alerts | runs | events | ledger

`, s.PID, data, s.IngestURL, s.IngestToken, s.APIURL, s.APIURL, filepath.Join(data, "secrets.json"), clickhouseURL(s.ClickHouseDSN), data)
}
