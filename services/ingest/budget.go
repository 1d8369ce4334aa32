package ingest

import (
	"context"
	"sync"
)

// budget shares out bytes of memory. A request that holds some must use try
// for more: if holders waited for each other, all would wait for ever.
type budget struct {
	mu    sync.Mutex
	total int64
	free  int64
	freed chan struct{}
}

func newBudget(n int64) *budget { return &budget{total: n, free: n, freed: make(chan struct{})} }

// acquire waits for n bytes until ctx ends.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.free >= n {
			b.free -= n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try takes n bytes if they are free now.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free < n {
		return false
	}
	b.free -= n
	return true
}

func (b *budget) release(n int64) {
	b.mu.Lock()
	b.free += n
	close(b.freed)
	b.freed = make(chan struct{})
	b.mu.Unlock()
}

func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free
}
