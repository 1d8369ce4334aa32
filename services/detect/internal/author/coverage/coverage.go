// Package coverage tells which parts of a rule's condition its tests exercise.
// A part counts if some event of a test would come out otherwise were the part
// to hold where it does not, or the other way round: as if it had been removed
// from the rule and a test had noticed.
package coverage

import (
	"fmt"

	"github.com/vagus-hub/vagus/services/detect/internal/author/trace"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Gap is a part of a condition that no test exercises in one direction.
type Gap struct {
	Rule    string `json:"rule"` // a step has its name behind a #
	Part    string `json:"part"`
	From    int    `json:"-"` // where it stands in the condition, in characters
	Message string `json:"message"`
}

// Report is the coverage of a rule.
type Report struct {
	Rule string `json:"rule"`
	// Parts is twice the comparisons of the conditions and exceptions: each
	// should decide once that an event matches, and once that it does not.
	Parts   int   `json:"parts"`
	Covered int   `json:"covered"`
	Gaps    []Gap `json:"gaps"`
}

// Share is the covered part of all parts; 1 if there are none.
func (r Report) Share() float64 {
	if r.Parts == 0 {
		return 1
	}
	return float64(r.Covered) / float64(r.Parts)
}

// maxRows bounds the events of a test that are looked at: repeats are alike.
const maxRows = 200

// seen is what tests showed of a leaf.
type seen struct{ decidesFor, decidesAgainst bool }

// Of runs the events of a rule's tests through its conditions.
func Of(r *rule.Rule, opts ruletest.Options) (Report, error) {
	out := Report{Rule: r.ID, Gaps: []Gap{}}
	for _, matched := range rule.Matched([]*rule.Rule{r}) {
		root, err := trace.Split(matched.When, matched.Source.Families)
		if err != nil {
			return out, err
		}
		got := map[*trace.Part]*seen{}
		leaves := root.Leaves()
		for _, l := range leaves {
			got[l] = &seen{}
		}
		for i := range r.Tests {
			if err := look(r, matched, root, r.Tests[i].Events, opts, got); err != nil {
				return out, fmt.Errorf("test %s: %w", r.Tests[i].Name, err)
			}
		}
		for _, l := range leaves {
			out.Parts += 2
			s := got[l]
			if s.decidesFor {
				out.Covered++
			} else {
				out.Gaps = append(out.Gaps, Gap{matched.ID, l.Text, l.From, "no test needs this part to match: add an event that matches by it"})
			}
			if s.decidesAgainst {
				out.Covered++
			} else {
				out.Gaps = append(out.Gaps, Gap{matched.ID, l.Text, l.From, "no test fails to match by this part alone: add an event that fulfils all but it"})
			}
		}
	}
	return out, nil
}

func look(r, matched *rule.Rule, root *trace.Part, events []rule.TestEvent, opts ruletest.Options, got map[*trace.Part]*seen) error {
	var m trace.Machine
	rows := 0
	return ruletest.Events(r, events, opts, func(b *block.Block) {
		for row := range b.Rows() {
			if rows++; rows > maxRows {
				return
			}
			if trace.Routed(matched.Source, b, row) {
				v := m.Eval(root, b, row)
				decide(root, v, v.Holds, got)
			}
		}
	})
}

// decide notes the leaves that decide the outcome: those that would turn it
// were they to come out otherwise. Below "and" that is so where all siblings
// hold, below "or" where none does.
func decide(p *trace.Part, v *trace.Verdict, outcome bool, got map[*trace.Part]*seen) {
	if p.Op == trace.Leaf {
		s := got[p]
		s.decidesFor = s.decidesFor || outcome
		s.decidesAgainst = s.decidesAgainst || !outcome
		return
	}
	for i, k := range p.Kids {
		alone := true
		for j, sibling := range v.Parts {
			if i != j && p.Op != trace.Not && sibling.Holds != (p.Op == trace.And) {
				alone = false
				break
			}
		}
		if alone {
			decide(k, v.Parts[i], outcome, got)
		}
	}
}
