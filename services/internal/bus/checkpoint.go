package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// SaveCheckpoint stores a state machine's state (any size) together with the
// sequence it includes. It replaces the last one atomically: after a crash
// Load gives either the old pair or the new one.
func (b *Bus) SaveCheckpoint(ctx context.Context, name string, seq uint64, state []byte) error {
	if err := b.writeObject(ctx, name, map[string]string{"seq": strconv.FormatUint(seq, 10)}, state); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	return nil
}

// LoadCheckpoint returns the last saved state and its sequence, or ErrNotFound.
func (b *Bus) LoadCheckpoint(ctx context.Context, name string) (seq uint64, state []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	info, state, err := b.readObject(ctx, name)
	if err != nil {
		return 0, nil, fmt.Errorf("load checkpoint %s: %w", name, err)
	}
	if seq, err = strconv.ParseUint(info.Metadata["seq"], 10, 64); err != nil {
		return 0, nil, fmt.Errorf("load checkpoint %s: %w: sequence: %w", name, ErrRefused, err)
	}
	return seq, state, nil
}

// DropCheckpoint forgets a saved state, and the floor of its reader in stream if
// one was set. It is no error if there is neither.
func (b *Bus) DropCheckpoint(ctx context.Context, stream, name string) error {
	if err := b.removeObject(ctx, name); err != nil {
		return fmt.Errorf("drop checkpoint %s: %w", name, err)
	}
	kv, err := OpenBucket[uint64](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return err
	}
	return kv.Delete(ctx, Key("floor", stream, name))
}

// SetFloor records that a reader without a durable (one that uses Follow and a
// checkpoint) needs nothing of the stream up to seq any more, so that Trim and
// Lag know it. The name is one token. Set it after the checkpoint is saved.
func (b *Bus) SetFloor(ctx context.Context, stream, name string, seq uint64) error {
	kv, err := OpenBucket[uint64](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, Key("floor", stream, name), seq)
	return err
}

// Floors returns what SetFloor and claimed checkpoints say of a stream, by name.
func (b *Bus) Floors(ctx context.Context, stream string) (map[string]uint64, error) {
	kv, err := OpenBucket[uint64](ctx, b, subjects.BucketCheckpoints)
	if errors.Is(err, ErrBusy) && strings.Contains(err.Error(), jetstream.ErrBucketNotFound.Error()) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := kv.List(ctx, Key("floor", stream)+".*")
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(entries))
	for _, e := range entries {
		parts, err := ParseKey(e.Key)
		if err != nil || len(parts) != 3 {
			continue
		}
		out[parts[2]] = e.Value
	}
	return out, b.claimedFloors(ctx, stream, out)
}

// Trim makes room in streams that are more than 80 % full, until ctx ends: it
// removes the oldest messages that every durable and every floor of the stream
// is past, down to 60 %. A stream without any reader is left alone. Without it
// a stream stays full until its messages are old enough. Run it in one process
// (several do no harm). It also removes what unfinished saves left behind.
func (b *Bus) Trim(ctx context.Context, every time.Duration) error {
	if every <= 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(swept) > strayInterval {
			swept = time.Now()
			if err := b.removeStrays(ctx, strayAge); err != nil && ctx.Err() == nil {
				b.log.Warn("chunks of unfinished states stay", "error", err)
			}
		}
		for _, s := range specs() {
			if err := b.trimStream(ctx, s.name); err != nil && ctx.Err() == nil {
				b.log.Warn("trim", "stream", s.name, "error", err)
			}
		}
	}
}

func (b *Bus) trimStream(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	st, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // an edge has only some
	}
	if err != nil {
		return classify("stream "+name, err)
	}
	info := st.CachedInfo()
	limit, state := info.Config.MaxBytes, info.State
	if limit <= 0 || state.Bytes < uint64(limit)/10*8 || state.Msgs == 0 {
		return nil
	}
	lags, err := b.lagOf(ctx, st)
	if err != nil {
		return err
	}
	if len(lags) == 0 {
		b.log.Warn("stream is nearly full and has no reader", "stream", name, "bytes", state.Bytes, "limit", limit,
			"hint", "give it more space or a shorter age")
		return nil
	}
	floor := ^uint64(0)
	for _, l := range lags {
		floor = min(floor, l.AckFloor)
	}
	// Messages are of similar size on average, so bytes map to sequences.
	surplus := float64(state.Bytes-uint64(limit)/10*6) / float64(state.Bytes)
	target := state.FirstSeq + uint64(surplus*float64(state.LastSeq-state.FirstSeq+1))
	upTo := min(target, floor+1) // purging removes below upTo
	if upTo <= state.FirstSeq {
		return nil
	}
	if err := st.Purge(ctx, jetstream.WithPurgeSequence(upTo)); err != nil {
		return classify("purge "+name, err)
	}
	b.log.Info("trimmed consumed messages", "stream", name, "up_to", upTo-1, "bytes", state.Bytes, "limit", limit)
	return nil
}
