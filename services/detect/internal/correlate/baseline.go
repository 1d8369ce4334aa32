package correlate

import (
	"slices"
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
		b.begun, b.bucket = true, p.bucket(e.time)
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

// judge says what is usual for the bucket at hand; false if too little is known.
func (w *walker) judge() bool {
	b := w.usual
	if b.cached {
		return b.fits
	}
	b.cached, b.fits = true, false
	if b.bucket*w.p.span-w.since < w.p.learning {
		return false
	}
	i, found := w.verdicts.place(b.bucket)
	if found {
		v := &w.verdicts.list[i]
		b.median, b.scale, b.fits = v.median, v.scale, true
		return true
	}
	v, ok := b.verdict(w.p)
	if ok {
		w.verdicts.put(i, &v, w.s)
		b.median, b.scale, b.fits = v.median, v.scale, true
	}
	return ok
}

// unusual says whether the bucket at hand deviates as the condition says.
func (w *walker) unusual() bool {
	b, p := w.usual, w.p
	v := b.current(p)
	return (p.atEnd || v >= p.c.MinValue) && w.judge() && (!p.atEnd || b.median >= p.c.MinValue) && p.c.Holds((v-b.median)/b.scale)
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
		if far := w.p.bucket(t) - b.bucket; far > n && !judged {
			// All that was known is older than the baseline.
			clear(b.past)
			b.n, b.total, b.from, b.cached = 0, sum{}, 0, false
			b.known = min(b.known+far-n, n)
			b.bucket += far - n
			continue
		}
		if judged && (w.open == nil || end >= w.open.until) && w.unusual() {
			w.rated(end, &seen{time: end})
		}
		b.push(w.p)
	}
}
