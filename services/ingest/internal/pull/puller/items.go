package puller

import (
	"encoding/json"
	"fmt"
	"time"
)

// MaxSeen bounds what Seen of a feed of items holds.
const MaxSeen = 100_000

// Item is what a feed of items knows of one: what it is stored as, what makes
// it the same as another, and when it changed last.
type Item struct {
	Record []byte
	ID     string
	Time   time.Time
}

// Object reads the members of a JSON object that a feed needs to know.
func Object(raw json.RawMessage, into any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return fmt.Errorf("no JSON object")
	}
	return json.Unmarshal(raw, into)
}

// Take adds the item to the batch unless it was seen.
func (b *Batch) Take(out Out, seen *Seen, it Item) {
	id := it.ID + "\x00" + it.Time.UTC().Format(time.RFC3339Nano)
	if seen.Has(id) {
		return
	}
	seen.Add(id, it.Time)
	b.Add(it.Record, out.Limits())
	b.keyOf(id)
}

// Bad adds a dead letter for an item that cannot be read, unless it was seen.
// id may be empty: the whole item is it then. Its time is unknown: now stands
// for it.
func (b *Batch) Bad(seen *Seen, id string, raw []byte, now time.Time, why error) {
	if id == "" {
		id = string(raw)
	}
	id = "\x00" + id
	if seen.Has(id) {
		return
	}
	seen.Add(id, now)
	b.Dead(raw, ReasonMalformed, why.Error())
	b.keyOf(id)
}

// keyOf makes the key of a batch one of all its items.
func (b *Batch) keyOf(id string) { b.Key = batchKey(b.Key + "\x00" + id) }
