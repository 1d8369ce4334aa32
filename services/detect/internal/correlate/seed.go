package correlate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Rules of the types new_value and rate_anomaly rest on what a group did before.
// A state of theirs that begins now can be told that by the stored events:
// another correlator judges them, what it has learned is cut out of it (Harvest),
// and is told to the live one (Plant) by an entry of the log (AppendSeed). So the
// alerts stay a function of the log.

// past is what a state knows of the time before it began.
type past struct {
	before int64  // the log has every event from here on, ms since 1970; never: not begun
	fixed  bool   // a seed has come, and no other than for before will be taken
	done   bool   // all of it has come
	upTo   string // the last group that was told; they come in order
	// early are the signals since, by event: the seed may make alerts of them.
	early map[finding.EventUID]finding.Signal
}

// maxEarly bounds the signals of a rule that are kept until its seed comes. An
// alert of an event beyond shows no fields.
const maxEarly = 256

// Past is what the state of a rule knows of the time before it began.
type Past struct {
	Rule *rule.Rule
	// Before is when the state began, ms since 1970: history counts up to there.
	Before int64
	// Fixed says that a part has come already, so that the rest must be for the
	// same time.
	Fixed bool
	// Seeded says that it has been told its history.
	Seeded bool
	// Lived says that the state is as old as it looks back: history can tell it
	// nothing any more.
	Lived bool
}

// AwaitSeeds says that Plant will be called, and whatever may be needed then is
// kept.
func (c *Correlator) AwaitSeeds() { c.awaits = true }

// Pasts lists the rules that rest on the past and whose state has begun, in
// order of id.
func (c *Correlator) Pasts() []Past {
	var out []Past
	for _, s := range c.ordered() {
		if s.kind < novelty || s.past.before == never {
			continue
		}
		out = append(out, Past{Rule: s.rule, Before: s.past.before, Fixed: s.past.fixed, Seeded: s.past.done,
			Lived: c.received-s.past.before >= s.c.Memory().Milliseconds()})
	}
	return out
}

// born lets states begin that waited for the log to tell the time.
func (c *Correlator) born() {
	for _, s := range c.states {
		if s != nil && s.past.before == never {
			s.past.before = c.received
		}
	}
}

// remember notes what a seed may need.
func (c *Correlator) remember(s *ruleState, sig *finding.Signal) {
	if s.past.before == never {
		s.past.before = min(sig.Time, c.received)
	}
	if !c.awaits || s.past.done || len(s.past.early) >= maxEarly {
		return
	}
	if s.past.early == nil {
		s.past.early = map[finding.EventUID]finding.Signal{}
	}
	own := *sig
	own.Source, own.Traceback = strings.Clone(sig.Source), strings.Clone(sig.Traceback)
	own.Fields = make([]finding.Pair, len(sig.Fields))
	for i, p := range sig.Fields {
		own.Fields[i] = finding.Pair{Path: strings.Clone(p.Path), Value: strings.Clone(p.Value)}
	}
	s.past.early[sig.EventUID] = own
}

// signalOf is the signal to show for a fire: the one at hand, or the one that
// came before its rule was told its past.
func (s *ruleState) signalOf(f *fire, sig *finding.Signal) *finding.Signal {
	if sig == nil {
		if early, ok := s.past.early[f.crossing.uid]; ok {
			return &early
		}
	}
	return sig
}

// Grown is what a group has learned.
type Grown struct {
	Group  string
	Newest int64 // event time, ms since 1970
	state  []byte
}

// Size is about how much of a message it takes, in bytes.
func (g *Grown) Size() int { return len(g.Group) + len(g.state) + 8 }

// SetLimits changes the bounds of the correlator.
func (l *Local) SetLimits(x Limits) { l.c.SetLimits(x) }

// Harvest lists what the groups of a rule have learned of the events before a
// time, ms since 1970, in order of group. No later ones may have been added to
// the rule, and nothing may be added afterwards.
func (l *Local) Harvest(id string, before int64) []Grown {
	c, s := l.c, l.c.rules[id]
	if s == nil || s.kind < novelty {
		return nil
	}
	var out []Grown
	for i := s.oldest; i != 0; i = c.groups.at(i).newer {
		g := c.groups.at(i)
		if g.lane {
			continue
		}
		c.foldTo(s, g, before, func(finding.Alert) {})
		m := &c.heavies[g.heavy].base
		if m.newest == never {
			continue
		}
		e := &encoder{}
		e.grown(s, m, before)
		out = append(out, Grown{Group: string(c.groups.key(g)), Newest: m.newest, state: e.buf})
	}
	SortGrown(out)
	return out
}

// SortGrown puts what groups have learned into the order of a seed.
func SortGrown(list []Grown) {
	slices.SortFunc(list, func(a, b Grown) int { return cmp.Compare(a.Group, b.Group) })
}

// Evicted counts the groups of each rule that were forgotten for lack of room.
func (l *Local) Evicted() map[string]uint64 {
	out := map[string]uint64{}
	for id, s := range l.c.rules {
		out[id] = s.evicted
	}
	return out
}

// seedVersion changes when the layout of a seed does.
const seedVersion = 1

// AppendSeed writes an entry of the log that tells a rule what some of its groups
// have learned before a time. The entries of a seed have the groups in order;
// last is set in the last one alone.
func AppendSeed(dst []byte, r *rule.Rule, before int64, groups []Grown, last bool) []byte {
	e := &encoder{buf: append(dst, seedVersion)}
	e.string(r.ID)
	e.string(r.StateKey())
	e.varint(before)
	e.bool(last)
	e.uvarint(uint64(len(groups)))
	for i := range groups {
		e.string(groups[i].Group)
		e.string(string(groups[i].state))
	}
	return e.buf
}

// grown writes what a machine has learned.
func (e *encoder) grown(s *ruleState, m *machine, before int64) {
	e.varint(m.since)
	e.varint(m.newest)
	if m.memory != nil {
		known := slices.SortedFunc(maps.Keys(m.memory.last), cmp.Compare[uint64])
		known = slices.DeleteFunc(known, func(h uint64) bool { return m.memory.last[h] < before-s.span })
		e.uvarint(uint64(len(known)))
		for _, h := range known {
			e.buf = binary.LittleEndian.AppendUint64(e.buf, h)
			e.varint(before - m.memory.last[h])
		}
		return
	}
	b := m.usual
	e.bool(b.begun)
	for _, v := range [...]int64{b.bucket, b.n, b.first, b.last, b.known} {
		e.varint(v)
	}
	e.sum(b.total)
	names := s.tellers.of(b.from)
	e.uvarint(uint64(len(names)))
	for _, name := range names {
		e.string(name)
	}
	// Many buckets are empty.
	for k := int64(1); k <= b.known; {
		empty := int64(0)
		for k+empty <= b.known && *b.slot(b.bucket - k - empty) == 0 {
			empty++
		}
		e.uvarint(uint64(empty))
		if k += empty; k <= b.known {
			e.uvarint(uint64(math.Float32bits(*b.slot(b.bucket - k))))
			k++
		}
	}
}

// planted is a group as a seed tells of it.
type planted struct {
	key           string
	since, newest int64
	memory        *memory
	usual         *baseline
	from          []string // sources of the bucket at hand
}

func (r *decoder) planted(s *ruleState, before int64) planted {
	x := planted{key: r.string()}
	d := &decoder{buf: r.bytes(r.uvarint())}
	if x.since, x.newest = d.time(), d.time(); x.since > x.newest || x.newest >= before || len(x.key) > math.MaxUint16 {
		d.fail()
	}
	if s.kind == novelty {
		x.memory = &memory{last: map[uint64]int64{}}
		n := d.count(9)
		if n > maxValues {
			d.fail()
		}
		for range n {
			h := d.u64()
			x.memory.last[h] = before - d.time()
		}
	} else {
		x.usual = newBaseline(&s.plan)
		x.from = d.sparse(x.usual)
		if b := x.usual; b.begun && b.bucket != s.bucket(before) {
			d.fail()
		}
	}
	if d.failed || len(d.buf) > 0 {
		r.fail()
	}
	return x
}

// sparse reads a baseline as grown writes it.
func (r *decoder) sparse(b *baseline) (from []string) {
	b.begun = r.bool()
	for _, v := range [...]*int64{&b.bucket, &b.n, &b.first, &b.last, &b.known} {
		*v = r.time()
	}
	b.total = r.sum()
	for range r.count(1) {
		from = append(from, r.string())
	}
	if b.known < 0 || b.known > int64(len(b.past)) || b.n < 0 || len(from) > maxSources {
		r.fail()
		return nil
	}
	for k := int64(1); k <= b.known && !r.failed; k++ {
		empty := r.uvarint()
		if empty > uint64(b.known-k+1) {
			r.fail()
			return nil
		}
		if k += int64(empty); k <= b.known {
			*b.slot(b.bucket - k) = math.Float32frombits(uint32(r.uvarint()))
		}
	}
	return from
}

// Plant takes a seed out of the log. A seed of another rule, state or time than
// what is waited for changes nothing, and neither does the repeat of one. An
// error says that it cannot be read; then nothing has changed.
func (c *Correlator) Plant(data []byte, emit func(finding.Alert)) error {
	r := &decoder{buf: data}
	if v := r.byte(); v != seedVersion {
		return fmt.Errorf("read seed: %w: format %d, this build reads %d", ErrCorrupt, v, seedVersion)
	}
	id, key, before, last := r.string(), r.string(), r.time(), r.bool()
	s := c.rules[id]
	if s == nil || s.key != key || s.kind < novelty || s.past.done || s.past.fixed && s.past.before != before {
		return nil
	}
	var list []planted
	for range r.count(4) {
		if list = append(list, r.planted(s, before)); r.failed {
			break
		}
	}
	if r.failed || len(r.buf) > 0 {
		return fmt.Errorf("read seed of rule %s: %w", id, ErrCorrupt)
	}
	for i := range list {
		if s.past.fixed && list[i].key <= s.past.upTo {
			continue
		}
		c.plant(s, before, &list[i], emit)
		s.past.fixed, s.past.upTo = true, list[i].key
	}
	s.past.before, s.past.fixed = before, true
	if last {
		s.past.done, s.past.upTo, s.past.early = true, "", nil
	}
	return nil
}

// plant puts what history knows of a group below what its events since say.
func (c *Correlator) plant(s *ruleState, before int64, x *planted, emit func(finding.Alert)) {
	hash := hashOf(s.seed, x.key, false)
	id := c.groups.find(s.number, hash, x.key, false)
	if id == 0 {
		id = c.groups.add(s.number, hash, x.key, false)
		s.groups++
		c.link(s, id)
		c.makeHeavy(s, c.groups.at(id))
		c.groups.at(id).touched = min(x.newest, c.received)
		c.bound(s, id, emit)
	}
	c.stats.Seeded++
	g := c.groups.at(id)
	h := c.heavies[g.heavy]
	// What happened before is history's; what was said of it stands.
	ev := c.groups.events(g)
	from := h.done
	for from < len(ev) && ev[from].time < before {
		delete(h.names, ev[from].uid)
		from++
	}
	c.groups.setLen(g, int(g.len)-(from-h.done))
	copy(ev[h.done:], ev[from:])
	h.known = slices.DeleteFunc(h.known, func(k *known) bool {
		return k.at < before && (h.base.open == nil || c.knownOf(s, g, h, h.base.open) != k)
	})
	m := &h.base
	m.since, m.newest, m.elapsed = min(m.since, x.since), max(m.newest, x.newest), max(m.elapsed, before)
	if s.kind == novelty {
		for v, t := range x.memory.last {
			m.memory.last[v] = max(t, m.memory.last[v])
		}
		m.memory.mark(&s.plan, c.groups.events(g))
	} else {
		for _, name := range x.from {
			x.usual.from |= 1 << s.tellers.numberOf(name)
		}
		m.usual = x.usual.then(&s.plan, m.usual)
		m.usual.cached = false
	}
	g.last, g.floor = max(g.last, x.newest), max(g.floor, before)
	c.rerun(s, g)
	c.settle(s, g, nil, emit)
	c.schedule(s, id, never)
}

// then is a baseline with what came after it.
func (b *baseline) then(p *plan, later *baseline) *baseline {
	if !b.begun || later.begun && later.bucket-b.bucket > int64(len(b.past)) {
		return later
	}
	if !later.begun {
		return b
	}
	for b.bucket < later.bucket {
		if later.bucket-b.bucket <= later.known {
			v := b.current(p) + float64(*later.slot(b.bucket))
			*b.slot(b.bucket) = float32(v)
		} else {
			*b.slot(b.bucket) = float32(b.current(p))
		}
		b.known = min(b.known+1, int64(len(b.past)))
		b.bucket++
		b.n, b.total, b.from = 0, sum{}, 0
	}
	if b.n == 0 || later.n > 0 && later.first < b.first {
		b.first = later.first
	}
	b.n, b.last = b.n+later.n, max(b.last, later.last)
	b.total.plus(later.total)
	b.from |= later.from
	b.cached = false
	return b
}

// plus adds another sum.
func (s *sum) plus(o sum) {
	lo := s.lo + o.lo
	if s.hi += o.hi; lo < s.lo {
		s.hi++
	}
	s.lo = lo
}

func (e *encoder) past(p *past) {
	e.varint(p.before)
	e.bool(p.fixed)
	e.bool(p.done)
	e.string(p.upTo)
}

func (r *decoder) past() past {
	return past{before: r.time(), fixed: r.bool(), done: r.bool(), upTo: r.string()}
}
