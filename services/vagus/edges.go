package vagus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
	"github.com/vagus-hub/vagus/services/vagus/internal/edge"
)

// startEdges moves what edges have into this hub's streams.
func (h *Hub) startEdges(connect func(string) (*bus.Bus, error)) error {
	edges := h.opts.Config.Bus.Leaf.Edges
	if len(edges) == 0 || h.server == nil {
		return nil
	}
	b, err := connect("edges")
	if err != nil {
		return err
	}
	h.group.Go("edges", func(ctx context.Context) error { return PullEdges(ctx, h.server, b, edges, h.opts.Logger, h.metrics) })
	return nil
}

// PullEdges moves what edges have into the hub's streams until ctx ends. The
// edges connect to server; b stores what they had. Only one process may do so.
func PullEdges(ctx context.Context, server *bus.Server, b *bus.Bus, edges []config.LeafEdge, log *slog.Logger, metrics *telemetry.Registry) error {
	log = log.With("part", "edge")
	var pullers []*edge.Puller
	for _, e := range edges {
		far, err := bus.Connect(ctx, bus.Options{Server: server, Edge: e.Name, Name: "edge-" + e.Name, Logger: log})
		if err != nil {
			return fmt.Errorf("edge %s: %w", e.Name, err)
		}
		defer far.Close()
		for _, stream := range edge.Streams() {
			pullers = append(pullers, &edge.Puller{Hub: b, Edge: far, Name: e.Name, Stream: stream, Sources: e.Sources, Logger: log})
		}
	}
	metrics.OnCollect(func(s *telemetry.Snapshot) {
		for _, p := range pullers {
			pos, up := p.Position()
			v := 0.0
			if up {
				v = 1
			}
			s.Set("vagus_edge_up", "1 while the hub hears from the edge.", v, "edge", p.Name, "stream", p.Stream)
			s.Set("vagus_edge_lag_messages", "Messages known to wait at the edge.", float64(pos.Lag()), "edge", p.Name, "stream", p.Stream)
			if !pos.Seen.IsZero() {
				s.Set("vagus_edge_silent_seconds", "Time since the hub heard from the edge.", time.Since(pos.Seen).Seconds(), "edge", p.Name, "stream", p.Stream)
			}
		}
	})
	var wg sync.WaitGroup
	for _, p := range pullers {
		wg.Go(func() { _ = p.Run(ctx) }) // gives up only with ctx
	}
	wg.Wait()
	return nil
}
