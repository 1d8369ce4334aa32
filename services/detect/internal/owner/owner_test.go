package owner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSpread(t *testing.T) {
	items := []string{"0", "1", "2", "3", "lead"}
	moved := 0
	for n := 1; n <= 6; n++ {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint("instance-", i))
		}
		got := spread(items, ids)
		shuffled := append([]string{}, ids...)
		rand.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again := spread(items, shuffled)
		partitions, all := map[string]int{}, map[string]int{}
		for i, item := range items {
			if got[item] == "" || got[item] != again[item] {
				t.Errorf("%d instances: %s belongs to %q or %q", n, item, got[item], again[item])
			}
			if all[got[item]]++; i < 4 {
				partitions[got[item]]++
			}
		}
		for _, id := range ids {
			if partitions[id] > (3+n)/n || all[id] > (4+n)/n {
				t.Errorf("%d instances: %s has %d partitions of 4, %d items of 5", n, id, partitions[id], all[id])
			}
		}
		if n > 1 {
			before := spread(items, ids[:n-1])
			for _, item := range items {
				if before[item] != got[item] {
					moved++
				}
			}
		}
	}
	t.Logf("%d of %d items moved when one instance after the other joined", moved, 5*len(items))
	if spread(items, nil)["0"] != "" {
		t.Error("an owner out of nobody")
	}
}

// world is what several tables do; it fails the test when a lease's holder does
// not stop before the next begins, unless the holder was cut off.
type world struct {
	t    *testing.T
	mu   sync.Mutex
	by   map[string]string
	lost map[string]int
}

// instance runs a table over a connection of its own until stop (a clean stop)
// or cut (as if it were killed).
func (w *world) instance(s *bus.Server) (id string, stop, cut func()) {
	b, err := bus.Connect(w.t.Context(), bus.Options{Server: s})
	if err != nil {
		w.t.Fatal(err)
	}
	tab := New(Options{Bus: b, Group: "test", Items: []string{"0", "1", "2", "3"}, Heartbeat: 50 * time.Millisecond, Expiry: 2 * time.Second})
	ctx, cancel := context.WithCancel(w.t.Context())
	if _, err := tab.Join(ctx); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	var dead sync.Once
	gone := make(chan struct{})
	go func() {
		defer close(done)
		tab.Run(ctx, func(ctx context.Context, item string) {
			w.mu.Lock()
			w.by[item] = tab.ID()
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-gone:
			}
			w.mu.Lock()
			if errors.Is(context.Cause(ctx), ErrLost) {
				w.lost[tab.ID()]++
			}
			if w.by[item] == tab.ID() {
				delete(w.by, item)
			}
			w.mu.Unlock()
		})
	}()
	end := func() { cancel(); <-done; b.Close() }
	return tab.ID(), func() { dead.Do(end) }, func() { dead.Do(func() { b.Conn().Close(); close(gone); end() }) }
}

func (w *world) owners() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for _, id := range w.by {
		out[id]++
	}
	return out
}

func TestItemsMoveWithInstances(t *testing.T) {
	s := testkit.Server(t)
	b := testkit.Connect(t, s)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, by: map[string]string{}, lost: map[string]int{}}
	shares := func(what string, want ...int) {
		t.Helper()
		testkit.Eventually(t, what, func() bool {
			got := map[int]int{}
			for _, n := range w.owners() {
				got[n]++
			}
			for _, n := range want {
				if got[n]--; got[n] < 0 {
					return false
				}
			}
			return len(w.owners()) == len(want)
		})
	}
	_, stop1, _ := w.instance(s)
	shares("one instance owns all", 4)
	_, stop2, cut2 := w.instance(s)
	defer stop2()
	shares("two instances share", 2, 2)
	_, stop3, _ := w.instance(s)
	_, stop4, _ := w.instance(s)
	defer stop4()
	shares("four instances share", 1, 1, 1, 1)
	list, err := List(t.Context(), b, "test")
	if err != nil || len(list) != 4 || list[0].PID == 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	for _, i := range list {
		if len(i.Owns) != 1 {
			t.Errorf("%s owns %v", i.ID, i.Owns)
		}
	}
	stop3()
	shares("three instances share", 1, 1, 2)
	cut2()
	shares("two are left after a crash", 2, 2)
	stop1()
	shares("one is left", 4)
	if len(w.lost) > 0 {
		t.Errorf("leases were lost by live instances: %v", w.lost)
	}
}

// A lease whose owner does not work on it, because giving it back failed, is
// given back as soon as that is possible.
func TestALeaseThatIsNotUsedIsGivenBack(t *testing.T) {
	s := testkit.Server(t)
	b := testkit.Connect(t, s)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, by: map[string]string{}, lost: map[string]int{}}
	one, stop1, _ := w.instance(s)
	defer stop1()
	two, stop2, _ := w.instance(s)
	defer stop2()
	var item string
	testkit.Eventually(t, "two instances share", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := 0
		for i, id := range w.by {
			if id == two {
				item, n = i, n+1
			}
		}
		return len(w.by) == 4 && n == 2
	})
	leases, err := bus.OpenBucket[entry](t.Context(), b, subjects.BucketInstances)
	if err != nil {
		t.Fatal(err)
	}
	key := bus.Key("test", "lease", item)
	unused, err := leases.Put(t.Context(), key, entry{Owner: one})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the second has it again", func() bool {
		e, err := leases.Get(t.Context(), key)
		w.mu.Lock()
		defer w.mu.Unlock()
		return err == nil && e.Revision > unused && e.Value.Owner == two && w.by[item] == two
	})
}
