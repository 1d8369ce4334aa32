package embedded_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func start(t *testing.T, dir string) *embedded.Engine {
	t.Helper()
	embeddedtest.Need(t)
	e, err := embedded.Start(t.Context(), embeddedtest.Options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestDataSurvivesKills(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	addr := e.Addr()
	c, err := clickhouse.Open(t.Context(), e.DSN(embeddedtest.Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Exec(t.Context(), "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"); err != nil {
		t.Fatal(err)
	}
	acked := 0
	for round := range 3 {
		for range 5 {
			// Retried as the product retries: with the error's own advice.
			for {
				err := c.Exec(t.Context(), fmt.Sprintf("INSERT INTO t VALUES (%d)", acked))
				if err == nil {
					break
				}
				if !clickhouse.IsRetryable(err) {
					t.Fatalf("insert: not retryable: %v", err)
				}
			}
			acked++
		}
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// A request sent now waits for the successor, at the same address.
		var n uint64
		for {
			err := c.QueryRow(t.Context(), "SELECT uniqExact(n) FROM t").Scan(&n)
			if err == nil {
				break
			}
			if !clickhouse.IsRetryable(err) {
				t.Fatalf("round %d: not retryable: %v", round, err)
			}
		}
		if n != uint64(acked) || e.Addr() != addr {
			t.Fatalf("round %d: %d rows of %d, address %s was %s", round, n, acked, e.Addr(), addr)
		}
	}
	if got := e.Starts(); got != 4 {
		t.Errorf("the child started %d times, want 4", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	if status, body, _ := post(t, again.Addr(), embeddedtest.Admin, "SELECT uniqExact(n) FROM t"); status != http.StatusOK || strings.TrimSpace(body) != fmt.Sprint(acked) {
		t.Errorf("after a clean restart: %d %s", status, body)
	}
}

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	o := embeddedtest.Options(dir)
	o.LockWait = 100 * time.Millisecond
	_, err := embedded.Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", e.PID())) {
		t.Errorf("want an error that names the owner %d, got %v", e.PID(), err)
	}
}

func TestBadStarts(t *testing.T) {
	for name, change := range map[string]func(*embedded.Options){
		"no directory": func(o *embedded.Options) { o.DataDir = "" },
		"no user":      func(o *embedded.Options) { o.Users = nil },
		"no password":  func(o *embedded.Options) { o.Users = []embedded.User{{Name: "x"}} },
		"no library":   func(o *embedded.Options) { o.Library = "/nonexistent/libchdb.so" },
		"wrong command": func(o *embedded.Options) {
			o.Library, o.Command = "/x", []string{"/bin/sh", "-c", "echo broken >&2; exit 3"}
		},
		"no program": func(o *embedded.Options) { o.Library, o.Command = "/x", []string{"/nonexistent/program"} },
		"silent program": func(o *embedded.Options) {
			o.Library, o.Command, o.StartTimeout = "/x", []string{"/bin/sleep", "60"}, 100*time.Millisecond
		},
		"bad address": func(o *embedded.Options) { o.Library, o.Addr = "/x", "192.0.2.1:1" },
	} {
		t.Run(name, func(t *testing.T) {
			o := embeddedtest.Options(t.TempDir())
			change(&o)
			e, err := embedded.Start(t.Context(), o)
			if err == nil {
				_ = e.Close()
				t.Fatal("it started")
			}
			if strings.Contains(err.Error(), embeddedtest.Password) {
				t.Errorf("the error tells the password: %v", err)
			}
			t.Log(err)
		})
	}
}

func TestSecretsStayOffTheCommandLine(t *testing.T) {
	e := embeddedtest.Engine(t)
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", e.PID(), file))
		if err != nil {
			t.Logf("no %s here: %v", file, err)
			continue
		}
		if strings.Contains(string(b), embeddedtest.Password) {
			t.Errorf("%s holds the password", file)
		}
	}
}
