package match

import (
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// unit is one alternative of a rule: a conjunction. Its routing is data; up to
// three of its parts, the witnesses, are literals in the index; the rest is
// evaluated on the events that fulfil these.
type unit struct {
	rule  int32
	need  need
	first []lang.Literal // empty: every event of the routing is a candidate
	gates []gate         // the other witnesses, at most maxGates
	slots []slot         // of all literals
	learn []slot         // of all literals that might have been taken instead
	reads []int          // virtual fields that the rule reads
	rest  evaluator      // zero: nothing is left to evaluate
}

// gate is a witness that is only asked for when the first holds.
type gate struct {
	literals []lang.Literal
	refuse   bool   // the witness is that none of the literals holds
	where    []slot // of the literals
}

// planner makes the units of rules.
type planner struct {
	fields *fields
	sample *Sample
	units  []unit
}

// add makes the units of a rule.
func (p *planner) add(id int32, r *rule.Rule) {
	root := r.When.Root
	from, reads := len(p.units), p.fields.reads(r)
	defer func() {
		for i := range p.units[from:] {
			p.units[from+i].reads = reads
		}
	}()
	if !r.When.Lowered {
		// Only the virtual machine decides, but literals and routing hold.
		parts := root.Terms()
		if len(parts) > 1 {
			parts = [][]*lang.Node{{root}}
		}
		u := p.unit(id, r, parts[0])
		u.rest = evaluator{expr: r.When}
		p.units = append(p.units, u)
		return
	}
	for _, parts := range p.terms(root) {
		p.units = append(p.units, p.unit(id, r, parts))
	}
}

// terms are the alternatives of an expression. Where one disjunction stands
// beside nothing but routing, its parts are alternatives too.
func (p *planner) terms(root *lang.Node) [][]*lang.Node {
	terms := root.Terms()
	if len(terms) != 1 {
		return terms
	}
	var routing, rest []*lang.Node
	for _, n := range terms[0] {
		if new(need).take(n) {
			routing = append(routing, n)
		} else {
			rest = append(rest, n)
		}
	}
	if len(rest) != 1 || rest[0].Op != lang.Or {
		return terms
	}
	terms = rest[0].Terms()
	for i := range terms {
		terms[i] = append(slices.Clip(terms[i]), routing...)
	}
	return terms
}

// unit plans a conjunction.
func (p *planner) unit(id int32, r *rule.Rule, parts []*lang.Node) unit {
	u := unit{rule: id, need: needOf(r.Source)}
	var rest []*lang.Node
	var clauses []lang.Clause
	for _, n := range parts {
		if u.need.take(n) {
			continue
		}
		rest = append(rest, n)
		if c, ok := lang.ClauseOf(n); ok {
			clauses = append(clauses, c)
		}
	}
	for _, c := range clauses {
		for _, l := range c.Literals {
			if s := p.fields.slot(l.Field); l.View != lang.Anywhere && !slices.Contains(u.learn, s) {
				u.learn = append(u.learn, s)
			}
		}
	}
	done := map[*lang.Node]bool{}
	plan := newPlan(clauses, p.sample.rows(&u.need))
	if first := plan.first(); first >= 0 {
		u.first = clauses[first].Literals
		done[clauses[first].Node] = clauses[first].Exact
	}
	for len(u.gates) < maxGates {
		i := plan.next()
		if i < 0 {
			break
		}
		g := gate{literals: clauses[i].Literals, refuse: clauses[i].Refused}
		done[clauses[i].Node] = clauses[i].Exact
		for _, l := range g.literals {
			if s := p.fields.slot(l.Field); !slices.Contains(g.where, s) {
				g.where = append(g.where, s)
			}
		}
		u.gates = append(u.gates, g)
	}
	rest = slices.DeleteFunc(rest, func(n *lang.Node) bool { return done[n] })
	for _, l := range u.first {
		u.slots = append(u.slots, p.fields.slot(l.Field))
		if l.View == lang.Anywhere {
			for _, id := range textColumns {
				u.slots = append(u.slots, slot(id))
			}
		}
	}
	for _, g := range u.gates {
		u.slots = append(u.slots, g.where...)
	}
	slices.Sort(u.slots)
	u.slots = slices.Compact(u.slots)
	if len(rest) > 0 && r.When.Lowered {
		u.rest = evaluator{pred: p.fields.compile(&lang.Node{Op: lang.And, Kids: rest})}
	}
	return u
}

// need is which events a unit wants at all, as data. Empty lists mean any.
type need struct {
	families   event.Families
	classes    []uint32
	products   []string
	activities []uint32
	texts      []textNeed
	never      bool
}

// routed are the text columns that routing looks at: they have few values, and
// rules of one kind agree on them.
var routed = [...]event.ColumnID{event.MetadataEventCode, event.ActivityName, event.MetadataLogName}

// textNeed is a demand on one of the routed columns: one of the texts, or none.
type textNeed struct {
	at    int // in routed
	fold  bool
	none  bool
	texts []string // folded if fold
}

func (t *textNeed) fits(v string) bool {
	if t.fold {
		v = lang.Fold(v)
	}
	return slices.Contains(t.texts, v) != t.none
}

func needOf(s rule.Source) need {
	return need{families: s.Families, classes: s.Classes, products: s.Products}
}

// take makes a part of a conjunction routing, if it is about nothing else.
func (n *need) take(p *lang.Node) bool {
	if p.View != lang.Plain {
		return false
	}
	switch {
	case p.Neg && p.Op != lang.Eq:
		return false
	case p.Op == lang.Num && p.Cmp == lang.EQ && (p.Col == event.ActivityID || p.Col == event.ClassUID):
		var want []uint32
		for _, v := range p.Nums {
			if v < 0 || v != float64(uint32(v)) {
				return false
			}
			want = append(want, uint32(v))
		}
		if p.Col == event.ActivityID {
			n.activities, n.never = meet(n.activities, want, n.never)
		} else {
			n.classes, n.never = meet(n.classes, want, n.never)
		}
		return true
	case p.Op == lang.Eq:
		at := slices.Index(routed[:], p.Col)
		// "" also stands for values that no unit asks for.
		if at < 0 || len(p.Lits) > maxRouted || slices.Contains(p.Lits, "") {
			return false
		}
		n.texts = append(n.texts, textNeed{at: at, fold: p.Fold, none: p.Neg, texts: p.Lits})
		return true
	}
	return false
}

// maxRouted bounds the texts of a demand that is routing.
const maxRouted = 64

// meet is what both lists have; an empty first list has all.
func meet[T comparable](have, want []T, never bool) ([]T, bool) {
	if len(have) == 0 {
		return slices.Clone(want), never || len(want) == 0
	}
	out := slices.DeleteFunc(slices.Clone(have), func(x T) bool { return !slices.Contains(want, x) })
	return out, never || len(out) == 0
}

// fits reports whether events with the key are wanted.
func (n *need) fits(k *routeKey) bool {
	return !n.never && n.families.Has(event.Family(k.family)) &&
		(len(n.classes) == 0 || slices.Contains(n.classes, k.class)) &&
		(len(n.products) == 0 || slices.Contains(n.products, k.source)) &&
		(len(n.activities) == 0 || slices.Contains(n.activities, k.activity)) &&
		!slices.ContainsFunc(n.texts, func(t textNeed) bool { return !t.fits(k.texts[t.at]) })
}
