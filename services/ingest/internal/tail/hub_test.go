package tail

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/xxh3"
	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// TestMain also runs the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("VAGUS_TEST_TAIL"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

type record struct{ Text, Reason, Remote string }

// fakeHub keeps what is submitted, in a file if it has one, and like the bus a
// batch of the same key and body once.
type fakeHub struct {
	mu      sync.Mutex
	seen    map[string]bool
	records []record
	again   int
	busy    bool
	quiet   bool
	count   int
	framing frame.Framing
	file    *os.File
}

func (h *fakeHub) Submit(_ context.Context, b *intake.Batch) (intake.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy {
		return intake.Receipt{}, fmt.Errorf("%w: test", intake.ErrBusy)
	}
	h.count += len(b.Frames.Records)
	if h.quiet {
		return intake.Receipt{}, nil
	}
	id := fmt.Sprintf("%s %x", b.Key, xxh3.Hash(b.Body))
	var batch []record
	for _, r := range b.Frames.Records {
		batch = append(batch, record{string(b.Body[r.Off:r.End]), "", b.Remote})
	}
	for _, r := range b.Frames.Bad {
		batch = append(batch, record{string(b.Body[r.Off:r.End]), r.Reason, b.Remote})
	}
	if h.file != nil {
		text, err := json.Marshal(map[string]any{"id": id, "records": batch})
		if err != nil {
			return intake.Receipt{}, err
		}
		if _, err := h.file.Write(append(text, '\n')); err != nil {
			return intake.Receipt{}, err
		}
		return intake.Receipt{}, nil
	}
	if h.seen == nil {
		h.seen = map[string]bool{}
	}
	if h.seen[id] {
		h.again++
		return intake.Receipt{Duplicate: true}, nil
	}
	h.seen[id] = true
	h.records = append(h.records, batch...)
	return intake.Receipt{}, nil
}

func (h *fakeHub) Identify(string) (auth.Identity, bool) { return auth.Identity{}, false }
func (h *fakeHub) Known(source string) (bool, bool)      { return true, source != "no.such" }
func (h *fakeHub) Framing(string) frame.Framing          { return h.framing }
func (h *fakeHub) Limits() frame.Limits {
	return frame.Limits{MaxRecord: 1 << 20, MaxRecords: 1 << 20, MaxDepth: 64}
}
func (h *fakeHub) Reserve(context.Context, int64) (func(), error) { return func() {}, nil }

func (h *fakeHub) set(busy bool) { h.mu.Lock(); h.busy = busy; h.mu.Unlock() }
func (h *fakeHub) len() int      { h.mu.Lock(); defer h.mu.Unlock(); return len(h.records) }

func (h *fakeHub) texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, r := range h.records {
		out = append(out, r.Text)
	}
	return out
}

// start runs a Tailer; stop ends it.
func start(t testing.TB, hub intake.Hub, journal string, configs ...Config) (stop func()) {
	t.Helper()
	tailer, err := New(configs, Options{Hub: hub, Dir: journal})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tailer.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func numbered(prefix string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%s %d\n", prefix, i)
	}
	return b.String()
}

// child tails until it is killed.
func child(dir string) {
	file, err := os.OpenFile(filepath.Join(dir, "stored"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	tailer, err := New([]Config{{Paths: []string{filepath.Join(dir, "logs", "*.log")}}}, Options{Hub: &fakeHub{file: file}, Dir: filepath.Join(dir, "journal")})
	if err != nil {
		panic(err)
	}
	if err := tailer.Run(context.Background()); err != nil {
		panic(err)
	}
}
