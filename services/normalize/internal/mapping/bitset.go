package mapping

// bitset holds a bit for each slot of a mapping.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[uint(i)>>6]&(1<<(uint(i)&63)) != 0 }
func (b bitset) set(i int)      { b[uint(i)>>6] |= 1 << (uint(i) & 63) }
func (b bitset) unset(i int)    { b[uint(i)>>6] &^= 1 << (uint(i) & 63) }
