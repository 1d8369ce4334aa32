package block

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"unsafe"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Block is a decoded batch of events. It copies nothing: everything it returns
// is valid until the next Decode into it, and only while the payload is neither
// changed nor reused.
type Block struct {
	Header  Header
	buf     []byte // the unpacked body
	present [event.NumColumns]*Column
	pool    [event.NumColumns]*Column // columns of earlier blocks, for their buffers
	skip    Column                    // takes columns that this build does not know
}

// Rows is the number of events.
func (b *Block) Rows() int { return int(b.Header.Rows) }

// Column returns a column, or nil if no row has a value in it.
func (b *Block) Column(id event.ColumnID) *Column { return b.present[id] }

// Column is one column of a block.
type Column struct {
	kind  event.Kind
	buf   []byte   // the Native bytes; spans point into it
	spans []span   // string: row → text; keyword kinds: dictionary index → text
	keys  []uint32 // keyword: row → dictionary index; keywords: item → index
	ends  []uint64 // keywords, scores: row → end of its items
	fixed []byte   // fixed-width kinds; scores: the values
}

// Strings is the dictionary of a column.
type Strings struct {
	buf   []byte
	spans []span
}

// Len is the number of distinct values, the empty one included.
func (s Strings) Len() int { return len(s.spans) }

// Bytes returns value i.
func (s Strings) Bytes(i int) []byte {
	p := s.spans[i]
	return s.buf[p.off : p.off+p.size : p.off+p.size]
}

// At returns value i as a string that shares memory with the payload.
func (s Strings) At(i int) string { return view(s.Bytes(i)) }

// Kind is the column's type.
func (c *Column) Kind() event.Kind { return c.kind }

// Dict is the dictionary of a keyword, keywords or scores column. Index 0 is "".
func (c *Column) Dict() Strings { return Strings{c.buf, c.spans} }

// Keys maps rows to dictionary indexes (keyword only).
func (c *Column) Keys() []uint32 { return c.keys }

// ListKeys maps items to dictionary indexes (keywords and scores).
func (c *Column) ListKeys() []uint32 { return c.keys }

// List is the range of a row's items in ListKeys.
func (c *Column) List(row int) (from, to int) {
	if row > 0 {
		from = int(c.ends[row-1])
	}
	return from, int(c.ends[row])
}

// Fixed returns the raw little-endian values of a fixed-width column.
func (c *Column) Fixed() []byte { return c.fixed }

// Bytes returns the text of a row of a string or keyword column; nil otherwise.
func (c *Column) Bytes(row int) []byte {
	var p span
	switch c.kind {
	case event.KindString:
		p = c.spans[row]
	case event.KindKeyword:
		p = c.spans[c.keys[row]]
	default:
		return nil
	}
	return c.buf[p.off : p.off+p.size : p.off+p.size]
}

// Text returns a row as rules see it. String and keyword share memory with the
// payload; ip and uuid are formatted and allocate.
func (c *Column) Text(row int) string {
	switch c.kind {
	case event.KindIP:
		return FormatIP(c.IP(row))
	case event.KindUUID:
		return FormatUUID(c.UUID(row))
	}
	return view(c.Bytes(row))
}

// IP returns a row of an ip column; the zero Addr when absent.
func (c *Column) IP(row int) netip.Addr {
	a := netip.AddrFrom16([16]byte(c.fixed[row*16 : row*16+16])).Unmap()
	if a == netip.IPv6Unspecified() {
		return netip.Addr{}
	}
	return a
}

// UUID returns a row of a uuid column in the usual byte order.
func (c *Column) UUID(row int) [16]byte { return swapUUID([16]byte(c.fixed[row*16 : row*16+16])) }

// Int returns a row of an integer, bool or time column; 0 for other kinds.
func (c *Column) Int(row int) int64 {
	switch c.kind {
	case event.KindU8, event.KindBool:
		return int64(c.fixed[row])
	case event.KindU16:
		return int64(binary.LittleEndian.Uint16(c.fixed[row*2:]))
	case event.KindU32:
		return int64(binary.LittleEndian.Uint32(c.fixed[row*4:]))
	case event.KindU64, event.KindTime:
		return int64(binary.LittleEndian.Uint64(c.fixed[row*8:]))
	}
	return 0
}

// Float returns a row of any numeric column; for scores use Score.
func (c *Column) Float(row int) float64 {
	switch c.kind {
	case event.KindF32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.fixed[row*4:])))
	case event.KindF64:
		return math.Float64frombits(binary.LittleEndian.Uint64(c.fixed[row*8:]))
	}
	return float64(c.Int(row))
}

// Score returns the value of item i of a scores column (see List).
func (c *Column) Score(i int) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.fixed[i*4:])))
}

// Absent reports whether a row holds the zero value, which is how absence is
// stored.
func (c *Column) Absent(row int) bool {
	switch c.kind {
	case event.KindString, event.KindKeyword:
		return len(c.Bytes(row)) == 0
	case event.KindKeywords, event.KindScores:
		from, to := c.List(row)
		return from == to
	}
	w := width(c.kind)
	for _, x := range c.fixed[row*w : row*w+w] {
		if x != 0 {
			return false
		}
	}
	return true
}

// width is the size of a value of a fixed-width kind, 0 for the others.
func width(k event.Kind) int {
	switch k {
	case event.KindU8, event.KindBool:
		return 1
	case event.KindU16:
		return 2
	case event.KindU32, event.KindF32:
		return 4
	case event.KindU64, event.KindF64, event.KindTime:
		return 8
	case event.KindIP, event.KindUUID:
		return 16
	}
	return 0
}

// view makes a string of bytes without copying them.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// FormatIP writes an address as rules and people see it; "" when absent.
func FormatIP(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// FormatUUID writes a UUID in its usual form.
func FormatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// swapUUID turns the usual byte order into ClickHouse's (two little-endian
// 64-bit halves) and back.
func swapUUID(u [16]byte) [16]byte {
	var out [16]byte
	for i := range 8 {
		out[i], out[8+i] = u[7-i], u[15-i]
	}
	return out
}
