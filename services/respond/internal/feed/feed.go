// Package feed keeps the standing decisions: who is blocked, limited or
// exempt. Enforcement points ask it on every request, so it answers from
// memory, which a watch on the bucket keeps up to date.
package feed

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Watcher is a bucket of decisions that can be watched: every entry there is,
// then once ready, then every change.
type Watcher interface {
	Watch(ctx context.Context, patterns []string, f func(e bus.Entry[decision.Decision], ready bool) bool) error
}

// Feed is the decisions in memory. Safe for concurrent use.
type Feed struct {
	log    *slog.Logger
	probe  func(context.Context) error
	synced atomic.Bool // the first load is complete
	watch  atomic.Bool // the watch is running
	live   atomic.Bool // it is, and the bus answers
	rev    atomic.Uint64

	mu      sync.RWMutex
	byKey   map[string]*entry // bucket key
	names   map[name]*slot
	nets    map[netip.Prefix]*slot
	lengths [2][129]int   // prefixes of each length: IPv4, IPv6
	changed chan struct{} // closed and replaced at every change
}

type name struct {
	scope decision.Scope
	value string
}

// slot holds what was decided about one subject, by kind.
type slot struct{ allow, block, limit *entry }

func (s *slot) of(k decision.Kind) **entry {
	switch k {
	case decision.Allow:
		return &s.allow
	case decision.Block:
		return &s.block
	}
	return &s.limit
}

type entry struct {
	d   decision.Decision
	rev uint64

	mu     sync.Mutex // of the bucket of tokens
	tokens float64
	last   time.Time
}

// New returns an empty feed. probe tells whether the bus answers; it may be nil.
func New(log *slog.Logger, probe func(context.Context) error) *Feed {
	return &Feed{
		log: log, probe: probe, byKey: map[string]*entry{}, names: map[name]*slot{},
		nets: map[netip.Prefix]*slot{}, changed: make(chan struct{}),
	}
}

// Run follows the bucket until ctx ends. When the watch breaks, decisions in
// memory stay in force and Live says false until it is back.
func (f *Feed) Run(ctx context.Context, w Watcher) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if f.probe != nil {
		wg.Go(func() { f.watchBus(ctx) })
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		seen := map[string]bool{}
		loading := true
		err := w.Watch(ctx, nil, func(e bus.Entry[decision.Decision], ready bool) bool {
			if ready {
				f.keepOnly(seen)
				loading = false
				f.synced.Store(true)
				f.watch.Store(true)
				f.live.Store(true)
				wait = 100 * time.Millisecond
				return true
			}
			if loading {
				seen[e.Key] = !e.Deleted
			}
			f.Apply(e)
			return true
		})
		f.watch.Store(false)
		f.live.Store(false)
		if ctx.Err() != nil {
			return nil
		}
		f.log.Error("decisions are not followed: those in memory stay in force", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// watchBus notices a dead bus, which a watch does not report by itself.
func (f *Feed) watchBus(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := f.probe(pctx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if up := err == nil && f.watch.Load(); up != f.live.Load() && f.synced.Load() {
			f.live.Store(up)
			f.log.Warn("decisions watch", "live", up, "error", err)
		}
	}
}

// Synced reports whether all decisions were loaded once.
func (f *Feed) Synced() bool { return f.synced.Load() }

// Live reports whether changes arrive now.
func (f *Feed) Live() bool { return f.live.Load() }

// Revision grows with every change.
func (f *Feed) Revision() uint64 { return f.rev.Load() }

// Apply takes one change of the bucket.
func (f *Feed) Apply(e bus.Entry[decision.Decision]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.byKey[e.Key]
	if old != nil && e.Revision != 0 && e.Revision < old.rev {
		return
	}
	f.remove(e.Key)
	if !e.Deleted {
		f.insert(e, old)
	}
	if e.Revision > f.rev.Load() {
		f.rev.Store(e.Revision)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) insert(e bus.Entry[decision.Decision], old *entry) {
	d := e.Value
	en := &entry{d: d, rev: e.Revision, tokens: float64(max(d.Rate, 1))}
	if old != nil && old.d.Rate == d.Rate {
		// Extending a limit must not hand out a fresh allowance.
		old.mu.Lock()
		en.tokens, en.last = old.tokens, old.last
		old.mu.Unlock()
	}
	if d.Scope != decision.IP {
		k := name{d.Scope, d.Value}
		s := f.names[k]
		if s == nil {
			s = &slot{}
			f.names[k] = s
		}
		*s.of(d.Kind) = en
		f.byKey[e.Key] = en
		return
	}
	p, ok := decision.Prefix(d.Value)
	if !ok {
		f.log.Error("decision ignored: not an address", "id", d.ID, "value", d.Value)
		return
	}
	s := f.nets[p]
	if s == nil {
		s = &slot{}
		f.nets[p] = s
		f.lengths[version(p.Addr())][p.Bits()]++
	}
	*s.of(d.Kind) = en
	f.byKey[e.Key] = en
}

func (f *Feed) remove(key string) {
	old := f.byKey[key]
	if old == nil {
		return
	}
	delete(f.byKey, key)
	if old.d.Scope != decision.IP {
		k := name{old.d.Scope, old.d.Value}
		if s := f.names[k]; s != nil {
			*s.of(old.d.Kind) = nil
			if *s == (slot{}) {
				delete(f.names, k)
			}
		}
		return
	}
	p, _ := decision.Prefix(old.d.Value)
	if s := f.nets[p]; s != nil {
		*s.of(old.d.Kind) = nil
		if *s == (slot{}) {
			delete(f.nets, p)
			f.lengths[version(p.Addr())][p.Bits()]--
		}
	}
}

func (f *Feed) keepOnly(seen map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.byKey {
		if !seen[k] {
			f.remove(k)
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func version(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Query is what an enforcement point knows of a request. Empty parts are not
// asked about.
type Query struct {
	Client netip.Addr
	KeyID  string
	User   string
}

// Verdict answers a Query. Decision is nil when none stands.
type Verdict struct {
	Deny     bool
	Limited  bool // denied because a limit's allowance is used up
	Decision *decision.Decision
}

// Check answers from memory, without allocating. Allow wins over block, block
// over limit; among networks the longest prefix wins.
func (f *Feed) Check(q Query, now time.Time) Verdict {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var best slot
	if q.KeyID != "" {
		best.take(f.names[name{decision.APIKey, q.KeyID}], now)
	}
	if q.User != "" {
		best.take(f.names[name{decision.User, q.User}], now)
	}
	if q.Client.IsValid() {
		a := q.Client.Unmap().WithZone("")
		lengths := &f.lengths[version(a)]
		for bits := a.BitLen(); bits >= 0; bits-- {
			if lengths[bits] == 0 {
				continue
			}
			if p, err := a.Prefix(bits); err == nil {
				best.take(f.nets[p], now)
			}
		}
	}
	switch {
	case best.allow != nil:
		return Verdict{Decision: &best.allow.d}
	case best.block != nil:
		return Verdict{Deny: true, Decision: &best.block.d}
	case best.limit != nil && !best.limit.spend(now):
		return Verdict{Deny: true, Limited: true, Decision: &best.limit.d}
	}
	return Verdict{}
}

// take keeps what stands in o where s has nothing of that kind yet.
func (s *slot) take(o *slot, now time.Time) {
	if o == nil {
		return
	}
	if s.allow == nil && o.allow != nil && o.allow.d.Active(now) {
		s.allow = o.allow
	}
	if s.block == nil && o.block != nil && o.block.d.Active(now) {
		s.block = o.block
	}
	if s.limit == nil && o.limit != nil && o.limit.d.Active(now) {
		s.limit = o.limit
	}
}

// spend takes one token; the bucket holds one minute's worth.
func (e *entry) spend(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	rate := float64(max(e.d.Rate, 1))
	if !e.last.IsZero() {
		e.tokens = min(rate, e.tokens+max(now.Sub(e.last).Minutes(), 0)*rate)
	}
	e.last = now
	if e.tokens < 1 {
		return false
	}
	e.tokens--
	return true
}

// List returns what stands now, oldest first, and the revision it is of.
func (f *Feed) List(now time.Time) ([]decision.Decision, uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make([]decision.Decision, 0, len(f.byKey))
	for _, e := range f.byKey {
		if e.d.Active(now) {
			out = append(out, e.d)
		}
	}
	slices.SortFunc(out, func(a, b decision.Decision) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, f.rev.Load()
}

// Wait blocks until the revision is above since, or ctx ends.
func (f *Feed) Wait(ctx context.Context, since uint64) {
	for {
		f.mu.RLock()
		ch, rev := f.changed, f.rev.Load()
		f.mu.RUnlock()
		if rev > since {
			return
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return
		}
	}
}
