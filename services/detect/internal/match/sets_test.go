package match

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInternedSets(t *testing.T) {
	one, two, both := &units{first: []int32{3, 1}}, &units{first: []int32{7}, gates: []int32{90}}, &units{first: []int32{1, 3, 7}, gates: []int32{90}}
	many := &units{gates: []int32{}}
	for i := range int32(100) {
		many.gates = append(many.gates, 3*i)
	}
	field, other := &columnIndex{id: 1}, &columnIndex{id: 2}
	x := &interned{}
	x.forget()
	set := func(c *columnIndex, held map[int]*units) uint32 {
		x.begin(c)
		for _, n := range []int{0, 1, 2, 3} {
			if u := held[n]; u != nil {
				x.hold(u, n)
			}
		}
		return x.intern()
	}
	if id := set(field, map[int]*units{0: {}}); id != 0 {
		t.Errorf("what no unit waits for is set %d, want 0", id)
	}
	a := set(field, map[int]*units{1: one, 2: two})
	if diff := cmp.Diff([][]int32{{1, 3, 7}, {90}}, [][]int32{x.sets[a].first, x.sets[a].gates}); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
	for name, tt := range map[string]struct {
		c    *columnIndex
		held map[int]*units
		same bool
	}{
		"the same literals":                 {field, map[int]*units{1: one, 2: two}, true},
		"others of the same units":          {field, map[int]*units{3: both}, true},
		"of another field":                  {other, map[int]*units{1: both}, true},
		"fewer":                             {field, map[int]*units{1: one}, false},
		"the same number in another field":  {other, map[int]*units{1: one, 2: one}, false},
		"so many that they become a bitmap": {field, map[int]*units{0: many}, false},
	} {
		if got := set(tt.c, tt.held); (got == a) != tt.same {
			t.Errorf("%s: set %d beside %d", name, got, a)
		}
	}
	h := &x.sets[set(field, map[int]*units{0: many})]
	for u := range int32(400) {
		if want := slices.Contains(many.gates, u); h.opens(u) != want {
			t.Errorf("gate %d: %v, want %v", u, !want, want)
		}
	}
	size := x.size
	if x.size = maxSetSize; !x.full() {
		t.Error("lists may grow without a bound")
	}
	if x.forget(); x.full() || x.size >= size || len(x.sets) != 1 {
		t.Errorf("forgotten, but %d bytes in %d sets", x.size, len(x.sets))
	}
}
