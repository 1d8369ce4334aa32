// Package vagus is the whole hub in one process: an embedded NATS server, an
// embedded ClickHouse engine and every service, unchanged, wired together. With
// a URL or a DSN in the configuration the outside server is used instead.
package vagus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	content "github.com/vagus-hub/vagus"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/normalize"
	"github.com/vagus-hub/vagus/services/respond"
	"github.com/vagus-hub/vagus/services/store"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// Options configures the hub.
type Options struct {
	Config config.Config
	Logger *slog.Logger
	// OnProgress is told of long steps of the start, in words.
	OnProgress func(step string)
	// OnFetch is told how far the one-time download of the engine is.
	OnFetch func(embedded.Progress)
}

// Hub is a started hub.
type Hub struct {
	opts  Options
	group *lifecycle.Group
	state instance.State

	server  *bus.Server // nil: an outside one
	metrics *telemetry.Registry
}

// State says where the hub listens and how to talk to it.
func (h *Hub) State() instance.State { return h.state }

// Wait returns when the hub has stopped: nil after ctx ended and everything in
// flight is stored, or what made it stop.
func (h *Hub) Wait() error { return h.group.Wait() }

// Start starts everything and returns when the hub takes events. It stops when
// ctx ends.
func Start(ctx context.Context, opts Options) (*Hub, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.OnProgress == nil {
		opts.OnProgress = func(string) {}
	}
	h := &Hub{opts: opts, group: lifecycle.New(ctx, lifecycle.Options{Logger: opts.Logger}), metrics: telemetry.NewRegistry()}
	if err := h.start(); err != nil {
		h.group.Stop(err)
		return nil, errors.Join(err, h.group.Wait())
	}
	return h, nil
}

func (h *Hub) start() error {
	cfg := h.opts.Config
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	secrets, err := instance.LoadSecrets(cfg.Data)
	if err != nil {
		return err
	}
	connect, err := h.startBus(secrets)
	if err != nil {
		return err
	}
	if err := h.startClickHouse(secrets); err != nil {
		return err
	}
	if err := h.startServices(secrets, connect); err != nil {
		return err
	}
	if err := h.startEdges(connect); err != nil {
		return err
	}
	h.state.PID = os.Getpid()
	h.group.Cleanup("state file", func(context.Context) error { return instance.Remove(cfg.Data) })
	return instance.Save(cfg.Data, h.state)
}

// startBus returns a function that opens a connection of its own for a service.
func (h *Hub) startBus(secrets instance.Secrets) (func(name string) (*bus.Bus, error), error) {
	cfg := h.opts.Config
	token, err := cfg.Bus.Token.Value()
	if err != nil {
		return nil, err
	}
	h.state.NATSURL, h.state.NATSToken = cfg.Bus.URL, token
	var server *bus.Server
	if cfg.Bus.URL == "" {
		h.opts.OnProgress("starting the bus")
		leaf, err := cfg.Bus.Leaf.Listen()
		if err != nil {
			return nil, err
		}
		server, err = bus.StartServer(bus.ServerOptions{
			StoreDir: filepath.Join(cfg.Data, "nats"), Addr: cfg.Bus.Addr, Token: secrets.NATS, Leaf: leaf, Users: cfg.Bus.Users(), Logger: h.opts.Logger.With("part", "nats"),
		})
		if err != nil {
			return nil, err
		}
		h.group.Cleanup("nats", func(context.Context) error { server.Shutdown(); return nil })
		h.state.NATSURL, h.state.NATSToken, h.state.LeafAddr = server.URL(), secrets.NATS, server.LeafAddr()
		h.server = server
	}
	connect := func(name string) (*bus.Bus, error) {
		ctx, cancel := context.WithTimeout(h.group.Context(), 30*time.Second)
		defer cancel()
		b, err := bus.Connect(ctx, bus.Options{URL: cfg.Bus.URL, Token: token, Server: server, Name: name, Logger: h.opts.Logger.With("part", name)})
		if err != nil {
			return nil, err
		}
		h.group.Cleanup("connection of "+name, func(context.Context) error { b.Close(); return nil })
		return b, nil
	}
	b, err := connect("hub")
	if err != nil {
		return nil, err
	}
	if err := b.EnsureStreams(h.group.Context(), bus.Limits{Total: cfg.Bus.MaxBytes}); err != nil {
		return nil, err
	}
	h.group.Go("trim", func(ctx context.Context) error { return b.Trim(ctx, time.Second) })
	return connect, nil
}

func (h *Hub) startClickHouse(secrets instance.Secrets) error {
	cfg := h.opts.Config
	dsn, err := cfg.ClickHouse.DSN.Value()
	if err != nil {
		return err
	}
	if dsn != "" {
		h.state.ClickHouseDSN = dsn
		return nil
	}
	h.opts.OnProgress("starting ClickHouse")
	engine, err := embedded.Start(h.group.Context(), embedded.Options{
		DataDir: filepath.Join(cfg.Data, "clickhouse"), Addr: cfg.ClickHouse.Addr, MaxMemory: cfg.ClickHouse.MaxMemory,
		Users:  []embedded.User{{Name: "vagus", Password: secrets.Store}, {Name: "grafana", Password: secrets.Read, ReadOnly: true}},
		Logger: h.opts.Logger.With("part", "clickhouse"), OnProgress: h.opts.OnFetch,
	})
	if err != nil {
		return err
	}
	h.group.Cleanup("clickhouse", func(context.Context) error { return engine.Close() })
	h.state.ClickHouseDSN = engine.DSN("grafana")
	h.opts.Config.ClickHouse.DSN = config.Secret(engine.DSN("vagus"))
	return nil
}

// startServices starts the consumers before the way in.
func (h *Hub) startServices(secrets instance.Secrets, connect func(string) (*bus.Bus, error)) error {
	h.opts.OnProgress("starting the services")
	if err := h.startStore(connect); err != nil {
		return err
	}
	if err := h.startRespond(secrets, connect); err != nil {
		return err
	}
	if err := h.startDetect(connect); err != nil {
		return err
	}
	b, err := connect("normalize")
	if err != nil {
		return err
	}
	opts := normalize.DefaultOptions()
	opts.Bus, opts.Logger = b, h.opts.Logger.With("part", "normalize")
	opts.Sources, opts.Enrich = folder(h.opts.Config.Normalize.Sources, sources.FS), h.opts.Config.Normalize.Enrich
	n, err := normalize.New(opts)
	if err != nil {
		return err
	}
	h.group.Go("normalize", n.Run)
	return h.startIngest(secrets, connect, n)
}

func (h *Hub) startStore(connect func(string) (*bus.Bus, error)) error {
	b, err := connect("store")
	if err != nil {
		return err
	}
	dsn, err := h.opts.Config.ClickHouse.DSN.Value()
	if err != nil {
		return err
	}
	client, err := clickhouse.Open(h.group.Context(), dsn)
	if err != nil {
		return err
	}
	h.group.Cleanup("clickhouse client", func(context.Context) error { return client.Close() })
	opts := store.DefaultOptions()
	opts.Bus, opts.ClickHouse, opts.Logger = b, client, h.opts.Logger.With("part", "store")
	opts.Retention.Events, opts.Retention.Raw = h.opts.Config.Store.EventsDays, h.opts.Config.Store.RawDays
	s, err := store.New(opts)
	if err != nil {
		return err
	}
	h.group.Go("store", s.Run)
	select {
	case <-s.Ready():
		return nil
	case <-h.group.Context().Done():
		return context.Cause(h.group.Context())
	}
}

func (h *Hub) startRespond(secrets instance.Secrets, connect func(string) (*bus.Bus, error)) error {
	cfg := h.opts.Config.Respond
	b, err := connect("respond")
	if err != nil {
		return err
	}
	token, err := cfg.Token.Value()
	if err != nil {
		return err
	}
	if token == "" {
		token = secrets.API
	}
	built, err := fs.Sub(content.Playbooks, "playbooks")
	if err != nil {
		return err
	}
	opts := respond.DefaultOptions()
	opts.Bus, opts.Logger, opts.Content, opts.Addr, opts.Token = b, h.opts.Logger.With("part", "respond"), built, cfg.Addr, token
	opts.Connectors, opts.Vars = cfg.Connectors, cfg.Vars
	if cfg.Playbooks != "" {
		opts.More = []fs.FS{os.DirFS(cfg.Playbooks)}
	}
	if cfg.AuthNetworks != nil {
		opts.AuthNetworks = cfg.AuthNetworks
	}
	for kind, limit := range cfg.Budgets {
		opts.Budgets[kind] = respond.Limit{Max: limit.Max, Window: time.Duration(limit.Window)}
	}
	opts.Protected = append(opts.Protected, cfg.Protected...)
	r, err := respond.New(opts)
	if err != nil {
		return err
	}
	h.state.APIURL, h.state.APIToken = "http://"+r.Addr(), token
	h.group.Go("respond", r.Run)
	return nil
}

func (h *Hub) startDetect(connect func(string) (*bus.Bus, error)) error {
	b, err := connect("detect")
	if err != nil {
		return err
	}
	opts := detect.DefaultOptions()
	opts.Bus, opts.Logger, opts.Content, opts.RulesDir = b, h.opts.Logger.With("part", "detect"), content.Rules, h.opts.Config.Detect.Rules
	cfg := &h.opts.Config.Detect
	opts.Silence, opts.Inhibit, opts.Budget, opts.Correlation = cfg.Silence, cfg.Inhibit, cfg.Budget, cfg.Correlation
	if opts.RulesDir != "" {
		// Commands may run elsewhere.
		if h.state.RulesDir, err = filepath.Abs(opts.RulesDir); err != nil {
			return err
		}
	}
	dsn := h.state.ClickHouseDSN
	opts.ClickHouse = func(ctx context.Context) (*clickhouse.Client, error) { return clickhouse.Open(ctx, dsn) }
	d, err := detect.New(opts)
	if err != nil {
		return err
	}
	h.group.Go("detect", d.Run)
	return nil
}

func (h *Hub) startIngest(secrets instance.Secrets, connect func(string) (*bus.Bus, error), n *normalize.Service) error {
	b, err := connect("ingest")
	if err != nil {
		return err
	}
	opts := ingestOptions(h.opts.Config, secrets, n)
	opts.Bus, opts.Logger, opts.Metrics = b, h.opts.Logger.With("part", "ingest"), h.metrics
	s, err := ingest.New(opts)
	if err != nil {
		return err
	}
	h.state.IngestURL, h.state.IngestToken = s.URL(), secrets.Ingest
	h.state.OTLPAddr = s.OTLPAddr()
	h.group.Go("ingest", s.Run)
	return nil
}

// ingestOptions are those of a hub and of an edge alike.
func ingestOptions(cfg config.Config, secrets instance.Secrets, n *normalize.Service) ingest.Options {
	opts := ingest.DefaultOptions()
	opts.Addr = cfg.Ingest.Addr
	opts.Tokens = []ingest.Token{{Name: "local", SHA256: ingest.HashToken(secrets.Ingest), Sources: []string{"*"}}}
	in := cfg.Ingest
	opts.Tokens = append(opts.Tokens, in.Tokens...)
	opts.TokensFile, opts.TLS, opts.Insecure, opts.Clients, opts.Hooks = cfg.Tokens(), in.TLS, in.Insecure, in.Clients, in.Hooks
	opts.Framing = func(source string) (ingest.Framing, bool) {
		lines, known := n.Lines(source)
		if !lines {
			return ingest.Framing{}, known
		}
		f, err := ingest.TextFraming(n.Framing(source))
		if err != nil { // checked when the mapping was loaded
			f = ingest.Framing{Text: true}
		}
		return f, known
	}
	opts.Sources, opts.HEC, opts.Bulk = n.Sources, in.HEC, in.Bulk
	opts.Syslog, opts.Tail, opts.Pull, opts.Dir = in.Syslog, in.Tail, in.Pull, filepath.Join(cfg.Data, "ingest")
	opts.NATS = in.NATS
	opts.NATS.Enabled = in.NATS.Enabled || len(cfg.Bus.Producers) > 0
	if opts.OTLP = in.OTLP; in.OTLP.GRPC == "" && in.Addr == config.Default().Ingest.Addr {
		// With ingest elsewhere there may be several hubs on the machine.
		opts.OTLP.GRPC = "127.0.0.1:4317"
	}
	return opts
}

// folder is a folder of the user's, or the built-in one.
func folder(path string, builtIn fs.FS) fs.FS {
	if path == "" {
		return builtIn
	}
	return os.DirFS(path)
}
