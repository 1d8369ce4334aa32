package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// ask is what is asked of a unit whose first witness holds: its rule and its
// gates, side by side, since most units that are tried go no further.
type ask struct {
	rule  int32
	n     int32 // gates
	gates [maxGates]askGate
}

// askGate is a gate without its literals, which are in the index.
type askGate struct {
	at     slot // the field of the literals; anyField: those of where
	refuse bool // the witness is that none of the literals holds
	where  []slot
}

// anyField stands for units without a next witness on one field.
const anyField = slot(-1)

func asksOf(all []unit) []ask {
	out := make([]ask, len(all))
	for i := range all {
		q := &out[i]
		q.rule, q.n = all[i].rule, int32(len(all[i].gates))
		for j, g := range all[i].gates {
			q.gates[j] = askGate{at: anyField, refuse: g.refuse, where: g.where}
			if len(g.where) == 1 {
				q.gates[j].at = g.where[0]
			}
		}
	}
	return out
}

// next is the field where the next witness must hold.
func (q *ask) next() slot {
	if q.n == 0 || q.gates[0].refuse {
		return anyField
	}
	return q.gates[0].at
}

// arranged puts units with a first witness in common side by side, so that what
// is asked of them together is together in memory: bits of sets above all.
func arranged(all []unit) []unit {
	shared := map[lang.Literal]int{}
	for i := range all {
		for _, l := range all[i].first {
			shared[l]++
		}
	}
	// Of a unit, the literal that most others have.
	tops := make([]lang.Literal, len(all))
	order := make([]int, len(all))
	for i := range all {
		order[i] = i
		for j, l := range all[i].first {
			if j == 0 || shared[l] > shared[tops[i]] {
				tops[i] = l
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &tops[a], &tops[b]
		return cmp.Or(shared[*x]-shared[*y], int(x.Col)-int(y.Col), int(x.Kind)-int(y.Kind), strings.Compare(x.Text, y.Text))
	})
	out := make([]unit, len(all))
	for i, at := range order {
		out[i] = all[at]
	}
	return out
}
