package bus

import (
	"context"
	"errors"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ConsumerStats counts what this process did for one durable since it started.
type ConsumerStats struct {
	Stream, Durable string
	// Delivered counts handler inputs, repeats included, and their bytes.
	Delivered, Bytes uint64
	// Acked counts Done, Retried counts retries, Panics counts panics (each is
	// a dead letter too).
	Acked, Retried, Panics uint64
	// Dead and Dropped count by reason.
	Dead, Dropped map[string]uint64
}

type consumerStats struct {
	mu sync.Mutex
	s  ConsumerStats
}

// maxReasons bounds the reasons counted apart: a careless handler may put
// hostile text into one.
const maxReasons = 64

func count(m map[string]uint64, reason string) {
	if _, ok := m[reason]; !ok && len(m) >= maxReasons {
		reason = "other"
	}
	m[reason]++
}

func (c *consumerStats) delivered(d *Delivery) {
	c.mu.Lock()
	c.s.Delivered++
	c.s.Bytes += uint64(len(d.Data))
	c.mu.Unlock()
}
func (c *consumerStats) acked()    { c.mu.Lock(); c.s.Acked++; c.mu.Unlock() }
func (c *consumerStats) retried()  { c.mu.Lock(); c.s.Retried++; c.mu.Unlock() }
func (c *consumerStats) panicked() { c.mu.Lock(); c.s.Panics++; c.mu.Unlock() }
func (c *consumerStats) buried(reason string) {
	c.mu.Lock()
	count(c.s.Dead, reason)
	c.mu.Unlock()
}
func (c *consumerStats) dropped(reason string) {
	c.mu.Lock()
	count(c.s.Dropped, reason)
	c.mu.Unlock()
}

func (b *Bus) statsFor(stream, durable string) *consumerStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := stream + "/" + durable
	if b.stats[key] == nil {
		b.stats[key] = &consumerStats{s: ConsumerStats{
			Stream: stream, Durable: durable, Dead: map[string]uint64{}, Dropped: map[string]uint64{},
		}}
	}
	return b.stats[key]
}

// Stats returns this process's counters, sorted by stream and durable.
func (b *Bus) Stats() []ConsumerStats {
	b.mu.Lock()
	all := make([]*consumerStats, 0, len(b.stats))
	for _, c := range b.stats {
		all = append(all, c)
	}
	b.mu.Unlock()
	out := make([]ConsumerStats, 0, len(all))
	for _, c := range all {
		c.mu.Lock()
		s := c.s
		s.Dead, s.Dropped = maps.Clone(s.Dead), maps.Clone(s.Dropped)
		c.mu.Unlock()
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Stream+"/"+out[i].Durable < out[j].Stream+"/"+out[j].Durable
	})
	return out
}

// Lag is how far one durable, or one floor, is behind its stream.
type Lag struct {
	Stream, Durable string
	// Pending messages were never delivered; AckPending are in flight;
	// Redelivered of them were delivered more than once.
	Pending                 uint64
	AckPending, Redelivered int
	// AckFloor is the sequence up to which everything is acknowledged, Last
	// the stream's last sequence.
	AckFloor, Last uint64
	// Floor says this is a mark of SetFloor and not a durable.
	Floor bool
}

// StreamState is the size of one stream.
type StreamState struct {
	Name            string
	Messages, Bytes uint64
	MaxBytes        int64
	First, Last     uint64
	FirstTime       time.Time
}

// Streams returns the state of every stream that EnsureStreams made.
func (b *Bus) Streams(ctx context.Context) ([]StreamState, error) {
	var out []StreamState
	for _, s := range specs() {
		state, err := b.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // an edge has only some
		}
		if err != nil {
			return nil, err
		}
		out = append(out, state)
	}
	return out, nil
}

// Stream returns the state of one stream.
func (b *Bus) Stream(ctx context.Context, name string) (StreamState, error) {
	st, err := b.js.Stream(ctx, name)
	if err != nil {
		return StreamState{}, classify("stream "+name, err)
	}
	i := st.CachedInfo()
	return StreamState{
		Name: name, Messages: i.State.Msgs, Bytes: i.State.Bytes, MaxBytes: i.Config.MaxBytes,
		First: i.State.FirstSeq, Last: i.State.LastSeq, FirstTime: i.State.FirstTime,
	}, nil
}

// Lag returns the position of every durable and floor on the streams of
// EnsureStreams.
func (b *Bus) Lag(ctx context.Context) ([]Lag, error) {
	var out []Lag
	for _, s := range specs() {
		st, err := b.js.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // an edge has only some
		}
		if err != nil {
			return nil, classify("stream "+s.name, err)
		}
		lags, err := b.lagOf(ctx, st)
		if err != nil {
			return nil, err
		}
		out = append(out, lags...)
	}
	return out, nil
}

func (b *Bus) lagOf(ctx context.Context, st jetstream.Stream) ([]Lag, error) {
	info := st.CachedInfo()
	last := info.State.LastSeq
	var out []Lag
	list := st.ListConsumers(ctx)
	for i := range list.Info() {
		if i.Config.Durable == "" {
			continue
		}
		out = append(out, Lag{
			Stream: info.Config.Name, Durable: i.Config.Durable, Pending: i.NumPending, AckPending: i.NumAckPending,
			Redelivered: i.NumRedelivered, AckFloor: i.AckFloor.Stream, Last: last,
		})
	}
	if err := list.Err(); err != nil {
		return nil, classify("list consumers of "+info.Config.Name, err)
	}
	floors, err := b.Floors(ctx, info.Config.Name)
	if err != nil {
		return nil, err
	}
	for name, seq := range floors {
		l := Lag{Stream: info.Config.Name, Durable: name, AckFloor: seq, Last: last, Floor: true}
		if last > seq {
			l.Pending = last - seq
		}
		out = append(out, l)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Durable < out[j].Durable })
	return out, nil
}

// Position returns how far one durable is; ErrNotFound when it does not exist.
func (b *Bus) Position(ctx context.Context, stream, durable string) (Lag, error) {
	c, err := b.js.Consumer(ctx, stream, durable)
	if err != nil {
		return Lag{}, classify("position of "+durable, err)
	}
	i := c.CachedInfo()
	return Lag{
		Stream: stream, Durable: durable, Pending: i.NumPending, AckPending: i.NumAckPending,
		Redelivered: i.NumRedelivered, AckFloor: i.AckFloor.Stream, Last: i.Delivered.Stream + i.NumPending,
	}, nil
}

// Bounds returns the first and the last sequence of a stream. An empty stream
// has first = last + 1.
func (b *Bus) Bounds(ctx context.Context, stream string) (first, last uint64, err error) {
	st, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, 0, classify("stream "+stream, err)
	}
	state := st.CachedInfo().State
	return max(state.FirstSeq, 1), state.LastSeq, nil
}
