package telemetry

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Registry holds metrics and writes them in the Prometheus text format. It is
// a few counters on purpose: the OpenTelemetry SDK with its exporter would
// bring twenty modules for the same page of text. Safe for concurrent use.
type Registry struct {
	mu       sync.Mutex
	families map[string]*family
	collect  []func(*Snapshot)
}

// family is all series of one name.
type family struct {
	name, help, kind string
	labels           []string
	buckets          []float64
	mu               sync.RWMutex
	series           map[string]*series
}

type series struct {
	labels string
	bits   atomic.Uint64 // counter or gauge, a float64
	counts []atomic.Uint64
	sum    atomic.Uint64
}

// maxSeries bounds the series of one name; further label values share one
// series with every label "other", because label values may come from input.
const maxSeries = 1000

// NewRegistry returns an empty Registry.
func NewRegistry() *Registry { return &Registry{families: map[string]*family{}} }

func (r *Registry) family(name, help, kind string, buckets []float64, labels []string) *family {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.families[name]
	if f == nil {
		f = &family{name: name, help: help, kind: kind, labels: labels, buckets: buckets, series: map[string]*series{}}
		r.families[name] = f
	}
	return f
}

// with returns the series of the label values, which it pads or cuts to the
// number of labels.
func (f *family) with(values []string) *series {
	key := strings.Join(values, "\xff")
	f.mu.RLock()
	s := f.series[key]
	f.mu.RUnlock()
	if s != nil {
		return s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s = f.series[key]; s != nil {
		return s
	}
	vals := make([]string, len(f.labels))
	copy(vals, values)
	if len(f.series) >= maxSeries {
		for i := range vals {
			vals[i] = "other"
		}
		if key = strings.Join(vals, "\xff"); f.series[key] != nil {
			return f.series[key]
		}
	}
	s = &series{labels: labelText(f.labels, vals), counts: make([]atomic.Uint64, len(f.buckets)+1)}
	f.series[key] = s
	return s
}

func labelText(names, values []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		v := strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(values[i], "�"))
		parts[i] = n + `="` + v + `"`
	}
	return strings.Join(parts, ",")
}

func addFloat(bits *atomic.Uint64, v float64) {
	for {
		old := bits.Load()
		if bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Counter is a number that only grows. Get it once and keep it on hot paths.
type Counter struct{ f *family }

// Counter returns the counter of that name, making it at first use.
func (r *Registry) Counter(name, help string, labels ...string) Counter {
	return Counter{r.family(name, help, "counter", nil, labels)}
}

// Add adds v, which must not be negative, to the series of the label values.
func (c Counter) Add(v float64, values ...string) {
	if v > 0 {
		addFloat(&c.f.with(values).bits, v)
	}
}

// Gauge is a number that goes up and down.
type Gauge struct{ f *family }

// Gauge returns the gauge of that name, making it at first use.
func (r *Registry) Gauge(name, help string, labels ...string) Gauge {
	return Gauge{r.family(name, help, "gauge", nil, labels)}
}

// Set sets the series of the label values.
func (g Gauge) Set(v float64, values ...string) { g.f.with(values).bits.Store(math.Float64bits(v)) }

// Histogram counts durations in buckets.
type Histogram struct{ f *family }

// Histogram returns the histogram of that name in seconds, with buckets from
// 1 ms to 30 s, making it at first use.
func (r *Registry) Histogram(name, help string, labels ...string) Histogram {
	b := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	return Histogram{r.family(name, help, "histogram", b, labels)}
}

// Observe counts one duration.
func (h Histogram) Observe(d time.Duration, values ...string) {
	s := h.f.with(values)
	v := d.Seconds()
	i, _ := slices.BinarySearch(h.f.buckets, v)
	s.counts[i].Add(1)
	addFloat(&s.sum, v)
}

// Snapshot receives values computed while a page is written.
type Snapshot struct{ r *Registry }

// Set sets a gauge (or, for names that end in _total, a counter).
func (s *Snapshot) Set(name, help string, v float64, labelsAndValues ...string) {
	var names, values []string
	for i := 0; i+1 < len(labelsAndValues); i += 2 {
		names, values = append(names, labelsAndValues[i]), append(values, labelsAndValues[i+1])
	}
	kind := "gauge"
	if strings.HasSuffix(name, "_total") {
		kind = "counter"
	}
	s.r.family(name, help, kind, nil, names).with(values).bits.Store(math.Float64bits(v))
}

// OnCollect registers f to run before each page, for values that are read
// rather than counted (bus lag, memory). It must be quick.
func (r *Registry) OnCollect(f func(*Snapshot)) {
	r.mu.Lock()
	r.collect = append(r.collect, f)
	r.mu.Unlock()
}

// Write writes all metrics in the Prometheus text format, sorted by name.
func (r *Registry) Write(w io.Writer) error {
	r.mu.Lock()
	collect := slices.Clone(r.collect)
	r.mu.Unlock()
	for _, f := range collect {
		f(&Snapshot{r})
	}
	r.mu.Lock()
	families := make([]*family, 0, len(r.families))
	for _, f := range r.families {
		families = append(families, f)
	}
	r.mu.Unlock()
	sort.Slice(families, func(i, j int) bool { return families[i].name < families[j].name })
	bw := bufio.NewWriter(w)
	for _, f := range families {
		f.write(bw)
	}
	return bw.Flush()
}

func (f *family) write(w io.Writer) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, strings.ReplaceAll(f.help, "\n", " "), f.name, f.kind)
	all := make([]*series, 0, len(f.series))
	for _, s := range f.series {
		all = append(all, s)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].labels < all[j].labels })
	for _, s := range all {
		if f.kind != "histogram" {
			fmt.Fprintf(w, "%s%s %s\n", f.name, braces(s.labels, ""), number(&s.bits))
			continue
		}
		var total uint64
		for i := range s.counts {
			total += s.counts[i].Load()
			le := "+Inf"
			if i < len(f.buckets) {
				le = strconv.FormatFloat(f.buckets[i], 'g', -1, 64)
			}
			fmt.Fprintf(w, "%s_bucket%s %d\n", f.name, braces(s.labels, `le="`+le+`"`), total)
		}
		fmt.Fprintf(w, "%s_sum%s %s\n%s_count%s %d\n", f.name, braces(s.labels, ""), number(&s.sum), f.name, braces(s.labels, ""), total)
	}
}

func number(bits *atomic.Uint64) string {
	return strconv.FormatFloat(math.Float64frombits(bits.Load()), 'g', -1, 64)
}

func braces(a, b string) string {
	if a != "" && b != "" {
		a += ","
	}
	if a+b == "" {
		return ""
	}
	return "{" + a + b + "}"
}
