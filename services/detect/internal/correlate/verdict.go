package correlate

import (
	"math"
	"slices"
	"sort"
	"time"
)

// verdict is what is usual for a bucket. It follows from the buckets before, so
// it holds as long as they stay what they are, and often when one of them becomes
// another: a median moves only if a value changes sides.
type verdict struct {
	bucket        int64
	n             int64 // so many totals say so
	median, scale float64
	totals        middle
	distances     middle // of the totals from the median
}

// middle is what a median is made of: the value in the middle, or the two.
type middle struct{ lo, hi ranked }

// ranked is a value in a sorted list: how many are below it, and how many equal.
type ranked struct {
	value       float64
	below, same int32
}

func middleOf(sorted []float64) middle {
	at := func(k int) ranked {
		v := sorted[k]
		below := sort.SearchFloat64s(sorted, v)
		above := below + sort.Search(len(sorted)-below, func(j int) bool { return sorted[below+j] > v })
		return ranked{v, int32(below), int32(above - below)}
	}
	return middle{at((len(sorted) - 1) / 2), at(len(sorted) / 2)}
}

// swap says that one of n values is another now, and reports whether the middle
// stays what it is.
func (m *middle) swap(n int64, was, is float64) bool {
	lo, hi := m.lo.swap((n-1)/2, was, is), m.hi.swap(n/2, was, is)
	return lo && hi
}

func (r *ranked) swap(place int64, was, is float64) bool {
	r.count(was, -1)
	r.count(is, 1)
	return int64(r.below) <= place && place < int64(r.below+r.same)
}

func (r *ranked) count(v float64, n int32) {
	switch {
	case v < r.value:
		r.below += n
	case v == r.value:
		r.same += n
	}
}

func (v *verdict) swap(was, is float64) bool {
	return v.totals.swap(v.n, was, is) && v.distances.swap(v.n, math.Abs(was-v.median), math.Abs(is-v.median))
}

// verdict works out what is usual for the bucket at hand; false if too little is
// known.
func (b *baseline) verdict(p *plan) (verdict, bool) {
	var list []float64
	if p.hour {
		// The same hour of earlier weeks and its neighbours.
		week := p.week()
		for back := week; back-1 <= b.known; back += week {
			for _, k := range [...]int64{back - 1, back, back + 1} {
				if k >= 1 && k <= b.known {
					list = append(list, float64(*b.slot(b.bucket - k)))
				}
			}
		}
	} else {
		list = make([]float64, 0, b.known)
		for k := int64(1); k <= b.known; k++ {
			list = append(list, float64(*b.slot(b.bucket - k)))
		}
	}
	if len(list) < minSamples {
		return verdict{}, false
	}
	v := verdict{bucket: b.bucket, n: int64(len(list))}
	slices.Sort(list)
	v.median, v.totals = median(list), middleOf(list)
	for i, x := range list {
		list[i] = math.Abs(x - v.median)
	}
	slices.Sort(list)
	v.distances = middleOf(list)
	v.scale = max(1.4826*median(list), 0.1*math.Abs(v.median))
	if !p.sums {
		v.scale = max(v.scale, 1)
	}
	v.scale = max(v.scale, 1/unit)
	return v, true
}

// week is a week in buckets.
func (p *plan) week() int64 { return (7 * 24 * time.Hour).Milliseconds() / p.span }

// median is that of a sorted list.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// verdicts are those of the buckets that are not settled, as far as any were
// asked for, in their order. They are no part of the state: without them they are
// worked out again.
type verdicts struct {
	list []verdict
	over bool // there were too many
}

const (
	verdictBytes = 96
	maxVerdicts  = 2048 // of a group
)

// place is where the verdict of a bucket is, or would be.
func (x *verdicts) place(bucket int64) (int, bool) {
	if n := len(x.list); n == 0 || x.list[n-1].bucket < bucket {
		return n, false
	}
	i := sort.Search(len(x.list), func(k int) bool { return x.list[k].bucket >= bucket })
	return i, x.list[i].bucket == bucket
}

func (x *verdicts) put(i int, v *verdict, s *scratch) {
	if x.over = x.over || len(x.list) == maxVerdicts; x.over {
		return
	}
	x.list = slices.Insert(x.list, i, *v)
	*s.bytes += verdictBytes
}

// drop forgets those from place i up to k.
func (x *verdicts) drop(i, k int, s *scratch) {
	x.list = slices.Delete(x.list, i, k)
	*s.bytes -= int64(k-i) * verdictBytes
}

func (x *verdicts) clear(s *scratch) {
	x.drop(0, len(x.list), s)
	x.over = false
}

// settled forgets the verdicts of buckets that nobody asks for any more.
func (x *verdicts) settled(before int64, s *scratch) {
	i, _ := x.place(before)
	if x.drop(0, i, s); x.over {
		x.clear(s)
	}
}

// swap says that the total of a bucket is another now. Verdicts that this changes
// are forgotten; it returns their buckets.
func (x *verdicts) swap(p *plan, bucket int64, was, is float64, s *scratch) []int64 {
	s.buckets = s.buckets[:0]
	if was == is {
		return s.buckets
	}
	i, found := x.place(bucket)
	if found {
		i++
	}
	keep := i
	for k := i; k < len(x.list); k++ {
		v := &x.list[k]
		back := v.bucket - bucket
		if p.hour && back < p.week()-1 || !p.hour && (back > v.n || v.swap(was, is)) {
			x.list[keep] = *v
			keep++
			continue
		}
		s.buckets = append(s.buckets, v.bucket)
	}
	x.drop(keep, len(x.list), s)
	return s.buckets
}
