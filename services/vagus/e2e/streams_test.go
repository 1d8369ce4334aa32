package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// A followed log and a syslog sender, over a hub that is killed while both are
// written to and the log is rotated: every line of the log is stored once, and
// so is every message that came after the hub was back.
func TestFollowedFilesSurviveKills(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "ai.json")
	addr := testkit.FreeAddr(t)
	h := start(t, withConfig(fmt.Sprintf(`
ingest:
  syslog: [{listen: "tcp://%s", source: nginx.access}]
  tail: [{paths: [%q], source: nginx.access}]
`, addr, filepath.Join(dir, "*.json"))))
	n := 0
	write := func(count int) {
		var b strings.Builder
		for range count {
			fmt.Fprintln(&b, nginxRecord(fmt.Sprintf("tail-%d", n)))
			n++
		}
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(b.String()); err != nil {
			t.Fatal(err)
		}
	}
	write(10)
	h.stored("tail", n) // a file that was never seen is not found under another name
	for round := range 2 {
		for range 10 {
			write(200)
			time.Sleep(20 * time.Millisecond) // so that the kill comes between batches, and within
		}
		h.kill()
		write(100)
		if err := os.Rename(log, fmt.Sprintf("%s.%d", log, round)); err != nil {
			t.Fatal(err)
		}
		write(100)
		h.start()
	}
	h.stored("tail", n)

	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const messages = 500
	for i := range messages {
		if _, err := fmt.Fprintf(c, "<190>Oct 11 22:14:15 web1 nginx: %s\n", nginxRecord(fmt.Sprintf("syslog-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "the syslog messages are received", func() bool {
		for _, s := range h.ledger().Sources {
			if s.Source == "nginx.access" && int(s.Received) == n+messages {
				return true
			}
		}
		return false
	})
}
