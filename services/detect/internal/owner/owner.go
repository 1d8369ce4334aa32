package owner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// ErrLost is the cause of a context whose item belongs to somebody else now:
// there is nothing to hand over.
var ErrLost = errors.New("another instance has taken over")

// Options configures a Table. Bus, Group and Items are required.
type Options struct {
	Bus *bus.Bus
	// Group is whose instances share, one token.
	Group string
	// Items is what is shared, the same in every instance, heavy ones first.
	Items []string
	// Heartbeat is how often an instance says that it lives, default a second;
	// without one for Expiry, default five seconds, it is taken for dead.
	Heartbeat, Expiry time.Duration
	Logger            *slog.Logger
}

// Instance is a process that lives, and what it owns.
type Instance struct {
	ID    string    `json:"id"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"` // last heartbeat, by the bus's clock
	Owns  []string  `json:"owns"`
}

// entry is a key of the bucket: an instance, or who has the lease of an item.
type entry struct {
	Instance *Instance `json:"instance,omitempty"`
	Owner    string    `json:"owner,omitempty"`
}

// Table is one instance's view. Make one with New, call Join, then Run.
type Table struct {
	o      Options
	self   Instance
	bucket *bus.Bucket[entry]
	view   view
	runs   map[string]*run
	rest   map[string]time.Time // not to be begun again before
	ended  chan string
}

// run is an item that this instance works on.
type run struct {
	cancel   context.CancelCauseFunc
	stopping bool
}

// New makes a Table of an instance with a new id.
func New(o Options) *Table {
	if o.Heartbeat <= 0 {
		o.Heartbeat = time.Second
	}
	if o.Expiry <= 0 {
		o.Expiry = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	self := Instance{ID: rand.Text()[:8], Host: host, PID: os.Getpid(), Since: time.Now().UTC()}
	return &Table{o: o, self: self, runs: map[string]*run{}, rest: map[string]time.Time{}, ended: make(chan string, len(o.Items))}
}

// ID names this instance.
func (t *Table) ID() string { return t.self.ID }

// Join tells the others that this instance lives and returns how many of them
// do. It tries until ctx ends.
func (t *Table) Join(ctx context.Context) (others int, err error) {
	for {
		if others, err = t.join(ctx); err == nil || !bus.IsBusy(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err != nil {
		return 0, fmt.Errorf("join the instances of %s: %w", t.o.Group, err)
	}
	return others, nil
}

func (t *Table) join(ctx context.Context) (int, error) {
	if err := t.beat(ctx); err != nil {
		return 0, err
	}
	entries, err := t.bucket.List(ctx, bus.Key(t.o.Group)+".>")
	if err != nil {
		return 0, err
	}
	v := newView(t.o.Group)
	for _, e := range entries {
		v.apply(e)
	}
	n := 0
	for id := range v.instances {
		if id != t.self.ID && v.alive(id, t.o.Expiry) {
			n++
		}
	}
	return n, nil
}

// beat says that this instance lives.
func (t *Table) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.o.Expiry/2)
	defer cancel()
	if t.bucket == nil {
		b, err := bus.OpenVolatile[entry](ctx, t.o.Bus, subjects.BucketInstances)
		if err != nil {
			return err
		}
		t.bucket = b
	}
	_, err := t.bucket.Put(ctx, bus.Key(t.o.Group, "instance", t.self.ID), entry{Instance: &t.self})
	return err
}

// Run owns items until ctx ends. For each it calls work, in a goroutine of its
// own, whose context ends when the item is to be handed over; its cause is
// ErrLost if somebody has it already. When work returns the lease is given
// back; a work that returned by itself is tried again after a heartbeat. Run
// returns when all work has, and the instance is no longer a member.
func (t *Table) Run(ctx context.Context, work func(ctx context.Context, item string)) {
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	changes := make(chan change, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.watch(watch, changes)
	}()
	defer func() { stop(); <-done }()
	// Work outlives ctx: it is cancelled item by item, to hand over.
	base := context.WithoutCancel(ctx)
	tick := time.NewTicker(t.o.Heartbeat)
	defer tick.Stop()
	end := ctx.Done()
	for {
		if end == nil && len(t.runs) == 0 {
			t.leave(base)
			return
		}
		select {
		case <-end:
			end = nil
			for _, r := range t.runs {
				r.stop(context.Canceled)
			}
		case c := <-changes:
			t.change(c)
			for more := true; more; { // what is there already, before deciding
				select {
				case c := <-changes:
					t.change(c)
				default:
					more = false
				}
			}
		case <-tick.C:
			if err := t.beat(base); err != nil {
				t.o.Logger.Debug("heartbeat", "error", err)
			}
			t.bury(base)
		case item := <-t.ended:
			if r := t.runs[item]; !r.stopping {
				t.rest[item] = time.Now().Add(t.o.Heartbeat)
			}
			delete(t.runs, item)
			t.release(base, item)
		}
		if end != nil {
			t.decide(base, work)
		}
	}
}

func (r *run) stop(cause error) {
	r.stopping = true
	r.cancel(cause)
}

// decide compares what is with what should be.
func (t *Table) decide(ctx context.Context, work func(context.Context, string)) {
	if !t.view.ready {
		return // nothing is given up or taken blindly
	}
	live := []string{t.self.ID}
	for id := range t.view.instances {
		if id != t.self.ID && t.view.alive(id, t.o.Expiry) {
			live = append(live, id)
		}
	}
	want := spread(t.o.Items, live)
	for _, item := range t.o.Items {
		r, l := t.runs[item], t.view.leases[item]
		mine := want[item] == t.self.ID
		switch {
		case r != nil && r.stopping:
		case r != nil && l.Value.Owner != "" && l.Value.Owner != t.self.ID:
			t.o.Logger.Warn("work was taken over", "item", item, "by", l.Value.Owner)
			r.stop(ErrLost)
		case r != nil && !mine:
			t.o.Logger.Info("work is handed over", "item", item, "to", want[item])
			r.stop(context.Canceled)
		case r != nil && l.Value.Owner == "":
			// The bus began anew: hold on to what is ours.
			t.take(ctx, item, l)
		case r == nil && !mine && l.Value.Owner == t.self.ID:
			// Giving it back failed, or taking it had succeeded though it seemed
			// not to: as long as this instance lives nobody else may take it.
			t.release(ctx, item)
		case r == nil && mine && (l.Value.Owner == "" || l.Value.Owner == t.self.ID || !slices.Contains(live, l.Value.Owner)):
			if time.Now().Before(t.rest[item]) || !t.take(ctx, item, l) {
				continue
			}
			if from := l.Value.Owner; from != "" && from != t.self.ID {
				t.o.Logger.Warn("work of a dead instance is taken over", "item", item, "from", from)
			}
			wctx, cancel := context.WithCancelCause(ctx)
			t.runs[item] = &run{cancel: cancel}
			go func() {
				defer func() { cancel(nil); t.ended <- item }()
				work(wctx, item)
			}()
		}
	}
}

// take gets the lease if nobody was quicker.
func (t *Table) take(ctx context.Context, item string, l bus.Entry[entry]) bool {
	ctx, cancel := context.WithTimeout(ctx, t.o.Expiry/2)
	defer cancel()
	var rev uint64
	var err error
	mine := entry{Owner: t.self.ID}
	key := bus.Key(t.o.Group, "lease", item)
	if l.Revision == 0 {
		rev, err = t.bucket.Create(ctx, key, mine)
	} else {
		rev, err = t.bucket.Update(ctx, key, mine, l.Revision)
	}
	if err != nil {
		t.o.Logger.Debug("lease not taken", "item", item, "error", err)
		return false
	}
	t.view.leases[item] = bus.Entry[entry]{Value: mine, Revision: rev}
	return true
}

// release gives the lease back, so that its next owner need not wait.
func (t *Table) release(ctx context.Context, item string) {
	l := t.view.leases[item]
	if l.Value.Owner != t.self.ID {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.Expiry/2)
	defer cancel()
	rev, err := t.bucket.Update(ctx, bus.Key(t.o.Group, "lease", item), entry{}, l.Revision)
	if err != nil {
		t.o.Logger.Debug("lease not given back", "item", item, "error", err)
		return
	}
	t.view.leases[item] = bus.Entry[entry]{Revision: rev}
}

// bury removes instances that died long ago.
func (t *Table) bury(ctx context.Context) {
	for id := range t.view.instances {
		if id == t.self.ID || t.view.alive(id, 12*t.o.Expiry) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, t.o.Expiry/2)
		if err := t.bucket.Delete(ctx, bus.Key(t.o.Group, "instance", id)); err == nil {
			delete(t.view.instances, id)
		}
		cancel()
	}
}

func (t *Table) leave(ctx context.Context) {
	if t.bucket == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.Expiry/2)
	defer cancel()
	if err := t.bucket.Delete(ctx, bus.Key(t.o.Group, "instance", t.self.ID)); err != nil {
		t.o.Logger.Debug("instance not removed", "error", err)
	}
}
