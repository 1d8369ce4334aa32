package httpin

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// Bounds of what Replays remembers.
const (
	maxReplays = 8192
	replayFor  = 10 * time.Minute
)

// Replays makes the repetition of a batch whose sender got no good answer count
// once, for protocols without batch ids. It remembers the keys of batches that
// were perhaps stored in part and of those whose sender went away before the
// answer; an equal batch of the same sender gets the same key. Equal batches
// that were answered well are all stored: they are not repetitions.
type Replays struct {
	mu    sync.Mutex
	known map[[16]byte]replay
	ring  [][16]byte
	next  int
	now   func() time.Time
}

type replay struct {
	key  string
	till time.Time
}

// NewReplays makes an empty memory of at most 8192 batches for 10 minutes.
func NewReplays() *Replays {
	return &Replays{known: map[[16]byte]replay{}, now: time.Now}
}

// Attempt is one arrival of a request's body.
type Attempt struct {
	// Key for its batches; the same as before if the body is a repetition.
	Key   string
	hash  [16]byte
	again bool
	r     *Replays
}

// Begin makes an Attempt of the body of a sender; call Done after it.
func (r *Replays) Begin(auth string, body []byte) *Attempt {
	a := &Attempt{hash: xxh3.Hash128Seed(body, xxh3.HashString(auth)).Bytes(), r: r}
	a.Key = r.key(a.hash)
	if a.again = a.Key != ""; !a.again {
		a.Key = rand.Text()
	}
	return a
}

// Done says whether all of the body is stored and ctx is that of a sender who
// still waits for the answer.
func (a *Attempt) Done(ctx context.Context, stored bool) {
	switch {
	case !stored || ctx.Err() != nil:
		a.r.remember(a.hash, a.Key)
	case a.again:
		a.r.forget(a.hash)
	}
}

func (r *Replays) key(h [16]byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, found := r.known[h]
	if !found || r.now().After(e.till) {
		return ""
	}
	return e.key
}

func (r *Replays) remember(h [16]byte, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, found := r.known[h]; !found {
		if len(r.ring) < maxReplays {
			r.ring = append(r.ring, h)
		} else {
			delete(r.known, r.ring[r.next])
			r.ring[r.next] = h
			r.next = (r.next + 1) % maxReplays
		}
	}
	r.known[h] = replay{key, r.now().Add(replayFor)}
}

// forget leaves the place in the ring, where it is overwritten in its turn; an
// entry that is remembered again meanwhile may go a little early.
func (r *Replays) forget(h [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, h)
}

// Match reports whether text fits pattern, in which * stands for any text. It
// takes at most len(pattern) times len(text) steps.
func Match(pattern string, text []byte) bool {
	star, back, i, j := -1, 0, 0, 0
	for j < len(text) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, back = i, j
			i++
		case i < len(pattern) && pattern[i] == text[j]:
			i++
			j++
		case star >= 0:
			back++
			i, j = star+1, back
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}
