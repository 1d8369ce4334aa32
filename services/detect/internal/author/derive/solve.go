// Package derive makes tests out of rules: an event that fulfils a condition, and
// one that nearly does. What it finds is run before anybody sees it, so that it
// may guess: a condition for which no guess holds has no derived test.
package derive

import (
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// The bounds of one search.
const (
	maxTries = 200    // events that are tried
	maxSteps = 20_000 // nodes that are looked at
)

// solver looks for values of fields that fulfil a condition. It takes one branch
// of every disjunction after the other, and gives a branch up as soon as a field
// has no value for what is demanded of it.
type solver struct {
	atoms []*lang.Node
	try   func(solution) bool // reports whether it is the end
	tries int
	steps int
}

// solution has the value of every field that needs one.
type solution map[lang.Field]any

// search calls try with solutions until it returns true, and reports whether it
// has.
func search(root *lang.Node, try func(solution) bool) bool {
	s := solver{try: try}
	return s.goals([]*lang.Node{root})
}

func (s *solver) goals(list []*lang.Node) bool {
	if s.steps++; s.steps > maxSteps || s.tries > maxTries {
		return false
	}
	if len(list) == 0 {
		s.tries++
		values, ok := s.values()
		return ok && s.try(values)
	}
	n, rest := list[0], list[1:]
	switch n.Op {
	case lang.And:
		return s.goals(append(n.Kids[:len(n.Kids):len(n.Kids)], rest...))
	case lang.Or:
		for _, k := range n.Kids {
			if s.goals(append([]*lang.Node{k}, rest...)) {
				return true
			}
		}
		return false
	case lang.Const:
		return !n.Neg && s.goals(rest)
	case lang.Opaque:
		// Only the virtual machine knows: whether it holds shows when it is run.
		return s.goals(rest)
	}
	s.atoms = append(s.atoms, n)
	defer func() { s.atoms = s.atoms[:len(s.atoms)-1] }()
	if n.Op != lang.FieldEq {
		about := s.about(n.Field)
		s.steps += len(about) // what looking for a value costs
		if _, ok := valueOf(n.Field, about); !ok {
			return false
		}
	}
	return s.goals(rest)
}

// about lists the atoms on a field.
func (s *solver) about(f lang.Field) (out []*lang.Node) {
	for _, a := range s.atoms {
		if a.Field == f && a.Op != lang.FieldEq {
			out = append(out, a)
		}
	}
	return out
}

// values chooses a value for every field of the atoms. Fields that are compared
// have the same.
func (s *solver) values() (solution, bool) {
	out := solution{}
	for _, a := range s.atoms {
		if a.Op == lang.FieldEq && !a.Neg {
			same := append(s.about(a.Field), s.about(a.Other)...)
			same = append(same, &lang.Node{Op: lang.Exists, Field: a.Field})
			v, ok := valueOf(a.Field, same)
			if !ok {
				return nil, false
			}
			out[a.Field], out[a.Other] = v, v
		}
	}
	for _, a := range s.atoms {
		if _, have := out[a.Field]; have || a.Op == lang.FieldEq {
			continue
		}
		v, ok := valueOf(a.Field, s.about(a.Field))
		if !ok {
			return nil, false
		}
		if v != nil {
			out[a.Field] = v
		}
	}
	for _, a := range s.atoms {
		if a.Op == lang.FieldEq && a.Neg && out[a.Other] != nil && out[a.Field] == out[a.Other] {
			v, _ := out[a.Field].(string)
			other, ok := valueOf(a.Other, append(s.about(a.Other), &lang.Node{Op: lang.Contains, Neg: true, Field: a.Other, Fold: true, Lits: []string{lang.Fold(v)}}))
			if !ok {
				return nil, false
			}
			out[a.Other] = other
		}
	}
	return out, true
}

// negates says that every atom of a condition is a denial: what filters are.
func negates(n *lang.Node) bool {
	all := true
	n.Walk(func(k *lang.Node) {
		if k.Op != lang.And && k.Op != lang.Or {
			all = all && k.Neg
		}
	})
	return all
}

// valueOf is a value for which all atoms hold; nil if the field may be absent.
func valueOf(f lang.Field, atoms []*lang.Node) (v any, ok bool) {
	switch k := f.Kind(); {
	case f.View == lang.AsText:
		return numeral(f, atoms)
	case k == event.KindKeywords:
		return elements(atoms)
	case k == event.KindScores:
		return scores(atoms)
	case k == event.KindF32 || k == event.KindF64 || k.Number() || k == event.KindBool:
		return amount(k, atoms)
	case k.Text():
		s, ok := word(k, atoms)
		if s == "" {
			return nil, ok
		}
		return s, ok
	}
	return nil, false
}
