package detect

import (
	"strconv"

	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

func (s *Service) collect(out *telemetry.Snapshot) {
	c := &s.counters
	set := func(name, help string, v uint64) { out.Set("vagus_detect_"+name, help, float64(v)) }
	set("blocks_total", "blocks matched", c.blocks.Load())
	set("events_total", "events matched", c.events.Load())
	set("matches_total", "rule matches", c.matches.Load())
	set("signals_total", "rule matches published", c.signals.Load())
	set("signals_capped_total", "rule matches beyond the bound of a group and block", c.capped.Load())
	set("evaluations_failed_total", "rule evaluations that ended in an error", c.failed.Load())
	set("signals_missed_total", "signals gone from the stream before they were correlated", c.missed.Load())
	set("signals_bad_total", "signals that could not be read", c.badSignals.Load())
	set("alerts_refused_total", "alerts that the bus refused", c.lostAlerts.Load())
	set("checkpoints_total", "checkpoints of the correlation saved", c.checkpoints.Load())
	set("seeds_total", "rules that were told of their past, by this instance", c.seeds.Load())
	set("ticks_total", "ticks published", c.ticks.Load())
	s.partsMu.Lock()
	st, rules := s.past, Correlation{Rules: map[string]RuleState{}}
	for number, p := range s.parts {
		p.mu.Lock()
		own, position := p.corr.Stats(), p.position
		rules.add(&Correlation{Rules: p.corr.Rules()})
		p.mu.Unlock()
		st = sum(st, own)
		label := strconv.Itoa(number)
		out.Set("vagus_detect_partition_groups", "correlation groups live, by partition owned", float64(own.Groups), "partition", label)
		out.Set("vagus_detect_partition_position", "sequence of SIGNALS reached, by partition owned", float64(position), "partition", label)
	}
	out.Set("vagus_detect_partitions_owned", "partitions of SIGNALS that this instance correlates", float64(len(s.parts)))
	s.partsMu.Unlock()
	collectRules(out, &rules)
	set("alerts_total", "alerts raised", st.Alerts)
	set("alerts_amended_total", "alerts amended", st.Amended)
	set("alerts_retracted_total", "alerts retracted because of late events", st.Retracted)
	set("signals_late_total", "signals that came when all around them was settled", st.Late)
	set("correlation_cut_total", "events and values forgotten because their group has too many", st.Cut)
	out.Set("vagus_detect_correlation_bytes", "memory of the correlation groups, about", float64(st.Bytes))
	set("groups_seeded_total", "correlation groups that were told of their past", st.Seeded)
	set("signals_duplicate_total", "signals of an event that was counted already", st.Duplicates)
	set("signals_unknown_total", "signals of a rule that is gone", st.Unknown)
	set("signals_ungrouped_total", "signals without a value to group by", st.Ungrouped)
	set("groups_evicted_total", "correlation groups forgotten for lack of room", st.Evicted)
	out.Set("vagus_detect_groups", "correlation groups live", float64(st.Groups))
	silent, blind := 0, 0
	if l := s.leader.Load(); l != nil {
		silent, blind = int(l.silentNow.Load()), int(l.blindNow.Load())
	}
	out.Set("vagus_detect_sources_silent", "sources that have fallen silent or collapsed, as the leader knows", float64(silent))
	out.Set("vagus_detect_rules_blind", "rules all of whose sources are silent, as the leader knows", float64(blind))
	s.collectMutes(out)
	s.costs.mu.Lock()
	for id, share := range s.costs.names {
		out.Set("vagus_detect_rule_over_budget", "share of a core that the evaluation of a rule took in its last window above the budget", share, "rule", id)
	}
	out.Set("vagus_detect_rules_resting", "rules that are not evaluated for a while because they cost too much", float64(len(s.costs.resting)))
	s.costs.mu.Unlock()
	out.Set("vagus_detect_rules", "rules running", float64(len(s.matcher.Load().rules)))
}
