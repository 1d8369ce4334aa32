package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestReadFrom(t *testing.T) {
	_, b := start(t, Limits{})
	for i := range 100 {
		put(t, b, []string{"events.ai", "events.api"}[i%2], fmt.Sprint(i), bytes.Repeat([]byte{1}, 300<<10))
	}
	for name, c := range map[string]struct {
		filters     []string
		first, last uint64
		want        int
	}{
		"all": {nil, 1, 0, 100}, "range": {nil, 11, 20, 10}, "filtered range": {[]string{"events.ai"}, 11, 20, 5},
		"one": {nil, 7, 7, 1}, "past the end": {nil, 101, 0, 0}, "beyond last": {nil, 99, 500, 2},
		"no match": {[]string{"events.host"}, 1, 0, 0}, "no match in range": {[]string{"events.ai"}, 100, 100, 0},
		"two filters": {[]string{"events.ai", "events.api"}, 1, 0, 100},
	} {
		t.Run(name, func(t *testing.T) {
			var seqs []uint64
			for r, err := range b.ReadFrom(t.Context(), "EVENTS", c.filters, c.first, c.last) {
				if err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, r.Seq)
			}
			if len(seqs) != c.want || !slices.IsSorted(seqs) {
				t.Errorf("got %v, want %d", seqs, c.want)
			}
		})
	}
	if info, err := b.js.Stream(t.Context(), "EVENTS"); err != nil || info.CachedInfo().State.Consumers != 0 {
		t.Errorf("consumers are left: %v, %+v", err, info.CachedInfo().State)
	}
	if r, err := b.Get(t.Context(), "EVENTS", 3); err != nil || r.Subject != "events.ai" {
		t.Errorf("get: %v %v", r.Subject, err)
	}
	if _, err := b.Get(t.Context(), "EVENTS", 999); !errors.Is(err, ErrNotFound) {
		t.Errorf("get missing: %v", err)
	}
}

// What goes away while it is read is left out, and not waited for.
func TestReadFromOfAStreamThatIsPurged(t *testing.T) {
	_, b := start(t, Limits{})
	for i := range 1000 {
		put(t, b, "events.ai", fmt.Sprint(i), []byte("x"))
	}
	st, err := b.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n := 0
	for r, err := range b.ReadFrom(ctx, "EVENTS", nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; int(r.Seq) != n {
			t.Fatalf("sequence %d after %d", r.Seq, n-1)
		}
		if n == 1 {
			if err := st.Purge(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n == 0 || n == 1000 {
		t.Errorf("%d messages", n)
	}
}

// A read for which nothing comes says where to go on.
func TestReadIsNotPatientForEver(t *testing.T) {
	_, b := start(t, Limits{})
	put(t, b, "events.ai", "1", nil)
	put(t, b, "events.ai", "2", nil)
	next, more, n := uint64(1), true, 0
	for range 3 {
		next, more = b.read(t.Context(), "EVENTS", nil, next, ^uint64(0), 50*time.Millisecond, func(_ Record, err error) bool {
			if n++; err != nil {
				t.Error(err)
			}
			return true
		})
		if next != 3 || !more || n != 2 {
			t.Fatalf("next %d, %v, %d messages", next, more, n)
		}
	}
}

func TestFollow(t *testing.T) {
	_, b := start(t, Limits{})
	put(t, b, "signals.1", "0", nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for r, err := range b.Follow(ctx, "SIGNALS", nil, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; int(r.Seq) != n {
			t.Fatalf("seq %d, want %d", r.Seq, n)
		}
		if n == 20 {
			cancel()
			continue
		}
		put(t, b, "signals.1", fmt.Sprint(n), nil)
	}
	if n != 20 {
		t.Errorf("%d messages", n)
	}
}

func TestBucket(t *testing.T) {
	_, b := start(t, Limits{})
	type value struct{ N int }
	k, err := OpenBucket[value](t.Context(), b, "runs")
	if err != nil {
		t.Fatal(err)
	}
	key := Key("ip", "2001:db8::1")
	if _, err := k.Get(t.Context(), key); !errors.Is(err, ErrNotFound) {
		t.Errorf("get missing: %v", err)
	}
	rev, err := k.Create(t.Context(), key, value{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Create(t.Context(), key, value{2}); !errors.Is(err, ErrExists) {
		t.Errorf("create again: %v", err)
	}
	if _, err := k.Update(t.Context(), key, value{2}, rev+5); !errors.Is(err, ErrConflict) {
		t.Errorf("stale update: %v", err)
	}
	if _, err := k.Update(t.Context(), key, value{2}, rev); err != nil {
		t.Errorf("update: %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Change(t.Context(), key, func(e Entry[value]) (value, error) { return value{e.Value.N + 1}, nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if e, err := k.Get(t.Context(), key); err != nil || e.Value.N != 10 {
		t.Errorf("got %+v %v, want 10", e, err)
	}
	if _, err := k.Put(t.Context(), "other", value{3}); err != nil {
		t.Fatal(err)
	}
	if es, err := k.List(t.Context(), "ip.*"); err != nil || len(es) != 1 || es[0].Value.N != 10 {
		t.Errorf("list: %v %v", es, err)
	}
	var got []string
	ready := false
	err = k.Watch(t.Context(), nil, func(e Entry[value], r bool) bool {
		if r {
			ready = true
			go func() { _ = k.Delete(context.WithoutCancel(t.Context()), "other") }()
			return true
		}
		got = append(got, fmt.Sprint(e.Key, e.Deleted))
		return !e.Deleted
	})
	if err != nil || !ready || len(got) != 3 || got[2] != "othertrue" {
		t.Errorf("watch: %v %v %v", got, ready, err)
	}
	if _, err := k.Get(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get deleted: %v", err)
	}
	if es, err := k.List(t.Context()); err != nil || len(es) != 1 {
		t.Errorf("list after delete: %v %v", es, err)
	}
}

func TestKeyRoundTrip(t *testing.T) {
	for _, parts := range [][]string{{"a"}, {"", "b"}, {"2001:db8::1", "x y", "a.b", "=", "*>"}, {"é", "\x00"}} {
		got, err := ParseKey(Key(parts...))
		if err != nil || !slices.Equal(got, parts) {
			t.Errorf("%q: got %q %v", parts, got, err)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("a", "b")
	f.Add("", "=.")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := ParseKey(Key(a, b))
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Fatalf("%q %q: got %q %v", a, b, got, err)
		}
		_, _ = ParseKey(a)
	})
}

func TestCheckpoint(t *testing.T) {
	_, b := start(t, Limits{})
	if _, _, err := b.LoadCheckpoint(t.Context(), "correlate"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	for i, size := range []int{0, 5, 9 << 20} {
		state := bytes.Repeat([]byte{byte(i)}, size)
		if err := b.SaveCheckpoint(t.Context(), "correlate", uint64(i), state); err != nil {
			t.Fatal(err)
		}
		seq, got, err := b.LoadCheckpoint(t.Context(), "correlate")
		if err != nil || seq != uint64(i) || !bytes.Equal(got, state) {
			t.Errorf("size %d: seq %d, %d bytes, %v", size, seq, len(got), err)
		}
	}
	put(t, b, "signals.1", "a", nil)
	put(t, b, "signals.1", "b", nil)
	if err := b.SetFloor(t.Context(), "SIGNALS", "correlate", 1); err != nil {
		t.Fatal(err)
	}
	if l := lag(t, b, "correlate"); !l.Floor || l.AckFloor != 1 || l.Pending != 1 {
		t.Errorf("lag %+v", l)
	}
}
