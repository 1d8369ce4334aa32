package block

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

const (
	// packFrom is the size in bytes from which a body is compressed: smaller
	// ones gain nothing.
	packFrom = 2 << 10
	// maxBody bounds what a body may unpack to, in bytes. A message of the bus
	// has at most 1 MiB.
	maxBody = 64 << 20
)

// Body is the Native block of a payload, in the form in which it travels: as
// it is, or compressed with S2 (github.com/klauspost/compress/s2; logs shrink
// to a fifth, and each copy, checksum and fsync of the bus with them).
type Body struct {
	data   []byte
	packed bool
	size   int
}

// Plain is the body of a block that is not compressed.
func Plain(native []byte) Body { return Body{data: native, size: len(native)} }

// Size is the number of Native bytes.
func (b Body) Size() int { return b.size }

// Packed reports whether Native has to unpack.
func (b Body) Packed() bool { return b.packed }

// Native returns the Native bytes. They share memory with the payload, or, if
// they had to be unpacked, with buf, which is grown as needed. The error wraps
// ErrCorrupt.
func (b Body) Native(buf []byte) ([]byte, error) {
	if !b.packed {
		return b.data, nil
	}
	if cap(buf) < b.size {
		buf = make([]byte, b.size+b.size/4)
	}
	out, err := s2.Decode(buf[:cap(buf)], b.data)
	if err != nil {
		return nil, fmt.Errorf("unpack block: %w: %w", ErrCorrupt, err)
	}
	return out, nil
}

// newBody checks how large a body is.
func newBody(data []byte, packed bool) (Body, error) {
	b := Body{data: data, packed: packed, size: len(data)}
	if packed {
		n, err := s2.DecodedLen(data)
		if err != nil || n > maxBody {
			return b, fmt.Errorf("read block: %w: a body of %d bytes", ErrCorrupt, n)
		}
		b.size = n
	}
	return b, nil
}

// appendMessage writes header and body, compressed if that pays.
func appendMessage(dst []byte, h *Header, native []byte) []byte {
	h.packed = len(native) >= packFrom
	dst = h.append(dst)
	if !h.packed {
		return append(dst, native...)
	}
	at := len(dst)
	if need := s2.MaxEncodedLen(len(native)); cap(dst)-at < need {
		dst = append(make([]byte, 0, at+need), dst...)
	}
	return dst[:at+len(s2.Encode(dst[at:cap(dst)], native))]
}
