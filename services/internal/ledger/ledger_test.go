package ledger

import "testing"

func TestBalance(t *testing.T) {
	for name, tc := range map[string]struct {
		a    account
		want int64
	}{
		"nothing":    {account{}, 0},
		"all stored": {account{Source: Source{Normalized: 10, Stored: 10}, raw: 10, taken: 10}, 0},
		"dead, dropped, extra": {account{Source: Source{Normalized: 8, Stored: 7, Extra: 1, Dropped: map[string]uint64{"noise": 2}}, raw: 10, taken: 10,
			normalDead: 1, storeDead: 1, ingestDead: 3, deadStored: 5}, 0},
		"in flight":              {account{Source: Source{InFlight: 10}, raw: 10}, 0},
		"lost before normalize":  {account{raw: 10}, 10},
		"lost in normalize":      {account{Source: Source{Normalized: 9, Stored: 9}, raw: 10, taken: 10}, 1},
		"stored twice":           {account{Source: Source{Normalized: 20, Stored: 20}, raw: 10, taken: 20}, -10},
		"dead letter not stored": {account{Source: Source{Normalized: 9, Stored: 9}, raw: 10, taken: 10, normalDead: 1}, 1},
		"faults do not cancel":   {account{Source: Source{Normalized: 11, Stored: 11}, raw: 11, taken: 10}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := tc.a.close()
			if s.Difference != tc.want {
				t.Errorf("difference %d, want %d", s.Difference, tc.want)
			}
			if rep := (Report{Sources: []Source{s}}); rep.Closed() != (tc.want == 0 && s.InFlight == 0) {
				t.Errorf("closed: %v", rep.Closed())
			}
		})
	}
	if (Report{Behind: map[string]uint64{"RAW/normalize": 1}}).Closed() {
		t.Error("closed with messages to read")
	}
	counted := Report{Counted: true, Sources: []Source{{Stored: 5, Rows: 5, Distinct: 4}}}
	if counted.Closed() {
		t.Error("closed with a row twice")
	}
}
