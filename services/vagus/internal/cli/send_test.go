package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// fakeIngest stores batches by key, and answers as told.
type fakeIngest struct {
	mu     sync.Mutex
	keys   map[string]bool
	lines  []string
	answer func(n int) int // status of the n-th request; 0: 200
	n      int
	path   string
}

func (f *fakeIngest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if status := f.answer(f.n); status != 0 || err != nil {
		w.WriteHeader(status)
		return
	}
	f.path = r.URL.Path
	key := r.Header.Get("Idempotency-Key")
	again := f.keys[key]
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	if !again {
		f.keys[key] = true
		f.lines = append(f.lines, lines...)
	}
	fmt.Fprintf(w, `{"accepted":%d,"dead":0,"duplicate":%v}`, len(lines), again)
}

func serve(t *testing.T) (*fakeIngest, string) {
	f := &fakeIngest{keys: map[string]bool{}, answer: func(int) int { return 0 }}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, s.URL
}

// send runs the command.
func send(t *testing.T, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	c := (&app{data: t.TempDir()}).sendCommand()
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SilenceUsage, c.SilenceErrors = true, true
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

func archives(t *testing.T) (dir string, want []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, pack func(io.Writer) io.WriteCloser, n int) {
		var b bytes.Buffer
		w := pack(&b)
		for i := range n {
			line := fmt.Sprintf("%s line %d", name, i)
			fmt.Fprintln(w, line)
			want = append(want, line)
		}
		w.Close()
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(w io.Writer) io.WriteCloser { return nopCloser{w} }
	write("a.log", plain, 300)
	write("b/1.log.gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, 300)
	write("b/2.log.zst", func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}, 300)
	write("c.log", plain, 300)
	if err := os.WriteFile(filepath.Join(dir, ".hidden"), []byte("no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestSendArchives(t *testing.T) {
	hub, url := serve(t)
	hub.answer = func(n int) int { return map[int]int{1: 429, 3: 503}[n] }
	dir, want := archives(t)
	out, err := send(t, t.Context(), "--auto", "--url", url, "--batch", "2048", "--json", dir)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(hub.lines, "\n") != strings.Join(want, "\n") || hub.path != "/v1/ingest/auto" {
		t.Errorf("%d lines of %d to %s", len(hub.lines), len(want), hub.path)
	}
	var sum struct {
		Accepted, Files int
		Complete        bool
	}
	if err := json.Unmarshal([]byte(out), &sum); err != nil || sum.Accepted != len(want) || sum.Files != 4 || !sum.Complete {
		t.Errorf("%v %s", err, out)
	}
	if out, err := send(t, t.Context(), "--source", "x.y", "--url", url, filepath.Join(dir, "*.log")); err != nil || !strings.HasPrefix(out, "600 records") {
		t.Errorf("pattern: %v %s", err, out)
	}
	if _, err := send(t, t.Context(), "--auto", "--url", url, filepath.Join(dir, "nothing*")); err == nil {
		t.Error("a pattern without files is no error")
	}
}

// An interrupted sending goes on where it was, however it was interrupted.
func TestSendResume(t *testing.T) {
	hub, url := serve(t)
	dir, want := archives(t)
	state := filepath.Join(t.TempDir(), "state")
	args := []string{"--source", "x.y", "--url", url, "--batch", "2048", "--resume", state, dir}
	ctx, cancel := context.WithCancel(t.Context())
	hub.answer = func(n int) int {
		if n == 9 {
			cancel() // Ctrl-C while this one is on its way
		}
		return 0
	}
	_, err := send(t, ctx, args...)
	if err == nil || !strings.Contains(err.Error(), "--resume "+state+" goes on") {
		t.Errorf("interrupted: %v", err)
	}
	hub.answer = func(n int) int {
		if n == 12 {
			return 403
		}
		return 0
	}
	if _, err := send(t, t.Context(), args...); err == nil {
		t.Error("403 is no error")
	}
	before := hub.n
	if _, err := send(t, t.Context(), args...); err != nil {
		t.Fatal(err)
	}
	if strings.Join(hub.lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d lines of %d", len(hub.lines), len(want))
	}
	if before < 12 {
		t.Errorf("only %d requests before", before)
	}
	before = hub.n
	if out, err := send(t, t.Context(), args...); err != nil || hub.n != before || !strings.HasPrefix(out, "0 records") {
		t.Errorf("all is sent, and yet: %v %s", err, out)
	}
}

func TestSendRate(t *testing.T) {
	hub, url := serve(t)
	file := filepath.Join(t.TempDir(), "a.log")
	if err := os.WriteFile(file, []byte(strings.Repeat("x\n", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := send(t, t.Context(), "--source", "x.y", "--url", url, "--rate", "1000", file); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 190*time.Millisecond || len(hub.lines) != 200 {
		t.Errorf("%d records in %s", len(hub.lines), took)
	}
}
