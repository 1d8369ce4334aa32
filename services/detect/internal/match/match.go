// Package match decides which rules match which events of a block. It keeps no
// state between blocks but caches, so any number of instances give the same
// result on any split of the events.
//
// A rule is one or a few conjunctions (units). What a unit demands of source,
// class, activity and event code routes events to it. Up to three of its
// other parts, those that the fewest events fulfil, are its witnesses: sets of
// literals of which an event must hold one. All witnesses are in one index over
// the block's columns, where a value is looked at once however many rows hold
// it. Only units whose witnesses hold are evaluated, and only in what the
// witnesses have not decided.
package match

import (
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Matcher evaluates a fixed set of rules. One goroutine at a time may use it.
type Matcher struct {
	rules  []compiled
	units  []unit
	asks   []ask // by unit
	scope  scope
	router router
	fields *fields
	sample *Sample
	index  *index
	seen   []uint64 // by unit: the row stamp it was last evaluated for
	done   []uint64 // by rule: the row stamp it last matched
	active []active // fields of the block at hand whose values hold first witnesses
	at     []active // by slot: the same, and fields that only gates ask for
	masks  []uint64 // by set: the local routes that have a unit of its first witnesses
	known  []uint64 // by set: the block that masks is of
	narrow []narrowed
	blocks uint64
	hits   []bool  // by row: some first witness holds
	found  []int32 // rules that match the row at hand
	guard  *guard  // nil: rules may cost what they cost
	failed uint64
}

// active is a field of the block at hand.
type active struct {
	sets []uint32 // by dictionary index, or by row if keys is nil
	keys []uint32
	list *block.Column
}

// New compiles rules; disabled ones are left out.
func New(rules []*rule.Rule) *Matcher { return NewLearned(rules, nil) }

// NewLearned is New with what earlier matchers have learned of the events, from
// which the matcher goes on learning. It decides which witnesses are taken,
// never what matches. With nil nothing is learned.
func NewLearned(rules []*rule.Rule, sample *Sample) *Matcher {
	m := &Matcher{fields: newFields(), sample: sample, narrow: make([]narrowed, narrowSize)}
	m.scope.fields = m.fields
	p := planner{fields: m.fields, sample: sample}
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		p.add(int32(len(m.rules)), r)
		m.rules = append(m.rules, m.fields.rule(r))
	}
	m.units = arranged(p.units)
	m.router = newRouter(m.units, m.fields)
	m.index = newIndex()
	m.index.build(m.units, m.fields, sample.grams())
	m.asks = asksOf(m.units)
	m.seen, m.done = make([]uint64, len(m.units)), make([]uint64, len(m.rules))
	m.at = make([]active, m.fields.count())
	return m
}

// Failures is the number of evaluations that ended in an error so far; a
// failed evaluation is no match.
func (m *Matcher) Failures() uint64 { return m.failed }

// Stats returns the counters.
func (m *Matcher) Stats() Stats { return m.index.stats }

// Always lists the rules that have a unit without a witness.
func (m *Matcher) Always() []*rule.Rule {
	var out []*rule.Rule
	for i := range m.units {
		if r := m.rules[m.units[i].rule].rule; len(m.units[i].first) == 0 && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// Match calls emit for every match, in order of row and, within a row, of the
// rules given to New.
func (m *Matcher) Match(b *block.Block, emit func(r *rule.Rule, row int)) {
	if trimmed := m.index.trim(); m.router.trim() || trimmed {
		clear(m.narrow)
		m.masks, m.known = m.masks[:0], m.known[:0]
	}
	if m.guard != nil {
		m.guard.judge(m)
	}
	if !m.router.open(b) {
		return
	}
	m.blocks++
	m.fields.fill(b, &m.router)
	m.scope.open(b)
	m.prepare(b)
	if m.sample != nil {
		m.sample.learn(b, m)
	}
	for row, place := range m.router.rows {
		route := m.router.local[place]
		if !m.hits[row] && len(route.always) == 0 {
			continue
		}
		m.scope.seek(row)
		m.found = m.found[:0]
		for _, u := range route.always {
			m.try(u)
		}
		if m.hits[row] {
			m.row(row, place, route)
		}
		slices.Sort(m.found)
		for _, r := range m.found {
			m.index.stats.Matches++
			emit(m.rules[r].rule, row)
		}
	}
}

// row tries the units whose first witness holds in a row.
func (m *Matcher) row(row int, place uint16, route *route) {
	for i := range m.active {
		a := &m.active[i]
		if a.list != nil {
			from, to := a.list.List(row)
			for _, k := range a.list.ListKeys()[from:to] {
				m.tryAll(a.sets[k], place, route)
			}
			continue
		}
		k := uint32(row)
		if a.keys != nil {
			k = a.keys[row]
		}
		if set := a.sets[k]; set != 0 {
			m.tryAll(set, place, route)
		}
	}
}

// mask is the set of local routes that have a unit of a set's first witnesses;
// those from 63 on share a bit.
func (m *Matcher) mask(set uint32) uint64 {
	for int(set) >= len(m.known) {
		m.known, m.masks = append(m.known, 0), append(m.masks, 0)
	}
	if m.known[set] != m.blocks {
		mask := uint64(0)
		for place, route := range m.router.local {
			if bit := uint64(1) << min(place, 63); mask&bit == 0 {
				for _, u := range m.index.sets[set].first {
					if route.units.has(u) {
						mask |= bit
						break
					}
				}
			}
		}
		m.known[set], m.masks[set] = m.blocks, mask
	}
	return m.masks[set]
}

func (m *Matcher) try(id int32) {
	if m.seen[id] == m.scope.stamp {
		return
	}
	m.seen[id] = m.scope.stamp
	m.index.stats.Tried++
	q := &m.asks[id]
	for i := range q.gates[:q.n] {
		g := &q.gates[i]
		if m.opens(g, int32(i*len(m.units))+id) == g.refuse {
			return
		}
	}
	if m.done[q.rule] == m.scope.stamp {
		return
	}
	m.index.stats.Candidates++
	ok, err := m.eval(&m.units[id])
	if err != nil {
		m.failed++
		return
	}
	if ok {
		m.done[q.rule] = m.scope.stamp
		m.found = append(m.found, q.rule)
	}
}

// decide evaluates the rest of a unit and the rule's exceptions.
func (m *Matcher) decide(u *unit) (bool, error) {
	if ok, err := u.rest.eval(&m.scope); !ok || err != nil {
		return false, err
	}
	out, err := m.rules[u.rule].excepted(&m.scope)
	return !out, err
}

// opens reports whether the literals of a gate hold in the row at hand.
func (m *Matcher) opens(g *askGate, id int32) bool {
	if g.at != anyField {
		return m.opensAt(g.at, id)
	}
	for _, s := range g.where {
		if m.opensAt(s, id) {
			return true
		}
	}
	return false
}

// opensAt is opens for the literals on one field.
func (m *Matcher) opensAt(s slot, id int32) bool {
	row := m.scope.row
	a := &m.at[s]
	if a.sets == nil {
		return false
	}
	if a.list != nil {
		from, to := a.list.List(row)
		for _, k := range a.list.ListKeys()[from:to] {
			if set := a.sets[k]; set != 0 && m.index.sets[set].opens(id) {
				return true
			}
		}
		return false
	}
	k := uint32(row)
	if a.keys != nil {
		k = a.keys[row]
	}
	set := a.sets[k]
	return set != 0 && m.index.sets[set].opens(id)
}

// prepare looks up the block's values and marks the rows that hold first
// witnesses.
func (m *Matcher) prepare(b *block.Block) {
	rows := m.router.rows
	m.active = m.active[:0]
	if cap(m.hits) < len(rows) {
		m.hits = make([]bool, len(rows))
	}
	m.hits = m.hits[:len(rows)]
	clear(m.hits)
	for _, id := range m.index.order {
		m.at[id] = active{}
		col := m.scope.cols[id]
		if col == nil || !m.router.needs(id) {
			continue
		}
		x := m.index.cols[id]
		a := active{}
		switch kind := col.Kind(); kind {
		case event.KindKeyword, event.KindKeywords, event.KindScores: // of scores the names
			dict := col.Dict()
			a.sets = x.scratch(dict.Len())
			for i := range a.sets {
				a.sets[i] = m.index.lookup(id, x, dict.Bytes(i), kind)
			}
			if a.keys = col.Keys(); kind != event.KindKeyword {
				a.keys, a.list = nil, col
			}
		case event.KindString:
			a.sets = m.perRow(id, x, func(row int) uint32 { return m.index.lookup(id, x, col.Bytes(row), kind) })
		case event.KindIP:
			fixed := col.Fixed()
			a.sets = m.perRow(id, x, func(row int) uint32 { return m.index.lookup(id, x, fixed[row*16:row*16+16], kind) })
		case event.KindUUID:
			a.sets = m.perRow(id, x, func(row int) uint32 { return m.index.scan(x, []byte(col.Text(row)), kind) })
		default:
			a.sets = m.perRow(id, x, func(row int) uint32 { return m.index.number(x, col.Float(row)) })
		}
		m.activate(id, a)
	}
}

func (x *columnIndex) scratch(n int) []uint32 {
	if cap(x.sets) < n {
		x.sets = make([]uint32, n)
	}
	x.sets = x.sets[:n]
	return x.sets
}

// perRow is for columns without a dictionary.
func (m *Matcher) perRow(id slot, x *columnIndex, lookup func(row int) uint32) []uint32 {
	sets := x.scratch(len(m.router.rows))
	for row, place := range m.router.rows {
		if sets[row] = 0; m.router.local[place].slots[id] {
			sets[row] = lookup(row)
		}
	}
	return sets
}

// activate files a field whose values are looked up, and marks rows.
func (m *Matcher) activate(id slot, a active) {
	some, first := false, false
	for _, set := range a.sets {
		if set != 0 {
			some = true
			if len(m.index.sets[set].first) > 0 && m.mask(set) != 0 {
				first = true
				break
			}
		}
	}
	if !some {
		return
	}
	m.at[id] = a
	if !first {
		return
	}
	m.active = append(m.active, a)
	switch rows := m.router.rows; {
	case a.list != nil:
		keys := a.list.ListKeys()
		for row, place := range rows {
			from, to := a.list.List(row)
			for _, k := range keys[from:to] {
				m.mark(row, place, a.sets[k])
			}
		}
	case a.keys != nil:
		for row, k := range a.keys {
			if set := a.sets[k]; set != 0 {
				m.mark(row, rows[row], set)
			}
		}
	default:
		for row, set := range a.sets {
			if set != 0 {
				m.mark(row, rows[row], set)
			}
		}
	}
}

func (m *Matcher) mark(row int, place uint16, set uint32) {
	if set != 0 && m.mask(set)&(1<<min(place, 63)) != 0 {
		m.hits[row] = true
	}
}
