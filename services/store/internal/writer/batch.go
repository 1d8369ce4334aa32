package writer

import (
	"io"
	"slices"

	"github.com/vagus-hub/vagus/services/internal/ledger"
)

// item is one message's rows of one table.
type item struct {
	seq     uint64
	source  string
	rows    int
	native  []byte // Native block; shares memory with the message
	payload []byte // the whole message, for a dead letter
	from    int64  // range of the table's time column, ms since 1970
	to      int64
}

// part is what a batch inserts into one table.
type part struct {
	table string
	items []item
	rows  int
	bytes int
}

func (p *part) add(it item) {
	p.items = append(p.items, it)
	p.rows += it.rows
	p.bytes += len(it.native)
}

// broken is a message that cannot be read; it goes to the dead letters.
type broken struct {
	seq     uint64
	source  string
	payload []byte
	reason  string
	err     error
}

// batch is a range of a stream, sorted by table.
type batch struct {
	first, last uint64
	messages    int
	rows, bytes int
	parts       map[string]*part
	ledger      []ledger.Row
	broken      []broken
}

func (b *batch) put(table string, it item) {
	p := b.parts[table]
	if p == nil {
		p = &part{table: table}
		b.parts[table] = p
	}
	p.add(it)
	b.rows += it.rows
}

// sorted lists the parts in the same order every time.
func (b *batch) sorted() []*part {
	out := make([]*part, 0, len(b.parts))
	for _, p := range b.parts {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *part) int {
		if a.table < b.table {
			return -1
		}
		return 1
	})
	return out
}

// largest is the most rows that one table gets.
func (b *batch) largest() int {
	n := 0
	for _, p := range b.parts {
		n = max(n, p.rows)
	}
	return n
}

// reader gives the items' bytes one behind the other, without copying them
// together.
type reader struct {
	items []item
	pos   int
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.items) > 0 {
		if rest := r.items[0].native[r.pos:]; len(rest) > 0 {
			n := copy(p, rest)
			r.pos += n
			return n, nil
		}
		r.items, r.pos = r.items[1:], 0
	}
	return 0, io.EOF
}

// WriteTo saves the copy through a buffer where the other side is a writer.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for ; len(r.items) > 0; r.items, r.pos = r.items[1:], 0 {
		n, err := w.Write(r.items[0].native[r.pos:])
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
