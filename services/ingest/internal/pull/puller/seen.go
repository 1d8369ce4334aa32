package puller

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/zeebo/xxh3"
)

const seenBytes = 12 // of an entry: 8 of the hash, 4 of the time

// Seen remembers what was taken lately, so that an overlap between two looks
// gives nothing twice. It is a part of a feed's state; its JSON is a string.
// The zero value is empty. 16 bytes of state an item.
type Seen struct{ at map[uint64]uint32 }

// Add remembers an item, with the time by which Forget goes.
func (s *Seen) Add(id string, at time.Time) {
	if s.at == nil {
		s.at = map[uint64]uint32{}
	}
	s.at[xxh3.HashString(id)] = uint32(min(max(at.Unix(), 0), 1<<32-1))
}

// Has reports whether an item is remembered.
func (s *Seen) Has(id string) bool {
	_, ok := s.at[xxh3.HashString(id)]
	return ok
}

// Len is the number of items.
func (s *Seen) Len() int { return len(s.at) }

// Drop forgets one item.
func (s *Seen) Drop(id string) { delete(s.at, xxh3.HashString(id)) }

// Forget drops items older than before, and the oldest beyond limit; over is
// how many of those there were.
func (s *Seen) Forget(before time.Time, limit int) (over int) {
	floor := uint32(min(max(before.Unix(), 0), 1<<32-1))
	for h, at := range s.at {
		if at < floor {
			delete(s.at, h)
		}
	}
	if over = len(s.at) - limit; over <= 0 {
		return 0
	}
	all := s.sorted()
	slices.SortStableFunc(all, func(a, b uint64) int { return int(int64(s.at[a]) - int64(s.at[b])) })
	for _, h := range all[:over] {
		delete(s.at, h)
	}
	return over
}

func (s *Seen) sorted() []uint64 {
	all := make([]uint64, 0, len(s.at))
	for h := range s.at {
		all = append(all, h)
	}
	slices.Sort(all)
	return all
}

// MarshalJSON writes a string.
func (s Seen) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(s.at)*seenBytes)
	for _, h := range s.sorted() {
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, h), s.at[h])
	}
	return json.Marshal(base64.RawStdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Seen) UnmarshalJSON(text []byte) error {
	var enc string
	if err := json.Unmarshal(text, &enc); err != nil {
		return err
	}
	b, err := base64.RawStdEncoding.DecodeString(enc)
	if err != nil || len(b)%seenBytes != 0 {
		return fmt.Errorf("seen items: damaged")
	}
	s.at = make(map[uint64]uint32, len(b)/seenBytes)
	for ; len(b) > 0; b = b[seenBytes:] {
		s.at[binary.LittleEndian.Uint64(b)] = binary.LittleEndian.Uint32(b[8:])
	}
	return nil
}
