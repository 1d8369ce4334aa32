package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	hub "github.com/vagus-hub/vagus/services/vagus"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
	"github.com/vagus-hub/vagus/services/vagus/internal/edge"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

func (a *app) edgeCommand() *cobra.Command {
	var f hubFlags
	var e config.Edge
	c := &cobra.Command{
		Use: "edge", Short: "Receive logs here and hand them on to a hub, now or when it can be reached", Args: cobra.NoArgs,
		Long: "Receives logs in every way that the hub does and keeps them on disk until the hub has them.\nThe hub needs this edge's name and the hash of its token under bus.leaf (docs/edge.md).",
	}
	c.Flags().StringVar(&f.config, "config", "", "configuration file (docs/edge.md)")
	c.Flags().StringVar(&f.ingest, "ingest-addr", "", "where ingest listens (default 127.0.0.1:8480)")
	c.Flags().StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error")
	c.Flags().StringVar(&f.logFormat, "log-format", "", "text or json")
	c.Flags().StringVar(&e.Hub, "hub", "", "the hub: tls://host:port, or nats-leaf://host:port in the clear")
	c.Flags().StringVar(&e.Name, "name", "", "name of this edge at the hub")
	c.Flags().StringVar((*string)(&e.Token), "token", "", "its token; better env:NAME or file:PATH")
	c.Flags().StringVar(&e.TLS.CA, "hub-ca", "", "PEM file of the authority that signed the hub's certificate (default the system's)")
	c.Flags().BoolVar(&e.Insecure, "insecure", false, "nats-leaf:// although the hub is not on this machine")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(a.data, cmd.Flags().Changed("data"))
		if err != nil {
			return err
		}
		a.data = cfg.Data
		for _, s := range [][2]*string{{&cfg.Edge.Hub, &e.Hub}, {&cfg.Edge.Name, &e.Name}, {(*string)(&cfg.Edge.Token), (*string)(&e.Token)}, {&cfg.Edge.TLS.CA, &e.TLS.CA}} {
			if *s[1] != "" {
				*s[0] = *s[1]
			}
		}
		cfg.Edge.Insecure = cfg.Edge.Insecure || e.Insecure
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), cfg.Log.Format, cfg.Log.Level)
		if err != nil {
			return err
		}
		h, err := hub.StartEdge(cmd.Context(), hub.Options{Config: cfg, Logger: log})
		if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		s := h.State()
		fmt.Fprintf(cmd.OutOrStdout(), "edge %s is up (process %d, data in %s); logs to %s/v1/ingest/<source>, from here to %s\n", s.Edge, s.PID, a.data, s.IngestURL, s.Hub)
		return h.Wait()
	}
	return c
}

// edgeStatus is what `vagus status` tells of an edge.
type edgeStatus struct {
	Edge    string            `json:"edge"`
	PID     int               `json:"pid"`
	Hub     string            `json:"hub"`
	Reading bool              `json:"reading"` // the hub waits for messages now
	Waiting uint64            `json:"waiting"` // messages that the hub has not taken
	Oldest  time.Time         `json:"oldest,omitzero"`
	Ingest  string            `json:"ingest"`
	Streams []bus.StreamState `json:"streams"`
}

func (a *app) edgeStatus(cmd *cobra.Command, s instance.State, asJSON bool) error {
	b, err := a.bus(cmd.Context())
	if err != nil {
		return err
	}
	defer b.Close()
	out := edgeStatus{Edge: s.Edge, PID: s.PID, Hub: s.Hub, Ingest: s.IngestURL, Reading: edge.Reading(cmd.Context(), b, s.Edge)}
	if out.Waiting, out.Oldest, err = edge.Waiting(cmd.Context(), b, s.Edge); err != nil {
		return err
	}
	if out.Streams, err = b.Streams(cmd.Context()); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if asJSON {
		return printJSON(w, out)
	}
	link := "away"
	if out.Reading {
		link = "reading"
	}
	fmt.Fprintf(w, "edge         %s, process %d, data in %s\ningest       %s\nhub          %s (%s)\nwaiting      %d messages", s.Edge, s.PID, a.data, s.IngestURL, s.Hub, link, out.Waiting)
	if !out.Oldest.IsZero() {
		fmt.Fprintf(w, ", the oldest for %s", time.Since(out.Oldest).Round(time.Second))
	}
	fmt.Fprint(w, "\n\n")
	return printStreams(w, out.Streams)
}

// edgeLag is what the hub knows of an edge.
type edgeLag struct {
	Edge   string    `json:"edge"`
	Stream string    `json:"stream"`
	Lag    uint64    `json:"lag"` // messages known to wait there
	Seen   time.Time `json:"seen"`
}

// edges lists the edges that the hub has heard of.
func edges(ctx context.Context, b *bus.Bus) ([]edgeLag, error) {
	kv, err := bus.OpenBucket[edge.Position](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	list, err := kv.List(ctx, "edge.>")
	if err != nil {
		return nil, err
	}
	var out []edgeLag
	for _, e := range list {
		if parts, err := bus.ParseKey(e.Key); err == nil && len(parts) == 3 {
			out = append(out, edgeLag{parts[1], parts[2], e.Value.Lag(), e.Value.Seen})
		}
	}
	return out, nil
}

func printEdges(w io.Writer, list []edgeLag) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "EDGE", "STREAM", "WAITING", "LAST SEEN")
	for _, e := range list {
		t.row(e.Edge, e.Stream, e.Lag, time.Since(e.Seen).Round(time.Second).String()+" ago")
	}
	return t.flush()
}
