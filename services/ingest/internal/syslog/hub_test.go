package syslog

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stored is a record that the hub took.
type stored struct{ Source, Auth, Remote, Text, Reason string }

// fakeHub keeps what is submitted.
type fakeHub struct {
	mu       sync.Mutex
	records  []stored
	keys     map[string]bool
	busy     bool
	attempts int
	held     int64
	quiet    bool // count only
	count    int
}

func (h *fakeHub) Submit(_ context.Context, b *intake.Batch) (intake.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts++
	if h.busy {
		return intake.Receipt{}, fmt.Errorf("%w: test", intake.ErrBusy)
	}
	h.count += len(b.Frames.Records) + len(b.Frames.Bad)
	if h.quiet {
		return intake.Receipt{}, nil
	}
	if b.Envelope != intake.Syslog || b.Key == "" || h.keys[b.Key] {
		return intake.Receipt{}, fmt.Errorf("envelope %q, key %q", b.Envelope, b.Key)
	}
	if h.keys == nil {
		h.keys = map[string]bool{}
	}
	h.keys[b.Key] = true
	for _, r := range b.Frames.Records {
		h.records = append(h.records, stored{b.Source, b.Auth, b.Remote, string(b.Body[r.Off:r.End]), ""})
	}
	for _, r := range b.Frames.Bad {
		h.records = append(h.records, stored{b.Source, b.Auth, b.Remote, string(b.Body[r.Off:r.End]), r.Reason})
	}
	return intake.Receipt{}, nil
}

func (h *fakeHub) Identify(string) (auth.Identity, bool) { return auth.Identity{}, false }
func (h *fakeHub) Known(source string) (bool, bool)      { return true, source != "no.such" }
func (h *fakeHub) Limits() frame.Limits {
	return frame.Limits{MaxRecord: 256 << 10, MaxRecords: 1 << 20, MaxDepth: 64}
}

func (h *fakeHub) Reserve(_ context.Context, n int64) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held += n
	return func() { h.mu.Lock(); h.held -= n; h.mu.Unlock() }, nil
}

func (h *fakeHub) set(busy bool) { h.mu.Lock(); h.busy = busy; h.mu.Unlock() }

func (h *fakeHub) all() []stored {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]stored{}, h.records...)
}

func (h *fakeHub) len() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.records) }

// running is a receiver at work; stop returns what Run returned.
type running struct {
	*Receiver
	metrics *telemetry.Registry
	stop    func() error
}

func run(t testing.TB, hub intake.Hub, configs ...Config) *running {
	t.Helper()
	metrics := telemetry.NewRegistry()
	r, err := New(configs, Options{Hub: hub, Metrics: metrics, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return &running{r, metrics, stop}
}
