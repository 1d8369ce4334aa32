package puller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// feedFunc is a feed.
type feedFunc func(ctx context.Context, state json.RawMessage, out Out) error

func (f feedFunc) Pull(ctx context.Context, state json.RawMessage, out Out) error {
	return f(ctx, state, out)
}

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A source that fails is tried ever less often, waits as it is told to, and is
// in the log once.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log safeBuffer
		var calls atomic.Int64
		var fail atomic.Pointer[error]
		feed := feedFunc(func(context.Context, json.RawMessage, Out) error {
			calls.Add(1)
			if e := fail.Load(); e != nil {
				return *e
			}
			return nil
		})
		metrics := telemetry.NewRegistry()
		r, err := New([]Job{{Name: "a", Kind: "k", Source: "auto", Every: time.Minute, Feed: feed}},
			Options{Hub: hubtest.New(t), Dir: t.TempDir(), Metrics: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		server := error(&Failure{Op: "ask", Status: 503})
		fail.Store(&server)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := calls.Load(); n < 8 || n > 14 {
			t.Errorf("%d calls in ten minutes", n)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "class=server") {
			t.Errorf("log: %s", log.String())
		}
		var text bytes.Buffer
		if err := metrics.Write(&text); err != nil || !strings.Contains(text.String(), `vagus_pull_error{name="a",class="server"} 1`) {
			t.Errorf("metrics: %s %v", text.String(), err)
		}

		slow := error(&Failure{Op: "ask", Status: 429, After: 40 * time.Minute})
		fail.Store(&slow)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		n := calls.Load()
		fail.Store(nil)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if more := calls.Load() - n; more != 0 {
			t.Errorf("%d calls although the server asked to wait", more)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if !strings.Contains(log.String(), "works again") || strings.Count(log.String(), "\n") != 3 {
			t.Errorf("log: %s", log.String())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSeen(t *testing.T) {
	var s Seen
	base := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		s.Add(string(rune('a'+i)), base.Add(time.Duration(i)*time.Second))
	}
	if over := s.Forget(base.Add(10*time.Second), 50); over != 40 || s.Len() != 50 || s.Has("a") || !s.Has(string(rune('a'+99))) {
		t.Errorf("over %d, len %d", over, s.Len())
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Seen
	if err := json.Unmarshal(text, &back); err != nil || back.Len() != 50 || !back.Has(string(rune('a'+99))) {
		t.Errorf("%v, len %d", err, back.Len())
	}
	if json.Unmarshal([]byte(`"AAAA"`), &back) == nil {
		t.Error("damage is not noticed")
	}
}

func TestSecrets(t *testing.T) {
	t.Setenv("PULL_TEST", "hush")
	if v, err := Secret("env:PULL_TEST").Value(); v != "hush" || err != nil {
		t.Error(v, err)
	}
	if _, err := Secret("env:PULL_TEST_NOT_SET").Value(); err == nil {
		t.Error("no error")
	}
	if s := Secret("hush").String() + Secret("hush").GoString(); strings.Contains(s, "hush") {
		t.Error(s)
	}
}

func TestURLs(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://api.example.com": true, "http://127.0.0.1:9200": true, "http://api.example.com": false, "ftp://api.example.com": false,
		"https://user:pw@api.example.com": false, "https://api.example.com/?x=1": false, "api.example.com": false,
	} {
		if _, err := CheckURL(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	k, _, err := open(OSDisk{}, dir, "a", "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.save(json.RawMessage(`{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	if k, _, err = open(OSDisk{}, dir, "a", "k"); err != nil || string(k.State) != `{"x":1}` || k.Seq != 1 {
		t.Fatal(k, err)
	}
	if _, _, err := open(OSDisk{}, dir, "a", "other"); err == nil {
		t.Error("another kind takes the checkpoint")
	}
	if err := (OSDisk{}).Write(k.at, []byte("00000000 {}\n")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(OSDisk{}, dir, "a", "k"); err == nil {
		t.Error("damage is not noticed")
	}
	if class(errors.Join(errDisk)) != "disk" {
		t.Error("class")
	}
}
