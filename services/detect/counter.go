package detect

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// counter shows how many of a number of things are done, on a terminal.
type counter struct {
	*bar
	mu    sync.Mutex
	now   int
	total int
}

func newCounter(w io.Writer, what string, total int) *counter {
	return &counter{bar: newBar(w, what), total: total}
}

// add counts n more; safe for concurrent use.
func (c *counter) add(n int) {
	if c.off {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now += n; time.Since(c.drawn) >= 100*time.Millisecond {
		c.drawn = time.Now()
		fmt.Fprintf(c.w, "\r\x1b[K%s %d of %d", c.what, c.now, c.total)
	}
}
