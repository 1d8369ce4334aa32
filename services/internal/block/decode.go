package block

import (
	"encoding/binary"
	"fmt"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Low-cardinality layout of the Native format: version 1 with additional keys
// written per block; the flags stand above the width of the indexes.
const (
	lowCardVersion = 1
	lowCardFlags   = 1<<9 | 1<<10 // additional keys, update dictionary
)

// columnByName is read-only after start.
var columnByName = func() map[string]*event.Column {
	m := make(map[string]*event.Column, event.NumColumns)
	for i := range event.Columns {
		m[event.Columns[i].Name] = &event.Columns[i]
	}
	return m
}()

// Decode reads an events payload. Columns that this build does not know are
// skipped; anything malformed is an error that wraps ErrCorrupt.
func Decode(payload []byte, into *Block) error {
	h, body, err := Split(payload)
	if err != nil {
		return err
	}
	if h.Kind != KindEvents {
		return fmt.Errorf("decode block: %w: kind %d is not events", ErrCorrupt, h.Kind)
	}
	into.Header = h
	for i := range into.present {
		into.present[i] = nil
	}
	native, err := body.Native(into.buf)
	if err != nil {
		return err
	}
	if body.packed {
		into.buf = native
	}
	r := reader{buf: native}
	cols, err := r.blockSize(int(h.Rows))
	if err != nil {
		return err
	}
	if err := into.columns(&r, cols); err != nil {
		return err
	}
	if len(r.rest()) != 0 {
		return fmt.Errorf("decode block: %w: %d bytes too many", ErrCorrupt, len(r.rest()))
	}
	return nil
}

// columns reads the columns of a Native block behind its size. Rows without
// any carry no data.
func (b *Block) columns(r *reader, n int) error {
	for range n {
		name, typ := r.bytes(maxName), r.bytes(maxName)
		if r.failed {
			return fmt.Errorf("decode block: %w: cut short", ErrCorrupt)
		}
		kind, ok := kindOfType(typ)
		if !ok {
			return fmt.Errorf("decode block: %w: column %q has unsupported type %q", ErrCorrupt, name, typ)
		}
		col := &b.skip
		if def := columnByName[string(name)]; def != nil && def.Kind == kind {
			if b.pool[def.ID] == nil {
				b.pool[def.ID] = &Column{}
			}
			col = b.pool[def.ID]
			b.present[def.ID] = col
		}
		col.decode(r, kind, b.Rows())
		if r.failed {
			return fmt.Errorf("decode block: %w: column %q is damaged", ErrCorrupt, name)
		}
	}
	return nil
}

// blockSize reads the number of columns and rows of a Native block.
func (r *reader) blockSize(rows int) (cols int, err error) {
	n, got := r.uvarint(), r.uvarint()
	if r.failed || n > maxColumns || got != uint64(rows) {
		return 0, fmt.Errorf("decode block: %w: %d columns, %d rows, header says %d rows", ErrCorrupt, n, got, rows)
	}
	return int(n), nil
}

func kindOfType(typ []byte) (event.Kind, bool) {
	for k := event.KindString; k <= event.KindScores; k++ {
		if k.ClickHouseType() == string(typ) {
			return k, true
		}
	}
	return 0, false
}

func (c *Column) decode(r *reader, kind event.Kind, rows int) {
	c.kind, c.fixed = kind, nil
	c.spans, c.keys, c.ends = c.spans[:0], c.keys[:0], c.ends[:0]
	if rows > 0 {
		c.read(r, kind, rows)
	}
	c.buf = r.buf // which reading may have moved
}

func (c *Column) read(r *reader, kind event.Kind, rows int) {
	switch kind {
	case event.KindString:
		c.spans = r.spans(c.spans, rows)
	case event.KindKeyword:
		c.lowCardPrefix(r)
		c.lowCard(r, rows)
	case event.KindKeywords, event.KindScores:
		c.lowCardPrefix(r)
		items := c.offsets(r, rows)
		if items > 0 {
			c.lowCard(r, items)
		}
		if kind == event.KindScores {
			c.fixed = r.take(items * 4)
		}
	default:
		c.fixed = r.take(rows * width(kind))
	}
}

func (c *Column) lowCardPrefix(r *reader) {
	if r.u64() != lowCardVersion {
		r.failed = true
	}
}

// offsets reads the ends of lists; they must grow and stay sane.
func (c *Column) offsets(r *reader, rows int) int {
	raw := r.take(rows * 8)
	var last uint64
	for i := 0; i+8 <= len(raw); i += 8 {
		end := binary.LittleEndian.Uint64(raw[i:])
		if end < last || end > r.limit() {
			r.failed = true
			return 0
		}
		last = end
		c.ends = append(c.ends, end)
	}
	return int(last)
}

// lowCard reads a dictionary and n indexes, and checks every index: readers
// rely on that.
func (c *Column) lowCard(r *reader, n int) {
	flags := r.u64()
	size := r.u64()
	if r.failed || flags&^0xff != lowCardFlags || size > r.limit() {
		r.failed = true
		return
	}
	c.spans = r.spans(c.spans, int(size))
	if r.u64() != uint64(n) || r.failed {
		r.failed = true
		return
	}
	var top uint32
	switch flags & 0xff {
	case 0:
		for _, k := range r.take(n) {
			c.keys = append(c.keys, uint32(k))
			top = max(top, uint32(k))
		}
	case 1:
		raw := r.take(n * 2)
		for i := 0; i+2 <= len(raw); i += 2 {
			k := uint32(binary.LittleEndian.Uint16(raw[i:]))
			c.keys = append(c.keys, k)
			top = max(top, k)
		}
	case 2:
		raw := r.take(n * 4)
		for i := 0; i+4 <= len(raw); i += 4 {
			k := binary.LittleEndian.Uint32(raw[i:])
			c.keys = append(c.keys, k)
			top = max(top, k)
		}
	default:
		r.failed = true
	}
	if n > 0 && uint64(top) >= size {
		r.failed = true
	}
}
