package match

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// A rule that takes more than its share for some windows rests, the others go
// on, and it comes back.
func TestGuard(t *testing.T) {
	clock := time.Unix(0, 0)
	compile := func(id, src string) *rule.Rule {
		e, err := lang.Compile(src, 0x3f)
		if err != nil {
			t.Fatal(err)
		}
		return &rule.Rule{ID: id, When: e, Source: rule.Source{Families: 0x3f}}
	}
	m := New([]*rule.Rule{compile("dear", `actor.user.name != "x"`), compile("cheap", `http_request.path == "/p"`)})
	var told []Verdict
	// Every look at the clock takes a millisecond, as if the evaluation did.
	m.Watch(Budget{Share: 0.4, Windows: 2, Rest: 3 * time.Minute, Window: time.Minute}, func() time.Time {
		clock = clock.Add(time.Millisecond)
		return clock
	}, func(v Verdict) { v.Share = 0; told = append(told, v) })
	// 32 evaluations of each block are timed, each for 32: half of the time.
	b := block.NewBuilder(event.FamilyAI)
	for i := range 1024 {
		b.SetString(event.ActorUserName, "u")
		if i == 0 {
			b.SetString(event.HTTPRequestPath, "/p")
		}
		b.EndRow()
	}
	var blk block.Block
	if err := block.Decode(b.AppendTo(nil, block.Header{}), &blk); err != nil {
		t.Fatal(err)
	}
	var dear, cheap []int
	for range 9 {
		for range 30 {
			n, k := 0, 0
			m.Match(&blk, func(r *rule.Rule, _ int) {
				if r.ID == "dear" {
					n++
				} else {
					k++
				}
			})
			dear, cheap = append(dear, n), append(cheap, k)
			clock = clock.Truncate(2 * time.Second).Add(2 * time.Second)
		}
	}
	want := []Verdict{{Rule: "dear"}, {Rule: "dear", Resting: true}, {Rule: "dear", Back: true}, {Rule: "dear", Resting: true}}
	if diff := cmp.Diff(want, told[:min(len(told), 4)]); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
	rested := 0
	for i := range dear {
		if cheap[i] != 1 {
			t.Errorf("block %d: the cheap rule matched %d times", i, cheap[i])
		}
		if dear[i] == 0 {
			rested++
		}
	}
	if rested == 0 || rested == len(dear) {
		t.Errorf("the dear rule rested in %d of %d blocks", rested, len(dear))
	}
}

// The guard changes no result while nothing breaks its budget.
func TestGuardChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rules := randomRules(r, 40)
	m := New(rules)
	m.Watch(DefaultBudget(), func() time.Time { return time.Unix(0, 0) }, func(Verdict) { t.Error("a verdict without cost") })
	for range 5 {
		b := randomBlock(t, r, 60)
		if diff := cmp.Diff(naive(t, rules, b), indexed(m, b)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestBudgetCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		b  Budget
		ok bool
	}{
		"none":      {Budget{}, true},
		"default":   {DefaultBudget(), true},
		"negative":  {Budget{Share: -1}, false},
		"two cores": {Budget{Share: 2, Windows: 1, Rest: 1, Window: 1}, false},
		"no rest":   {Budget{Share: 0.1, Windows: 1, Window: 1}, false},
	} {
		if err := tc.b.Check(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
