package lint

import (
	"net/netip"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// isAtom reports whether a node is a predicate over one field that is
// understood here.
func isAtom(n *lang.Node) bool {
	switch n.Op {
	case lang.Num:
		k := kind(n) // "not x > 5" holds for NaN too
		return !n.Neg || k != event.KindF32 && k != event.KindF64
	case lang.Eq, lang.Contains, lang.Prefix, lang.Suffix, lang.Match, lang.In, lang.Exists:
		return true
	}
	return false
}

func isText(n *lang.Node) bool { return n.Op >= lang.Eq && n.Op <= lang.Suffix }

// whenAbsent is the value of an atom, Neg left aside, on an event without the
// field; list fields are empty then.
func whenAbsent(n *lang.Node) bool {
	list := kind(n) == event.KindKeywords
	switch n.Op {
	case lang.Eq:
		for _, s := range n.Lits {
			if s == "" && !list {
				return true
			}
		}
	case lang.Match:
		return !list && n.Re.MatchString("")
	case lang.Num:
		for _, x := range n.Nums {
			if n.Cmp.Holds(0, x) {
				return true
			}
		}
	}
	return false
}

// implies reports that whenever atom a holds, atom b does. False means that it
// is not known.
func implies(a, b *lang.Node) bool {
	if !sameField(a, b) {
		return false
	}
	if a.Op == lang.Num && b.Op == lang.Num {
		return numbers(a).within(numbers(b))
	}
	switch {
	case a.Neg && b.Neg:
		return impliesPlain(b, a)
	case !a.Neg && !b.Neg:
		return impliesPlain(a, b)
	case !a.Neg && b.Neg:
		return disjoint(a, b)
	case a.Op == lang.Exists: // not exists(x) fixes the value
		return whenAbsent(b)
	}
	return false
}

// impliesPlain is implies for two atoms with Neg left aside.
func impliesPlain(a, b *lang.Node) bool {
	if b.Op == lang.Exists {
		return a.Op == lang.Exists || !whenAbsent(a)
	}
	switch {
	case isText(a) && isText(b):
		for _, x := range a.Lits {
			if !covered(a, x, b) {
				return false
			}
		}
		return len(a.Lits) > 0
	case a.Op == lang.Eq && !a.Fold && b.Op == lang.Match:
		for _, x := range a.Lits {
			if !b.Re.MatchString(x) {
				return false
			}
		}
		return len(a.Lits) > 0
	case a.Op == lang.Match && b.Op == lang.Match:
		return a.Re.String() == b.Re.String()
	case a.Op == lang.In && b.Op == lang.In:
		for _, x := range a.Nets {
			if !inside(x, b.Nets) {
				return false
			}
		}
		return len(a.Nets) > 0
	case a.Op == lang.Eq && b.Op == lang.In:
		for _, x := range a.Lits {
			addr, err := netip.ParseAddr(x)
			if err != nil || !inside(netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), b.Nets) {
				return false
			}
		}
		return len(a.Lits) > 0
	}
	return false
}

func inside(p netip.Prefix, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// covered reports that a text for which a's literal x holds satisfies b.
func covered(a *lang.Node, x string, b *lang.Node) bool {
	if a.Fold && !b.Fold && lang.Fold(strings.ToUpper(x)) != strings.ToUpper(x) {
		return false // b wants a case that a does not promise
	}
	if b.Fold {
		x = lang.Fold(x)
	}
	for _, y := range b.Lits {
		switch {
		case a.Op == lang.Eq && holds(b.Op, x, y),
			b.Op == lang.Contains && strings.Contains(x, y),
			a.Op == b.Op && a.Op != lang.Eq && holds(b.Op, x, y):
			return true
		}
	}
	return false
}

func holds(op lang.Op, x, y string) bool {
	switch op {
	case lang.Contains:
		return strings.Contains(x, y)
	case lang.Prefix:
		return strings.HasPrefix(x, y)
	case lang.Suffix:
		return strings.HasSuffix(x, y)
	}
	return x == y
}

// disjoint reports that no value satisfies both atoms, with Neg left aside.
// Several elements of a list may satisfy one each, so lists are never.
func disjoint(a, b *lang.Node) bool {
	if kind(a) == event.KindKeywords || kind(a) == event.KindScores {
		return false
	}
	fold := func(s string) string { return s }
	if a.Fold || b.Fold {
		fold = lang.Fold
	}
	if b.Op == lang.Eq {
		a, b = b, a
	}
	if a.Op == lang.Eq {
		for _, x := range a.Lits {
			if may(a, x, b, fold) {
				return false
			}
		}
		return len(a.Lits) > 0
	}
	if a.Op != b.Op {
		return false
	}
	switch a.Op {
	case lang.Prefix, lang.Suffix:
		for _, x := range a.Lits {
			for _, y := range b.Lits {
				x, y := fold(x), fold(y)
				if holds(a.Op, x, y) || holds(a.Op, y, x) {
					return false
				}
			}
		}
		return true
	case lang.In:
		for _, x := range a.Nets {
			for _, y := range b.Nets {
				if x.Overlaps(y) {
					return false
				}
			}
		}
		return true
	}
	return false
}

// may reports whether a text that equals x, for atom a, can satisfy b.
func may(a *lang.Node, x string, b *lang.Node, fold func(string) string) bool {
	switch b.Op {
	case lang.Eq, lang.Contains, lang.Prefix, lang.Suffix:
		for _, y := range b.Lits {
			if holds(b.Op, fold(x), fold(y)) {
				return true
			}
		}
		return false
	case lang.Match:
		return a.Fold || b.Re.MatchString(x)
	case lang.In:
		addr, err := netip.ParseAddr(x)
		return err == nil && inside(netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), b.Nets)
	case lang.Exists:
		return x != ""
	}
	return true
}
