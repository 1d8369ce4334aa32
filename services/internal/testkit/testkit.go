// Package testkit holds what tests of several packages share: a bus with
// streams, outside programs, golden files, waiting. Only tests import it.
package testkit

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/internal/bus"
)

var update = flag.Bool("update", false, "write golden files instead of comparing")

// Update reports whether the tests run with -update.
func Update() bool { return *update }

// Server starts an embedded bus server in a temporary folder.
func Server(t testing.TB) *bus.Server {
	t.Helper()
	s, err := bus.StartServer(bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Bus starts a server and returns a connected bus with all streams; both end
// with the test.
func Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return BusWith(t, bus.Limits{})
}

// BusWith is Bus with the given limits.
func BusWith(t testing.TB, l bus.Limits) *bus.Bus {
	t.Helper()
	b := Connect(t, Server(t))
	if err := b.EnsureStreams(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return b
}

// Connect connects another client to s; it is closed with the test.
func Connect(t testing.TB, s *bus.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Server: s, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Program returns the path of an outside program. Where it is missing the test
// is skipped, or fails with CI=true: there everything must be installed.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("program %s: %v (CI must have it)", name, err)
	}
	t.Skipf("program %s is not installed", name)
	return ""
}

// Golden compares got with the file testdata/name, or writes it with -update.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("golden %s: %v (run the test with -update to write it)", path, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update to accept), -want +got:\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

// patience is how long anything may take before it hangs: a machine that is busy
// with something else is no failure.
const patience = 2 * time.Minute

// Eventually waits until cond is true and fails the test after two minutes.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(wait)
	}
}

// FreeAddr returns a loopback address that was free a moment ago, outside of
// the range that systems give to outgoing connections and to port 0: it stays
// free until its owner listens, and while its owner restarts. Prefer to listen on
// port 0; use this for what restarts, and for outside programs.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
