package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
	saves  int
}

// ClaimCheckpoint takes the checkpoint of a reader of a stream over from
// whoever had it. Its sequence counts as a floor, see SetFloor, unless stream
// is empty. The name is one token. When the state is damaged the claim is
// returned with the error, which wraps ErrRefused.
func (b *Bus) ClaimCheckpoint(ctx context.Context, stream, name string) (*Claim, error) {
	kv, err := OpenBucket[claimed](ctx, b, subjects.BucketCheckpoints)
	if err != nil {
		return nil, err
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
	c.clean(ctx)
	if c.object != "" {
		if c.State, err = c.load(ctx); err != nil {
			return c, fmt.Errorf("claim checkpoint %s: %w", name, err)
		}
	}
	return c, nil
}

// transferTime is how long the state of a checkpoint may take to be read or
// written. A busy disk takes a few MB a second; without a deadline of its own the
// client gives up after five seconds, and a large state could never be loaded.
const transferTime = 2 * time.Minute

func (c *Claim) load(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	os, err := c.bus.js.ObjectStore(ctx, subjects.StoreState)
	if err != nil {
		return nil, classify("load state", err)
	}
	res, err := os.Get(ctx, c.object)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("load state %s: %w: it is gone", c.object, ErrRefused)
	}
	if err != nil {
		return nil, classify("load state", err)
	}
	defer res.Close()
	data, err := io.ReadAll(res)
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		return nil, fmt.Errorf("load state %s: %w: %w", c.object, ErrRefused, err)
	}
	return data, classify("load state", err)
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
		os, err := c.bus.js.ObjectStore(ctx, subjects.StoreState)
		if err != nil {
			return classify("save checkpoint "+c.name, err)
		}
		_, err = os.Put(ctx, jetstream.ObjectMeta{
			Name: next.Object, Opts: &jetstream.ObjectMetaOptions{ChunkSize: 1 << 20},
		}, bytes.NewReader(state))
		if err != nil {
			return classify("save checkpoint "+c.name, err)
		}
	}
	err := c.point(ctx, next)
	if errors.Is(err, ErrConflict) && next.Object != "" {
		c.remove(ctx, next.Object)
	}
	if err != nil {
		// Busy: it may have been stored or not. What it points to stays; the
		// next claim sorts it out.
		return fmt.Errorf("save checkpoint %s: %w", c.name, err)
	}
	if c.object != "" {
		c.remove(ctx, c.object)
	}
	c.object = next.Object
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
	os, err := c.bus.js.ObjectStore(ctx, subjects.StoreState)
	if err == nil {
		err = os.Delete(ctx, object)
	}
	if err != nil {
		c.bus.log.Debug("old state stays", "object", object, "error", err)
	}
}

// clean removes states that a process left behind when it was killed.
func (c *Claim) clean(ctx context.Context) {
	os, err := c.bus.js.ObjectStore(ctx, subjects.StoreState)
	if err != nil {
		return
	}
	list, err := os.List(ctx)
	if err != nil {
		return
	}
	for _, o := range list {
		if strings.HasPrefix(o.Name, c.name+"@") && o.Name != c.object {
			c.remove(ctx, o.Name)
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
