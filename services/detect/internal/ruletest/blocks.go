package ruletest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// start is when a test begins.
var start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC).UnixMilli()

// maxRecorded bounds the events of one entry's records, maxRows those of a test.
const (
	maxRecorded = 10_000
	maxRows     = 1_000_000
)

// Blocks turns test events into blocks, in order; a new block begins where the
// family changes. Events of records are an error: see Play.
func Blocks(events []rule.TestEvent, use func(*block.Block)) error {
	return blocks("", events, Options{}, use)
}

// Events is Blocks for a rule whose tests may have records.
func Events(r *rule.Rule, events []rule.TestEvent, opts Options, use func(*block.Block)) error {
	return blocks(r.File, events, opts, use)
}

// player lets events happen one after the other.
type player struct {
	use     func(*block.Block)
	builder *block.Builder
	decoded block.Block
	now     int64 // of the event before, ms since 1970
	newest  int64 // received_at never goes back
	rows    int
}

func blocks(file string, events []rule.TestEvent, opts Options, use func(*block.Block)) error {
	p := &player{use: use, now: start, newest: start}
	for i := range events {
		e := &events[i]
		recorded, err := records(file, e, opts)
		if err != nil {
			return fmt.Errorf("event of line %d: %w", e.Line, err)
		}
		if e.At != nil {
			p.now = start + e.At.Milliseconds() - e.After.Milliseconds()
		}
		for n := 1; n <= e.Repeat; n++ {
			p.now += e.After.Milliseconds()
			if recorded == nil {
				err = p.row(e.Family, nil, e.Fields, p.now, n)
			} else {
				err = p.recorded(recorded, e.Fields, n)
			}
			if err != nil {
				return err
			}
		}
	}
	return p.flush()
}

// recorded lets the events of records happen: the first one now, the others as
// long after it as they were recorded.
func (p *player) recorded(events []rule.TestEvent, over []rule.TestField, n int) error {
	first := timeOf(&events[0])
	now := p.now
	for i := range events {
		p.now = now + timeOf(&events[i]) - first
		if err := p.row(events[i].Family, events[i].Fields, over, p.now, n); err != nil {
			return err
		}
	}
	return nil
}

func timeOf(e *rule.TestEvent) int64 {
	for _, f := range e.Fields {
		if f.Column.ID == event.Time {
			t, _ := f.Value.(int64)
			return t
		}
	}
	return 0
}

// row writes an event: what was recorded, and on top what the test says.
func (p *player) row(family event.Family, base, own []rule.TestField, now int64, n int) error {
	if p.rows++; p.rows > maxRows {
		return fmt.Errorf("a test has at most %d events", maxRows)
	}
	if p.builder == nil || p.builder.Family() != family {
		if err := p.flush(); err != nil {
			return err
		}
		p.builder = block.NewBuilder(family)
	}
	b := p.builder
	p.newest = max(p.newest, now)
	var uid [16]byte
	binary.BigEndian.PutUint64(uid[8:], uint64(p.rows))
	b.SetUUID(event.EventUID, uid)
	at, received := now, p.newest
	for _, f := range base {
		if f.Column.ID == event.Time || f.Column.ID == event.ReceivedAt || replaced(f.Column.ID, own) {
			continue
		}
		if err := set(b, f, 0); err != nil {
			return err
		}
	}
	for _, f := range own {
		v, _ := f.Value.(int64)
		switch {
		case f.Column.ID == event.Time:
			at = v
		case f.Column.ID == event.ReceivedAt:
			received = v
		case !f.Column.Families.Has(family):
			return fmt.Errorf("field %s does not occur in the family %s of the event", f.Column.Path, family)
		default:
			if err := set(b, f, n); err != nil {
				return err
			}
		}
	}
	b.SetInt(event.Time, at)
	b.SetInt(event.ReceivedAt, received)
	b.EndRow()
	return nil
}

func replaced(id event.ColumnID, over []rule.TestField) bool {
	return slices.ContainsFunc(over, func(f rule.TestField) bool { return f.Column.ID == id })
}

func (p *player) flush() error {
	if p.builder == nil || p.builder.Rows() == 0 {
		return nil
	}
	payload := p.builder.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "test", Received: p.newest})
	p.builder = nil
	if err := block.Decode(payload, &p.decoded); err != nil {
		return err
	}
	p.use(&p.decoded)
	return nil
}

// records maps the records of an entry, nil if it is an event itself.
func records(file string, e *rule.TestEvent, opts Options) ([]rule.TestEvent, error) {
	if e.Mapping == "" {
		return nil, nil
	}
	if opts.Normalize == nil {
		return nil, errors.New("records cannot be mapped by this program: use vagus")
	}
	data := []byte(e.Raw)
	if e.Samples != "" {
		if opts.Read == nil {
			return nil, errors.New("samples cannot be read here")
		}
		var err error
		if data, err = opts.Read(file, e.Samples); err != nil {
			return nil, err
		}
	}
	var out []rule.TestEvent
	err := opts.Normalize(e.Mapping, data, start, func(payload []byte) error {
		var b block.Block
		if err := block.Decode(payload, &b); err != nil {
			return err
		}
		for row := range b.Rows() {
			if out = append(out, sample.FromBlock(&b, row)); len(out) > maxRecorded {
				return fmt.Errorf("records give more than %d events", maxRecorded)
			}
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("the records give no event of %s", e.Mapping)
	}
	return out, err
}

// set sets a column; n is the number of the repeat, 0 if texts are as they are.
func set(b *block.Builder, f rule.TestField, n int) error {
	id := f.Column.ID
	fill := func(s string) string {
		if n == 0 {
			return s
		}
		return rule.Repeat(s, n)
	}
	switch v := f.Value.(type) {
	case string:
		v = fill(v)
		switch f.Column.Kind {
		case event.KindIP:
			addr, err := netip.ParseAddr(v)
			if err != nil {
				return fmt.Errorf("field %s: %w", f.Column.Path, err)
			}
			b.SetIP(id, addr)
		case event.KindUUID:
			return fmt.Errorf("field %s is set by the test itself", f.Column.Path)
		default:
			b.SetString(id, v)
		}
	case int64:
		b.SetInt(id, v)
	case float64:
		b.SetFloat(id, v)
	case bool:
		if v {
			b.SetInt(id, 1)
		}
	case []string:
		for _, s := range v {
			b.AppendKeyword(id, []byte(fill(s)))
		}
	case map[string]float64:
		for k, x := range v {
			b.AppendScore(id, k, x)
		}
	}
	return nil
}
