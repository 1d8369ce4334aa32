// Package hubtest is a hub in memory for the tests of receivers. Only tests
// import it.
package hubtest

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Record is what was stored.
type Record struct{ Source, Envelope, Auth, Text string }

// Hub stores in memory, once for each key, source and body. Its tokens are
// "all-secret" for everything and "edge-secret" for nginx.* and auto; its
// sources nginx.access (lines), litellm.proxy and auto.
type Hub struct {
	tokens *auth.Set

	mu      sync.Mutex
	records []Record
	dead    []Record
	seen    map[string]bool
	busy    func(n int, b *intake.Batch) bool
	full    bool
	n       int
	held    int64
}

var _ intake.Hub = (*Hub)(nil)

// New makes an empty hub. At the end of the test no memory may be reserved.
func New(t testing.TB) *Hub {
	t.Helper()
	tokens, err := auth.New([]auth.Token{
		{Name: "all", SHA256: auth.Hash("all-secret"), Sources: []string{"*"}},
		{Name: "edge", SHA256: auth.Hash("edge-secret"), Sources: []string{"nginx.*", "auto"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &Hub{tokens: tokens, seen: map[string]bool{}}
	t.Cleanup(func() {
		if n := h.Held(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
	})
	return h
}

// Busy makes the hub refuse the batches for which f is true; n counts calls of
// Submit from 0.
func (h *Hub) Busy(f func(n int, b *intake.Batch) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = f
}

// Full makes Reserve refuse.
func (h *Hub) Full(full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = full
}

// Records are those stored so far.
func (h *Hub) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.records...)
}

// Dead are the dead letters so far.
func (h *Hub) Dead() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.dead...)
}

// Held is the memory that is reserved.
func (h *Hub) Held() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// Submit stores a batch.
func (h *Hub) Submit(_ context.Context, b *intake.Batch) (intake.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.n
	h.n++
	if b.Key == "" {
		b.Key = "random-" + strconv.Itoa(n)
	}
	r := intake.Receipt{Key: b.Key}
	if h.busy != nil && h.busy(n, b) {
		return r, intake.ErrBusy
	}
	id := b.Auth + "\x00" + b.Key + "\x00" + b.Source + "\x00" + string(b.Body)
	if r.Duplicate = h.seen[id]; r.Duplicate {
		return r, nil
	}
	h.seen[id] = true
	for _, s := range b.Frames.Records {
		h.records = append(h.records, Record{b.Source, b.Envelope, b.Auth, string(b.Body[s.Off:s.End])})
	}
	for _, s := range b.Frames.Bad {
		h.dead = append(h.dead, Record{b.Source, b.Envelope, s.Reason, string(b.Body[s.Off:s.End])})
	}
	r.Accepted, r.Dead = len(b.Frames.Records), len(b.Frames.Bad)
	return r, nil
}

// Identify finds a token.
func (h *Hub) Identify(secret string) (auth.Identity, bool) { return h.tokens.Check(secret) }

// Known tells of the sources.
func (h *Hub) Known(source string) (lines, known bool) {
	switch source {
	case "nginx.access":
		return true, true
	case "litellm.proxy", intake.Auto:
		return false, true
	}
	return false, false
}

// Reserve counts.
func (h *Hub) Reserve(_ context.Context, n int64) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return nil, intake.ErrBusy
	}
	h.held += n
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held -= n
	}), nil
}

// Limits are small.
func (h *Hub) Limits() frame.Limits {
	return frame.Limits{MaxRecord: 64 << 10, MaxRecords: 100_000, MaxDepth: 64}
}
