package owner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// view is what the bucket says, as far as it is known.
type view struct {
	group     string
	ready     bool // all there was is in it
	instances map[string]bus.Entry[entry]
	leases    map[string]bus.Entry[entry]
	// Times in the bucket are of the bus's clock, so that clocks of instances do
	// not matter. This one goes on by what is heard, at most by pause at a time: while
	// the bus, or this instance, stood still nobody could be heard, and nobody was
	// dead for that.
	newest time.Time
	clock  time.Duration
	pause  time.Duration            // 0: any, as long as what there was is told
	heard  map[string]time.Duration // clock at an instance's last heartbeat
}

func newView(group string) view {
	return view{group: group, instances: map[string]bus.Entry[entry]{}, leases: map[string]bus.Entry[entry]{}, heard: map[string]time.Duration{}}
}

func (v *view) apply(e bus.Entry[entry]) {
	if gone := e.Time.Sub(v.newest); !v.newest.IsZero() && gone > 0 {
		if v.pause > 0 {
			gone = min(gone, v.pause)
		}
		v.clock += gone
	}
	v.newest = e.Time
	parts, err := bus.ParseKey(e.Key)
	if err != nil || len(parts) != 3 || parts[0] != v.group {
		return
	}
	switch parts[1] {
	case "instance":
		if e.Deleted || e.Value.Instance == nil {
			delete(v.instances, parts[2])
			delete(v.heard, parts[2])
		} else {
			v.instances[parts[2]] = e
			v.heard[parts[2]] = v.clock
		}
	case "lease":
		if old := v.leases[parts[2]]; e.Revision >= old.Revision {
			v.leases[parts[2]] = e
		}
	}
}

// alive reports whether an instance has told so recently.
func (v *view) alive(id string, expiry time.Duration) bool {
	_, ok := v.instances[id]
	return ok && v.clock-v.heard[id] <= expiry
}

// change is what the watch saw.
type change struct {
	entry  bus.Entry[entry]
	ready  bool // all there was has been told
	anew   bool // a new watch begins
	bucket *bus.Bucket[entry]
}

func (t *Table) change(c change) {
	switch {
	case c.anew:
		t.view, t.bucket = newView(t.o.Group), c.bucket
	case c.ready:
		t.view.ready, t.view.pause = true, t.o.Expiry/2
	default:
		t.view.apply(c.entry)
	}
}

// watch tells every change of the bucket until ctx ends.
func (t *Table) watch(ctx context.Context, out chan<- change) {
	send := func(c change) bool {
		select {
		case out <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for ctx.Err() == nil {
		b, err := bus.OpenVolatile[entry](ctx, t.o.Bus, subjects.BucketInstances)
		if err == nil {
			if !send(change{anew: true, bucket: b}) {
				return
			}
			// The bucket may be a new one, and empty: be in it before looking.
			_, err = b.Put(ctx, bus.Key(t.o.Group, "instance", t.self.ID), entry{Instance: &t.self})
		}
		if err == nil {
			err = b.Watch(ctx, []string{bus.Key(t.o.Group) + ".>"}, func(e bus.Entry[entry], ready bool) bool {
				return send(change{entry: e, ready: ready})
			})
		}
		if err != nil && ctx.Err() == nil {
			t.o.Logger.Debug("watch of the instances", "error", err)
		}
		if errors.Is(err, bus.ErrClosed) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// List returns the live instances of a group, in order of their start.
func List(ctx context.Context, b *bus.Bus, group string) ([]Instance, error) {
	kv, err := bus.OpenBucket[entry](ctx, b, subjects.BucketInstances)
	if err != nil {
		return nil, err
	}
	entries, err := kv.List(ctx, bus.Key(group)+".>")
	if err != nil {
		return nil, err
	}
	v := newView(group)
	for _, e := range entries {
		v.apply(e)
	}
	out := []Instance{}
	for id, e := range v.instances {
		if !v.alive(id, 5*time.Second) || time.Since(e.Time) > time.Minute {
			continue // the second is for when nobody lives to tell the time
		}
		i := *e.Value.Instance
		i.Seen, i.Owns = e.Time, []string{}
		for item, l := range v.leases {
			if l.Value.Owner == id {
				i.Owns = append(i.Owns, item)
			}
		}
		slices.Sort(i.Owns)
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b Instance) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}
