package block

import (
	"encoding/binary"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Words gives the distinct values of a keyword column under construction, the
// index 0 being "", and each row's index; rows at the end may be missing. Both
// are valid until the column changes. A column without a value has no words.
func (b *Builder) Words(id event.ColumnID) (dict Strings, keys []uint32) {
	if !b.used[id] || b.cols[id].kind != event.KindKeyword {
		return Strings{}, nil
	}
	c := b.cols[id]
	return Strings{c.data, c.spans}, c.keys
}

// Addresses gives the 16 bytes of each row of an ip column under construction,
// zero where absent; rows at the end may be missing.
func (b *Builder) Addresses(id event.ColumnID) []byte {
	if !b.used[id] || b.cols[id].kind != event.KindIP {
		return nil
	}
	return b.cols[id].fixed
}

// Texts calls f for every row of a string column under construction that has a
// value. v is valid during the call.
func (b *Builder) Texts(id event.ColumnID, f func(row int, v []byte)) {
	if !b.used[id] || b.cols[id].kind != event.KindString {
		return
	}
	data := b.cols[id].data
	for row := 0; len(data) > 0; row++ {
		n, w := binary.Uvarint(data)
		if n > 0 {
			f(row, data[w:w+int(n)])
		}
		data = data[w+int(n):]
	}
}

// PutString sets a keyword or string column of a finished row. A column gets
// its rows in ascending order, each once; rows that were set before stay.
func (b *Builder) PutString(row int, id event.ColumnID, v string) {
	if v == "" {
		return
	}
	if c := b.put(row, id); c != nil {
		c.setText(row, bytesOf(v))
	}
}

// PutInt is PutString for numbers.
func (b *Builder) PutInt(row int, id event.ColumnID, v int64) {
	if v == 0 {
		return
	}
	if c := b.put(row, id); c != nil {
		c.setInt(row, v)
	}
}

// PutKeyword adds an item to a list of a finished row; rows in ascending order.
func (b *Builder) PutKeyword(row int, id event.ColumnID, v string) {
	c := b.cols[id]
	if !b.used[id] || c.rows != row+1 { // else: one more of the row at hand
		if c = b.put(row, id); c == nil {
			return
		}
		c.openList(row)
	}
	c.keys = append(c.keys, c.intern(bytesOf(v)))
	c.ends[row] = uint64(len(c.keys))
}

// put is the column, padded up to the row; nil if it has the row already.
func (b *Builder) put(row int, id event.ColumnID) *columnBuilder {
	if row >= b.rows {
		return nil
	}
	c := b.cols[id]
	if c == nil {
		c = newColumn(id)
		b.cols[id] = c
	}
	if b.used[id] && c.rows > row {
		return nil
	}
	b.used[id] = true
	c.pad(row)
	return c
}
