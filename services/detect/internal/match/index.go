package match

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// index finds, for every value of a column, the rules that it makes
// candidates. A value is scanned once per block however many rows hold it, and
// remembered across blocks.
type index struct {
	cols  []*columnIndex // by slot
	order []slot         // those that have an index
	sets  []candidates   // interned; 0 is empty
	ids   map[string]uint32
	cache []cached
	seed  uint64
	fold  []byte
	key   []byte
	rules []int32
	route []uint64 // by rule: its routing bits
	stats Stats
}

// candidates is a set of rules, with the union of their routing bits.
type candidates struct {
	rules []int32
	route uint64
}

// cached remembers the candidates of a value by 96 bits of a seeded hash.
type cached struct {
	hash uint64
	more uint32
	set  uint32
}

// The bounds of what an index remembers.
const (
	cacheSize = 1 << 16
	maxSets   = 1 << 18
)

// Stats counts the work of a matcher since it was made.
type Stats struct {
	Values     uint64 // values looked up
	Scanned    uint64 // … of which were not remembered
	Candidates uint64 // (rule, event) pairs evaluated
	Matches    uint64
}

// columnIndex holds the literals of one column.
type columnIndex struct {
	text    *textIndex
	nums    []numLit
	nets    []netLit
	present []int32 // rules that any value makes candidates
	memo    [256]numMemo
	sets    []uint32 // scratch: candidates by dictionary index or row
}

type numLit struct {
	cmp   lang.Cmp
	num   float64
	rules []int32
}

type netLit struct {
	net   netip.Prefix
	rules []int32
}

type numMemo struct {
	value float64
	set   uint32
	valid bool
}

// literals collects the literals of one column while an index is built.
type literals struct {
	text    map[string]*literal
	nums    map[numKey]*numLit
	nets    map[netip.Prefix]*netLit
	present []int32
}

type numKey struct {
	cmp lang.Cmp
	num float64
}

func newIndex(route []uint64) *index {
	return &index{sets: make([]candidates, 1), ids: map[string]uint32{"": 0}, cache: make([]cached, cacheSize), seed: rand.Uint64(), route: route}
}

// build makes the index of rule i from witnesses[i], which may be empty.
func (x *index) build(witnesses []lang.Witness, f *fields) {
	cols := make([]*literals, f.count())
	for i, w := range witnesses {
		for _, l := range w.Literals {
			add := func(id slot) {
				c := cols[id]
				if c == nil {
					c = &literals{text: map[string]*literal{}, nums: map[numKey]*numLit{}, nets: map[netip.Prefix]*netLit{}}
					cols[id] = c
				}
				c.add(l, int32(i))
			}
			add(f.slot(l.Field))
			if l.View == lang.Anywhere { // that slot has the values of unmapped
				for _, id := range textColumns {
					add(slot(id))
				}
			}
		}
	}
	x.cols = make([]*columnIndex, len(cols))
	for id, c := range cols {
		if c != nil {
			x.cols[id] = c.index()
			x.order = append(x.order, slot(id))
		}
	}
}

func (c *literals) add(l lang.Literal, rule int32) {
	switch l.Kind {
	case lang.LitPresent:
		c.present = append(c.present, rule)
	case lang.LitNum:
		k := numKey{l.Cmp, l.Num}
		if c.nums[k] == nil {
			c.nums[k] = &numLit{cmp: l.Cmp, num: l.Num}
		}
		c.nums[k].rules = append(c.nums[k].rules, rule)
	case lang.LitNet:
		if c.nets[l.Net] == nil {
			c.nets[l.Net] = &netLit{net: l.Net}
		}
		c.nets[l.Net].rules = append(c.nets[l.Net].rules, rule)
	default:
		k := string(rune(l.Kind)) + l.Text
		if c.text[k] == nil {
			c.text[k] = &literal{kind: l.Kind, text: []byte(l.Text)}
		}
		c.text[k].rules = append(c.text[k].rules, rule)
	}
}

func (c *literals) index() *columnIndex {
	out := &columnIndex{present: c.present}
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
		out.text = newTextIndex(lits)
	}
	for _, l := range c.nums {
		out.nums = append(out.nums, *l)
	}
	for _, l := range c.nets {
		out.nets = append(out.nets, *l)
	}
	return out
}

// intern returns the id of a set of rules, which it sorts.
func (x *index) intern(rules []int32) uint32 {
	if len(rules) == 0 {
		return 0
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	x.key = x.key[:0]
	for _, r := range rules {
		x.key = binary.LittleEndian.AppendUint32(x.key, uint32(r))
	}
	if id, ok := x.ids[string(x.key)]; ok {
		return id
	}
	set := candidates{rules: slices.Clone(rules)}
	for _, r := range rules {
		set.route |= x.route[r]
	}
	id := uint32(len(x.sets))
	x.sets = append(x.sets, set)
	x.ids[string(x.key)] = id
	return id
}

// trim forgets everything when hostile values have made too many sets. It must
// run between blocks.
func (x *index) trim() {
	if len(x.sets) < maxSets {
		return
	}
	x.sets = x.sets[:1]
	x.ids = map[string]uint32{"": 0}
	clear(x.cache)
	for _, id := range x.order {
		x.cols[id].memo = [256]numMemo{}
	}
}

// lookup returns the candidates of a text or address of a column.
func (x *index) lookup(id slot, c *columnIndex, v []byte, kind event.Kind) uint32 {
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

// scan finds the candidates of a value afresh.
func (x *index) scan(c *columnIndex, v []byte, kind event.Kind) uint32 {
	x.rules = x.rules[:0]
	var addr netip.Addr
	switch kind {
	case event.KindIP:
		addr = netip.AddrFrom16([16]byte(v)).Unmap()
		if addr == netip.IPv6Unspecified() {
			return 0
		}
		v = []byte(block.FormatIP(addr))
	default:
		if len(c.nets) > 0 {
			addr, _ = netip.ParseAddr(string(v))
			addr = addr.Unmap()
		}
	}
	// An element of a list counts as a value even if it is empty.
	if len(v) > 0 || kind == event.KindKeywords {
		x.rules = append(x.rules, c.present...)
	}
	for i := range c.nets {
		if addr.IsValid() && c.nets[i].net.Contains(addr) {
			x.rules = append(x.rules, c.nets[i].rules...)
		}
	}
	if c.text != nil {
		x.fold = lang.AppendFold(x.fold[:0], view(v))
		for _, l := range c.text.scan(x.fold) {
			x.rules = append(x.rules, c.text.lits[l].rules...)
		}
	}
	return x.intern(x.rules)
}

// number returns the candidates of a number of a column.
func (x *index) number(c *columnIndex, v float64) uint32 {
	m := &c.memo[uint8(int64(v)*31^int64(v)>>8)]
	if m.valid && m.value == v {
		return m.set
	}
	x.rules = x.rules[:0]
	if v != 0 {
		x.rules = append(x.rules, c.present...)
	}
	for i := range c.nums {
		if l := &c.nums[i]; l.cmp.Holds(v, l.num) {
			x.rules = append(x.rules, l.rules...)
		}
	}
	*m = numMemo{v, x.intern(x.rules), true}
	return m.set
}
