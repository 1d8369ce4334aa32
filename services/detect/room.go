package detect

import (
	"context"
	"log/slog"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// room keeps the match stage from filling SIGNALS to the brim. Correlation makes
// it smaller, by checkpoints behind which it is trimmed, but a checkpoint must wait
// until the alerts that are signals again are stored there: without any room for
// them nothing would ever go on. One goroutine uses it.
type room struct {
	bus    *bus.Bus
	log    *slog.Logger
	left   int64     // bytes that may be published before asking again
	asked  time.Time // when left was found out
	warned time.Time
}

// The match stage goes on while SIGNALS is below nine tenths of its limit, above
// the eight at which it is trimmed. Others may publish at the same time, and what
// is on its way is not counted yet: so no more than a quarter of what is left is
// taken without asking again, and not at once.
const (
	roomOf    = 10
	roomShare = 4
	roomAge   = time.Second
	roomPause = 100 * time.Millisecond
)

// take returns when n more bytes may be published, or when ctx ends. If the bus
// does not say, publishing finds out.
func (r *room) take(ctx context.Context, n int) {
	for r.left < int64(n) || time.Since(r.asked) > roomAge {
		if wait := roomPause - time.Since(r.asked); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		st, err := r.bus.Stream(ctx, subjects.StreamSignals)
		if err != nil || st.MaxBytes <= 0 {
			return
		}
		r.asked = time.Now()
		if free := st.MaxBytes - st.MaxBytes/roomOf - int64(st.Bytes); free > 0 {
			r.left = max(free/roomShare, int64(n))
			break
		}
		if r.left = 0; time.Since(r.warned) > time.Minute {
			r.warned = time.Now()
			r.log.Warn("the stream of signals is nearly full: matching waits for correlation", "bytes", st.Bytes, "limit", st.MaxBytes,
				"hint", "if this lasts, give SIGNALS more space, or look for rules that match very much: vagus status")
		}
	}
	r.left -= int64(n)
}
