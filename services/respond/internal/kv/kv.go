// Package kv says what this service needs of a key-value bucket, and has an
// implementation in memory for playbook tests.
package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Store is a bucket of JSON values with compare-and-set. Errors wrap
// bus.ErrNotFound, bus.ErrExists, bus.ErrConflict or bus.ErrBusy.
type Store[T any] interface {
	Get(ctx context.Context, key string) (bus.Entry[T], error)
	Create(ctx context.Context, key string, v T) (uint64, error)
	Update(ctx context.Context, key string, v T, revision uint64) (uint64, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, patterns ...string) ([]bus.Entry[T], error)
}

var _ Store[int] = (*bus.Bucket[int])(nil)

// ErrKeep tells Change to leave the key as it is.
var ErrKeep = errors.New("keep")

// Change reads, lets f decide and writes, again while others interfere. found
// is false when the key is not there. It returns what stands afterwards.
func Change[T any](ctx context.Context, s Store[T], key string, f func(v T, found bool) (T, error)) (T, error) {
	for {
		e, err := s.Get(ctx, key)
		found := err == nil
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return e.Value, err
		}
		v, err := f(e.Value, found)
		if errors.Is(err, ErrKeep) {
			return e.Value, nil
		}
		if err != nil {
			return e.Value, err
		}
		if found {
			_, err = s.Update(ctx, key, v, e.Revision)
		} else {
			_, err = s.Create(ctx, key, v)
		}
		if err == nil || ctx.Err() != nil || !errors.Is(err, bus.ErrConflict) && !errors.Is(err, bus.ErrExists) {
			return v, err
		}
	}
}

// Mem is a Store in memory. Values are kept as JSON, so that what comes back
// is what a real bucket would give. Safe for concurrent use.
type Mem[T any] struct {
	mu   sync.Mutex
	rev  uint64
	data map[string]memEntry
}

type memEntry struct {
	json []byte
	rev  uint64
}

// NewMem returns an empty store.
func NewMem[T any]() *Mem[T] { return &Mem[T]{data: map[string]memEntry{}} }

var _ Store[int] = (*Mem[int])(nil)

// Get returns the key's value.
func (m *Mem[T]) Get(_ context.Context, key string) (bus.Entry[T], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.data[key]
	if !ok {
		return bus.Entry[T]{}, fmt.Errorf("get %s: %w", key, bus.ErrNotFound)
	}
	out := bus.Entry[T]{Key: key, Revision: e.rev}
	return out, json.Unmarshal(e.json, &out.Value)
}

// Create sets a key that must not exist.
func (m *Mem[T]) Create(_ context.Context, key string, v T) (uint64, error) {
	return m.set(key, v, func(_ memEntry, found bool) error {
		if found {
			return fmt.Errorf("create %s: %w", key, bus.ErrExists)
		}
		return nil
	})
}

// Update sets a key that must have the revision.
func (m *Mem[T]) Update(_ context.Context, key string, v T, revision uint64) (uint64, error) {
	return m.set(key, v, func(e memEntry, found bool) error {
		if !found || e.rev != revision {
			return fmt.Errorf("update %s: %w", key, bus.ErrConflict)
		}
		return nil
	})
}

func (m *Mem[T]) set(key string, v T, check func(memEntry, bool) error) (uint64, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.data[key]
	if err := check(e, found); err != nil {
		return 0, err
	}
	m.rev++
	m.data[key] = memEntry{json: b, rev: m.rev}
	return m.rev, nil
}

// Delete removes a key.
func (m *Mem[T]) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.data, key)
	return nil
}

// List returns the entries whose key has the literal prefix of one of the
// patterns, in order of their last change.
func (m *Mem[T]) List(_ context.Context, patterns ...string) ([]bus.Entry[T], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []bus.Entry[T]
	for k, e := range m.data {
		match := len(patterns) == 0
		for _, p := range patterns {
			match = match || strings.HasPrefix(k, strings.TrimRight(p, "*>"))
		}
		if !match {
			continue
		}
		entry := bus.Entry[T]{Key: k, Revision: e.rev}
		if err := json.Unmarshal(e.json, &entry.Value); err != nil {
			return nil, err
		}
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b bus.Entry[T]) int { return int(a.Revision) - int(b.Revision) })
	return out, nil
}
