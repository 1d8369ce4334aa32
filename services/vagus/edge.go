package vagus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/normalize"
	"github.com/vagus-hub/vagus/services/vagus/internal/edge"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// for ever, as streams have it: what waits at an edge never expires.
const forEver = 100 * 365 * 24 * time.Hour

// StartEdge starts an edge: every way in of ingest and streams of its own, from
// which the hub takes what was received. It returns when the edge takes events,
// whether or not the hub can be reached, and stops when ctx ends.
func StartEdge(ctx context.Context, opts Options) (*Hub, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{opts: opts, group: lifecycle.New(ctx, lifecycle.Options{Logger: opts.Logger}), metrics: telemetry.NewRegistry()}
	if err := h.startEdge(); err != nil {
		h.group.Stop(err)
		return nil, errors.Join(err, h.group.Wait())
	}
	return h, nil
}

func (h *Hub) startEdge() error {
	cfg := h.opts.Config
	if cfg.Edge.Hub == "" || cfg.Edge.Name == "" || cfg.Edge.Token == "" {
		return errors.New("edge: hub, name and token are needed (flags, or edge: in the configuration)")
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	secrets, err := instance.LoadSecrets(cfg.Data)
	if err != nil {
		return err
	}
	b, err := h.startEdgeBus(secrets)
	if err != nil {
		return err
	}
	nopts := normalize.DefaultOptions()
	nopts.Bus, nopts.Logger, nopts.Sources = b, h.opts.Logger.With("part", "sources"), folder(cfg.Normalize.Sources, sources.FS)
	n, err := normalize.New(nopts) // never run: it knows the framing of each source
	if err != nil {
		return err
	}
	w := &waiting{Bus: b, name: cfg.Edge.Name, maxAge: time.Duration(cfg.Edge.MaxAge)}
	h.group.Go("lag", w.watch)
	h.metrics.OnCollect(func(s *telemetry.Snapshot) { w.collect(s, h.server) })
	opts := ingestOptions(cfg, secrets, n)
	opts.Bus, opts.Logger, opts.Metrics = w, h.opts.Logger.With("part", "ingest"), h.metrics
	s, err := ingest.New(opts)
	if err != nil {
		return err
	}
	h.state.IngestURL, h.state.IngestToken, h.state.OTLPAddr = s.URL(), secrets.Ingest, s.OTLPAddr()
	h.group.Go("ingest", s.Run)
	h.state.PID, h.state.Edge, h.state.Hub = os.Getpid(), cfg.Edge.Name, cfg.Edge.Hub
	h.group.Cleanup("state file", func(context.Context) error { return instance.Remove(cfg.Data) })
	return instance.Save(cfg.Data, h.state)
}

func (h *Hub) startEdgeBus(secrets instance.Secrets) (*bus.Bus, error) {
	cfg := h.opts.Config
	remote, err := cfg.Edge.Remote()
	if err != nil {
		return nil, err
	}
	h.server, err = bus.StartServer(bus.ServerOptions{
		StoreDir: filepath.Join(cfg.Data, "nats"), Addr: cfg.Bus.Addr, Token: secrets.NATS, Remote: remote, Users: cfg.Bus.Users(), Logger: h.opts.Logger.With("part", "nats"),
	})
	if err != nil {
		return nil, err
	}
	h.group.Cleanup("nats", func(context.Context) error { h.server.Shutdown(); return nil })
	h.state.NATSURL, h.state.NATSToken = h.server.URL(), secrets.NATS
	b, err := bus.Connect(h.group.Context(), bus.Options{Server: h.server, Name: "edge", Logger: h.opts.Logger.With("part", "bus")})
	if err != nil {
		return nil, err
	}
	h.group.Cleanup("connection", func(context.Context) error { b.Close(); return nil })
	total := cfg.Edge.MaxBytes
	if total <= 0 {
		total = 20 << 30
	}
	total = min(total, h.server.MaxStore()/10*9)
	// A twentieth for dead letters, and the checkpoints have a little besides.
	dead := max(total/20, 1<<20)
	err = b.EnsureStreams(h.group.Context(), bus.Limits{Total: total, Only: edge.Streams(), Streams: map[string]bus.StreamLimits{
		subjects.StreamRaw:  {MaxBytes: total - dead - max(total/200, 4<<20), MaxAge: forEver},
		subjects.StreamDead: {MaxBytes: dead, MaxAge: forEver},
	}})
	if err != nil {
		return nil, err
	}
	for _, stream := range edge.Streams() {
		if was, err := edge.Owner(h.group.Context(), b, stream); err != nil {
			return nil, err
		} else if was != "" && was != cfg.Edge.Name {
			return nil, fmt.Errorf("edge: %s holds what edge %q received, and its hub knows it by that name (use the name, or another data folder)", cfg.Data, was)
		}
		if _, err := b.JetStream().CreateOrUpdateConsumer(h.group.Context(), stream, edge.Durable(cfg.Edge.Name)); err != nil {
			return nil, fmt.Errorf("make the hub's place in %s: %w", stream, err)
		}
	}
	// Frees what the hub has, once it is 80 % full.
	h.group.Go("trim", func(ctx context.Context) error { return b.Trim(ctx, time.Second) })
	return b, nil
}

// waiting is the edge's bus for ingest. It knows how much waits for the hub and
// refuses more when the oldest of it waits too long.
type waiting struct {
	*bus.Bus
	name   string
	maxAge time.Duration

	messages atomic.Uint64
	oldest   atomic.Int64 // ms since 1970; 0: nothing waits
}

// PublishAsync is that of the bus, unless the oldest waits too long.
func (w *waiting) PublishAsync(ctx context.Context, m bus.Msg, done func(bus.Ack, error)) error {
	if w.tooOld() {
		return fmt.Errorf("publish %s: %w: the oldest message waits for the hub for more than %s", m.Subject, bus.ErrBusy, w.maxAge)
	}
	return w.Bus.PublishAsync(ctx, m, done)
}

func (w *waiting) tooOld() bool {
	at := w.oldest.Load()
	return w.maxAge > 0 && at > 0 && time.Since(time.UnixMilli(at)) > w.maxAge
}

// watch looks at what waits, every few seconds, until ctx ends.
func (w *waiting) watch(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if n, oldest, err := edge.Waiting(ctx, w.Bus, w.name); err == nil {
			w.messages.Store(n)
			at := int64(0)
			if !oldest.IsZero() {
				at = oldest.UnixMilli()
			}
			w.oldest.Store(at)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *waiting) collect(s *telemetry.Snapshot, server *bus.Server) {
	up := 0.0
	if server.LeafConnected() {
		up = 1
	}
	s.Set("vagus_edge_link_up", "1 while there is a connection to the hub.", up)
	s.Set("vagus_edge_waiting_messages", "Messages that the hub has not taken yet.", float64(w.messages.Load()))
	age := 0.0
	if at := w.oldest.Load(); at > 0 {
		age = time.Since(time.UnixMilli(at)).Seconds()
	}
	s.Set("vagus_edge_oldest_waiting_seconds", "Age of the oldest of them.", age)
}
