package e2e

import (
	"testing"
)

func TestCtrlCStopsCleanly(t *testing.T) {
	h := start(t)
	if n := len(h.children()); n != 1 {
		t.Errorf("%d child processes, want the engine alone", n)
	}
	now, peak := h.rss()
	took := h.stop()
	t.Logf("stopped in %s; memory %d MB, at most %d MB", took, now>>20, peak>>20)
}
