package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// inlineState is the largest state that is kept in the bucket itself, in bytes;
// larger ones go to the object store. All claims together must fit the bucket.
const inlineState = 32 << 10

// claimed is what the bucket holds of a checkpoint.
type claimed struct {
	Claim  string    `json:"claim"` // who may replace it
	Seq    uint64    `json:"seq"`
	Saved  time.Time `json:"saved"`
	State  []byte    `json:"state,omitempty"`
	Object string    `json:"object,omitempty"` // where the state is, if not here
}

// Claim is the right to replace one checkpoint. Claiming it again, here or in
// another process, ends the right: Save then gives ErrConflict, so a process
// that was taken for dead cannot overwrite what its successor saved. A call at
// a time.
type Claim struct {
	// Seq and State are what was found: 0 and nil if there was no checkpoint.
	Seq   uint64
	State []byte

	bus    *Bus
	kv     *Bucket[claimed]
	name   string
	key    string
	id     string
	mu     sync.Mutex
	rev    uint64
	object string
	// doubtful are states of saves of which it is not known whether they count.
	doubtful []string
	saves    int
}

// ClaimCheckpoint takes the checkpoint of a reader of a stream over from
// whoever had it. Its sequence counts as a floor, see SetFloor, unless stream
// is empty. The name is one token. When the state is damaged the claim is
// returned with the error, which wraps ErrRefused; ErrConflict says that
// somebody else has claimed it while its state was read.
func (b *Bus) ClaimCheckpoint(ctx context.Context, stream, name string) (*Claim, error) {
	kv, err := OpenBucket[claimed](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	// Listed before: what there is now, and the claim does not find in use,
	// belongs to claims that have ended. What a later claim saves is not in the
	// list, however long this one stands still in between.
	left, err := b.listObjects(ctx, name+"@")
	if err != nil {
		b.log.Debug("old states stay", "checkpoint", name, "error", err)
	}
	c := &Claim{bus: b, kv: kv, name: name, key: Key("claim", stream, name), id: rand.Text()[:12]}
	var found claimed
	c.rev, err = kv.Change(ctx, c.key, func(e Entry[claimed]) (claimed, error) {
		found = e.Value
		next := found
		next.Claim = c.id
		return next, nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim checkpoint %s: %w", name, err)
	}
	c.Seq, c.State, c.object = found.Seq, found.State, found.Object
	if c.object != "" {
		if c.State, err = c.load(ctx); err != nil && !errors.Is(err, ErrRefused) {
			return nil, fmt.Errorf("claim checkpoint %s: %w", name, err)
		}
	}
	c.clean(ctx, left)
	if err != nil {
		return c, fmt.Errorf("claim checkpoint %s: %w", name, err)
	}
	return c, nil
}

// transferTime is how long the state of a checkpoint may take to be read or
// written. A busy disk takes a few MB a second.
const transferTime = 2 * time.Minute

// A state that seems to be gone is asked for again: a copy of the stream in a
// cluster may be a little behind.
const (
	loadTries = 4
	loadPause = 250 * time.Millisecond
)

// load reads the state that was found.
func (c *Claim) load(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	for try := 1; ; try++ {
		_, data, err := c.bus.readObject(ctx, c.object)
		switch {
		case err == nil:
			return data, nil
		case !errors.Is(err, errUnusable):
			// Whatever the bus says of the reading, it says nothing of the state.
			return nil, fmt.Errorf("load state: %w: %s", ErrBusy, err.Error())
		}
		// The next claim removes what it has replaced, while it is read here or before.
		e, kerr := c.kv.Get(ctx, c.key)
		switch {
		case kerr != nil:
			return nil, fmt.Errorf("load state: %w: %s", ErrBusy, kerr.Error())
		case e.Value.Claim != c.id:
			return nil, fmt.Errorf("load state %s: %w", c.object, ErrConflict)
		case try == loadTries:
			return nil, fmt.Errorf("load state: %w: %w", ErrRefused, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(loadPause):
		}
	}
}

// Save replaces the checkpoint, atomically: after a crash a claim finds either
// the old pair or the new one. ErrConflict says that somebody else has claimed
// it; the state is then not saved and never will be.
func (c *Claim) Save(ctx context.Context, seq uint64, state []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := claimed{Claim: c.id, Seq: seq, Saved: time.Now().UTC(), State: state}
	if len(state) > inlineState {
		c.saves++
		next.State, next.Object = nil, c.name+"@"+c.id+"-"+strconv.Itoa(c.saves)
		if err := c.bus.writeObject(ctx, next.Object, nil, state); err != nil {
			c.doubtful = append(c.doubtful, next.Object)
			return fmt.Errorf("save checkpoint %s: %w", c.name, err)
		}
	}
	err := c.point(ctx, next)
	if errors.Is(err, ErrConflict) && next.Object != "" {
		c.remove(ctx, next.Object)
	}
	if err != nil {
		// Busy: it may have been stored or not. What it points to stays until
		// another save has been.
		c.doubtful = append(c.doubtful, next.Object)
		return fmt.Errorf("save checkpoint %s: %w", c.name, err)
	}
	for _, old := range append(c.doubtful, c.object) {
		if old != "" && old != next.Object {
			c.remove(ctx, old)
		}
	}
	c.object, c.doubtful = next.Object, nil
	return nil
}

// point lets the checkpoint be v if the claim still stands.
func (c *Claim) point(ctx context.Context, v claimed) error {
	rev, err := c.kv.Update(ctx, c.key, v, c.rev)
	if errors.Is(err, ErrConflict) {
		// An earlier attempt may have been stored without our knowing.
		e, gerr := c.kv.Get(ctx, c.key)
		if gerr != nil || e.Value.Claim != c.id {
			return errors.Join(err, gerr)
		}
		if e.Value.Object != "" {
			c.doubtful = append(c.doubtful, c.object)
			c.object = e.Value.Object
		}
		rev, err = c.kv.Update(ctx, c.key, v, e.Revision)
	}
	if err == nil {
		c.rev = rev
	}
	return err
}

// remove deletes a state that nothing points to; what is left of it after a
// failure the next claim finds.
func (c *Claim) remove(ctx context.Context, object string) {
	if err := c.bus.removeObject(ctx, object); err != nil {
		c.bus.log.Debug("old state stays", "object", object, "error", err)
	}
}

// cleanTime is how long taking over may be delayed by removing what is old.
const cleanTime = 10 * time.Second

// clean removes states that processes left behind when they were killed.
func (c *Claim) clean(ctx context.Context, left []string) {
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	for _, object := range left {
		if object != c.object && ctx.Err() == nil {
			c.remove(ctx, object)
		}
	}
}

// claimedFloors adds the sequences of claimed checkpoints.
func (b *Bus) claimedFloors(ctx context.Context, stream string, out map[string]uint64) error {
	kv, err := OpenBucket[claimed](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return err
	}
	entries, err := kv.List(ctx, Key("claim", stream)+".*")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if parts, err := ParseKey(e.Key); err == nil && len(parts) == 3 {
			out[parts[2]] = e.Value.Seq
		}
	}
	return nil
}
