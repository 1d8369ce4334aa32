package lint

import (
	"math"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// interval is a range of numbers; its ends belong to it unless they are open.
type interval struct {
	lo, hi         float64
	openLo, openHi bool
}

// ranges is a sorted list of intervals that do not touch.
type ranges []interval

// domain is what a kind of number can be.
func domain(k event.Kind) interval {
	switch k {
	case event.KindU8:
		return interval{lo: 0, hi: math.MaxUint8}
	case event.KindU16:
		return interval{lo: 0, hi: math.MaxUint16}
	case event.KindU32:
		return interval{lo: 0, hi: math.MaxUint32}
	case event.KindU64:
		return interval{lo: 0, hi: math.MaxUint64}
	case event.KindBool:
		return interval{lo: 0, hi: 1}
	}
	return interval{lo: math.Inf(-1), hi: math.Inf(1)}
}

// numbers is the set of values for which a Num atom holds.
func numbers(n *lang.Node) ranges {
	k := kind(n)
	var out ranges
	for _, x := range n.Nums {
		i := interval{lo: math.Inf(-1), hi: math.Inf(1)}
		switch n.Cmp {
		case lang.EQ:
			i = interval{lo: x, hi: x}
		case lang.LT:
			i.hi, i.openHi = x, true
		case lang.LE:
			i.hi = x
		case lang.GT:
			i.lo, i.openLo = x, true
		case lang.GE:
			i.lo = x
		}
		out = append(out, i)
	}
	if n.Neg {
		out = tidy(out, k).complement()
	}
	return tidy(out, k)
}

// tidy cuts intervals to the domain, makes those of whole numbers closed, and
// joins what touches.
func tidy(in ranges, k event.Kind) ranges {
	whole := k != event.KindF32 && k != event.KindF64
	d := domain(k)
	var list ranges
	for _, i := range in {
		if whole {
			if lo := math.Ceil(i.lo); lo == i.lo && i.openLo {
				i.lo = lo + 1
			} else {
				i.lo = lo
			}
			if hi := math.Floor(i.hi); hi == i.hi && i.openHi {
				i.hi = hi - 1
			} else {
				i.hi = hi
			}
			i.openLo, i.openHi = false, false
		}
		if i.lo < d.lo {
			i.lo, i.openLo = d.lo, false
		}
		if i.hi > d.hi {
			i.hi, i.openHi = d.hi, false
		}
		if i.lo < i.hi || i.lo == i.hi && !i.openLo && !i.openHi {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b interval) int {
		switch {
		case a.lo < b.lo || a.lo == b.lo && !a.openLo && b.openLo:
			return -1
		case a.lo == b.lo && a.openLo == b.openLo:
			return 0
		}
		return 1
	})
	var out ranges
	for _, i := range list {
		if len(out) > 0 {
			last := &out[len(out)-1]
			touches := i.lo < last.hi || i.lo == last.hi && !(i.openLo && last.openHi) || whole && i.lo == last.hi+1
			if touches {
				if i.hi > last.hi {
					last.hi, last.openHi = i.hi, i.openHi
				} else if i.hi == last.hi {
					last.openHi = last.openHi && i.openHi
				}
				continue
			}
		}
		out = append(out, i)
	}
	return out
}

// complement is everything else on the line.
func (r ranges) complement() ranges {
	var out ranges
	at := interval{lo: math.Inf(-1)}
	for _, i := range r {
		if at.lo < i.lo || at.lo == i.lo && !at.openLo && i.openLo {
			out = append(out, interval{lo: at.lo, openLo: at.openLo, hi: i.lo, openHi: !i.openLo})
		}
		at = interval{lo: i.hi, openLo: !i.openHi}
	}
	if !math.IsInf(at.lo, 1) {
		out = append(out, interval{lo: at.lo, openLo: at.openLo, hi: math.Inf(1)})
	}
	return out
}

// and is the intersection with another set.
func (r ranges) and(s ranges) ranges {
	var out ranges
	for _, a := range r {
		for _, b := range s {
			i := a
			if b.lo > i.lo || b.lo == i.lo && b.openLo {
				i.lo, i.openLo = b.lo, b.openLo
			}
			if b.hi < i.hi || b.hi == i.hi && b.openHi {
				i.hi, i.openHi = b.hi, b.openHi
			}
			if i.lo < i.hi || i.lo == i.hi && !i.openLo && !i.openHi {
				out = append(out, i)
			}
		}
	}
	return out
}

// within reports that the set is part of another.
func (r ranges) within(s ranges) bool {
	for _, a := range r {
		if !slices.ContainsFunc(s, func(b interval) bool {
			return (b.lo < a.lo || b.lo == a.lo && (!b.openLo || a.openLo)) && (b.hi > a.hi || b.hi == a.hi && (!b.openHi || a.openHi))
		}) {
			return false
		}
	}
	return true
}
