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

// RuleStats is the state of one rule.
type RuleStats struct {
	Groups    int
	Signals   uint64
	Evicted   uint64
	Late      uint64
	Cut       uint64
	Watermark int64 // ms since 1970; 0: not known yet
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
		x := RuleStats{Groups: s.groups, Signals: s.events, Evicted: s.evicted, Late: s.tooLate, Cut: s.scratch.cut}
		if s.mark > never {
			x.Watermark = s.mark
		}
		out[id] = x
	}
	return out
}
