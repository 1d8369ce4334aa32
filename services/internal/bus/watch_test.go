package bus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// A watch must not go on in silence when its server is gone: what it has not
// seen since would be missed until heartbeats tell, many seconds later.
func TestWatchEndsWithItsServer(t *testing.T) {
	dir := t.TempDir()
	s, err := StartServer(ServerOptions{StoreDir: dir, Token: "t", MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Shutdown() }()
	addr := strings.TrimPrefix(s.URL(), "nats://")
	b := connect(t, Options{URL: s.URL(), Token: "t"})
	if err := b.EnsureStreams(t.Context(), Limits{}); err != nil {
		t.Fatal(err)
	}
	k, err := OpenBucket[string](t.Context(), b, subjects.BucketDecisions)
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- k.Watch(t.Context(), nil, func(_ Entry[string], r bool) bool {
			if r {
				close(ready)
			}
			return true
		})
	}()
	<-ready
	s.Shutdown()
	if s, err = StartServer(ServerOptions{StoreDir: dir, Addr: addr, Token: "t", MaxStore: 4 << 30}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !IsBusy(err) {
		t.Fatalf("the watch ended with %v, want busy", err)
	}
	eventually(t, "a change gets in", func() bool { _, err := k.Put(t.Context(), "a", "1"); return err == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var got string
	eventually(t, "the next watch works", func() bool {
		return k.Watch(ctx, nil, func(e Entry[string], r bool) bool {
			got += e.Value
			return !r
		}) == nil
	})
	if !strings.HasPrefix(got, "1") {
		t.Errorf("the next watch has seen %q", got)
	}
}
