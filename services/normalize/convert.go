package normalize

import (
	"fmt"
	"io/fs"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// Converter turns records into events outside of the service, with the same
// mappings: for tests of rules, for pricing them, for looking at a file.
// One goroutine at a time may use it.
type Converter struct {
	set     *mapping.Set
	finder  *mapping.Finder
	runners map[string]*mapping.Runner
	sink    convertSink
	rows    uint32
}

// convertRows is where a block of converted events ends.
const convertRows = 4096

// NewConverter reads the mappings; those with errors are left out.
func NewConverter(fsys fs.FS) (*Converter, error) {
	set, err := mapping.Load(fsys)
	if set == nil {
		return nil, fmt.Errorf("load mappings: %w", err)
	}
	return &Converter{set: set, finder: set.NewFinder(), runners: map[string]*mapping.Runner{}}, nil
}

// Converted counts what became of records.
type Converted struct {
	Records int
	Events  int
	Dropped int
	Dead    int
	// Why is the first reason of a dead record.
	Why string
}

// Convert cuts data into records as ingest does, maps them as records of the
// source (auto: whichever each is recognised as) and calls emit with blocks of
// events in the order of the records; a block ends where the family changes.
// The payload is valid until emit returns. Event times are kept however old
// they are; what has none happened at received (ms since 1970).
func (c *Converter) Convert(source string, data []byte, received int64, emit func(payload []byte) error) (Converted, error) {
	var out Converted
	var framing mapping.Framing
	if m := c.whole(source, data); m != nil {
		framing = m.Framing
	} else if source != auto {
		return out, c.set.Missing(source)
	}
	c.sink = convertSink{header: block.Header{Kind: block.KindEvents, Source: source, Received: received}, emit: emit}
	for _, rec := range mapping.Records(data, framing) {
		out.Records++
		r := c.runner(source, rec)
		if r == nil {
			out.dead("no source's mapping recognises the record")
			continue
		}
		c.rows++
		res := r.Map(mapping.Record{UID: block.UID("convert", c.rows), Received: received, Data: rec, AnyTime: true})
		out.Events, out.Dropped = out.Events+res.Events, out.Dropped+res.Dropped
		if res.Reason != "" {
			out.dead(fmt.Sprintf("%s: %v", res.Reason, res.Err))
		}
		if c.sink.err != nil {
			return out, c.sink.err
		}
	}
	return out, c.sink.flush()
}

func (o *Converted) dead(why string) {
	if o.Dead++; o.Why == "" {
		o.Why = why
	}
}

// whole is the mapping that says how the file is cut into records.
func (c *Converter) whole(source string, data []byte) *mapping.Mapping {
	if source == auto {
		return c.finder.Find(data)
	}
	return c.set.Get(source)
}

func (c *Converter) runner(source string, rec []byte) *mapping.Runner {
	if source == auto {
		m := c.finder.Find(rec)
		if m == nil {
			return nil
		}
		source = m.Source
	}
	r := c.runners[source]
	if m := c.set.Get(source); r == nil && m != nil {
		r = mapping.NewRunner(m, &c.sink)
		c.runners[source] = r
	}
	return r
}

// convertSink has one block open at a time.
type convertSink struct {
	header  block.Header
	emit    func([]byte) error
	builder *block.Builder
	buf     []byte
	err     error
}

// Builder implements mapping.Sink: it is asked once for every event.
func (s *convertSink) Builder(f event.Family) *block.Builder {
	if s.builder != nil && (s.builder.Family() != f || s.builder.Rows() >= convertRows) {
		if err := s.flush(); err != nil && s.err == nil {
			s.err = err
		}
	}
	if s.builder == nil {
		s.builder = block.NewBuilder(f)
	}
	return s.builder
}

func (s *convertSink) flush() error {
	b := s.builder
	if s.builder = nil; b == nil || b.Rows() == 0 {
		return nil
	}
	s.buf = b.AppendTo(s.buf[:0], s.header)
	return s.emit(s.buf)
}

// Feed is a class of events that a source's mapping makes.
type Feed struct {
	Source  string
	Class   uint32
	Family  event.Family
	Columns []event.ColumnID // beyond those that every event has
}

// Feeds lists what the mappings make of their sources.
func (c *Converter) Feeds() []Feed {
	var out []Feed
	for _, source := range c.set.Sources() {
		for _, o := range c.set.Get(source).Outputs() {
			out = append(out, Feed{Source: source, Class: o.Class, Family: o.Family, Columns: o.Columns})
		}
	}
	return out
}
