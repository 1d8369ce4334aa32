package store

import (
	"log/slog"
	"os"
	"syscall"
	"testing"
)

func testLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func kill(t testing.TB, pid int) {
	t.Helper()
	if pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Log(err) // it was restarting
		}
	}
}
