package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// objectMessages is how many messages the object store's stream holds.
func objectMessages(t *testing.T, b *Bus) uint64 {
	t.Helper()
	st, err := b.js.Stream(t.Context(), objectStream)
	if err != nil {
		t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}

// purgeChunks takes the chunks of all objects away and leaves what describes them.
func purgeChunks(t *testing.T, b *Bus) {
	t.Helper()
	st, err := b.js.Stream(t.Context(), objectStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(t.Context(), jetstream.WithPurgeSubject(objectChunks+">")); err != nil {
		t.Fatal(err)
	}
}

// A state whose chunks are gone is not waited for: it is damaged if the claim
// stands, and somebody else's if it does not.
func TestClaimOfAStateWithoutChunks(t *testing.T) {
	_, b := start(t, Limits{})
	big := make([]byte, 3<<20)
	first := claim(t, b)
	if err := first.Save(t.Context(), 1, big); err != nil {
		t.Fatal(err)
	}
	purgeChunks(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	second, err := b.ClaimCheckpoint(ctx, "SIGNALS", "part-0")
	if !errors.Is(err, ErrRefused) || second == nil || second.Seq != 1 {
		t.Fatalf("without chunks: %+v, %v", second, err)
	}
	if err := second.Save(t.Context(), 2, big); err != nil {
		t.Fatal(err)
	}
	third := claim(t, b)
	if fourth := claim(t, b); fourth.Save(t.Context(), 3, big) != nil {
		t.Fatal("the fourth cannot save")
	}
	// The third is only now as far as to read what it found.
	if _, err := third.load(ctx); !errors.Is(err, ErrConflict) {
		t.Errorf("what the next claim removed: %v", err)
	}
}

// However claims and saves of several processes meet, what the checkpoint points
// to is there, and nothing else is left in the end.
func TestClaimsThatMeet(t *testing.T) {
	_, b := start(t, Limits{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 25 {
				c, err := b.ClaimCheckpoint(t.Context(), "SIGNALS", "part-0")
				if errors.Is(err, ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if c.object != "" && len(c.State) < inlineState {
					t.Errorf("found %d bytes", len(c.State))
				}
				for range rand.IntN(3) {
					if err := c.Save(t.Context(), uint64(n)+1, bytes.Repeat([]byte{byte(n)}, inlineState+rand.IntN(2<<20))); err != nil && !errors.Is(err, ErrConflict) {
						t.Errorf("save: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := claim(t, b).Save(t.Context(), 99, []byte("small")); err != nil {
		t.Fatal(err)
	}
	claim(t, b)
	if n := objectMessages(t, b); n != 0 {
		t.Errorf("%d messages are left in the object store", n)
	}
}

// A claim that stood still while others went on does not remove what they saved.
func TestCleaningLeavesWhatIsNewer(t *testing.T) {
	_, b := start(t, Limits{})
	big := make([]byte, 1<<20)
	if err := claim(t, b).Save(t.Context(), 1, big); err != nil {
		t.Fatal(err)
	}
	late := claim(t, b)
	left, err := b.listObjects(t.Context(), "part-0@")
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	if err := claim(t, b).Save(t.Context(), 2, big); err != nil {
		t.Fatal(err)
	}
	late.clean(t.Context(), left)
	if c := claim(t, b); c.Seq != 2 || len(c.State) != len(big) {
		t.Errorf("found %d, %d bytes", c.Seq, len(c.State))
	}
}

// Saves leave nothing behind, so that the object store does not fill up.
func TestSavesLeaveNothing(t *testing.T) {
	_, b := start(t, Limits{})
	c := claim(t, b)
	for i := range 20 {
		if err := c.Save(t.Context(), uint64(i+1), make([]byte, inlineState+1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := objectMessages(t, b); n != 2 { // a chunk, and what describes it
		t.Errorf("%d messages after 20 saves", n)
	}
	if err := b.SaveCheckpoint(t.Context(), "other", 1, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := b.DropCheckpoint(t.Context(), "SIGNALS", "other"); err != nil {
		t.Fatal(err)
	}
	if n := objectMessages(t, b); n != 2 {
		t.Errorf("%d messages after a checkpoint was dropped", n)
	}
}

func TestStraysAreRemoved(t *testing.T) {
	_, b := start(t, Limits{})
	c := claim(t, b)
	if err := c.Save(t.Context(), 1, make([]byte, 2<<20)); err != nil {
		t.Fatal(err)
	}
	put(t, b, objectChunks+"unfinished", "", []byte("a chunk"))
	if err := b.removeStrays(t.Context(), strayAge); err != nil {
		t.Fatal(err)
	}
	if n := objectMessages(t, b); n != 4 {
		t.Errorf("%d messages: new chunks may be of an object that is being written", n)
	}
	if err := b.removeStrays(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n := objectMessages(t, b); n != 3 {
		t.Errorf("%d messages", n)
	}
	if again := claim(t, b); len(again.State) != 2<<20 {
		t.Errorf("found %d bytes", len(again.State))
	}
}

// Deleted objects that an older version left a message of are cleaned up.
func TestClaimCleansMarkers(t *testing.T) {
	_, b := start(t, Limits{})
	os, err := b.js.ObjectStore(t.Context(), subjects.StoreState)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		name := fmt.Sprint("part-0@old-", i)
		if _, err := os.PutBytes(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := os.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if n := objectMessages(t, b); n != 3 {
		t.Fatalf("%d markers: the client library deletes differently now", n)
	}
	claim(t, b)
	if n := objectMessages(t, b); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}
