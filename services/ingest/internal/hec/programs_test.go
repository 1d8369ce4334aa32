package hec

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// syslog-ng's HTTP destination sends batches of events as to a real collector,
// and sends again what was answered 503.
func TestSyslogNG(t *testing.T) {
	program := testkit.Program(t, "syslog-ng")
	hub := hubtest.New(t)
	srv := httptest.NewServer(handler(t, hub, Config{}))
	defer srv.Close()
	var calls atomic.Int32
	hub.Busy(func(int, *intake.Batch) bool { return calls.Add(1)%3 == 2 })
	dir := t.TempDir()
	const n = 150
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "event #%d.\n", i)
	}
	in, conf := filepath.Join(dir, "in.log"), filepath.Join(dir, "conf")
	for path, text := range map[string]string{in: lines.String(), conf: strings.NewReplacer("DIR", dir, "URL", srv.URL).Replace(`@version: 3.38
options { time-reopen(1); };
source s { file("DIR/in.log" flags(no-parse) read-old-records(yes)); };
destination d {
  http(url("URL/services/collector/event") method("POST") headers("Authorization: Splunk all-secret")
    body('$(format-json --scope none time=$S_UNIXTIME host=$HOST source=syslog-ng sourcetype=app event=$MSG)')
    batch-lines(20) batch-timeout(100) delimiter("\n") workers(2) retries(10));
};
log { source(s); destination(d); };
`)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	cmd := exec.Command(program, "-F", "-f", conf, "-R", filepath.Join(dir, "persist"), "-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "ctl"), "--no-caps")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Log(out.String())
		}
	}()
	testkit.Eventually(t, "all events", func() bool { return len(hub.Records()) >= n })
	var all strings.Builder
	for _, r := range hub.Records() {
		all.WriteString(r.Text + "\n")
	}
	for i := range n {
		if c := strings.Count(all.String(), fmt.Sprintf("#%d.", i)); c != 1 {
			t.Errorf("event %d is there %d times", i, c)
		}
	}
}
