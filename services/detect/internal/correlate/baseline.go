package correlate

import (
	"math"
	"slices"
	"time"
)

// baseline is what a group did in the buckets before: one number for each. The
// bucket at hand is compared with the median of those that count, and the
// distance is measured in deviations: 1.4826 times the median absolute
// deviation, which is the standard deviation if values are spread normally
// (Hampel, 1974), and which a few outliers do not move. So that a very regular
// group is not alarmed by little, a deviation is at least a tenth of the median
// and, of counts, at least one.
type baseline struct {
	bucket      int64 // number of the bucket at hand: its time divided by the timespan
	begun       bool
	n           int64 // events in the bucket at hand
	total       sum
	first, last int64
	from        uint64    // sources of its events (tellers)
	past        []float32 // ring of totals, by bucket number
	known       int64     // buckets in it, at most its length
	cached      bool      // median and scale are those of the bucket at hand
	fits        bool
	median      float64
	scale       float64
}

// minSamples is what a baseline needs at least.
const minSamples = 4

func newBaseline(p *plan) *baseline {
	return &baseline{past: make([]float32, max(p.c.Baseline.Milliseconds()/p.span, minSamples))}
}

func (b *baseline) clone() *baseline {
	if b == nil {
		return nil
	}
	out := *b
	out.past = slices.Clone(b.past)
	return &out
}

func (b *baseline) add(p *plan, e *seen) {
	if !b.begun {
		b.begun, b.bucket = true, floorTo(e.time, p.span)/p.span
	}
	if b.n == 0 {
		b.first = e.time
	}
	b.n++
	b.last = e.time
	b.from |= 1 << e.from
	if p.sums {
		b.total.add(int64(e.aux))
	}
}

func (b *baseline) current(p *plan) float64 {
	if p.sums {
		return b.total.float()
	}
	return float64(b.n)
}

func (b *baseline) slot(bucket int64) *float32 {
	n := int64(len(b.past))
	return &b.past[((bucket%n)+n)%n]
}

// push closes the bucket at hand.
func (b *baseline) push(p *plan) {
	*b.slot(b.bucket) = float32(b.current(p))
	b.known = min(b.known+1, int64(len(b.past)))
	b.bucket++
	b.n, b.total, b.from, b.cached = 0, sum{}, 0, false
}

// judge works out what is usual for the bucket at hand; false if too little is
// known.
func (b *baseline) judge(p *plan, since int64) bool {
	if b.cached {
		return b.fits
	}
	b.cached, b.fits = true, false
	if b.bucket*p.span-since < p.learning {
		return false
	}
	var list []float64
	if p.hour {
		// The same hour of earlier weeks and its neighbours.
		week := (7 * 24 * time.Hour).Milliseconds() / p.span
		for back := week; back-1 <= b.known; back += week {
			for _, k := range [...]int64{back - 1, back, back + 1} {
				if k >= 1 && k <= b.known {
					list = append(list, float64(*b.slot(b.bucket - k)))
				}
			}
		}
	} else {
		for k := int64(1); k <= b.known; k++ {
			list = append(list, float64(*b.slot(b.bucket - k)))
		}
	}
	if len(list) < minSamples {
		return false
	}
	b.median = median(list)
	for i, v := range list {
		list[i] = math.Abs(v - b.median)
	}
	b.scale = max(1.4826*median(list), 0.1*math.Abs(b.median))
	if !p.sums {
		b.scale = max(b.scale, 1)
	}
	b.scale = max(b.scale, 1/unit)
	b.fits = true
	return true
}

// unusual says whether the bucket at hand deviates as the condition says.
func (b *baseline) unusual(p *plan, since int64) bool {
	v := b.current(p)
	return (p.atEnd || v >= p.c.MinValue) && b.judge(p, since) && (!p.atEnd || b.median >= p.c.MinValue) && p.c.Holds((v-b.median)/b.scale)
}

func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	if n%2 == 1 {
		return list[n/2]
	}
	return (list[n/2-1] + list[n/2]) / 2
}

// rated begins an alert of the bucket at hand.
func (w *walker) rated(at int64, crossing *seen) {
	b := w.usual
	f := &fire{at: at, until: at + w.p.suppress, first: b.first, last: b.last, count: b.n, value: b.current(w.p), crossing: *crossing, from: b.from,
		entity: w.names[crossing.uid], usual: b.median, scale: b.scale}
	if b.n == 0 {
		f.first, f.last = b.bucket*w.p.span, at
	}
	if crossing.uid != (seen{}).uid {
		f.uids = note(f.uids, crossing)
	}
	w.begin(f)
}

// closeBuckets ends the buckets before t.
func (w *walker) closeBuckets(t int64) {
	b := w.usual
	if !b.begun {
		return
	}
	n := int64(len(b.past))
	for (b.bucket+1)*w.p.span <= t {
		end := (b.bucket + 1) * w.p.span
		judged := w.p.atEnd && end-w.newest <= w.p.c.Baseline.Milliseconds()
		if far := floorTo(t, w.p.span)/w.p.span - b.bucket; far > n && !judged {
			// All that was known is older than the baseline.
			clear(b.past)
			b.n, b.total, b.from, b.cached = 0, sum{}, 0, false
			b.known = min(b.known+far-n, n)
			b.bucket += far - n
			continue
		}
		if judged && (w.open == nil || end >= w.open.until) && b.unusual(w.p, w.since) {
			w.rated(end, &seen{time: end})
		}
		b.push(w.p)
	}
}
