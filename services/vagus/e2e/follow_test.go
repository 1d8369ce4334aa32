package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// follow runs `vagus send --follow`; the returned function kills it.
func follow(t *testing.T, h *hub, log string) (kill func()) {
	t.Helper()
	cmd := exec.Command(binary, "--data", h.data, "send", "--follow", "--source", "nginx.access", log)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // dead already: fine
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	return kill
}

// A log is followed line by line, each line once: over rotation while the
// program still writes to the old file, and over kills of the sender.
func TestFollowSendsEachLineOnce(t *testing.T) {
	h := start(t)
	log := filepath.Join(t.TempDir(), "ai [1].json")
	open := func() *os.File {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	n := 0
	write := func(f *os.File, count int) {
		for range count {
			if _, err := fmt.Fprintln(f, nginxRecord(fmt.Sprintf("follow-%d", n))); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	old := open()
	write(old, 500)
	kill := follow(t, h, log)
	h.stored("follow", n)

	// As logrotate does it: a new file at once, the program reopens later.
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	next := open()
	write(next, 100)
	h.stored("follow", n)
	write(old, 100)
	h.stored("follow", n)

	// Killed in the middle of batches, again and again.
	for range 5 {
		write(next, 2000)
		time.Sleep(30 * time.Millisecond)
		kill()
		write(next, 10)
		kill = follow(t, h, log)
	}
	h.stored("follow", n)

	// Rotated while nobody follows: the rest of the old file is found.
	kill()
	write(next, 50)
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	last := open()
	write(last, 50)
	kill = follow(t, h, log)
	h.stored("follow", n)

	// An unfinished line waits for its end.
	half := nginxRecord("follow-half")
	if _, err := last.WriteString(half[:40]); err != nil {
		t.Fatal(err)
	}
	write2 := func(s string) {
		if _, err := last.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	write2(half[40:] + "\n")
	n++
	h.stored("follow", n)

	// Cut to nothing, as copytruncate does.
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	write(last, 5)
	h.stored("follow", n)
	kill()
	if d := h.dead(); len(d) > 0 {
		t.Errorf("dead letters: %+v", d)
	}
	h.ledger()
}
