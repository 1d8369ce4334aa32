package lint

import (
	"fmt"
	"slices"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// redundant notes parts that could be left out without changing the condition.
func (l *logic) redundant(n *lang.Node) {
	for i, k := range n.Kids {
		for j, o := range n.Kids {
			if i == j || n.Op != lang.And && n.Op != lang.Or || !l.step() {
				continue
			}
			// Of two that say the same, the later one is to go.
			if n.Op == lang.And && l.covers(o, k) && (i > j || !l.covers(k, o)) {
				l.remarks = append(l.remarks, remark{at: k, code: codeRedundant, message: fmt.Sprintf("%s says nothing: %s implies it", short(k), short(o))})
				break
			}
			if n.Op == lang.Or && l.covers(k, o) && (i > j || !l.covers(o, k)) {
				l.remarks = append(l.remarks, remark{at: k, code: codeRedundant, message: fmt.Sprintf("%s says nothing: %s covers it", short(k), short(o))})
				break
			}
		}
		l.redundant(k)
	}
	if isText(n) && len(n.Lits) <= 1000 {
		l.literals(n)
	}
}

// literals notes a text of a list that another one of it covers.
func (l *logic) literals(n *lang.Node) {
	for i, x := range n.Lits {
		for j, y := range n.Lits {
			if i == j || !l.step() {
				continue
			}
			if holds(n.Op, x, y) && (x != y || i > j) {
				l.remarks = append(l.remarks, remark{at: n, text: x, code: codeRedundant, message: fmt.Sprintf("%s: %q says nothing beside %q", path(n), x, y)})
				return
			}
		}
	}
}

// covers reports that whenever a holds, b does.
func (l *logic) covers(a, b *lang.Node) bool {
	if !l.step() {
		return false
	}
	switch {
	case b.Op == lang.And:
		return !slices.ContainsFunc(b.Kids, func(k *lang.Node) bool { return !l.covers(a, k) })
	case a.Op == lang.Or:
		return !slices.ContainsFunc(a.Kids, func(k *lang.Node) bool { return !l.covers(k, b) })
	case b.Op == lang.Or && slices.ContainsFunc(b.Kids, func(k *lang.Node) bool { return l.covers(a, k) }):
		return true
	case a.Op == lang.And:
		return slices.ContainsFunc(a.Kids, func(k *lang.Node) bool { return l.covers(k, b) })
	case isAtom(a) && isAtom(b):
		return implies(a, b)
	}
	// What only the virtual machine decides is the same if it reads the same.
	return a.Op == b.Op && a.Neg == b.Neg && a.Op != lang.Or && a.String() == b.String()
}
