package ledger

import "testing"

func TestRecognised(t *testing.T) {
	make3 := func(autoStored, rows uint64) Report {
		sources := map[string]*account{
			auto: {Source: Source{Source: auto, Received: autoStored, Normalized: autoStored, Stored: autoStored}},
			"a":  {Source: Source{Source: "a", Rows: rows, Distinct: rows}},
			"b":  {Source: Source{Source: "b", Normalized: 2, Stored: 2, Rows: 3, Distinct: 3}, raw: 2, taken: 2},
		}
		recognised(sources)
		rep := Report{Counted: true}
		for _, a := range sources {
			rep.Sources = append(rep.Sources, a.Source)
		}
		return rep
	}
	tests := map[string]struct {
		stored, rows uint64
		closed       bool
	}{
		"all there":   {5, 4, true},
		"one missing": {5, 3, false},
		"one twice":   {5, 5, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rep := make3(tt.stored, tt.rows)
			if rep.Closed() != tt.closed || len(rep.Sources) != 2 {
				t.Errorf("%+v", rep)
			}
		})
	}
	alone := map[string]*account{"a": {Source: Source{Rows: 1}}}
	if recognised(alone); alone["a"].Rows != 1 {
		t.Error("without auto, rows were moved")
	}
}
