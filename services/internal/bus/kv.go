package bus

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// Bucket is a KV bucket of JSON values. Safe for concurrent use.
type Bucket[T any] struct {
	name string
	kv   jetstream.KeyValue
	nc   *nats.Conn
}

// Entry is one key's state.
type Entry[T any] struct {
	Key   string
	Value T
	// Revision is what Update compares; it grows with every change in the
	// bucket.
	Revision uint64
	// Time of the change.
	Time time.Time
	// Deleted says the key is gone; Value is zero.
	Deleted bool
}

// OpenBucket opens a bucket that EnsureStreams made.
func OpenBucket[T any](ctx context.Context, b *Bus, name string) (*Bucket[T], error) {
	kv, err := b.js.KeyValue(ctx, name)
	if err != nil {
		return nil, classify("open bucket "+name, err)
	}
	return &Bucket[T]{name: name, kv: kv, nc: b.nc}, nil
}

// OpenVolatile opens a bucket that is kept in memory, and makes it if it is not
// there: it is gone when the bus restarts, and nothing in it is worth an fsync.
func OpenVolatile[T any](ctx context.Context, b *Bus, name string) (*Bucket[T], error) {
	k, err := OpenBucket[T](ctx, b, name)
	if err == nil || !errors.Is(err, jetstream.ErrBucketNotFound) {
		return k, err
	}
	st, err := b.js.Stream(ctx, "KV_"+subjects.BucketCheckpoints)
	if err != nil {
		return nil, classify("create bucket "+name, err)
	}
	kv, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, History: 1, Storage: jetstream.MemoryStorage, MaxBytes: 4 << 20, Replicas: st.CachedInfo().Config.Replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) { // somebody was quicker
		return OpenBucket[T](ctx, b, name)
	}
	if err != nil {
		return nil, classify("create bucket "+name, err)
	}
	return &Bucket[T]{name: name, kv: kv, nc: b.nc}, nil
}

// Get returns the key's value, or ErrNotFound.
func (k *Bucket[T]) Get(ctx context.Context, key string) (Entry[T], error) {
	e, err := k.kv.Get(ctx, key)
	if err != nil {
		return Entry[T]{}, k.wrap("get", key, err)
	}
	return k.entry(e)
}

// Put sets the key whatever it was, and returns the revision.
func (k *Bucket[T]) Put(ctx context.Context, key string, v T) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("put %s %s: %w: %w", k.name, key, ErrRefused, err)
	}
	rev, err := k.kv.Put(ctx, key, data)
	return rev, k.wrap("put", key, err)
}

// Create sets a key that must not exist; else ErrExists.
func (k *Bucket[T]) Create(ctx context.Context, key string, v T) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("create %s %s: %w: %w", k.name, key, ErrRefused, err)
	}
	rev, err := k.kv.Create(ctx, key, data)
	return rev, k.wrap("create", key, err)
}

// Update sets a key that must still have the revision; else ErrConflict.
func (k *Bucket[T]) Update(ctx context.Context, key string, v T, revision uint64) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("update %s %s: %w: %w", k.name, key, ErrRefused, err)
	}
	rev, err := k.kv.Update(ctx, key, data, revision)
	if errors.Is(err, jetstream.ErrKeyExists) { // the library's name for a wrong revision
		return 0, fmt.Errorf("update %s %s: %w", k.name, key, ErrConflict)
	}
	return rev, k.wrap("update", key, err)
}

// Change reads a key, lets f change it, and writes it, again and again while
// other writers interfere. A key that is not there is a zero Value with
// Revision 0. When f returns an error nothing is written and Change returns it.
func (k *Bucket[T]) Change(ctx context.Context, key string, f func(Entry[T]) (T, error)) (uint64, error) {
	for {
		e, err := k.Get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		v, err := f(e)
		if err != nil {
			return 0, err
		}
		var rev uint64
		if e.Revision == 0 {
			rev, err = k.Create(ctx, key, v)
		} else {
			rev, err = k.Update(ctx, key, v, e.Revision)
		}
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return rev, err
		}
	}
}

// Delete removes the key; deleting what is not there is no error.
func (k *Bucket[T]) Delete(ctx context.Context, key string) error {
	return k.wrap("delete", key, k.kv.Delete(ctx, key))
}

// List returns the entries whose key matches one of the patterns ("*" is one
// token, ">" the rest; none means all), in order of their last change.
func (k *Bucket[T]) List(ctx context.Context, patterns ...string) ([]Entry[T], error) {
	var out []Entry[T]
	err := k.watch(ctx, patterns, func(e Entry[T], live bool, err error) bool {
		if err == nil && !live {
			out = append(out, e)
			return true
		}
		return false
	}, true)
	return out, err
}

// Watch calls f with every matching entry there is, then once with ready true
// and a zero entry, then with every change, deletions included, until ctx ends
// (no error) or f returns false. A value that cannot be decoded is skipped. It
// ends with ErrBusy when the connection is lost: watch again then.
func (k *Bucket[T]) Watch(ctx context.Context, patterns []string, f func(e Entry[T], ready bool) bool) error {
	return k.watch(ctx, patterns, func(e Entry[T], ready bool, err error) bool {
		if err != nil {
			return true
		}
		return f(e, ready)
	}, false)
}

func (k *Bucket[T]) watch(ctx context.Context, patterns []string, f func(Entry[T], bool, error) bool, once bool) error {
	if len(patterns) == 0 {
		patterns = []string{">"}
	}
	var opts []jetstream.WatchOpt
	if once {
		opts = append(opts, jetstream.IgnoreDeletes())
	}
	// After a restart of the server the client's watcher is silent until missed
	// heartbeats tell it, 10 to 20 seconds later.
	lost := k.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer k.nc.RemoveStatusListener(lost)
	w, err := k.kv.WatchFiltered(ctx, patterns, opts...)
	if err != nil {
		return k.wrap("watch", strings.Join(patterns, ","), err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			if once {
				return k.wrap("list", strings.Join(patterns, ","), ctx.Err())
			}
			return nil
		case <-lost:
			return fmt.Errorf("watch %s: %w: the connection was lost", k.name, ErrBusy)
		case e, ok := <-w.Updates():
			if !ok {
				if ctx.Err() != nil && !once {
					return nil
				}
				return fmt.Errorf("watch %s: %w: the watch ended", k.name, ErrBusy)
			}
			if e == nil { // all there was
				if once || !f(Entry[T]{}, true, nil) {
					return nil
				}
				continue
			}
			entry, err := k.entry(e)
			if !f(entry, false, err) {
				return err
			}
		}
	}
}

func (k *Bucket[T]) entry(e jetstream.KeyValueEntry) (Entry[T], error) {
	out := Entry[T]{Key: e.Key(), Revision: e.Revision(), Time: e.Created()}
	if e.Operation() != jetstream.KeyValuePut {
		out.Deleted = true
		return out, nil
	}
	if err := json.Unmarshal(e.Value(), &out.Value); err != nil {
		return out, fmt.Errorf("decode %s %s: %w: %w", k.name, e.Key(), ErrRefused, err)
	}
	return out, nil
}

func (k *Bucket[T]) wrap(op, key string, err error) error {
	return classify(op+" "+k.name+" "+key, err)
}

// Key joins parts into a KV key. Bytes a key cannot hold (an address's ':', a
// space) become "=" and two hex digits, as does '.', so parts stay apart and
// ParseKey gives them back. An empty part becomes "=".
func Key(parts ...string) string {
	var sb strings.Builder
	for i, p := range parts {
		if i > 0 {
			sb.WriteByte('.')
		}
		if p == "" {
			sb.WriteByte('=')
		}
		for j := 0; j < len(p); j++ {
			c := p[j]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '/' {
				sb.WriteByte(c)
			} else {
				fmt.Fprintf(&sb, "=%02x", c)
			}
		}
	}
	return sb.String()
}

// ParseKey is the reverse of Key.
func ParseKey(key string) ([]string, error) {
	parts := strings.Split(key, ".")
	for i, p := range parts {
		if p == "=" {
			parts[i] = ""
			continue
		}
		var b []byte
		for j := 0; j < len(p); j++ {
			if p[j] != '=' {
				b = append(b, p[j])
				continue
			}
			if j+2 >= len(p) {
				return nil, fmt.Errorf("key %q: cut escape", key)
			}
			v, err := hex.DecodeString(p[j+1 : j+3])
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", key, err)
			}
			b = append(b, v[0])
			j += 2
		}
		parts[i] = string(b)
	}
	return parts, nil
}
