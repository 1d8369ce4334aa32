package testkit

import (
	"net"
	"os"
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

func TestProgramSkips(t *testing.T) {
	if os.Getenv("CI") == "true" {
		t.Setenv("CI", "")
	}
	skipped := false
	t.Run("missing", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Program(t, "no-such-program-anywhere")
	})
	if !skipped {
		t.Error("a missing program did not skip")
	}
	if Program(t, "sh") == "" {
		t.Error("no path")
	}
}

func TestFreeAddr(t *testing.T) {
	l, err := net.Listen("tcp", FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
