// Package normalize turns raw records into events of the schema: it reads RAW,
// runs the source's mapping, and publishes columnar blocks to EVENTS and
// records that fit no mapping to DEAD. It uses no network but the bus, and the
// URLs of threat lists if there are any.
package normalize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/normalize/internal/enrich"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// Durable is the name of this service's position in RAW.
const Durable = "normalize"

// Options configures the service. Bus is required.
type Options struct {
	Bus    *bus.Bus
	Logger *slog.Logger
	// Sources holds <source>/mapping.yaml; default: the embedded ones.
	Sources fs.FS
	// MaxInFlight bounds RAW messages whose blocks are not yet durable.
	MaxInFlight int
	// Enrich is what is added to events after their mapping.
	Enrich Enrich
}

// Enrich configures the enrichment of events.
type Enrich = enrich.Config

// ThreatList is one list of Enrich.
type ThreatList = enrich.List

// Asset is an entry of the inventory, which is the bucket "assets"; AssetKey
// makes its key.
type Asset = enrich.Asset

// AssetKey is the key of an asset in the inventory. Kind is host, ip, k8s
// (namespace/pod, or the namespace), key (a credential's id) or model.
func AssetKey(kind, name string) string { return bus.Key(kind, name) }

// DefaultOptions are the embedded sources and 64 messages in flight.
func DefaultOptions() Options {
	return Options{Logger: slog.Default(), Sources: sources.FS, MaxInFlight: 64}
}

// Service is the running stage. Make one with New.
type Service struct {
	opts   Options
	set    *mapping.Set
	enrich *enrich.Engine // nil: nothing is added
}

// New loads the mappings. A mapping with errors is logged and left out: its
// records become dead letters, to be replayed when it is mended.
func New(opts Options) (*Service, error) {
	if opts.Bus == nil {
		return nil, errors.New("normalize: no bus given")
	}
	set, err := mapping.Load(opts.Sources)
	if set == nil {
		return nil, fmt.Errorf("load mappings: %w", err)
	}
	if err != nil {
		opts.Logger.Error("mappings with errors are left out; their records become dead letters", "error", err)
	}
	s := &Service{opts: opts, set: set}
	if !opts.Enrich.Empty() {
		if s.enrich, err = enrich.New(opts.Enrich, opts.Logger); err != nil {
			return nil, fmt.Errorf("normalize: enrich: %w", err)
		}
	}
	return s, nil
}

// Lines reports whether a source's records are lines of any text rather than
// JSON documents, and whether the source is known: ingest frames by it.
func (s *Service) Lines(source string) (lines, known bool) {
	m := s.set.Get(source)
	if m == nil {
		return false, false
	}
	return m.Lines(), true
}

// Framing says how the records of a text source lie over several lines: by a
// regular expression for the line that begins one, by one whose capture the
// lines share, or by the prefix of header lines. All empty: a line is a record.
func (s *Service) Framing(source string) (start, group, header string) {
	if m := s.set.Get(source); m != nil {
		return m.Framing.Start, m.Framing.Group, m.Framing.Header
	}
	return "", "", ""
}

// Sources lists the known source ids.
func (s *Service) Sources() []string { return s.set.Sources() }

// Run consumes RAW in order until ctx ends and what is in flight is stored. An
// input is acknowledged after all its blocks are durable.
func (s *Service) Run(ctx context.Context) error {
	w := newWorker(s.set)
	if s.enrich != nil {
		w.enrich = enrich.NewWorker(s.enrich)
		// It ends with the consumer: what is in flight is still enriched.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() { defer close(done); s.enrich.Run(own, s.opts.Bus) }()
		defer func() { cancel(); <-done }()
	}
	return s.opts.Bus.Consume(ctx, bus.Consumer{
		Stream:      subjects.StreamRaw,
		Durable:     Durable,
		Ordered:     true,
		MaxInFlight: s.opts.MaxInFlight,
		Stage:       "normalize",
	}, w.handle)
}
