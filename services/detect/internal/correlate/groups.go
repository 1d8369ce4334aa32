package correlate

import (
	"bytes"
	"math"
	"sort"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// seen is an event in a group.
type seen struct {
	time int64 // ms
	uid  finding.EventUID
	aux  uint64 // what the type needs: hash of the value, number in millionths, step, or hidden matches
	from uint8  // number of its source (tellers)
	// novel says that the value was not there within the timespan before (novelty).
	// It follows from the events and the memory, and is not part of a checkpoint.
	novel bool
}

// before orders events: by time, and those of one moment by uid and step, so
// that the order follows from the events alone.
func (e *seen) before(x *seen) bool {
	if e.time != x.time {
		return e.time < x.time
	}
	if e.uid != x.uid {
		return bytes.Compare(e.uid[:], x.uid[:]) < 0
	}
	return e.aux < x.aux
}

func (e *seen) same(x *seen) bool { return e.time == x.time && e.uid == x.uid }

// group is the state of one (rule, group key). It has no pointers.
type group struct {
	hash    uint64
	last    int64 // newest event time
	touched int64 // received time of the log when it was last touched
	floor   int64 // events before it are settled
	rule    uint32
	older   uint32 // neighbours in order of touch; 0 is none
	newer   uint32
	heavy   uint32 // 0: none
	key     ref
	events  ref
	len     uint32 // events
	cap     uint32
	keyLen  uint16
	lane    bool // of events that came after their group was settled
	live    bool
}

const (
	groupBytes = 80
	seenBytes  = 40
)

// groups is the table of all groups of a correlator.
type groups struct {
	slab  [][]group // of slabSize each; group 0 is not used
	free  []uint32
	next  uint32
	slots []uint32 // open addressing by hash; 0 is empty
	count int
	keys  *arena[byte]
	seen  *arena[seen]
	bytes int64
	uses  []use // by number of the rule
}

// use is what the groups of a rule take.
type use struct {
	bytes  int64
	events int
}

// charge notes that a rule takes more memory, or less.
func (t *groups) charge(rule uint32, bytes int64) {
	t.bytes += bytes
	t.of(rule).bytes += bytes
}

// of is what the groups of a rule take.
func (t *groups) of(rule uint32) *use {
	for int(rule) >= len(t.uses) {
		t.uses = append(t.uses, use{})
	}
	return &t.uses[rule]
}

// setLen says how many events a group has.
func (t *groups) setLen(g *group, n int) {
	t.of(g.rule).events += n - int(g.len)
	g.len = uint32(n)
}

const slabShift = 12

func newGroups() *groups {
	return &groups{next: 1, slots: make([]uint32, 64), keys: newArena[byte](20), seen: newArena[seen](13)}
}

func (t *groups) at(i uint32) *group { return &t.slab[i>>slabShift][i&(1<<slabShift-1)] }

func (t *groups) key(g *group) []byte { return t.keys.at(g.key, keyCap(int(g.keyLen)))[:g.keyLen] }

func (t *groups) events(g *group) []seen { return t.seen.at(g.events, int(g.cap))[:g.len] }

// keyCap is the size of the block of a key: few sizes make blocks easy to use
// again.
func keyCap(n int) int { return max((n+15)&^15, 16) }

// hashOf is the place of a group in the table. Lanes of one key differ.
func hashOf(seed uint64, key string, lane bool) uint64 {
	h := xxh3.HashStringSeed(key, seed)
	if lane {
		h ^= 0x9e3779b97f4a7c15
	}
	return h
}

// find returns the group, or 0.
func (t *groups) find(rule uint32, hash uint64, key string, lane bool) uint32 {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if g := t.at(t.slots[i]); g.hash == hash && g.rule == rule && g.lane == lane && string(t.key(g)) == key {
			return t.slots[i]
		}
	}
	return 0
}

// add makes a group; it must not be there.
func (t *groups) add(rule uint32, hash uint64, key string, lane bool) uint32 {
	if 4*(t.count+1) > 3*len(t.slots) {
		t.grow()
	}
	var id uint32
	if n := len(t.free); n > 0 {
		id = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		if int(t.next>>slabShift) == len(t.slab) {
			t.slab = append(t.slab, make([]group, 1<<slabShift))
		}
		id = t.next
		t.next++
	}
	if len(key) > math.MaxUint16 {
		key = key[:math.MaxUint16]
	}
	g := t.at(id)
	*g = group{hash: hash, rule: rule, key: t.keys.alloc(keyCap(len(key))), keyLen: uint16(len(key)), lane: lane, live: true, floor: math.MinInt64, last: math.MinInt64}
	copy(t.key(g), key)
	t.put(id, hash)
	t.count++
	t.charge(rule, int64(groupBytes+8+keyCap(len(key))))
	return id
}

func (t *groups) put(id uint32, hash uint64) {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = id
}

func (t *groups) grow() {
	old := t.slots
	t.slots = make([]uint32, 2*len(old))
	for _, id := range old {
		if id != 0 {
			t.put(id, t.at(id).hash)
		}
	}
}

// remove forgets a group. Its neighbours in the order of touch are the caller's.
func (t *groups) remove(id uint32) {
	g := t.at(id)
	mask := uint64(len(t.slots) - 1)
	i := g.hash & mask
	for t.slots[i] != id {
		i = (i + 1) & mask
	}
	// Close the gap, so that nothing behind it is cut off.
	for j := (i + 1) & mask; t.slots[j] != 0; j = (j + 1) & mask {
		if home := t.at(t.slots[j]).hash & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
	t.charge(g.rule, -int64(groupBytes+8+keyCap(int(g.keyLen))))
	t.keys.release(g.key, keyCap(int(g.keyLen)))
	t.setCap(g, 0)
	*g = group{}
	t.free = append(t.free, id)
	t.count--
}

// setCap gives a group room for n events, at least those that it has.
func (t *groups) setCap(g *group, n int) {
	if n == int(g.cap) {
		return
	}
	old, size := g.events, int(g.cap)
	if n > 0 {
		r := t.seen.alloc(n)
		if size > 0 {
			copy(t.seen.at(r, n), t.events(g))
		}
		g.events = r
	} else {
		t.setLen(g, 0)
	}
	if size > 0 {
		t.seen.release(old, size)
	}
	t.charge(g.rule, int64(n-size)*seenBytes)
	g.cap = uint32(n)
}

// nextCap is the room that follows when a group needs more: steps of about a
// half, few sizes.
func nextCap(n int) int {
	switch {
	case n < 2:
		return 2
	case n < 4:
		return 4
	case n&(n-1) == 0:
		return n + n/2
	}
	return n / 3 * 4
}

// place is where an event belongs among the sorted ones; found says that it is
// there already. With steps, an event may be there once for each.
func place(ev []seen, e *seen, steps bool) (i int, found bool) {
	i = len(ev)
	if i > 0 && !ev[i-1].before(e) {
		i = sort.Search(i, func(k int) bool { return !ev[k].before(e) })
	}
	switch {
	case i < len(ev) && ev[i].same(e) && (!steps || ev[i].aux == e.aux):
		return i, true
	case i > 0 && ev[i-1].same(e) && !steps:
		return i - 1, true
	}
	return i, false
}

// insert puts an event in its place.
func (t *groups) insert(g *group, i int, e seen) {
	if g.len == g.cap {
		t.setCap(g, nextCap(int(g.cap)))
	}
	t.setLen(g, int(g.len)+1)
	ev := t.events(g)
	copy(ev[i+1:], ev[i:])
	ev[i] = e
}

// drop takes the first n events away.
func (t *groups) drop(g *group, n int) {
	if n <= 0 {
		return
	}
	ev := t.events(g)
	copy(ev, ev[n:])
	t.setLen(g, int(g.len)-n)
}
