package writer

import (
	"io"
	"slices"

	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/ledger"
)

// item is one message's rows of one table.
type item struct {
	seq     uint64
	source  string
	rows    int
	body    block.Body // Native block; shares memory with the message
	payload []byte     // the whole message, for a dead letter
	from    int64      // range of the table's time column, ms since 1970
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
	p.bytes += it.body.Size()
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

// reader gives the items' bytes one behind the other, unpacking one at a time
// and without copying them together.
type reader struct {
	items []item
	rest  []byte // of the item before items[0]
	buf   []byte
	err   error // an item that cannot be unpacked
}

// next makes rest the bytes of the next item that has any; io.EOF at the end.
func (r *reader) next() error {
	for len(r.rest) == 0 && r.err == nil {
		if len(r.items) == 0 {
			return io.EOF
		}
		body := r.items[0].body
		if r.rest, r.err = body.Native(r.buf); r.err == nil && body.Packed() {
			r.buf = r.rest
		}
		r.items = r.items[1:]
	}
	return r.err
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.next(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo saves the copy through a buffer where the other side is a writer.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := r.next(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(r.rest)
		total += int64(n)
		if r.rest = r.rest[n:]; err != nil {
			return total, err
		}
	}
}
