package ledger

import "reflect"

// auto is the source of records that were sent without one.
const auto = "auto"

// recognised counts rows under the source that their records were sent as: what
// a source has in rows beyond what it stored was recognised among those of auto.
// A row too many of any source is then one of auto's.
func recognised(sources map[string]*account) {
	to := sources[auto]
	if to == nil {
		return
	}
	for name, a := range sources {
		if name == auto {
			continue
		}
		if a.Rows > a.Stored {
			to.Rows += a.Rows - a.Stored
			a.Rows = a.Stored
		}
		if a.Distinct > a.Stored {
			to.Distinct += a.Distinct - a.Stored
			a.Distinct = a.Stored
		}
		nothing := account{Source: Source{Source: name, Evaluated: a.Evaluated, Dropped: a.Dropped}}
		if len(a.Dropped) == 0 && reflect.DeepEqual(*a, nothing) { // rows alone, and none of its own
			delete(sources, name)
		}
	}
}
