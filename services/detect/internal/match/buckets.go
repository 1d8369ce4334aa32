package match

import (
	"encoding/binary"
	"math/bits"
)

// buckets maps 64-bit keys to lists of literals: a bitmap of a size with the
// keys says no for nearly every other key, an open-addressed table the rest.
type buckets struct {
	bloom    []uint64
	slotBits uint8 // to shift a spread key by
	slots    []bucket
	items    []ref
}

// bucket is a key and its items; to is 0 if it is free.
type bucket struct {
	key      uint64
	from, to uint32
}

// ref is a literal with what refuses most values that hold its key.
type ref struct {
	word  uint64 // up to 8 bytes of the literal
	lit   int32
	off   uint32 // of the key in the literal
	size  uint32 // of the literal
	at    int32  // of word from the key
	short uint32 // bits that word lacks
}

// newRef makes the ref of a literal keyed by its gram at off.
func newRef(lit int, text []byte, off, gram int) ref {
	r := ref{lit: int32(lit), off: uint32(off), size: uint32(len(text))}
	// The word is beside the gram, which is known by then, on the longer side.
	from := off - 8
	if len(text)-off-gram >= off {
		from = off + gram
	}
	from = max(min(from, len(text)-8), 0)
	r.at, r.short = int32(from-off), uint32(8*max(8-len(text), 0))
	r.word = load(text, from)
	return r
}

// load reads 8 bytes; what is not there is 0.
func load(v []byte, i int) uint64 {
	if i+8 <= len(v) {
		return binary.LittleEndian.Uint64(v[i:])
	}
	k := uint64(0)
	for j, c := range v[i:] {
		k |= uint64(c) << (8 * j)
	}
	return k
}

// The bitmap has so many bits a key, up to a size that the second cache level
// holds beside other things.
const (
	bloomRatio = 64
	minBloom   = 1 << 9
	maxBloom   = 1 << 21
)

func newBuckets(m map[uint64][]ref) *buckets {
	if len(m) == 0 {
		return nil
	}
	words := 1 << (bits.Len(uint(min(max(bloomRatio*len(m), minBloom), maxBloom)-1)) - 6)
	size := 1 << bits.Len(uint(len(m)+len(m)/2))
	b := &buckets{bloom: make([]uint64, words), slots: make([]bucket, size)}
	b.slotBits = uint8(64 - bits.Len(uint(size-1)))
	for k, refs := range m {
		h := spread(k)
		b.bloom[h>>40&uint64(words-1)] |= 1 << (h >> 58)
		i := h >> b.slotBits
		for b.slots[i].to != 0 {
			i = (i + 1) & uint64(size-1)
		}
		b.slots[i] = bucket{k, uint32(len(b.items)), uint32(len(b.items) + len(refs))}
		b.items = append(b.items, refs...)
	}
	return b
}

// spread makes the upper half depend on all bits of a key of 4 bytes or more.
func spread(k uint64) uint64 { return k * 0x9E3779B97F4A7C15 }

// maybe is false for nearly every key that is not there.
func (b *buckets) maybe(k uint64) bool {
	h := spread(k)
	return b.bloom[h>>40&uint64(len(b.bloom)-1)]&(1<<(h>>58)) != 0
}

// get returns the literals of a key.
func (b *buckets) get(k uint64) []ref {
	mask := uint64(len(b.slots) - 1)
	for i := spread(k) >> (b.slotBits & 63); ; i++ {
		s := &b.slots[i&mask]
		if s.to == 0 {
			return nil
		}
		if s.key == k {
			return b.items[s.from:s.to]
		}
	}
}
