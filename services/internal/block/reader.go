package block

import "encoding/binary"

// reader walks bytes with sticky failure, so that parsers check once.
type reader struct {
	buf    []byte
	pos    int
	failed bool
	// more, if given, lengthens buf until n bytes follow pos, which may move buf;
	// false if there are not so many. What was taken before stays valid.
	more func(r *reader, n int) bool
}

// has reports whether n bytes follow, and fails if not.
func (r *reader) has(n int) bool {
	if n >= 0 && !r.failed && (n <= len(r.buf)-r.pos || r.more != nil && r.more(r, n)) {
		return true
	}
	r.failed = true
	return false
}

// limit is a bound on what a count can stand for: every item takes a byte.
func (r *reader) limit() uint64 {
	if r.more != nil {
		return maxNative
	}
	return uint64(len(r.buf))
}

func (r *reader) rest() []byte { return r.buf[min(r.pos, len(r.buf)):] }

func (r *reader) byte() byte {
	if !r.has(1) {
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest())
	for n == 0 && r.has(len(r.rest())+1) {
		v, n = binary.Uvarint(r.rest())
	}
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
	if !r.has(n) {
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
			r.pos = pos
			if size = r.uvarint(); r.failed {
				return dst
			}
			buf, pos = r.buf, r.pos
		}
		if size > uint64(len(buf)-pos) {
			r.pos = pos
			if size > maxNative || !r.has(int(size)) {
				r.failed = true
				return dst
			}
			buf = r.buf
		}
		dst = append(dst, span{uint32(pos), uint32(size)})
		pos += int(size)
	}
	r.pos = pos
	return dst
}

// span is where a string lies in a buffer.
type span struct{ off, size uint32 }
