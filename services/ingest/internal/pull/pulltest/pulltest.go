// Package pulltest is what every kind of feed must pass: nothing is lost and
// nothing is stored twice, whatever fails and whenever the hub is killed. Only
// tests import it.
package pulltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Server is a small faithful copy of what the feed talks to.
type Server interface {
	http.Handler
	// Add puts n more items there; each record stored of one must contain the
	// text of the item: item-N; (N counts from 0).
	Add(n int)
	// AddBad puts one item that is not what the API promises.
	AddBad()
	// AddHuge puts one whose record has more than size bytes.
	AddHuge(size int)
	// Repeat makes the server tell of everything it told of once more, as
	// servers do that deliver at least once.
	Repeat()
}

// Kind is a feed under test.
type Kind struct {
	// New makes an empty server, and how a feed for it is made.
	New func(t *testing.T) (Server, func(url string) (puller.Feed, error))
}

// Run runs the suite.
func Run(t *testing.T, k Kind) {
	for name, f := range map[string]func(*testing.T, *world){
		"empty": testEmpty, "start": testStart, "kill at every step": testKill, "duplicates": testDuplicates, "server error": testErrors,
		"throttled": testThrottled, "malformed item": testMalformed, "huge": testHuge, "busy hub": testBusy, "redirect": testRedirect, "garbage": testGarbage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newWorld(t, k))
		})
	}
}

// world is a server, a hub, and a folder that outlives runners.
type world struct {
	server Server
	hub    *hubtest.Hub
	dir    string
	feed   func(url string) (puller.Feed, error)
	url    string
	n      int // items

	mu    sync.Mutex
	fault func(n int, w http.ResponseWriter, r *http.Request) bool
	calls int
}

func newWorld(t *testing.T, k Kind) *world {
	w := &world{hub: hubtest.New(t), dir: t.TempDir()}
	w.server, w.feed = k.New(t)
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

// ServeHTTP is the server behind the faults.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	fault, n := w.fault, w.calls
	w.calls++
	w.mu.Unlock()
	if fault == nil || !fault(n, rw, r) {
		w.server.ServeHTTP(rw, r)
	}
}

func (w *world) faults(f func(n int, w http.ResponseWriter, r *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.calls = f, 0
}

func (w *world) add(n int) {
	w.server.Add(n)
	w.n += n
}

var errKilled = errors.New("killed")

// mortal is a disk and a hub that stop working at a step, before it is done or
// after.
type mortal struct {
	*hubtest.Hub
	disk  puller.OSDisk
	at    int
	after bool

	mu   sync.Mutex
	n    int
	dead bool
	stop context.CancelFunc // of what is killed
}

func (m *mortal) step(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	now := m.n == m.at
	m.n++
	if now && !m.after {
		m.kill()
		return errKilled
	}
	err := do()
	if now {
		m.kill()
		return errKilled
	}
	return err
}

// kill ends the context too: a killed hub's Submit must not be waited for.
func (m *mortal) kill() {
	m.dead = true
	m.stop()
}

// Read reads a file.
func (m *mortal) Read(path string) ([]byte, error) { return m.disk.Read(path) }

// Write writes a file unless the hub was killed.
func (m *mortal) Write(path string, data []byte) error {
	return m.step(func() error { return m.disk.Write(path, data) })
}

// Submit stores a batch unless the hub was killed. A killed hub is busy until
// the context ends, so that nothing goes on.
func (m *mortal) Submit(ctx context.Context, b *intake.Batch) (r intake.Receipt, err error) {
	kerr := m.step(func() error { r, err = m.Hub.Submit(ctx, b); return err })
	if errors.Is(kerr, errKilled) {
		kerr = fmt.Errorf("%w: %w", intake.ErrBusy, errKilled)
	}
	return r, kerr
}

// Limits are small.
func (m *mortal) Limits() frame.Limits { return m.Hub.Limits() }

// once runs one pull with a new runner, as after a start of the hub.
func (w *world) once(t *testing.T, m *mortal) error {
	t.Helper()
	r, err := w.runner(t, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if m != nil {
		m.stop = cancel
	}
	return r.Once(ctx)
}

func (w *world) runner(t *testing.T, m *mortal) (*puller.Runner, error) {
	t.Helper()
	feed, err := w.feed(w.url)
	if err != nil {
		t.Fatal(err)
	}
	opts := puller.Options{Hub: w.hub, Dir: w.dir, Grace: time.Nanosecond, Metrics: telemetry.NewRegistry()}
	if m != nil {
		opts.Hub, opts.Disk = m, m
	}
	return puller.New([]puller.Job{{Name: "test", Kind: "test", Source: intake.Auto, Every: time.Minute, Feed: feed}}, opts)
}

// exact fails unless every item is stored once.
func (w *world) exact(t *testing.T) {
	t.Helper()
	count := map[int]int{}
	for _, r := range w.hub.Records() {
		for i := range w.n {
			if strings.Contains(r.Text, fmt.Sprintf("item-%d;", i)) {
				count[i]++
			}
		}
	}
	for i := range w.n {
		if count[i] != 1 {
			t.Fatalf("item %d is stored %d times; %d records of %d items", i, count[i], len(w.hub.Records()), w.n)
		}
	}
	if len(w.hub.Records()) != w.n {
		t.Fatalf("%d records of %d items", len(w.hub.Records()), w.n)
	}
}

func (w *world) must(t *testing.T) {
	t.Helper()
	if err := w.once(t, nil); err != nil {
		t.Fatal(err)
	}
}

func testEmpty(t *testing.T, w *world) {
	w.must(t)
	w.must(t)
	w.exact(t)
}

func testStart(t *testing.T, w *world) {
	for _, n := range []int{1, 25, 0, 7} {
		w.add(n)
		w.must(t)
		w.exact(t)
	}
}

func testKill(t *testing.T, w *world) {
	w.add(23)
	for _, after := range []bool{false, true} {
		for at := 0; ; at++ {
			m := &mortal{Hub: w.hub, at: at, after: after}
			w.add(3)
			err := w.once(t, m)
			if err == nil && !m.dead {
				break
			}
			if at > 100 {
				t.Fatal("it never ends")
			}
			if at%3 == 0 { // sometimes more arrives before the next start
				w.add(2)
			}
			if at%2 == 0 {
				w.must(t)
				w.exact(t)
			}
		}
		w.must(t)
		w.exact(t)
	}
}

func testDuplicates(t *testing.T, w *world) {
	w.add(15)
	w.must(t)
	w.server.Repeat()
	w.add(5)
	w.must(t)
	w.server.Repeat()
	w.must(t)
	w.exact(t)
}

func testErrors(t *testing.T, w *world) {
	w.add(25)
	for at := 0; at < 40; at++ {
		w.faults(func(n int, rw http.ResponseWriter, _ *http.Request) bool {
			if n != at {
				return false
			}
			switch at % 3 {
			case 0:
				http.Error(rw, "sorry", http.StatusServiceUnavailable)
			case 1:
				panic(http.ErrAbortHandler) // the connection breaks
			default: // the answer breaks
				rw.Header().Set("Content-Length", "100000")
				_, _ = rw.Write([]byte(`{"value":[`))
			}
			return true
		})
		r, err := w.runner(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Once(t.Context()) // by the same runner, too, it goes on
		w.faults(nil)
		if err := r.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.add(1)
	}
	w.must(t)
	w.exact(t)
}

func testThrottled(t *testing.T, w *world) {
	w.add(3)
	w.faults(func(n int, rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Retry-After", "7")
		http.Error(rw, "slow down", http.StatusTooManyRequests)
		return true
	})
	err := w.once(t, nil)
	var f *puller.Failure
	if !errors.As(err, &f) || f.Status != 429 || f.After != 7*time.Second {
		t.Fatalf("error is %v", err)
	}
	w.faults(nil)
	w.must(t)
	w.exact(t)
}

func testMalformed(t *testing.T, w *world) {
	w.add(5)
	w.server.AddBad()
	w.add(5)
	w.must(t)
	w.must(t)
	w.exact(t)
	if dead := w.hub.Dead(); len(dead) != 1 {
		t.Fatalf("dead letters: %v", dead)
	}
}

func testHuge(t *testing.T, w *world) {
	w.add(2)
	w.server.AddHuge(w.hub.Limits().MaxRecord)
	w.add(2)
	w.must(t)
	w.must(t)
	w.exact(t)
	dead := w.hub.Dead()
	if len(dead) != 1 || dead[0].Auth != frame.ReasonTooLong || len(dead[0].Text) > 64<<10 {
		t.Fatalf("%d dead letters", len(dead))
	}
}

func testBusy(t *testing.T, w *world) {
	w.add(10)
	w.hub.Busy(func(n int, _ *intake.Batch) bool { return n < 3 })
	w.must(t)
	w.exact(t)
}

func testRedirect(t *testing.T, w *world) {
	w.add(1)
	w.faults(func(_ int, rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, "http://192.0.2.1/", http.StatusFound)
		return true
	})
	if err := w.once(t, nil); puller.Status(err) != http.StatusFound {
		t.Fatalf("error is %v", err)
	}
}

func testGarbage(t *testing.T, w *world) {
	w.add(4)
	for _, text := range []string{"", "null", "[]", "{}", "<", strings.Repeat("[", 100_000)} {
		w.faults(func(_ int, rw http.ResponseWriter, _ *http.Request) bool {
			_, _ = rw.Write([]byte(text))
			return true
		})
		if err := w.once(t, nil); err == nil && slices.Contains([]string{"<", ""}, text) {
			t.Fatalf("no error after the answer %q", text)
		}
	}
	w.faults(nil)
	w.must(t)
	w.exact(t)
}
