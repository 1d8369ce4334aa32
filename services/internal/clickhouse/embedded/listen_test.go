package embedded

import (
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// taken is a listener that the test holds.
func taken(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestAPredecessorOnTheSameAddressIsWaitedFor(t *testing.T) {
	dir, was := t.TempDir(), taken(t)
	lock, err := tryLock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = was.Close(); _ = lock.Close() })
	l, err := listen(t.Context(), Options{DataDir: dir, Addr: was.Addr().String(), LockWait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestSomebodyElsesAddressIsAnErrorAtOnce(t *testing.T) {
	was := taken(t)
	// With an hour of patience the test would not end.
	_, err := listen(t.Context(), Options{DataDir: t.TempDir(), Addr: was.Addr().String(), LockWait: time.Hour})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listens with %v", err)
	}
}
