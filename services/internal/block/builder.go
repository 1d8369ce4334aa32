package block

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Builder collects events of one family row by row into columns. Setting a
// zero value is the same as not setting it; setting a column twice in one row
// keeps the last. Once its buffers have grown it allocates nothing. It is not
// safe for concurrent use.
type Builder struct {
	family  event.Family
	rows    int
	minTime int64
	maxTime int64
	used    [event.NumColumns]bool
	cols    [event.NumColumns]*columnBuilder
	native  []byte // the block before it is compressed
}

// NewBuilder makes a builder for one family.
func NewBuilder(f event.Family) *Builder { return &Builder{family: f} }

// Family is the family that the builder was made for.
func (b *Builder) Family() event.Family { return b.family }

// Rows is the number of finished rows.
func (b *Builder) Rows() int { return b.rows }

// Reset forgets the rows and keeps the buffers.
func (b *Builder) Reset() {
	for id, used := range b.used {
		if used {
			b.cols[id].reset()
			b.used[id] = false
		}
	}
	b.rows = 0
}

// column returns the builder of a column, filled up to the current row.
func (b *Builder) column(id event.ColumnID) *columnBuilder {
	c := b.cols[id]
	if c == nil {
		c = newColumn(id)
		b.cols[id] = c
	}
	b.used[id] = true
	if c.rows < b.rows {
		c.pad(b.rows)
	}
	return c
}

// SetText sets a string or keyword column; the bytes are copied.
func (b *Builder) SetText(id event.ColumnID, v []byte) {
	if len(v) != 0 {
		b.column(id).setText(b.rows, v)
	}
}

// SetString is SetText for a string.
func (b *Builder) SetString(id event.ColumnID, v string) {
	if len(v) != 0 {
		b.column(id).setText(b.rows, bytesOf(v))
	}
}

// SetInt sets an integer, bool or time column. Values outside the column's
// range are set to its nearest bound.
func (b *Builder) SetInt(id event.ColumnID, v int64) {
	if v == 0 {
		return
	}
	c := b.column(id)
	if id == event.Time {
		b.noteTime(v)
	}
	c.setInt(b.rows, v)
}

func (b *Builder) noteTime(ms int64) {
	if b.minTime == 0 || ms < b.minTime || b.rows == 0 {
		b.minTime = ms
	}
	if ms > b.maxTime || b.rows == 0 {
		b.maxTime = ms
	}
}

// SetFloat sets a float column.
func (b *Builder) SetFloat(id event.ColumnID, v float64) {
	if v == 0 {
		return
	}
	c := b.column(id)
	c.begin(b.rows)
	if c.kind == event.KindF32 {
		c.fixed = binary.LittleEndian.AppendUint32(c.fixed, math.Float32bits(float32(v)))
		return
	}
	c.fixed = binary.LittleEndian.AppendUint64(c.fixed, math.Float64bits(v))
}

// SetIP sets an ip column; IPv4 is stored as mapped IPv6, as ClickHouse does.
func (b *Builder) SetIP(id event.ColumnID, a netip.Addr) {
	if a.IsValid() {
		v := a.As16()
		b.column(id).setWide(b.rows, &v)
	}
}

// SetUUID sets a uuid column from the usual byte order.
func (b *Builder) SetUUID(id event.ColumnID, u [16]byte) {
	v := swapUUID(u)
	b.column(id).setWide(b.rows, &v)
}

// AppendKeyword adds an item to a keywords column.
func (b *Builder) AppendKeyword(id event.ColumnID, v []byte) {
	c := b.column(id)
	c.openList(b.rows)
	c.keys = append(c.keys, c.intern(v))
	c.ends[b.rows] = uint64(len(c.keys))
}

// AppendScore adds an entry to a scores column.
func (b *Builder) AppendScore(id event.ColumnID, name string, v float64) {
	c := b.column(id)
	c.openList(b.rows)
	c.keys = append(c.keys, c.intern(bytesOf(name)))
	c.fixed = binary.LittleEndian.AppendUint32(c.fixed, math.Float32bits(float32(v)))
	c.ends[b.rows] = uint64(len(c.keys))
}

// EndRow finishes the current event.
func (b *Builder) EndRow() { b.rows++ }

// DropRow forgets what was set since the last EndRow.
func (b *Builder) DropRow() {
	for id, used := range b.used {
		if used {
			b.cols[id].truncate(b.rows)
		}
	}
}

// AppendTo writes header and columns. It fills in what it knows of the header:
// kind, schema, family, rows and the time range.
func (b *Builder) AppendTo(dst []byte, h Header) []byte {
	h.Kind, h.Schema, h.Family = KindEvents, event.SchemaVersion, uint8(b.family)
	h.Rows, h.MinTime, h.MaxTime = uint32(b.rows), b.minTime, b.maxTime
	out := dst
	dst = b.native[:0]
	n := 0
	for _, used := range b.used {
		if used {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, uint64(b.rows))
	for id, used := range b.used {
		if !used {
			continue
		}
		c := b.cols[id]
		c.pad(b.rows)
		dst = appendString(dst, event.Columns[id].Name)
		dst = appendString(dst, c.kind.ClickHouseType())
		dst = c.append(dst)
	}
	b.native = dst
	return appendMessage(out, &h, dst)
}
