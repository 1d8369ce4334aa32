package match

import (
	"cmp"
	"math/bits"
	"slices"
)

// narrowed remembers the units of a set's first witnesses that a route has, in
// groups of those whose next witness is on the same field.
type narrowed struct {
	set, route uint32
	valid      bool
	units      []int32
	groups     []group
}

type group struct {
	to int // end in units
	at slot
}

const narrowSize = 1 << 12

// tryAll tries what the row at hand may match of the units whose first witness a
// value fulfils. Where these have their next witness on one field, the row's
// value there passes over them without a look at the units.
func (m *Matcher) tryAll(set uint32, place uint16, route *route) {
	if m.mask(set)&(1<<min(place, 63)) == 0 {
		return
	}
	n := &m.narrow[(set*0x9E3779B1^route.id*0x85EBCA6B)>>(32-bits.Len(narrowSize-1))]
	if !n.valid || n.set != set || n.route != route.id {
		n.set, n.route, n.valid, n.units = set, route.id, true, n.units[:0]
		for _, u := range m.index.sets[set].first {
			if route.units.has(u) {
				n.units = append(n.units, u)
			}
		}
		m.group(n)
	}
	from := 0
	for _, g := range n.groups {
		units := n.units[from:g.to]
		from = g.to
		h := m.gatesAt(g.at)
		if h == nil {
			for _, u := range units {
				m.try(u)
			}
			continue
		}
		if len(h.gates) == 0 {
			m.index.stats.Tried += uint64(len(units))
			continue
		}
		for _, u := range units {
			if h.opens(u) {
				m.try(u)
			} else {
				m.index.stats.Tried++
			}
		}
	}
}

// group orders narrowed units by the field of their next witness.
func (m *Matcher) group(n *narrowed) {
	slices.SortFunc(n.units, func(a, b int32) int {
		return cmp.Or(int(m.asks[a].next())-int(m.asks[b].next()), int(a)-int(b))
	})
	n.groups = n.groups[:0]
	for i, u := range n.units {
		at := m.asks[u].next()
		if last := len(n.groups) - 1; last >= 0 && n.groups[last].at == at {
			n.groups[last].to = i + 1
			continue
		}
		n.groups = append(n.groups, group{i + 1, at})
	}
}

// gatesAt is what the row at hand has in a field, nil if that is not one value.
func (m *Matcher) gatesAt(id slot) *hits {
	if id == anyField {
		return nil
	}
	a := &m.at[id]
	if a.list != nil {
		return nil
	}
	k := uint32(m.scope.row)
	switch {
	case a.sets == nil:
		return &m.index.sets[0]
	case a.keys != nil:
		k = a.keys[k]
	}
	return &m.index.sets[a.sets[k]]
}
