package block

import "encoding/binary"

// reader walks bytes with sticky failure, so that parsers check once.
type reader struct {
	buf    []byte
	pos    int
	failed bool
}

func (r *reader) rest() []byte { return r.buf[min(r.pos, len(r.buf)):] }

func (r *reader) byte() byte {
	if r.pos >= len(r.buf) {
		r.failed = true
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest())
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest())
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) u64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// take returns the next n bytes, or nil and failure.
func (r *reader) take(n int) []byte {
	if n < 0 || r.failed || n > len(r.buf)-r.pos {
		r.failed = true
		return nil
	}
	b := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// bytes reads a length and that many bytes, at most limit of them.
func (r *reader) bytes(limit int) []byte {
	n := r.uvarint()
	if n > uint64(limit) {
		r.failed = true
		return nil
	}
	return r.take(int(n))
}

// spans reads n length-prefixed strings and appends where they lie.
func (r *reader) spans(dst []span, n int) []span {
	buf, pos := r.buf, r.pos
	for range n {
		var size uint64
		if pos < len(buf) && buf[pos] < 0x80 {
			size = uint64(buf[pos])
			pos++
		} else {
			v, k := binary.Uvarint(buf[min(pos, len(buf)):])
			if k <= 0 {
				r.failed = true
				return dst
			}
			size, pos = v, pos+k
		}
		if size > uint64(len(buf)-pos) {
			r.failed = true
			return dst
		}
		dst = append(dst, span{uint32(pos), uint32(size)})
		pos += int(size)
	}
	r.pos = pos
	return dst
}

// span is where a string lies in a buffer.
type span struct{ off, size uint32 }
