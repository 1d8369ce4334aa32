package bus

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

func claim(t *testing.T, b *Bus) *Claim {
	t.Helper()
	c, err := b.ClaimCheckpoint(t.Context(), "SIGNALS", "part-0")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func objects(t *testing.T, b *Bus) int {
	t.Helper()
	os, err := b.js.ObjectStore(t.Context(), subjects.StoreState)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.List(t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		t.Fatal(err)
	}
	return len(list)
}

// A claim ends the one before: what a process that was taken for dead saves
// afterwards is refused.
func TestClaim(t *testing.T) {
	_, b := start(t, Limits{})
	small, big := []byte("small"), bytes.Repeat([]byte("big"), 100_000)
	first := claim(t, b)
	if first.Seq != 0 || first.State != nil {
		t.Errorf("a new checkpoint has %d, %q", first.Seq, first.State)
	}
	for i, state := range [][]byte{small, big, big, small, big} {
		if err := first.Save(t.Context(), uint64(i+1), state); err != nil {
			t.Fatal(err)
		}
		if n := objects(t, b); n != len(state)/len(big) {
			t.Errorf("save %d: %d states in the object store", i+1, n)
		}
	}
	second := claim(t, b)
	if second.Seq != 5 || !bytes.Equal(second.State, big) {
		t.Errorf("the second finds %d and %d bytes", second.Seq, len(second.State))
	}
	for _, state := range [][]byte{small, big} {
		if err := first.Save(t.Context(), 6, state); !errors.Is(err, ErrConflict) {
			t.Errorf("the first saved after the second claimed: %v", err)
		}
	}
	if err := second.Save(t.Context(), 7, small); err != nil {
		t.Fatal(err)
	}
	if third := claim(t, b); third.Seq != 7 || string(third.State) != "small" {
		t.Errorf("the third finds %d, %q", third.Seq, third.State)
	}
	if n := objects(t, b); n != 0 {
		t.Errorf("%d states are left over", n)
	}
	put(t, b, "signals.0", "x", nil)
	if l := lag(t, b, "part-0"); !l.Floor || l.AckFloor != 7 {
		t.Errorf("the floor: %+v", l)
	}
}

// A save whose answer was lost does not end the claim.
func TestClaimSurvivesALostAnswer(t *testing.T) {
	_, b := start(t, Limits{})
	c := claim(t, b)
	rev := c.rev
	if err := c.Save(t.Context(), 1, []byte("a")); err != nil {
		t.Fatal(err)
	}
	c.rev = rev // as if it had not been heard
	if err := c.Save(t.Context(), 2, []byte("b")); err != nil {
		t.Fatal(err)
	}
	if again := claim(t, b); again.Seq != 2 || string(again.State) != "b" {
		t.Errorf("found %d, %q", again.Seq, again.State)
	}
}

func TestClaimOfAStateThatIsGone(t *testing.T) {
	_, b := start(t, Limits{})
	c := claim(t, b)
	if err := c.Save(t.Context(), 9, make([]byte, inlineState+1)); err != nil {
		t.Fatal(err)
	}
	c.remove(t.Context(), c.object)
	again, err := b.ClaimCheckpoint(t.Context(), "SIGNALS", "part-0")
	if !errors.Is(err, ErrRefused) || again == nil || again.Seq != 9 {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := again.Save(t.Context(), 10, []byte("anew")); err != nil {
		t.Error(err)
	}
}

func TestDropCheckpoint(t *testing.T) {
	_, b := start(t, Limits{})
	for range 2 {
		if err := b.DropCheckpoint(t.Context(), "SIGNALS", "old"); err != nil {
			t.Fatal(err)
		}
		if err := b.SaveCheckpoint(t.Context(), "old", 3, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := b.SetFloor(t.Context(), "SIGNALS", "old", 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DropCheckpoint(t.Context(), "SIGNALS", "old"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.LoadCheckpoint(t.Context(), "old"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the state: %v", err)
	}
	if floors, err := b.Floors(t.Context(), "SIGNALS"); err != nil || len(floors) != 0 {
		t.Errorf("the floors: %v, %v", floors, err)
	}
}
