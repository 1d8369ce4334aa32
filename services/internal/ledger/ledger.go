// Package ledger proves that nothing was lost and nothing counted twice: the
// table `ledger` holds what each message accounted for, written together with
// the rows themselves, and Close adds it up.
package ledger

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Table is the table's name.
const Table = "ledger"

// The stages of the ledger.
const (
	Ingest    = "ingest"    // one row a RAW message: Out records; dead ones from DEAD
	Normalize = "normalize" // one row an output: In, Dead and Dropped of the RAW message on its first output, Out rows
	Store     = "store"     // one row an EVENTS message: Out rows stored, Dead rows that could not be
	Dead      = "dead"      // one row a DEAD message: Dead records stored
	Replay    = "replay"    // one row a RAW message of records stored before: Out records
)

// Row is one row of the table.
type Row struct {
	Stage, Source string
	Seq, RawSeq   uint64
	At            time.Time
	In, Out, Dead uint64
	Extra         uint64 // events beyond the first of records that hold several
	Dropped       map[string]uint64
}

// Querier is what Close needs of ClickHouse.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
}

// Lags is what Close needs of the bus.
type Lags interface {
	Lag(ctx context.Context) ([]bus.Lag, error)
	Streams(ctx context.Context) ([]bus.StreamState, error)
}

// Options names the durables whose position matters.
type Options struct {
	// NormalizeDurable reads RAW; default "normalize".
	NormalizeDurable string
	// DetectDurable reads EVENTS; default "detect". Without it nothing is evaluated.
	DetectDurable string
	// Since leaves out older messages (by arrival); zero: all that the table
	// holds. Give the time the bus was set up if its data was ever wiped.
	Since time.Time
	// Count also counts the rows of events and raw, to check the table itself.
	Count bool
}

// Source is the account of one source, in records.
type Source struct {
	Source     string            `json:"source"`
	Received   uint64            `json:"received"`   // taken by ingest, its dead letters included
	Replayed   uint64            `json:"replayed"`   // sent again from dead letters
	Extra      uint64            `json:"extra"`      // events beyond the first of records that hold several
	Normalized uint64            `json:"normalized"` // became events
	Dead       uint64            `json:"dead"`       // became dead letters, at any stage
	Dropped    map[string]uint64 `json:"dropped"`    // left out on purpose, by reason
	Stored     uint64            `json:"stored"`     // events in ClickHouse
	Evaluated  uint64            `json:"evaluated"`  // events that detection is done with
	InFlight   uint64            `json:"in_flight"`  // on their way
	// Difference is what is unaccounted for: above zero lost, below zero
	// counted twice.
	Difference int64 `json:"difference"`
	// Rows counts the rows of the events tables, Distinct their uids
	// (Options.Count). Events of records that were sent without a source have the
	// one that they were recognised as, and count here under "auto".
	Rows     uint64 `json:"rows,omitempty"`
	Distinct uint64 `json:"distinct,omitempty"`
}

// Report is the ledger added up.
type Report struct {
	At      time.Time `json:"at"`
	Sources []Source  `json:"sources"`
	// Behind lists readers that have messages to read, by name.
	Behind map[string]uint64 `json:"behind"`
	// Counted says that Rows were counted.
	Counted bool `json:"counted"`
}

// Closed reports whether every record is accounted for and none is on its way.
func (r Report) Closed() bool {
	if len(r.Behind) > 0 {
		return false
	}
	for _, s := range r.Sources {
		if s.Difference != 0 || s.InFlight != 0 || r.Counted && (s.Rows != s.Stored || s.Distinct != s.Stored) {
			return false
		}
	}
	return true
}

// Close adds up the ledger now.
func Close(ctx context.Context, db Querier, lags Lags, opts Options) (Report, error) {
	if opts.NormalizeDurable == "" {
		opts.NormalizeDurable = "normalize"
	}
	if opts.DetectDurable == "" {
		opts.DetectDurable = "detect"
	}
	rep := Report{At: time.Now().UTC(), Behind: map[string]uint64{}, Counted: opts.Count}
	positions, err := lags.Lag(ctx)
	if err != nil {
		return rep, fmt.Errorf("ledger: %w", err)
	}
	var normalized, detected uint64
	for _, l := range positions {
		switch {
		case l.Stream == subjects.StreamRaw && l.Durable == opts.NormalizeDurable:
			normalized = l.AckFloor
		case l.Stream == subjects.StreamEvents && l.Durable == opts.DetectDurable:
			detected = l.AckFloor
			if l.Pending+uint64(l.AckPending) == 0 {
				detected = l.Last
			}
		}
		if n := l.Pending + uint64(l.AckPending); n > 0 && (l.Stream == subjects.StreamRaw || l.Stream == subjects.StreamEvents || l.Stream == subjects.StreamDead) {
			rep.Behind[l.Stream+"/"+l.Durable] += n
		}
	}
	since := opts.Since.UTC().UnixMilli()
	if opts.Since.IsZero() {
		since = 0
	}
	sources := map[string]*account{}
	get := func(name string) *account {
		if sources[name] == nil {
			sources[name] = &account{Source: Source{Source: name, Dropped: map[string]uint64{}}}
		}
		return sources[name]
	}
	if err := sums(ctx, db, since, detected, get); err != nil {
		return rep, err
	}
	if err := inFlight(ctx, db, since, normalized, len(rep.Behind) > 0, get); err != nil {
		return rep, err
	}
	if opts.Count {
		if err := count(ctx, db, get); err != nil {
			return rep, err
		}
		recognised(sources)
	}
	for _, a := range sources {
		rep.Sources = append(rep.Sources, a.close())
	}
	sort.Slice(rep.Sources, func(i, j int) bool { return rep.Sources[i].Source < rep.Sources[j].Source })
	return rep, nil
}
