package embedded_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

// status reads fields in kB from /proc/PID/status.
func status(t testing.TB, pid int) map[string]int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	m := map[string]int{}
	for line := range strings.Lines(string(b)) {
		name, v, _ := strings.Cut(line, ":")
		var n int
		if _, err := fmt.Sscan(v, &n); err == nil {
			m[name] = n
		}
	}
	return m
}

// TestIdleMemory reports the child's size; it fails only far beyond what the
// product's idle budget allows.
func TestIdleMemory(t *testing.T) {
	e := start(t, t.TempDir())
	if code, body, _ := post(t, e.Addr(), embeddedtest.Admin, "SELECT count() FROM system.tables"); code != 200 {
		t.Fatal(body)
	}
	s := status(t, e.PID())
	t.Logf("after a query: RSS %d MB (anon %d, file %d), threads %d", s["VmRSS"]>>10, s["RssAnon"]>>10, s["RssFile"]>>10, s["Threads"])
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		time.Sleep(500 * time.Millisecond)
		if s = status(t, e.PID()); s["VmRSS"] < 200<<10 {
			break
		}
	}
	t.Logf("idle: RSS %d MB (anon %d, file %d), threads %d", s["VmRSS"]>>10, s["RssAnon"]>>10, s["RssFile"]>>10, s["Threads"])
	if s["VmRSS"] > 350<<10 {
		t.Errorf("idle RSS is %d MB, more than 350", s["VmRSS"]>>10)
	}
}
