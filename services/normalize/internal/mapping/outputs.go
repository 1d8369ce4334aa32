package mapping

import (
	"maps"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Output is one class of events that a mapping makes, with the columns that it
// can fill beyond those that every event has.
type Output struct {
	Class   uint32
	Family  event.Family
	Columns []event.ColumnID // in order of id
}

// Outputs lists what the mapping makes, in the order of its classes.
func (m *Mapping) Outputs() []Output {
	var out []Output
	for i := range m.cases {
		k := &m.cases[i]
		columns := map[event.ColumnID]bool{}
		for j := range k.ops {
			for o := &k.ops[j]; o != nil; o = o.or {
				columns[o.column] = true
			}
		}
		out = append(out, Output{Class: k.class.UID, Family: k.family, Columns: slices.Sorted(maps.Keys(columns))})
	}
	return out
}
