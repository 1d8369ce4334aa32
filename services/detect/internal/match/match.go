// Package match decides which rules match which events of a block. It keeps no
// state between blocks but caches, so any number of instances give the same
// result on any split of the events.
//
// Every rule has a witness: a set of literals of which each matching event
// holds one. All witnesses are in one index over the block's columns, so only
// rules with a chance are evaluated, exactly, row by row. Rules without a
// witness are evaluated for every event of their source.
package match

import (
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Matcher evaluates a fixed set of rules. One goroutine at a time may use it.
type Matcher struct {
	rules  []compiled
	always []int32 // rules without a witness
	bits   uint64  // routing bits of always
	scope  scope
	router router
	fields *fields
	index  *index
	seen   []uint64 // by rule: the row stamp it was last evaluated for
	active []active
	hits   []bool
	failed uint64
}

// active is a column of the block at hand that holds candidates.
type active struct {
	sets []uint32 // by dictionary index, or by row if keys is nil
	keys []uint32
	list *block.Column
}

// New compiles rules; disabled ones are left out.
func New(rules []*rule.Rule) *Matcher {
	m := &Matcher{fields: newFields()}
	m.scope.fields = m.fields
	var witnesses []lang.Witness
	var route []uint64
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		w, ok := r.When.Witness()
		bit := m.router.add(r.Source)
		if !ok {
			m.always = append(m.always, int32(len(m.rules)))
			m.bits |= bit
		}
		witnesses = append(witnesses, w)
		route = append(route, bit)
		m.fields.add(r.When, bit)
		for _, e := range r.Exceptions {
			m.fields.add(e.When, bit)
		}
		m.rules = append(m.rules, m.fields.rule(r))
	}
	m.index = newIndex(route)
	m.index.build(witnesses, m.fields)
	m.seen = make([]uint64, len(m.rules))
	return m
}

// Failures is the number of evaluations that ended in an error so far; a
// failed evaluation is no match.
func (m *Matcher) Failures() uint64 { return m.failed }

// Stats returns the counters.
func (m *Matcher) Stats() Stats { return m.index.stats }

// Always lists the rules without a witness.
func (m *Matcher) Always() []*rule.Rule {
	var out []*rule.Rule
	for _, i := range m.always {
		out = append(out, m.rules[i].rule)
	}
	return out
}

// Match calls emit for every match, in order of row.
func (m *Matcher) Match(b *block.Block, emit func(r *rule.Rule, row int)) {
	m.index.trim()
	rows, union := m.router.open(b)
	if union == 0 {
		return
	}
	m.fields.fill(b, rows)
	m.scope.open(b)
	m.prepare(b, rows)
	always := m.bits&union != 0
	for row, route := range rows {
		if !m.hits[row] && !(always && m.bits&route != 0) {
			continue
		}
		m.scope.seek(row)
		if m.bits&route != 0 {
			for _, i := range m.always {
				m.try(i, route, emit)
			}
		}
		if !m.hits[row] {
			continue
		}
		for i := range m.active {
			a := &m.active[i]
			if a.list != nil {
				from, to := a.list.List(row)
				for _, k := range a.list.ListKeys()[from:to] {
					m.tryAll(a.sets[k], route, emit)
				}
				continue
			}
			k := uint32(row)
			if a.keys != nil {
				k = a.keys[row]
			}
			m.tryAll(a.sets[k], route, emit)
		}
	}
}

func (m *Matcher) tryAll(set uint32, route uint64, emit func(*rule.Rule, int)) {
	if set == 0 {
		return
	}
	c := &m.index.sets[set]
	if c.route&route == 0 {
		return
	}
	for _, i := range c.rules {
		m.try(i, route, emit)
	}
}

func (m *Matcher) try(i int32, route uint64, emit func(*rule.Rule, int)) {
	if m.seen[i] == m.scope.stamp || m.index.route[i]&route == 0 {
		return
	}
	m.seen[i] = m.scope.stamp
	m.index.stats.Candidates++
	c := &m.rules[i]
	if m.router.shared() && !c.routed(&m.scope) {
		return
	}
	ok, err := c.matches(&m.scope)
	if err != nil {
		m.failed++
	}
	if ok {
		m.index.stats.Matches++
		emit(c.rule, m.scope.row)
	}
}

// prepare looks up the block's values and marks the rows that hold candidates.
func (m *Matcher) prepare(b *block.Block, rows []uint64) {
	m.active = m.active[:0]
	if cap(m.hits) < len(rows) {
		m.hits = make([]bool, len(rows))
	}
	m.hits = m.hits[:len(rows)]
	clear(m.hits)
	for _, id := range m.index.order {
		col := m.scope.cols[id]
		if col == nil {
			continue
		}
		x := m.index.cols[id]
		switch kind := col.Kind(); kind {
		case event.KindKeyword, event.KindKeywords:
			m.prepareDict(id, x, col, rows)
		case event.KindString:
			m.prepareRows(x, rows, func(row int) uint32 { return m.index.lookup(id, x, col.Bytes(row), kind) })
		case event.KindIP:
			fixed := col.Fixed()
			m.prepareRows(x, rows, func(row int) uint32 { return m.index.lookup(id, x, fixed[row*16:row*16+16], kind) })
		case event.KindUUID:
			m.prepareRows(x, rows, func(row int) uint32 { return m.index.scan(x, []byte(col.Text(row)), kind) })
		default:
			m.prepareRows(x, rows, func(row int) uint32 { return m.index.number(x, col.Float(row)) })
		}
	}
}

func (x *columnIndex) scratch(n int) []uint32 {
	if cap(x.sets) < n {
		x.sets = make([]uint32, n)
	}
	x.sets = x.sets[:n]
	return x.sets
}

// prepareDict scans the dictionary, then marks rows by their keys alone.
func (m *Matcher) prepareDict(id slot, x *columnIndex, col *block.Column, rows []uint64) {
	dict, kind := col.Dict(), col.Kind()
	sets := x.scratch(dict.Len())
	some := uint32(0)
	for i := range sets {
		sets[i] = m.index.lookup(id, x, dict.Bytes(i), kind)
		some |= sets[i]
	}
	if some == 0 {
		return
	}
	if kind == event.KindKeywords {
		m.active = append(m.active, active{sets: sets, list: col})
		keys := col.ListKeys()
		for row, route := range rows {
			from, to := col.List(row)
			for _, k := range keys[from:to] {
				m.mark(row, route, sets[k])
			}
		}
		return
	}
	keys := col.Keys()
	m.active = append(m.active, active{sets: sets, keys: keys})
	for row, k := range keys {
		if set := sets[k]; set != 0 {
			m.mark(row, rows[row], set)
		}
	}
}

func (m *Matcher) mark(row int, route uint64, set uint32) {
	if set != 0 && m.index.sets[set].route&route != 0 {
		m.hits[row] = true
	}
}

// prepareRows is for columns without a dictionary.
func (m *Matcher) prepareRows(x *columnIndex, rows []uint64, lookup func(row int) uint32) {
	sets := x.scratch(len(rows))
	some := uint32(0)
	for row, route := range rows {
		if route == 0 {
			sets[row] = 0
			continue
		}
		sets[row] = lookup(row)
		some |= sets[row]
		m.mark(row, route, sets[row])
	}
	if some != 0 {
		m.active = append(m.active, active{sets: sets})
	}
}
