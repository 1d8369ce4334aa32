package block

import (
	"errors"
	"fmt"
	"io"

	"github.com/vagus-hub/vagus/schemas/event"
)

// NativeReader reads the Native blocks of revision 0 that ClickHouse sends as
// the result of a SELECT of columns of the schema, one behind the other and
// without headers. Blocks are bounded to MaxRows rows and 1 GiB.
type NativeReader struct {
	src    io.Reader
	header Header
	buf    []byte // what was read; from pos on it is the next block's
	pos    int
	err    error // of src, io.EOF included
}

// NewNativeReader reads from src, which the caller closes. Every block gets the
// header, with its own number of rows and range of time.
func NewNativeReader(src io.Reader, h Header) *NativeReader {
	h.Kind, h.Schema = KindEvents, event.SchemaVersion
	return &NativeReader{src: src, header: h, buf: make([]byte, 0, 1<<20)}
}

// Next reads the next block that has rows; io.EOF is the end. What it gave
// before into the same block is then invalid, as with Decode.
func (n *NativeReader) Next(into *Block) error {
	for {
		// The last block may be looked at until now.
		n.buf = append(n.buf[:0], n.buf[n.pos:]...)
		n.pos = 0
		if len(n.buf) == 0 && !n.fill(1) {
			if errors.Is(n.err, io.EOF) {
				return io.EOF
			}
			return n.err
		}
		if err := n.decode(into); err != nil {
			if n.err != nil && !errors.Is(n.err, io.EOF) {
				return n.err // what was cut short, rather than that it was
			}
			return err
		}
		if into.Rows() > 0 {
			return nil
		}
	}
}

func (n *NativeReader) decode(into *Block) error {
	into.Header = n.header
	clear(into.present[:])
	r := reader{buf: n.buf, more: func(r *reader, need int) bool {
		ok := need <= maxNative-r.pos && n.fill(r.pos+need)
		r.buf = n.buf
		return ok
	}}
	cols, rows := r.uvarint(), r.uvarint()
	if r.failed || cols > maxColumns || rows > MaxRows {
		return fmt.Errorf("decode block: %w: %d columns, %d rows", ErrCorrupt, cols, rows)
	}
	into.Header.Rows = uint32(rows)
	if err := into.columns(&r, int(cols)); err != nil {
		return err
	}
	n.pos = r.pos
	if c := into.Column(event.Time); c != nil {
		h := &into.Header
		for row := range into.Rows() {
			t := c.Int(row)
			if row == 0 {
				h.MinTime, h.MaxTime = t, t
			}
			h.MinTime, h.MaxTime = min(h.MinTime, t), max(h.MaxTime, t)
		}
	}
	return nil
}

// fill reads on until buf holds size bytes, and more if they are there.
func (n *NativeReader) fill(size int) bool {
	for len(n.buf) < size && n.err == nil {
		if room := max(size, len(n.buf)+64<<10); cap(n.buf) < room {
			n.buf = append(make([]byte, 0, max(room, 2*cap(n.buf))), n.buf...)
		}
		var k int
		k, n.err = n.src.Read(n.buf[len(n.buf):cap(n.buf)])
		n.buf = n.buf[:len(n.buf)+k]
	}
	return len(n.buf) >= size
}
