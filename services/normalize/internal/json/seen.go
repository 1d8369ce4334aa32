package json

import (
	"bytes"

	"github.com/zeebo/xxh3"
)

// Bounds of what a Seen keeps: values that are worth a comparison, and half a
// megabyte in all.
const (
	seenValues = 16
	seenMin    = 512      // bytes
	seenMax    = 32 << 10 // bytes
	seenHead   = 128      // bytes that tell values apart
)

// Seen remembers large values that were passed by. Many senders repeat one with
// every record, such as LiteLLM with the price list of a model: a value that is
// equal byte by byte to a sound one is sound and ends where that did. The zero
// Seen is empty. It is not safe for concurrent use.
type Seen struct{ values [seenValues]seenValue }

type seenValue struct {
	raw   []byte
	depth int // at which it was sound
}

// Skip reads over the next value, whose kind Next told, and checks it as Read
// does. seen is what was skipped before.
func (s *Scanner) Skip(k Kind, seen *Seen) {
	rest := s.data[s.pos:]
	if k != Object && k != Array || len(rest) < seenMin {
		s.Read(k)
		return
	}
	known := &seen.values[xxh3.Hash(rest[:seenHead])%seenValues]
	if known.raw != nil && s.depth <= known.depth && bytes.HasPrefix(rest, known.raw) {
		s.pos += len(known.raw)
		return
	}
	v := s.Read(k)
	if len(v.Raw) >= seenMin && len(v.Raw) <= seenMax {
		known.raw, known.depth = append(known.raw[:0], v.Raw...), s.depth
	}
}
