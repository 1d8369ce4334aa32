// Package reload notices that files changed, on any file system and however
// they are replaced (in place, by rename, by a Kubernetes volume's link), and
// keeps certificates current.
package reload

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// young is how long a file's times are not to be trusted.
const young = 5 * time.Second

// state is what a file was like.
type state struct {
	mtime time.Time
	size  int64
	sum   [sha256.Size]byte
}

// Watcher remembers files. Not safe for concurrent use.
type Watcher struct {
	every time.Duration
	paths []string
	known map[string]state
}

// New takes the files as they are now, to look at them every so often; empty
// paths are left out.
func New(every time.Duration, paths ...string) *Watcher {
	w := &Watcher{every: every, known: map[string]state{}}
	for _, p := range paths {
		if p != "" {
			w.paths = append(w.paths, p)
		}
	}
	w.Changed()
	return w
}

// Changed reports whether the content of a file is another than at the last
// call. A file that cannot be read has not changed: it may be on its way.
func (w *Watcher) Changed() bool {
	changed := false
	for _, p := range w.paths {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		old := w.known[p]
		// A change within the clock's grain of the file system shows in the
		// content alone, so young files are read all the same.
		if info.ModTime().Equal(old.mtime) && info.Size() == old.size && time.Since(old.mtime) > young {
			continue
		}
		data, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		now := state{info.ModTime(), info.Size(), sha256.Sum256(data)}
		changed = changed || now.sum != old.sum
		w.known[p] = now
	}
	return changed
}

// Run calls f after each change until ctx ends.
func (w *Watcher) Run(ctx context.Context, f func()) error {
	if len(w.paths) == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if w.Changed() {
				f()
			}
		}
	}
}
