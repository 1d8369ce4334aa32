package embedded_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
)

func TestChildDiesWithParent(t *testing.T) {
	embeddedtest.Need(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "test-parent", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// A successor that starts at once waits for the old child and gets the data.
	e := start(t, dir)
	if status, body, _ := post(t, e.Addr(), embeddedtest.Admin, "SELECT 1"); status != 200 {
		t.Errorf("the successor answers %d %s", status, body)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !errors.Is(syscall.Kill(child, 0), syscall.ESRCH) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d outlives its parent", child)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
