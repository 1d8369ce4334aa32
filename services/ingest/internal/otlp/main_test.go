package otlp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/mem"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is an intake.Hub that keeps what is submitted.
type hub struct {
	mu      sync.Mutex
	tokens  *auth.Set
	batches []intake.Batch
	records []string
	bad     []string
	keys    map[string]bool
	busy    int // so many times Submit says ErrBusy first
	refuse  error
	limits  frame.Limits
	memory  int64
}

func newHub(t testing.TB) *hub {
	set, err := auth.New([]auth.Token{
		{Name: "all", SHA256: auth.Hash("secret"), Sources: []string{"*"}},
		{Name: "vllm", SHA256: auth.Hash("vllm-secret"), Sources: []string{"vllm.server"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &hub{tokens: set, limits: testLimits, keys: map[string]bool{}, memory: 1 << 30}
}

func (h *hub) Submit(_ context.Context, b *intake.Batch) (intake.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rec := intake.Receipt{Accepted: len(b.Frames.Records), Dead: len(b.Frames.Bad), Key: b.Key}
	if h.busy > 0 {
		h.busy--
		return rec, intake.ErrBusy
	}
	if h.refuse != nil {
		return rec, h.refuse
	}
	id := b.Source + "/" + b.Key + "/" + string(b.Body)
	if h.keys[id] {
		rec.Duplicate = true
		return rec, nil
	}
	h.keys[id] = true
	kept := *b
	kept.Body, kept.Frames = bytes.Clone(b.Body), frame.Frames{Records: slices.Clone(b.Frames.Records), Bad: slices.Clone(b.Frames.Bad)}
	h.batches = append(h.batches, kept)
	for _, r := range kept.Frames.Records {
		h.records = append(h.records, string(kept.Body[r.Off:r.End]))
	}
	for _, r := range kept.Frames.Bad {
		h.bad = append(h.bad, r.Reason)
	}
	return rec, nil
}

func (h *hub) Identify(secret string) (auth.Identity, bool) { return h.tokens.Check(secret) }

func (h *hub) Known(source string) (lines, known bool) {
	return false, slices.Contains([]string{"auto", "vllm.server", "opentelemetry.genai"}, source)
}

func (h *hub) Reserve(_ context.Context, n int64) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n > h.memory {
		return nil, intake.ErrBusy
	}
	h.memory -= n
	return func() { h.mu.Lock(); h.memory += n; h.mu.Unlock() }, nil
}

func (h *hub) Limits() frame.Limits { return h.limits }

func (h *hub) take() (batches []intake.Batch, records []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.batches, h.records
}

// start runs a receiver on free ports until the test ends.
func start(t testing.TB, h *hub, change ...func(*Config)) *Receiver {
	t.Helper()
	cfg := Config{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	r, err := New(cfg, h, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if h.memory != 1<<30 && !errors.Is(h.refuse, errSmall) {
			t.Errorf("%d bytes of memory are still charged", 1<<30-h.memory)
		}
	})
	return r
}

var errSmall = errors.New("a hub of little memory")

// rawClient sends bytes as they are.
type rawClient struct{ rawCodec }

func (rawClient) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
