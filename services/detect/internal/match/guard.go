package match

import (
	"fmt"
	"time"
)

// Budget is what the evaluation of one rule may cost, on the average of a
// window of time. The zero Budget has no bounds.
type Budget struct {
	// Share is the part of one core that a rule may take; 0: any.
	Share float64 `yaml:"share"`
	// Windows in a row above the share make a rule rest.
	Windows int `yaml:"windows"`
	// Rest is how long it then is not evaluated.
	Rest time.Duration `yaml:"rest"`
	// Window is how long costs are added up before they are judged.
	Window time.Duration `yaml:"window"`
}

// DefaultBudget lets a rule take a quarter of a core for three minutes.
func DefaultBudget() Budget {
	return Budget{Share: 0.25, Windows: 3, Rest: 15 * time.Minute, Window: time.Minute}
}

// Check says what is wrong with a budget.
func (b Budget) Check() error {
	switch {
	case b.Share < 0 || b.Share > 1:
		return fmt.Errorf("share is %v, want 0 (no bound) to 1 (a whole core)", b.Share)
	case b.Share > 0 && (b.Windows < 1 || b.Rest <= 0 || b.Window <= 0):
		return fmt.Errorf("windows, rest and window must be above zero")
	}
	return nil
}

// Verdict is what a guard found of a rule at the end of a window.
type Verdict struct {
	Rule  string
	Share float64 // of a core, in the window
	// Resting says that the rule is no longer evaluated, Back that it is again;
	// neither, that it was above its budget but has some windows left.
	Resting, Back bool
}

// sampled is how many evaluations stand for each that is timed: looking at the
// clock costs as much as most evaluations.
const sampled = 32

// guard adds up what rules cost. It times a part of the evaluations, so that
// its sums are right on the average.
type guard struct {
	budget Budget
	now    func() time.Time
	tell   func(Verdict)
	spent  []time.Duration // by rule, in this window
	above  []int           // by rule: windows in a row
	until  []time.Time     // by rule: the end of its rest
	rests  []bool          // by rule
	from   time.Time
	turn   uint32
}

// Watch makes the matcher let rules rest that take more than their budget, and
// tell of it, in the goroutine that calls Match. Results then depend on time:
// tests and backtests do without.
func (m *Matcher) Watch(b Budget, now func() time.Time, tell func(Verdict)) {
	if b.Share <= 0 {
		return
	}
	n := len(m.rules)
	m.guard = &guard{budget: b, now: now, tell: tell, from: now(),
		spent: make([]time.Duration, n), above: make([]int, n), until: make([]time.Time, n), rests: make([]bool, n)}
}

// eval evaluates what the witnesses have left of a unit.
func (m *Matcher) eval(u *unit) (bool, error) {
	g := m.guard
	if g == nil {
		return m.decide(u)
	}
	if g.rests[u.rule] {
		return false, nil
	}
	if g.turn++; g.turn%sampled != 0 {
		return m.decide(u)
	}
	start := g.now()
	ok, err := m.decide(u)
	g.spent[u.rule] += sampled * g.now().Sub(start)
	return ok, err
}

// judge ends the window if it is over. It runs between blocks.
func (g *guard) judge(m *Matcher) {
	now := g.now()
	elapsed := now.Sub(g.from)
	if elapsed < g.budget.Window {
		return
	}
	g.from = now
	for i := range g.spent {
		share := float64(g.spent[i]) / float64(elapsed)
		g.spent[i] = 0
		v := Verdict{Rule: m.rules[i].rule.ID, Share: share}
		switch {
		case g.rests[i]:
			if now.Before(g.until[i]) {
				continue
			}
			// One more window above the share, and it rests again.
			g.rests[i], g.above[i] = false, g.budget.Windows-1
			v.Back = true
		case share <= g.budget.Share:
			g.above[i] = 0
			continue
		default:
			if g.above[i]++; g.above[i] >= g.budget.Windows {
				g.rests[i], g.until[i] = true, now.Add(g.budget.Rest)
				v.Resting = true
			}
		}
		g.tell(v)
	}
}
