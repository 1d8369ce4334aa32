package block

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/zeebo/xxh3"
)

// columnBuilder is one column under construction, held in wire form as far as
// that can be: dictionary and string bytes are appended with their lengths.
type columnBuilder struct {
	kind  event.Kind
	width int // of a fixed-width value, bytes
	rows  int
	data  []byte   // string: all rows; keyword kinds: the dictionary
	last  int      // string: where the last row begins in data
	spans []span   // dictionary entries in data
	keys  []uint32 // dictionary indexes
	ends  []uint64 // lists: end of each row in keys
	fixed []byte   // fixed-width values; scores: values

	// Open-addressing table from text to dictionary index. A slot belongs to
	// the current block if its generation does, so that Reset clears nothing.
	slots []slot
	gen   uint32
	prev  uint32 // index interned last: neighbours repeat
}

type slot struct {
	hash uint64
	gen  uint32
	key  uint32
}

func newColumn(id event.ColumnID) *columnBuilder {
	kind := event.Columns[id].Kind
	c := &columnBuilder{kind: kind, width: width(kind)}
	c.reset()
	return c
}

func (c *columnBuilder) reset() {
	c.rows, c.last = 0, 0
	c.data, c.spans, c.keys = c.data[:0], c.spans[:0], c.keys[:0]
	c.ends, c.fixed = c.ends[:0], c.fixed[:0]
	switch c.kind {
	case event.KindKeyword, event.KindKeywords, event.KindScores:
		c.gen++
		if c.gen == 0 { // wrapped: old generations could read as current
			clear(c.slots)
			c.gen = 1
		}
		c.data = append(c.data, 0) // index 0 is the empty string
		c.spans = append(c.spans, span{1, 0})
		c.prev = 0
	}
}

// pad fills rows that were not set with the zero value.
func (c *columnBuilder) pad(rows int) {
	missing := rows - c.rows
	if missing <= 0 {
		return
	}
	switch c.kind {
	case event.KindString:
		c.data = appendZeros(c.data, missing)
	case event.KindKeyword:
		for range missing {
			c.keys = append(c.keys, 0)
		}
	case event.KindKeywords, event.KindScores:
		for range missing {
			c.ends = append(c.ends, uint64(len(c.keys)))
		}
	default:
		c.fixed = appendZeros(c.fixed, missing*width(c.kind))
	}
	c.rows = rows
}

func appendZeros(dst []byte, n int) []byte {
	for n > 0 {
		k := min(n, len(zeros))
		dst = append(dst, zeros[:k]...)
		n -= k
	}
	return dst
}

var zeros [256]byte

// begin makes the row the next to be written, also if it was already.
func (c *columnBuilder) begin(row int) {
	if c.rows > row {
		c.truncate(row)
	}
	c.rows = row + 1
}

// truncate forgets row `rows` if it was begun.
func (c *columnBuilder) truncate(rows int) {
	if c.rows <= rows {
		return
	}
	c.rows = rows
	switch c.kind {
	case event.KindString:
		c.data = c.data[:c.last]
	case event.KindKeyword:
		c.keys = c.keys[:rows]
	case event.KindKeywords, event.KindScores:
		c.ends = c.ends[:rows]
		n := 0
		if rows > 0 {
			n = int(c.ends[rows-1])
		}
		c.keys = c.keys[:n]
		if c.kind == event.KindScores {
			c.fixed = c.fixed[:n*4]
		}
	default:
		c.fixed = c.fixed[:rows*width(c.kind)]
	}
}

func (c *columnBuilder) setText(row int, v []byte) {
	c.begin(row)
	if c.kind == event.KindString {
		c.last = len(c.data)
		c.data = binary.AppendUvarint(c.data, uint64(len(v)))
		c.data = append(c.data, v...)
		return
	}
	c.keys = append(c.keys, c.intern(v))
}

// setWide sets a value of 16 bytes.
func (c *columnBuilder) setWide(row int, v *[16]byte) {
	c.begin(row)
	c.fixed = append(c.fixed, v[:]...)
}

func (c *columnBuilder) setInt(row int, v int64) {
	c.begin(row)
	if v < 0 && c.kind != event.KindTime {
		v = 0
	}
	switch c.width {
	case 1:
		c.fixed = append(c.fixed, byte(min(v, 0xff)))
	case 2:
		c.fixed = binary.LittleEndian.AppendUint16(c.fixed, uint16(min(v, 0xffff)))
	case 4:
		c.fixed = binary.LittleEndian.AppendUint32(c.fixed, uint32(min(v, 0xffffffff)))
	case 8:
		c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(v))
	}
}

func (c *columnBuilder) openList(row int) {
	if c.rows <= row {
		c.ends = append(c.ends, uint64(len(c.keys)))
		c.rows = row + 1
	}
}

// intern returns the dictionary index of v, adding it if it is new.
func (c *columnBuilder) intern(v []byte) uint32 {
	if len(v) == 0 {
		return 0
	}
	if p := c.spans[c.prev]; bytes.Equal(c.data[p.off:p.off+p.size], v) {
		return c.prev
	}
	if len(c.spans)*2 >= len(c.slots) {
		c.grow()
	}
	h := xxh3.Hash(v)
	mask := uint64(len(c.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := &c.slots[i]
		if s.gen != c.gen {
			*s = slot{hash: h, gen: c.gen, key: uint32(len(c.spans))}
			c.data = binary.AppendUvarint(c.data, uint64(len(v)))
			c.spans = append(c.spans, span{uint32(len(c.data)), uint32(len(v))})
			c.data = append(c.data, v...)
			c.prev = s.key
			return s.key
		}
		if s.hash == h {
			if p := c.spans[s.key]; bytes.Equal(c.data[p.off:p.off+p.size], v) {
				c.prev = s.key
				return s.key
			}
		}
	}
}

func (c *columnBuilder) grow() {
	old := c.slots
	c.slots = make([]slot, max(64, len(old)*2))
	mask := uint64(len(c.slots) - 1)
	for _, s := range old {
		if s.gen != c.gen {
			continue
		}
		i := s.hash & mask
		for c.slots[i].gen == c.gen {
			i = (i + 1) & mask
		}
		c.slots[i] = s
	}
}

// append writes the column's data in Native form.
func (c *columnBuilder) append(dst []byte) []byte {
	switch c.kind {
	case event.KindString:
		return append(dst, c.data...)
	case event.KindKeyword:
		dst = binary.LittleEndian.AppendUint64(dst, lowCardVersion)
		return c.appendLowCard(dst)
	case event.KindKeywords, event.KindScores:
		dst = binary.LittleEndian.AppendUint64(dst, lowCardVersion)
		for _, e := range c.ends {
			dst = binary.LittleEndian.AppendUint64(dst, e)
		}
		if len(c.keys) > 0 {
			dst = c.appendLowCard(dst)
		}
		if c.kind == event.KindScores {
			dst = append(dst, c.fixed...)
		}
		return dst
	}
	return append(dst, c.fixed...)
}

func (c *columnBuilder) appendLowCard(dst []byte) []byte {
	flag := uint64(0)
	switch n := len(c.spans); {
	case n > 1<<16:
		flag = 2
	case n > 1<<8:
		flag = 1
	}
	dst = binary.LittleEndian.AppendUint64(dst, lowCardFlags|flag)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(c.spans)))
	dst = append(dst, c.data...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(c.keys)))
	switch flag {
	case 0:
		for _, k := range c.keys {
			dst = append(dst, byte(k))
		}
	case 1:
		for _, k := range c.keys {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(k))
		}
	default:
		for _, k := range c.keys {
			dst = binary.LittleEndian.AppendUint32(dst, k)
		}
	}
	return dst
}

// bytesOf views a string as bytes that must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
