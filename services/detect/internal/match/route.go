package match

import (
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// router tells for every row of a block which units want it. That depends on
// few columns, so rows of one kind share a route.
type router struct {
	units  []unit
	fields *fields
	asked  [len(routed)]map[string]bool // folded texts that a unit asks for
	memo   map[routeKey]*route
	fold   []byte // scratch

	rows  []uint16 // by row: place in local
	local []*route // of the block at hand
	keys  []localKey
	table [256]uint16 // hash → place in keys + 1
}

// routeKey is what routing depends on. A text that no unit asks for is "".
type routeKey struct {
	family   uint8
	class    uint32
	activity uint32
	source   string
	texts    [len(routed)]string
}

// route is a set of units with what they need.
type route struct {
	key    routeKey
	id     uint32
	units  bitset
	some   bool    // there is a unit
	always []int32 // units without a witness
	slots  []bool  // fields with literals of the units
	learn  []slot  // fields to learn about
	wants  []bool  // virtual fields that the units read
	keys   bool    // one of these is in unmapped
	list   bool    // … and is the list of its values
}

// localKey is a routeKey in the terms of the block at hand.
type localKey struct {
	class, activity, source uint32
	texts                   [len(routed)]uint32
	place                   uint16
}

// maxRoutes bounds the routes remembered.
const maxRoutes = 4096

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int32) bool { return b[i>>6]&(1<<(i&63)) != 0 }
func (b bitset) add(i int32)      { b[i>>6] |= 1 << (i & 63) }

func newRouter(units []unit, f *fields) router {
	r := router{units: units, fields: f, memo: map[routeKey]*route{}}
	for i := range r.asked {
		r.asked[i] = map[string]bool{}
	}
	for i := range units {
		for _, t := range units[i].need.texts {
			for _, s := range t.texts {
				r.asked[t.at][lang.Fold(s)] = true
			}
		}
	}
	return r
}

// resolve finds the route of a key.
func (r *router) resolve(k routeKey) *route {
	for i := range k.texts {
		r.fold = lang.AppendFold(r.fold[:0], k.texts[i])
		if !r.asked[i][string(r.fold)] {
			k.texts[i] = ""
		}
	}
	if out := r.memo[k]; out != nil {
		return out
	}
	k.source = strings.Clone(k.source)
	for i := range k.texts {
		k.texts[i] = strings.Clone(k.texts[i])
	}
	out := &route{key: k, id: uint32(len(r.memo)), units: newBitset(len(r.units)), slots: make([]bool, r.fields.count()), wants: make([]bool, len(r.fields.virtual))}
	learn := make([]bool, r.fields.count())
	for i := range r.units {
		u := &r.units[i]
		if !u.need.fits(&k) {
			continue
		}
		out.units.add(int32(i))
		out.some = true
		if len(u.first) == 0 {
			out.always = append(out.always, int32(i))
		}
		for _, s := range u.slots {
			out.slots[s] = true
		}
		for _, s := range u.learn {
			if !learn[s] {
				learn[s] = true
				out.learn = append(out.learn, s)
			}
		}
		for _, v := range u.reads {
			out.wants[v] = true
			view := &r.fields.virtual[v]
			out.keys = out.keys || view.unmapped()
			out.list = out.list || v == r.fields.list
		}
	}
	r.memo[k] = out
	return out
}

// trim forgets all routes when there are too many; it must run between blocks.
func (r *router) trim() bool {
	if len(r.memo) < maxRoutes {
		return false
	}
	r.memo = map[routeKey]*route{}
	return true
}

// open finds the route of every row. It reports whether any unit wants any row.
func (r *router) open(b *block.Block) bool {
	n := b.Rows()
	if cap(r.rows) < n {
		r.rows = make([]uint16, n)
	}
	r.rows = r.rows[:n]
	r.local, r.keys = r.local[:0], r.keys[:0]
	clear(r.table[:])
	classes, activities := b.Column(event.ClassUID), b.Column(event.ActivityID)
	sources := keysOf(b.Column(event.Source))
	var texts [len(routed)][]uint32
	for i, id := range routed {
		texts[i] = keysOf(b.Column(id))
	}
	some := false
	var last localKey
	for row := range n {
		var k localKey
		if classes != nil {
			k.class = uint32(classes.Int(row))
		}
		if activities != nil {
			k.activity = uint32(activities.Int(row))
		}
		if sources != nil {
			k.source = sources[row]
		}
		for i, keys := range texts {
			if keys != nil {
				k.texts[i] = keys[row]
			}
		}
		k.place = last.place
		if row == 0 || k != last {
			last = k
			last.place = r.find(b, k)
			some = some || r.local[last.place].some
		}
		r.rows[row] = last.place
	}
	return some
}

func keysOf(c *block.Column) []uint32 {
	if c == nil {
		return nil
	}
	return c.Keys()
}

// find is the place in local of a key.
func (r *router) find(b *block.Block, k localKey) uint16 {
	k.place = 0
	h := (k.class*31+k.activity)*0x9E3779B1 ^ k.source*0x85EBCA6B
	for _, t := range k.texts {
		h = h*0xC2B2AE35 ^ t*0x27D4EB2F
	}
	h ^= h >> 15
	for i := h & 255; ; i = (i + 1) & 255 {
		at := r.table[i]
		if at == 0 {
			place := r.place(b, k)
			if len(r.keys) < 192 { // leaves room for the search to end
				k.place = place
				r.keys = append(r.keys, k)
				r.table[i] = uint16(len(r.keys))
			}
			return place
		}
		have := r.keys[at-1]
		place := have.place
		have.place = 0
		if have == k {
			return place
		}
	}
}

// place adds the route of a key to those of the block.
func (r *router) place(b *block.Block, k localKey) uint16 {
	key := routeKey{family: b.Header.Family, class: k.class, activity: k.activity, source: b.Header.Source}
	if c := b.Column(event.Source); c != nil {
		key.source = c.Dict().At(int(k.source))
	}
	for i, id := range routed {
		if c := b.Column(id); c != nil {
			key.texts[i] = c.Dict().At(int(k.texts[i]))
		}
	}
	at := r.resolve(key)
	for i, have := range r.local {
		if have == at {
			return uint16(i)
		}
	}
	r.local = append(r.local, at)
	return uint16(len(r.local) - 1)
}

// needs reports whether a route of the block has a unit with literals in a
// field.
func (r *router) needs(id slot) bool {
	for _, at := range r.local {
		if at.slots[id] {
			return true
		}
	}
	return false
}
