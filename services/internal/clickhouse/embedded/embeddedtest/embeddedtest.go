//go:build linux || darwin

// Package embeddedtest gives the tests of a package one shared embedded
// engine. A test package that uses it runs its tests through Main:
//
//	func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }
package embeddedtest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
)

// childArg makes the test binary an engine process.
const childArg = "clickhouse-engine"

// The accounts of the shared engine.
const (
	Admin    = "default" // may do everything
	Reader   = "reader"  // may only read
	Password = "test-password"
)

// shared is the engine of this test binary; Main creates and stops it.
var shared struct {
	sync.Mutex
	engine *embedded.Engine
	dir    string
	err    error
}

// Main runs the tests of a package, or the engine when the test binary was
// started as its own child. It returns the exit code.
func Main(m *testing.M) int {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := embedded.RunChild(ctx, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.engine != nil {
		_ = shared.engine.Close()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Engine returns the shared engine, starting it at its first use. Without npm
// and without a cached library the test is skipped, or fails when CI is true.
func Engine(t testing.TB) *embedded.Engine {
	t.Helper()
	Need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil && shared.err == nil {
		shared.dir, shared.err = os.MkdirTemp("", "vagus-engine-")
		if shared.err == nil {
			shared.engine, shared.err = embedded.Start(t.Context(), Options(filepath.Join(shared.dir, "data")))
		}
	}
	if shared.err != nil {
		t.Fatalf("start the shared engine: %v", shared.err)
	}
	return shared.engine
}

// Options are those of the shared engine with another data directory, for
// tests that need an engine of their own.
func Options(dir string) embedded.Options {
	return embedded.Options{
		DataDir: dir,
		Users:   []embedded.User{{Name: Admin, Password: Password}, {Name: Reader, Password: Password, ReadOnly: true}},
		Command: []string{os.Args[0], childArg},
	}
}

// Need skips the test, or fails it when CI is true, if the engine cannot be had.
func Need(t testing.TB) {
	t.Helper()
	if _, ok := embedded.Cached(""); ok {
		return
	}
	if _, err := exec.LookPath("npm"); err != nil {
		if strings.EqualFold(os.Getenv("CI"), "true") {
			t.Fatal("npm is needed to fetch the ClickHouse engine")
		}
		t.Skip("npm is needed to fetch the ClickHouse engine")
	}
}
