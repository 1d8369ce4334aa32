package match

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"
)

// hits are the units whose first, and the gates whose witness a value fulfils,
// each in order. The n-th gate of a unit is the number of the unit and n times
// the number of all units.
type hits struct {
	first []int32
	gates []int32
	bits  bitset // gates as a bitmap, if they are many
}

// opens reports whether the value fulfils the witness of a gate.
func (h *hits) opens(u int32) bool {
	if h.bits != nil {
		return int(u) < len(h.bits)*64 && h.bits.has(u)
	}
	if len(h.gates) <= longSet {
		return slices.Contains(h.gates, u)
	}
	_, ok := slices.BinarySearch(h.gates, u)
	return ok
}

// interned numbers the hits of values. A value is known by which literals (and
// the like) of its field it fulfils, a few numbers; only for combinations that
// were never seen the units behind them are put together. Of both, 128 bits of
// a seeded hash are remembered, not what may be long.
type interned struct {
	sets   []hits                  // 0 is empty
	combos map[xxh3.Uint128]uint32 // literals of a field → set
	units  map[xxh3.Uint128]uint32 // units → set: other literals may be of the same
	seed   uint64
	room   int // bytes that bitmaps may still take
	size   int // bytes of the lists

	// Of the value at hand.
	key   []byte
	held  []*units
	found hits // scratch
}

// The bounds of what is remembered.
const (
	maxSets    = 1 << 18 // combinations
	maxSetSize = 128 << 20
	maxBits    = 64 << 20 // bytes of bitmaps
	longSet    = 16
)

// forget makes it empty.
func (x *interned) forget() {
	x.sets, x.room, x.size = make([]hits, 1), maxBits, 0
	x.combos, x.units = map[xxh3.Uint128]uint32{}, map[xxh3.Uint128]uint32{}
}

func (x *interned) full() bool { return len(x.combos) >= maxSets || x.size >= maxSetSize }

// begin starts on a value of a field.
func (x *interned) begin(c *columnIndex) {
	x.key, x.held = binary.LittleEndian.AppendUint32(x.key[:0], uint32(c.id)), x.held[:0]
}

// hold notes that the value fulfils what has a number within its field. The
// numbers ascend.
func (x *interned) hold(u *units, number int) {
	if len(u.first) > 0 || len(u.gates) > 0 {
		x.key = binary.LittleEndian.AppendUint32(x.key, uint32(number))
		x.held = append(x.held, u)
	}
}

// intern is the number of the value's hits.
func (x *interned) intern() uint32 {
	if len(x.held) == 0 {
		return 0
	}
	key := xxh3.Hash128Seed(x.key, x.seed)
	id, ok := x.combos[key]
	if !ok {
		id = x.merge()
		x.combos[key] = id
	}
	return id
}

// merge puts the units together.
func (x *interned) merge() uint32 {
	f := &x.found
	f.first, f.gates = f.first[:0], f.gates[:0]
	for _, u := range x.held {
		f.first, f.gates = append(f.first, u.first...), append(f.gates, u.gates...)
	}
	x.key = binary.LittleEndian.AppendUint32(x.key[:0], 0) // filled in below
	for _, list := range []*[]int32{&f.first, &f.gates} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		for _, u := range *list {
			x.key = binary.LittleEndian.AppendUint32(x.key, uint32(u))
		}
	}
	binary.LittleEndian.PutUint32(x.key, uint32(len(f.first)))
	key := xxh3.Hash128Seed(x.key, x.seed)
	if id, ok := x.units[key]; ok {
		return id
	}
	h := hits{first: slices.Clone(f.first), gates: slices.Clone(f.gates)}
	x.size += 4 * (len(h.first) + len(h.gates))
	if n := len(h.gates); n > longSet {
		size := int(h.gates[n-1]/64+1) * 8
		if x.room >= size {
			x.room -= size
			h.bits = newBitset(int(h.gates[n-1]) + 1)
			for _, u := range h.gates {
				h.bits.add(u)
			}
		}
	}
	id := uint32(len(x.sets))
	x.sets = append(x.sets, h)
	x.units[key] = id
	return id
}
