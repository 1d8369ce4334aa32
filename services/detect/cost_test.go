package detect

import (
	"testing"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// A rule that rests is told by an alert, which ends when it is evaluated again;
// new rules begin awake.
func TestRestingRuleIsTold(t *testing.T) {
	b := testkit.Bus(t)
	s, stop := start(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}))
	defer stop()
	s.overBudget(match.Verdict{Rule: "test.burst", Share: 0.3})
	s.overBudget(match.Verdict{Rule: "test.burst", Share: 0.4, Resting: true})
	if got := s.costs.restingNow()["test.burst"]; got != 0.4 {
		t.Errorf("the resting rule took %v", got)
	}
	s.overBudget(match.Verdict{Rule: "test.burst", Back: true})
	var got []finding.Alert
	testkit.Eventually(t, "two revisions", func() bool { got = alerts(t, b); return len(got) == 2 })
	if a := got[0]; a.Status != finding.Raised || a.Rule != costRule || a.Entity.Value != "test.burst" || a.Value != 0.4 {
		t.Errorf("raised: %+v", a)
	}
	if a := got[1]; a.Status != finding.Retracted || a.UID != got[0].UID || a.Revision != 2 {
		t.Errorf("retracted: %+v", a)
	}
	s.overBudget(match.Verdict{Rule: "test.burst", Share: 0.4, Resting: true})
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := s.costs.restingNow(); len(got) > 0 {
		t.Errorf("after a reload %v rest", got)
	}
	testkit.Eventually(t, "the alert's end", func() bool {
		got = alerts(t, b)
		return len(got) == 4 && got[3].Status == finding.Retracted
	})
}

// The sample outlives the set of rules that it was taken with.
func TestSampleOutlivesReload(t *testing.T) {
	b := testkit.Bus(t)
	s, stop := start(t, b, rulesDir(t, map[string]string{"test/burst.yml": burst}))
	defer stop()
	publish(t, b, "1", failures("192.0.2.1", 0, 3))
	testkit.Eventually(t, "the events", func() bool { return s.sample.Events() == 3 })
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "2", failures("192.0.2.1", 10, 4))
	testkit.Eventually(t, "the events of the new rules", func() bool { return s.sample.Events() == 7 })
}
