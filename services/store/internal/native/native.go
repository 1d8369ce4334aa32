// Package native writes small tables as ClickHouse Native blocks, row by row.
// It serves what is rare (alerts, transitions, dead letters, the ledger);
// events come as blocks already.
package native

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// Table collects rows. The types of its columns are ClickHouse's; columns of
// the table may have others that ClickHouse converts to, such as
// LowCardinality(String) for String.
type Table struct {
	cols []column
	rows int
}

type column struct {
	name, typ string
	data      []byte // values; of arrays and maps the items (keys)
	more      []byte // maps: the values
	ends      []byte // arrays and maps
	items     uint64
}

// The types of columns.
const (
	String  = "String"
	UInt8   = "UInt8"
	UInt32  = "UInt32"
	UInt64  = "UInt64"
	Int64   = "Int64"
	Float64 = "Float64"
	Time    = "DateTime64(3, 'UTC')"
	UUID    = "UUID"
	Strings = "Array(String)"
	Texts   = "Map(String, String)"
	Counts  = "Map(String, UInt64)"
)

// New makes a table of name, type, name, type, ….
func New(namesAndTypes ...string) *Table {
	t := &Table{}
	for i := 0; i+1 < len(namesAndTypes); i += 2 {
		t.cols = append(t.cols, column{name: namesAndTypes[i], typ: namesAndTypes[i+1]})
	}
	return t
}

// Rows is the number of rows.
func (t *Table) Rows() int { return t.rows }

// Add appends a row: string, uint8, uint32, uint64, int64, float64, time.Time,
// [16]byte (UUID), []string, map[string]string, map[string]uint64, one for
// each column, of its type.
func (t *Table) Add(values ...any) error {
	if len(values) != len(t.cols) {
		return fmt.Errorf("row of %d values for %d columns", len(values), len(t.cols))
	}
	for i, v := range values {
		c := &t.cols[i]
		if !c.add(v) {
			return fmt.Errorf("column %s of type %s: value of type %T", c.name, c.typ, v)
		}
	}
	t.rows++
	return nil
}

func (c *column) add(v any) bool {
	le := binary.LittleEndian
	switch v := v.(type) {
	case string:
		c.data = text(c.data, v)
		return c.typ == String
	case uint8:
		c.data = append(c.data, v)
		return c.typ == UInt8
	case uint32:
		c.data = le.AppendUint32(c.data, v)
		return c.typ == UInt32
	case uint64:
		c.data = le.AppendUint64(c.data, v)
		return c.typ == UInt64
	case int64:
		c.data = le.AppendUint64(c.data, uint64(v))
		return c.typ == Int64
	case float64:
		c.data = le.AppendUint64(c.data, math.Float64bits(v))
		return c.typ == Float64
	case time.Time:
		ms := int64(0)
		if !v.IsZero() {
			ms = v.UnixMilli()
		}
		c.data = le.AppendUint64(c.data, uint64(ms))
		return c.typ == Time
	case [16]byte: // two little-endian halves
		c.data = le.AppendUint64(c.data, binary.BigEndian.Uint64(v[:8]))
		c.data = le.AppendUint64(c.data, binary.BigEndian.Uint64(v[8:]))
		return c.typ == UUID
	case []string:
		for _, s := range v {
			c.data = text(c.data, s)
		}
		c.end(len(v))
		return c.typ == Strings
	case map[string]string:
		for _, k := range keys(v) {
			c.data, c.more = text(c.data, k), text(c.more, v[k])
		}
		c.end(len(v))
		return c.typ == Texts
	case map[string]uint64:
		for _, k := range keys(v) {
			c.data, c.more = text(c.data, k), le.AppendUint64(c.more, v[k])
		}
		c.end(len(v))
		return c.typ == Counts
	}
	return false
}

// keys sorts, so that the same rows are the same bytes.
func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (c *column) end(items int) {
	c.items += uint64(items)
	c.ends = binary.LittleEndian.AppendUint64(c.ends, c.items)
}

func text(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// Append writes the rows as one block of revision 0.
func (t *Table) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(t.cols)))
	dst = binary.AppendUvarint(dst, uint64(t.rows))
	for _, c := range t.cols {
		dst = text(text(dst, c.name), c.typ)
		dst = append(append(append(dst, c.ends...), c.data...), c.more...)
	}
	return dst
}
