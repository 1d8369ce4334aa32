package atr

import (
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Outcome says how a rule did on its own test cases.
type Outcome struct {
	Positives int      `json:"positives"`
	Fired     int      `json:"fired"` // of the positives
	Negatives int      `json:"negatives"`
	Silent    int      `json:"silent"` // of the negatives
	Differ    []string `json:"differ,omitempty"`
}

// Check runs a rule's test cases through the matcher.
func Check(c *Converted) (Outcome, error) {
	var out Outcome
	if c.Rule == nil || len(c.Cases) == 0 {
		return out, nil
	}
	r := *c.Rule
	r.Disabled = false
	events := make([]rule.TestEvent, len(c.Cases))
	for i := range c.Cases {
		events[i] = c.Cases[i].Event
	}
	fired := make([]bool, len(events))
	m := match.New([]*rule.Rule{&r})
	at := 0
	err := ruletest.Blocks(events, func(b *block.Block) {
		m.Match(b, func(_ *rule.Rule, row int) { fired[at+row] = true })
		at += b.Rows()
	})
	for i, x := range c.Cases {
		switch {
		case x.Fires && fired[i]:
			out.Positives, out.Fired = out.Positives+1, out.Fired+1
		case x.Fires:
			out.Positives++
		case !fired[i]:
			out.Negatives, out.Silent = out.Negatives+1, out.Silent+1
		default:
			out.Negatives++
		}
		if x.Fires != fired[i] {
			out.Differ = append(out.Differ, x.Name)
		}
	}
	return out, err
}

// Add sums the numbers up; the names are left out.
func (o *Outcome) Add(more Outcome) {
	o.Positives, o.Fired = o.Positives+more.Positives, o.Fired+more.Fired
	o.Negatives, o.Silent = o.Negatives+more.Negatives, o.Silent+more.Silent
}
