package detect

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Budget is what the evaluation of one rule may cost.
type Budget = match.Budget

// DefaultBudget lets a rule take a quarter of a core for three minutes.
func DefaultBudget() Budget { return match.DefaultBudget() }

// costRule is the rule id of alerts about rules that rest.
const costRule = "rule-over-budget"

// costs is what this instance knows of expensive rules.
type costs struct {
	mu      sync.Mutex
	resting map[string]float64 // rule → share of a core that it took
	names   map[string]float64 // rule → share in the last window, of those above their budget
	told    chan match.Verdict // to be published
}

// maxTold bounds the verdicts that wait to be published.
const maxTold = 256

// compile makes a matcher that knows what the ones before have learned, and
// lets expensive rules rest. A new set begins with all rules awake.
func (s *Service) compile(rules []*rule.Rule) *match.Matcher {
	m := match.NewLearned(rule.Matched(rules), s.sample)
	m.Watch(s.opts.Budget, time.Now, s.overBudget)
	return m
}

// overBudget notes what the guard says; the goroutine that matches calls it.
func (s *Service) overBudget(v match.Verdict) {
	c := &s.costs
	c.mu.Lock()
	defer c.mu.Unlock()
	share := fmt.Sprintf("%.0f %% of a core", 100*v.Share)
	switch {
	case v.Back:
		delete(c.resting, v.Rule)
		delete(c.names, v.Rule)
		s.log.Info("rule is evaluated again", "rule", v.Rule)
	case v.Resting:
		c.resting[v.Rule] = v.Share
		s.log.Error("rule costs too much and is not evaluated for a while", "rule", v.Rule, "took", share, "rest", s.opts.Budget.Rest,
			"hint", "`vagus rules explain` shows what it evaluates; name something rare in every branch of an or")
	default:
		c.names[v.Rule] = v.Share
		s.log.Warn("rule costs more than its budget", "rule", v.Rule, "took", share)
		return
	}
	select {
	case c.told <- v:
	default:
		s.log.Error("verdict on a rule is not published: too many wait", "rule", v.Rule)
	}
}

// awake forgets what rested: a new set of rules begins afresh.
func (c *costs) awake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.resting {
		select {
		case c.told <- match.Verdict{Rule: id, Back: true}:
		default: // as many wait as may; the alert ends by its Until
		}
	}
	clear(c.resting)
	clear(c.names)
}

// restingNow are the rules that this instance does not evaluate, with the share
// of a core that they took.
func (c *costs) restingNow() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.resting)
}

// tellCosts raises an alert for every rule that is not evaluated, and retracts
// it when it is again: what a rule does not look at, nobody sees.
func (s *Service) tellCosts(ctx context.Context) error {
	open := map[string]finding.Alert{}
	for {
		var v match.Verdict
		select {
		case <-ctx.Done():
			return nil
		case v = <-s.costs.told:
		}
		now := time.Now().UTC()
		a, raised := open[v.Rule]
		switch {
		case v.Resting:
			a = finding.Alert{
				UID: finding.UID(costRule, v.Rule, strconv.FormatInt(now.UnixMilli(), 10)), Status: finding.Raised, Revision: 1,
				Rule: costRule, RuleTitle: "A rule costs too much to be evaluated", Version: "1", Level: finding.Medium, Lane: finding.Alerts,
				Title:  v.Rule + " is not evaluated",
				Reason: fmt.Sprintf("its evaluation took %.0f %% of a core, allowed are %.0f %%", 100*v.Share, 100*s.opts.Budget.Share),
				Entity: finding.Entity{Type: "rule", Value: v.Rule}, Group: []finding.Pair{{Path: "rule", Value: v.Rule}},
				Tags: []string{"attack.t1562"}, Count: 1, Value: v.Share, Threshold: s.opts.Budget.Share,
				FirstSeen: now, LastSeen: now, RaisedAt: now, Until: now.Add(s.opts.Budget.Rest), Risk: 45,
			}
			open[v.Rule] = a
		case raised:
			delete(open, v.Rule)
			a.Status, a.Revision, a.LastSeen = finding.Retracted, a.Revision+1, now
			a.Reason = "the rule is evaluated again"
		default:
			continue
		}
		s.mute.Apply(&a)
		data, err := json.Marshal(a)
		if err == nil {
			_, err = s.opts.Bus.Publish(ctx, bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, strconv.Itoa(a.Revision)), Data: data})
		}
		if err != nil && ctx.Err() == nil {
			s.counters.lostAlerts.Add(1)
			s.log.Error("alert cannot be published", "alert", a.UID, "error", err)
		}
	}
}

// lessons are the numbers of events seen after which the rules are compiled
// once more, with what was learned.
var lessons = [...]uint64{20_000, 500_000, 10_000_000}

// relearn compiles the rules in place once more when enough was learned since.
// It blocks for as long as that takes; matching goes on.
func (s *Service) relearn(ctx context.Context) error {
	next := 0
	tick := time.NewTicker(relearnInterval)
	defer tick.Stop()
	for next < len(lessons) {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.sample.Events() < lessons[next] {
			continue
		}
		for next < len(lessons) && s.sample.Events() >= lessons[next] {
			next++
		}
		s.mu.Lock()
		g := *s.matcher.Load()
		g.matcher = s.compile(g.rules)
		s.costs.awake()
		s.matcher.Store(&g)
		s.mu.Unlock()
		s.log.Debug("rules compiled with what was learned of the events", "events", s.sample.Events())
	}
	<-ctx.Done()
	return nil
}

// relearnInterval is how often relearn looks.
const relearnInterval = 10 * time.Second
