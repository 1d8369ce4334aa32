package edge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Waiting asks the edge's own bus how many messages of RAW the hub has not
// acknowledged, and when the oldest of them was received (zero: none).
func Waiting(ctx context.Context, b *bus.Bus, name string) (n uint64, oldest time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := b.JetStream().Consumer(ctx, subjects.StreamRaw, bus.HubConsumer(name))
	if err != nil {
		return 0, time.Time{}, err
	}
	info := c.CachedInfo()
	n = info.NumPending + uint64(info.NumAckPending)
	if n == 0 {
		return 0, time.Time{}, nil
	}
	r, err := b.Get(ctx, subjects.StreamRaw, info.AckFloor.Stream+1)
	if errors.Is(err, bus.ErrNotFound) {
		return n, time.Time{}, nil
	}
	return n, r.Time, err
}

// Reading reports whether the hub waits for messages of RAW now.
func Reading(ctx context.Context, b *bus.Bus, name string) bool {
	c, err := b.JetStream().Consumer(ctx, subjects.StreamRaw, bus.HubConsumer(name))
	return err == nil && c.CachedInfo().NumWaiting > 0
}

// Owner is the name of the edge that a stream was filled by; "" for a new one.
// Under another name the hub would take all of it once more.
func Owner(ctx context.Context, b *bus.Bus, stream string) (string, error) {
	st, err := b.JetStream().Stream(ctx, stream)
	if err != nil {
		return "", err
	}
	list := st.ConsumerNames(ctx)
	owner := ""
	for name := range list.Name() {
		if rest, ok := strings.CutPrefix(name, bus.HubConsumer("")); ok {
			owner = rest
		}
	}
	return owner, list.Err()
}
