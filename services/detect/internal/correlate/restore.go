package correlate

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// Load replaces the state by a saved one. State of rules that are gone or mean
// something else now is left out. On error the correlator is empty.
func (c *Correlator) Load(data []byte) error {
	old := c.rules
	fresh := func() {
		*c = Correlator{rules: map[string]*ruleState{}, groups: newGroups(), heavies: make([]*heavy, 1), sources: map[string]*source{},
			received: never, limits: c.limits, awaits: c.awaits, log: c.log, stats: c.stats}
		for id, s := range old {
			c.rules[id] = c.newState(s.rule)
		}
		c.linkRules()
	}
	fresh()
	r := &decoder{buf: data}
	if v := r.byte(); v != formatVersion {
		return fmt.Errorf("load state: %w: format %d, this build reads %d", ErrCorrupt, v, formatVersion)
	}
	c.received = r.time()
	for range r.count(3) {
		x := c.sourceOf(r.string())
		x.clock, x.moved, x.idle = r.time(), r.time(), r.bool()
	}
	for range r.count(4) {
		s := c.rules[r.string()]
		if key := r.string(); s == nil || s.key != key || s.groups > 0 {
			s = nil
		}
		r.rule(c, s)
	}
	if r.failed || len(r.buf) > 0 {
		fresh()
		return fmt.Errorf("load state: %w", ErrCorrupt)
	}
	return nil
}

// rule reads the state of a rule; nil: it is read over.
func (r *decoder) rule(c *Correlator, s *ruleState) {
	mark, hidden, past := r.time(), r.bool(), r.past()
	if s != nil {
		s.mark, s.scratch.hidden, s.past = mark, hidden, past
	}
	for range r.count(1) {
		if name := r.string(); s != nil && !r.failed {
			c.feed(s, c.sourceOf(name))
		}
	}
	var names []string
	for range r.count(1) {
		names = append(names, r.string())
	}
	if len(names) > maxTellers {
		r.fail()
		return
	}
	if s != nil {
		s.tellers.names = names
	}
	for range r.count(8) {
		r.group(c, s)
		if r.failed {
			return
		}
	}
}

func (r *decoder) group(c *Correlator, s *ruleState) {
	key, lane := r.string(), r.bool()
	last, touched, floor := r.time(), r.time(), r.time()
	room, n := r.uvarint(), r.count(19)
	if room < n || room > 1<<24 || room > 4*n+64 || len(key) > math.MaxUint16 {
		r.fail()
	}
	if r.failed {
		return
	}
	ev := make([]seen, n)
	before := last
	for i := range ev {
		ev[i].time = before - r.time()
		before = ev[i].time
		ev[i].uid, ev[i].aux, ev[i].from = r.uid(), r.uvarint(), r.byte()&maxTellers
		if i > 0 && ev[i].before(&ev[i-1]) {
			r.fail()
			return
		}
	}
	var h *heavy
	if r.bool() {
		part := &decoder{buf: r.bytes(r.uvarint())}
		if s == nil {
			return
		}
		if h = part.heavy(s, len(ev)); part.failed || len(part.buf) > 0 {
			r.fail()
		}
	}
	if r.failed || s == nil {
		return
	}
	hash := hashOf(s.seed, key, lane)
	if c.groups.find(s.number, hash, key, lane) != 0 || h == nil && s.heavy {
		r.fail()
		return
	}
	id := c.groups.add(s.number, hash, key, lane)
	s.groups++
	c.link(s, id)
	g := c.groups.at(id)
	g.last, g.touched, g.floor = last, touched, floor
	c.groups.setCap(g, int(room))
	c.groups.setLen(g, int(n))
	copy(c.groups.events(g), ev)
	if h == nil {
		return
	}
	c.makeHeavy(s, g)
	if h.names == nil {
		h.names = c.heavies[g.heavy].names
	}
	c.heavies[g.heavy] = h
	if s.kind == novelty {
		h.base.memory.mark(&s.plan, c.groups.events(g))
	}
	c.rerun(s, g)
	if h.due < forever {
		s.timers.push(timer{h.due, id, hash})
	}
}

func (r *decoder) heavy(s *ruleState, events int) *heavy {
	done := r.uvarint()
	if done > uint64(events) {
		r.fail()
		return nil
	}
	h := &heavy{done: int(done)}
	h.judged = r.time()
	h.due = r.time()
	r.machine(s, &h.base, events)
	for range r.count(4) {
		k := &known{}
		if err := json.Unmarshal([]byte(r.string()), &k.alert); err != nil {
			r.fail()
			return nil
		}
		k.at, k.count, k.retracted = r.time(), r.varint(), r.bool()
		h.known = append(h.known, k)
	}
	// Checkpoints of earlier versions have them in the order of their raising.
	slices.SortStableFunc(h.known, func(a, b *known) int {
		return cmp.Or(cmp.Compare(floorTo(a.at, s.suppress), floorTo(b.at, s.suppress)), cmp.Compare(a.alert.UID, b.alert.UID))
	})
	if n := r.count(17); n > 0 {
		h.names = make(map[finding.EventUID]string, n)
		for range n {
			u := r.uid()
			h.names[u] = r.string()
		}
	}
	return h
}

func (r *decoder) machine(s *ruleState, m *machine, events int) {
	*m = newMachine(&s.plan)
	start := r.uvarint()
	if start > uint64(events) {
		r.fail()
		return
	}
	m.start = int(start)
	m.elapsed, m.since, m.newest = r.time(), r.time(), r.time()
	if r.bool() {
		f := &fire{at: r.time(), until: r.time(), first: r.time(), last: r.time(), count: r.varint(),
			value: r.float(), usual: r.float(), scale: r.float(), values: r.values(), total: r.sum(), crossing: r.seen(),
			entity: r.string(), uid: r.string(), from: r.uvarint(), uids: r.shown()}
		m.open, m.fires = f, []*fire{f}
	}
	x := &m.window
	if x.n = r.varint(); x.n > 0 {
		for _, v := range [...]*int64{&x.begin, &x.first, &x.last, &x.below[0], &x.below[1], &x.equal[0], &x.equal[1]} {
			*v = r.time()
		}
		x.total, x.values, x.crossing, x.from, x.uids = r.sum(), r.values(), r.seen(), r.uvarint(), r.shown()
	} else if x.n < 0 {
		r.fail()
	}
	if m.usual != nil {
		r.baseline(m.usual)
	}
	if m.memory != nil {
		for range r.count(9) {
			h := r.u64()
			m.memory.last[h] = r.time()
		}
	}
}

func (r *decoder) baseline(b *baseline) {
	b.begun = r.bool()
	for _, v := range [...]*int64{&b.bucket, &b.n, &b.first, &b.last, &b.known} {
		*v = r.time()
	}
	b.total, b.from = r.sum(), r.uvarint()
	if n := r.count(4); n != uint64(len(b.past)) || b.known < 0 || b.known > int64(n) || b.n < 0 {
		r.fail()
		return
	}
	for i := range b.past {
		if raw := r.bytes(4); raw != nil {
			b.past[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw))
		}
	}
}

// decoder reads a checkpoint; after a failure it returns zeros.
type decoder struct {
	buf    []byte
	failed bool
}

func (r *decoder) fail() {
	r.failed = true
	r.buf = nil
}

func (r *decoder) bytes(n uint64) []byte {
	if n > uint64(len(r.buf)) {
		r.fail()
		return nil
	}
	out := r.buf[:n]
	r.buf = r.buf[n:]
	return out
}

func (r *decoder) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *decoder) bool() bool { return r.byte() != 0 }

func (r *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *decoder) varint() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// count reads a number of items of at least size bytes each.
func (r *decoder) count(size int) uint64 {
	n := r.uvarint()
	if n > uint64(len(r.buf)/size) {
		r.fail()
		return 0
	}
	return n
}

func (r *decoder) string() string { return string(r.bytes(r.uvarint())) }

func (r *decoder) float() float64 { return math.Float64frombits(r.u64()) }

func (r *decoder) uid() finding.EventUID {
	var u finding.EventUID
	copy(u[:], r.bytes(16))
	return u
}

func (r *decoder) shown() []shown {
	n := r.count(17)
	if n > 2*maxShown {
		r.fail()
		return nil
	}
	var out []shown
	for range n {
		out = append(out, shown{r.time(), r.uid()})
	}
	return out
}

// time is a time, or one of those beyond all: a floor may be a little before never.
func (r *decoder) time() int64 {
	t := r.varint()
	if (t > 4*latest || t < -4*latest) && (t < never-4*latest || t > never+4*latest) && (t < forever/2-4*latest || t > forever) && t != math.MaxInt64 && t != math.MinInt64 {
		r.fail()
		return 0
	}
	return t
}

func (r *decoder) seen() seen {
	return seen{time: r.time(), uid: r.uid(), aux: r.uvarint(), from: r.byte() & maxTellers}
}

func (r *decoder) sum() sum { return sum{hi: r.varint(), lo: r.uvarint()} }

func (r *decoder) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *decoder) values() *values {
	switch r.byte() {
	case 0:
		return nil
	case 2:
		return &values{register: append([]uint8(nil), r.bytes(1<<hllBits)...)}
	}
	v := &values{}
	for range r.count(8) {
		v.add(r.u64())
	}
	return v
}
