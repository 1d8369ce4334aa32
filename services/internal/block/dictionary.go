package block

import "github.com/vagus-hub/vagus/schemas/event"

// Dictionary makes a keyword or keywords column of texts that are worked out
// from a block, row by row. Once its buffers have grown it allocates nothing.
type Dictionary struct {
	c   columnBuilder
	col Column
}

// Reset forgets the rows and keeps the buffers. With list the rows have lists.
func (d *Dictionary) Reset(list bool) {
	d.c.kind = event.KindKeyword
	if list {
		d.c.kind = event.KindKeywords
	}
	d.c.reset()
}

// Has reports whether the row, or a later one, was set.
func (d *Dictionary) Has(row int) bool { return d.c.rows > row }

// Set gives a row its text; rows in ascending order, each once. The bytes are
// copied.
func (d *Dictionary) Set(row int, v []byte) {
	d.c.pad(row)
	d.c.setText(row, v)
}

// Add adds a text to a row's list; rows in ascending order.
func (d *Dictionary) Add(row int, v []byte) {
	d.c.pad(row)
	d.c.openList(row)
	d.c.keys = append(d.c.keys, d.c.intern(v))
	d.c.ends[row] = uint64(len(d.c.keys))
}

// Column gives the column of n rows; rows that were not set are absent. It is
// valid until the next call of Reset, Set or Add.
func (d *Dictionary) Column(n int) *Column {
	d.c.pad(n)
	d.col = Column{kind: d.c.kind, buf: d.c.data, spans: d.c.spans, keys: d.c.keys, ends: d.c.ends}
	return &d.col
}
