package correlate

// Stats counts what happened since the start; not part of the state.
type Stats struct {
	Signals    uint64
	Alerts     uint64 // raised
	Amended    uint64
	Retracted  uint64
	Duplicates uint64 // signals of an event that was counted already
	Unknown    uint64 // signals of a rule that is gone
	Ungrouped  uint64 // signals without any value to group by, or without what is measured
	Late       uint64 // signals that came when all around them was settled
	Evicted    uint64 // groups forgotten for lack of room
	Cut        uint64 // events and values forgotten because their group has too many
	Seeded     uint64 // groups that were told their past
	Groups     int    // live now
	Bytes      int64  // of the state now, about
}

// RuleStats is the state of one rule, and what happened since the start.
type RuleStats struct {
	Groups  int    `json:"groups"`
	Events  int    `json:"events"` // that the groups hold
	Bytes   int64  `json:"bytes"`  // about
	Signals uint64 `json:"signals"`
	Evicted uint64 `json:"evicted"` // groups forgotten for lack of room
	Late    uint64 `json:"late"`    // signals that came when all around them was settled
	Cut     uint64 `json:"cut"`     // events and values forgotten because their group has too many
	// Lag is how far the rule's watermark is behind the newest record, in ms; -1:
	// there is none yet. It includes the lateness that the rule allows.
	Lag int64 `json:"lag_ms"`
}

// Plus is the state of a rule in two partitions together.
func (x RuleStats) Plus(y RuleStats) RuleStats {
	return RuleStats{Groups: x.Groups + y.Groups, Events: x.Events + y.Events, Bytes: x.Bytes + y.Bytes, Signals: x.Signals + y.Signals,
		Evicted: x.Evicted + y.Evicted, Late: x.Late + y.Late, Cut: x.Cut + y.Cut, Lag: max(x.Lag, y.Lag)}
}

// Stats returns the counters.
func (c *Correlator) Stats() Stats {
	out := c.stats
	out.Groups, out.Bytes = c.groups.count, c.bytes()
	for _, s := range c.rules {
		out.Cut += s.scratch.cut
	}
	return out
}

// Rules returns the state of each rule that has any, by id.
func (c *Correlator) Rules() map[string]RuleStats {
	out := map[string]RuleStats{}
	for id, s := range c.rules {
		if s.events == 0 && s.groups == 0 {
			continue
		}
		u := c.groups.of(s.number)
		x := RuleStats{Groups: s.groups, Events: u.events, Bytes: u.bytes, Signals: s.events, Evicted: s.evicted, Late: s.tooLate, Cut: s.scratch.cut, Lag: -1}
		if s.mark > never {
			x.Lag = max(c.received-s.mark, 0)
		}
		out[id] = x
	}
	return out
}
