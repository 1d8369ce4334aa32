package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Kept is how many revisions keep their files, so that they can be brought back.
const Kept = 20

// chunk is the size of a piece, in bytes; a value in the bucket is a third
// longer.
const chunk = 384 << 10

const current = "current"

// Store is the bucket. Safe for concurrent use.
type Store struct {
	manifests *bus.Bucket[Manifest]
	pieces    *bus.Bucket[[]byte]
	applied   *bus.Bucket[Applied]
}

// Open opens the bucket, which bus.EnsureStreams makes.
func Open(ctx context.Context, b *bus.Bus) (*Store, error) {
	s := &Store{}
	var err error
	if s.manifests, err = bus.OpenBucket[Manifest](ctx, b, subjects.BucketContent); err != nil {
		return nil, err
	}
	if s.pieces, err = bus.OpenBucket[[]byte](ctx, b, subjects.BucketContent); err != nil {
		return nil, err
	}
	s.applied, err = bus.OpenBucket[Applied](ctx, b, subjects.BucketContent)
	return s, err
}

// Current returns the manifest in force, or bus.ErrNotFound.
func (s *Store) Current(ctx context.Context) (Manifest, error) {
	e, err := s.manifests.Get(ctx, current)
	return e.Value, err
}

// Get returns a revision's manifest, or bus.ErrNotFound.
func (s *Store) Get(ctx context.Context, revision uint64) (Manifest, error) {
	m, err := s.Current(ctx)
	if err != nil || m.Revision == revision {
		return m, err
	}
	e, err := s.manifests.Get(ctx, revisionKey(revision))
	return e.Value, err
}

// Log returns all manifests, the newest first.
func (s *Store) Log(ctx context.Context) ([]Manifest, error) {
	m, err := s.Current(ctx)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := s.manifests.List(ctx, "rev.*")
	if err != nil {
		return nil, err
	}
	out := []Manifest{m}
	for _, e := range list {
		// One that is not yet, or not any more, before the current one was left
		// by a push that another one overtook.
		if e.Value.Revision < m.Revision {
			out = append(out, e.Value)
		}
	}
	slices.SortFunc(out, func(x, y Manifest) int { return cmp.Compare(y.Revision, x.Revision) })
	return out, nil
}

// Push stores the files and puts them in force as the next revision. If base
// is not 0 and another revision is in force by then, it is bus.ErrConflict.
// What is in force already is not pushed again: then the old manifest is
// returned, with its revision.
func (s *Store) Push(ctx context.Context, files map[string][]byte, base uint64, m Manifest) (Manifest, error) {
	data, err := pack(files)
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256(data)
	m.Hash, m.Pack, m.Files = Hash(files), hex.EncodeToString(sum[:]), len(files)
	m.Chunks, m.Bytes = (len(data)+chunk-1)/chunk, 0
	for _, text := range files {
		m.Bytes += len(text)
	}
	for i := range m.Chunks {
		if _, err := s.pieces.Put(ctx, pieceKey(m.Pack, i), data[i*chunk:min(len(data), (i+1)*chunk)]); err != nil {
			return m, err
		}
	}
	var same Manifest
	_, err = s.manifests.Change(ctx, current, func(e bus.Entry[Manifest]) (Manifest, error) {
		was := e.Value
		if base != 0 && was.Revision != base {
			return was, fmt.Errorf("push content: %w: revision %d is in force, not %d", bus.ErrConflict, was.Revision, base)
		}
		if was.Hash == m.Hash {
			same = was
			return was, errSame
		}
		if e.Revision > 0 {
			if _, err := s.manifests.Put(ctx, revisionKey(was.Revision), was); err != nil {
				return was, err
			}
		}
		m.Revision = was.Revision + 1
		return m, nil
	})
	if errors.Is(err, errSame) {
		return same, nil
	}
	if err != nil {
		return m, err
	}
	return m, errors.Join(s.prune(ctx), s.bury(ctx))
}

// bury deletes the reports of instances that were killed.
func (s *Store) bury(ctx context.Context) error {
	list, err := s.applied.List(ctx, "applied.*")
	for i := 0; i < len(list) && err == nil; i++ {
		if time.Since(list[i].Time) > Alive {
			err = s.applied.Delete(ctx, list[i].Key)
		}
	}
	return err
}

var errSame = errors.New("nothing changes")

// prune deletes the pieces that no kept revision needs.
func (s *Store) prune(ctx context.Context) error {
	log, err := s.Log(ctx)
	if err != nil || len(log) <= Kept {
		return err
	}
	need := map[string]bool{}
	for _, m := range log[:Kept] {
		need[m.Pack] = true
	}
	for _, m := range log[Kept:] {
		if need[m.Pack] {
			continue
		}
		for i := range m.Chunks {
			if err := s.pieces.Delete(ctx, pieceKey(m.Pack, i)); err != nil {
				return err
			}
		}
		need[m.Pack] = true // once is enough
	}
	return nil
}

// Load returns the files of a version, or ErrPruned.
func (s *Store) Load(ctx context.Context, m Manifest) (map[string][]byte, error) {
	if m.Chunks < 0 || m.Chunks > maxPack/chunk+1 {
		return nil, fmt.Errorf("load content: revision %d claims %d pieces", m.Revision, m.Chunks)
	}
	var data []byte
	for i := range m.Chunks {
		e, err := s.pieces.Get(ctx, pieceKey(m.Pack, i))
		if errors.Is(err, bus.ErrNotFound) {
			return nil, fmt.Errorf("load content: revision %d: %w", m.Revision, ErrPruned)
		}
		if err != nil {
			return nil, err
		}
		data = append(data, e.Value...)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != m.Pack {
		return nil, fmt.Errorf("load content: revision %d: the archive is damaged", m.Revision)
	}
	files, err := unpack(data)
	if err == nil && Hash(files) != m.Hash {
		err = fmt.Errorf("load content: revision %d: the files are not those that were pushed", m.Revision)
	}
	return files, err
}

// Watch calls f with the manifest in force and then with every new one, until
// ctx ends. If there is none so far, f is called with the zero Manifest first.
func (s *Store) Watch(ctx context.Context, f func(Manifest)) error {
	some := false
	return s.manifests.Watch(ctx, []string{current}, func(e bus.Entry[Manifest], ready bool) bool {
		switch {
		case ready && some:
		case ready || e.Deleted:
			f(Manifest{})
		default:
			some = true
			f(e.Value)
		}
		return true
	})
}

// Applied says what an instance runs.
type Applied struct {
	Instance string    `json:"instance"`
	Revision uint64    `json:"revision"` // 0: none
	Hash     string    `json:"hash,omitempty"`
	At       time.Time `json:"at"`
	// Refused is a newer revision that it could not take, and Error why.
	Refused uint64 `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Report tells what the instance runs.
func (s *Store) Report(ctx context.Context, a Applied) error {
	_, err := s.applied.Put(ctx, bus.Key("applied", a.Instance), a)
	return err
}

// Leave takes the instance's report away.
func (s *Store) Leave(ctx context.Context, instance string) error {
	return s.applied.Delete(ctx, bus.Key("applied", instance))
}

// Alive is how long a report counts. Instances repeat theirs several times
// within it.
const Alive = 2 * time.Minute

// Instances lists what every instance that is alive reported last.
func (s *Store) Instances(ctx context.Context) ([]Applied, error) {
	list, err := s.applied.List(ctx, "applied.*")
	if err != nil {
		return nil, err
	}
	out := []Applied{}
	for _, e := range list {
		if time.Since(e.Time) < Alive {
			out = append(out, e.Value)
		}
	}
	return out, nil
}

func revisionKey(n uint64) string { return "rev." + strconv.FormatUint(n, 10) }

func pieceKey(pack string, i int) string { return "pack." + pack + "." + strconv.Itoa(i) }
