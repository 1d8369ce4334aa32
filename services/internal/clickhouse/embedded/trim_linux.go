package embedded

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chhttp"
)

// The trimmer looks every trimEvery. The engine gives back what it holds after
// trimAfter without a statement, and when statements are rare, every trimAgain
// in a pause of trimPause.
const (
	trimEvery = 2 * time.Second
	trimAfter = 3 * time.Second
	trimAgain = 30 * time.Second
	trimPause = 200 * time.Millisecond
)

// startTrimmer keeps the idle process small: it returns free memory of the
// engine's allocator and drops the mapped pages of the library's code and
// constants, which the page cache still has.
func startTrimmer(ctx context.Context, h *chhttp.Handler, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(trimEvery)
		defer tick.Stop()
		var last time.Time
		settled := false // nothing has run since the last time
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			idle := h.Idle()
			if idle < time.Since(last) {
				settled = false
			}
			if settled || idle < trimAfter && (idle < trimPause || time.Since(last) < trimAgain) {
				continue
			}
			settled, last = true, time.Now()
			if err := h.Admin("SYSTEM JEMALLOC PURGE"); err != nil {
				log.Debug("cannot purge the allocator", "err", err)
			}
			dropLibraryPages()
		}
	}()
	return func() { cancel(); <-done }
}

// dropLibraryPages drops the resident pages of the library's never-written
// mappings: its code (r-x), and constants and symbols, which come first in the
// file (r-- at offset 0). The kernel brings a page back when it is touched.
func dropLibraryPages() {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		line := sc.Text()
		if !strings.HasSuffix(line, "/libchdb.so") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 6 || !(fields[1] == "r-xp" || fields[1] == "r--p" && fields[2] == "00000000") {
			continue
		}
		lo, hi, ok := strings.Cut(fields[0], "-")
		start, end := parseHex(lo), parseHex(hi)
		if !ok || start == 0 || end <= start {
			continue
		}
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, start, end-start, uintptr(syscall.MADV_DONTNEED))
	}
}

func parseHex(s string) uintptr {
	var v uintptr
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uintptr(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uintptr(c-'a'+10)
		default:
			return 0
		}
	}
	return v
}
