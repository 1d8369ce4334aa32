package testkit

import (
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/internal/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBus(t *testing.T) {
	b := Bus(t)
	if _, err := b.Publish(t.Context(), bus.Msg{Subject: "raw.a", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the message is stored", func() bool {
		r, err := b.Get(t.Context(), "RAW", 1)
		return err == nil && string(r.Data) == "x"
	})
}

func TestGolden(t *testing.T) { Golden(t, "hello.txt", []byte("hello\n")) }

// recorder notes how a test would have ended, without ending this one.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Skipf(string, ...any)  { r.skipped = true }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func TestProgram(t *testing.T) {
	tests := map[string]struct {
		ci, name        string
		skipped, failed bool
	}{
		"there":                    {"true", "sh", false, false},
		"missing, on a user's own": {"", "no-such-program-anywhere", true, false},
		"missing, in CI":           {"true", "no-such-program-anywhere", false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			r := &recorder{TB: t}
			path := ""
			func() {
				defer func() { _ = recover() }() // as Fatalf ends a test
				path = Program(r, tt.name)
			}()
			if r.skipped != tt.skipped || r.failed != tt.failed || (path == "") != (tt.skipped || tt.failed) {
				t.Errorf("path %q, skipped %v, failed %v", path, r.skipped, r.failed)
			}
		})
	}
}

func TestFreeAddr(t *testing.T) {
	l, err := net.Listen("tcp", FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
