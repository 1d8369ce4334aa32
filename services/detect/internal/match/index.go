package match

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// index finds, for every value of a field, the units whose witnesses it
// fulfils. A value is scanned once per block however many rows hold it, and
// remembered across blocks.
type index struct {
	interned
	cols  []*columnIndex // by slot
	order []slot         // those that have an index
	cache []cached
	seed  uint64
	fold  []byte
	addr  []byte
	stats Stats
}

// cached remembers the hits of a value by 96 bits of a seeded hash.
type cached struct {
	hash uint64
	more uint32
	set  uint32
}

// cacheSize is how many values an index remembers.
const cacheSize = 1 << 16

// Stats counts the work of a matcher since it was made.
type Stats struct {
	Values     uint64 // values looked up
	Scanned    uint64 // … of which were not remembered
	Tried      uint64 // (rule, event) pairs of which the first witness held
	Candidates uint64 // … and the others, so that the rest was evaluated
	Matches    uint64
}

// columnIndex holds the literals of one field.
type columnIndex struct {
	id      slot
	text    *textIndex
	nums    []numLit
	nets    []netLit
	present units // that any value fulfils
	memo    [256]numMemo
	sets    []uint32 // scratch: sets by dictionary index or row
}

// units are those whose first witness, and the gates that have a literal.
type units struct{ first, gates []int32 }

func (u *units) add(id int32, gate bool) {
	if gate {
		u.gates = append(u.gates, id)
	} else {
		u.first = append(u.first, id)
	}
}

type numLit struct {
	cmp lang.Cmp
	num float64
	units
}

type netLit struct {
	net netip.Prefix
	units
}

type numMemo struct {
	value float64
	set   uint32
	valid bool
}

// literals collects the literals of one field while an index is built.
type literals struct {
	text    map[string]*literal
	nums    map[numKey]*numLit
	nets    map[netip.Prefix]*netLit
	present units
}

type numKey struct {
	cmp lang.Cmp
	num float64
}

func newIndex() *index {
	x := &index{cache: make([]cached, cacheSize), seed: rand.Uint64()}
	x.interned.seed = x.seed
	x.forget()
	return x
}

// build makes the index of units.
func (x *index) build(all []unit, f *fields, usual func(gram []byte) float64) {
	cols := make([]*literals, f.count())
	add := func(id slot, l lang.Literal, u int32, gate bool) {
		if cols[id] == nil {
			cols[id] = &literals{text: map[string]*literal{}, nums: map[numKey]*numLit{}, nets: map[netip.Prefix]*netLit{}}
		}
		cols[id].add(l, u, gate)
	}
	for i := range all {
		for _, l := range all[i].first {
			add(f.slot(l.Field), l, int32(i), false)
			if l.View == lang.Anywhere { // that slot has the values of unmapped
				for _, id := range textColumns {
					add(slot(id), l, int32(i), false)
				}
			}
		}
		for n, g := range all[i].gates {
			for _, l := range g.literals {
				add(f.slot(l.Field), l, int32(n*len(all)+i), true)
			}
		}
	}
	x.cols = make([]*columnIndex, len(cols))
	for id, c := range cols {
		if c != nil {
			x.cols[id] = c.index(slot(id), usual)
			x.order = append(x.order, slot(id))
		}
	}
}

func (c *literals) add(l lang.Literal, id int32, gate bool) {
	switch l.Kind {
	case lang.LitPresent:
		c.present.add(id, gate)
	case lang.LitNum:
		k := numKey{l.Cmp, l.Num}
		if c.nums[k] == nil {
			c.nums[k] = &numLit{cmp: l.Cmp, num: l.Num}
		}
		c.nums[k].add(id, gate)
	case lang.LitNet:
		if c.nets[l.Net] == nil {
			c.nets[l.Net] = &netLit{net: l.Net}
		}
		c.nets[l.Net].add(id, gate)
	default:
		k := string(rune(l.Kind)) + l.Text
		if c.text[k] == nil {
			c.text[k] = &literal{kind: l.Kind, text: []byte(l.Text)}
		}
		c.text[k].add(id, gate)
	}
}

func (c *literals) index(id slot, usual func(gram []byte) float64) *columnIndex {
	out := &columnIndex{id: id, present: c.present}
	var lits []literal
	for _, l := range c.text {
		lits = append(lits, *l)
	}
	// The same rules give the same index in every process.
	slices.SortFunc(lits, func(a, b literal) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return slices.Compare(a.text, b.text)
	})
	if len(lits) > 0 {
		out.text = newTextIndex(lits, usual)
	}
	for _, l := range c.nums {
		out.nums = append(out.nums, *l)
	}
	for _, l := range c.nets {
		out.nets = append(out.nets, *l)
	}
	return out
}

// lookup returns the hits of a text or address of a field.
func (x *index) lookup(id slot, c *columnIndex, v []byte, kind event.Kind) uint32 {
	if len(v) == 0 && kind != event.KindKeywords {
		return 0
	}
	x.stats.Values++
	h := xxh3.Hash128Seed(v, x.seed+uint64(id))
	e := &x.cache[h.Lo%cacheSize]
	if e.hash == h.Hi && e.more == uint32(h.Lo>>32) {
		return e.set
	}
	x.stats.Scanned++
	set := x.scan(c, v, kind)
	*e = cached{h.Hi, uint32(h.Lo >> 32), set}
	return set
}

// scan finds the hits of a value afresh.
func (x *index) scan(c *columnIndex, v []byte, kind event.Kind) uint32 {
	var addr netip.Addr
	switch kind {
	case event.KindIP:
		addr = netip.AddrFrom16([16]byte(v)).Unmap()
		if addr == netip.IPv6Unspecified() {
			return 0
		}
		x.addr = addr.AppendTo(x.addr[:0]) // as block.FormatIP writes it
		v = x.addr
	default:
		if len(c.nets) > 0 {
			addr, _ = netip.ParseAddr(string(v))
			addr = addr.Unmap()
		}
	}
	x.begin(c)
	// An element of a list counts as a value even if it is empty.
	if len(v) > 0 || kind == event.KindKeywords {
		x.hold(&c.present, 0)
	}
	for i := range c.nets {
		if addr.IsValid() && c.nets[i].net.Contains(addr) {
			x.hold(&c.nets[i].units, 1+i)
		}
	}
	if c.text != nil {
		x.fold = lang.AppendFold(x.fold[:0], view(v))
		for _, l := range c.text.scan(x.fold) {
			x.hold(&c.text.lits[l].units, 1+len(c.nets)+int(l))
		}
	}
	return x.intern()
}

// number returns the hits of a number of a field.
func (x *index) number(c *columnIndex, v float64) uint32 {
	m := &c.memo[uint8(int64(v)*31^int64(v)>>8)]
	if m.valid && m.value == v {
		return m.set
	}
	x.begin(c)
	if v != 0 {
		x.hold(&c.present, 0)
	}
	for i := range c.nums {
		if l := &c.nums[i]; l.cmp.Holds(v, l.num) {
			x.hold(&l.units, 1+i)
		}
	}
	*m = numMemo{v, x.intern(), true}
	return m.set
}

// trim forgets everything when hostile values have made too many sets. It must
// run between blocks.
func (x *index) trim() bool {
	if !x.full() {
		return false
	}
	x.forget()
	clear(x.cache)
	for _, id := range x.order {
		x.cols[id].memo = [256]numMemo{}
	}
	return true
}
