package match

import (
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// slot numbers what a set of rules reads: columns have their ids, what is
// worked out from them follows.
type slot int

// fields are the virtual fields of a set of rules. Their columns are filled
// once a block, for the rows that a rule wants them in.
type fields struct {
	ids     map[lang.Field]slot
	virtual []virtual
	keys    map[string]int // of unmapped → place in virtual
	list    int            // place of the values of unmapped, -1 if no rule reads them
	buf     []byte
}

// virtual is one field with its column of the block at hand.
type virtual struct {
	field lang.Field
	route uint64 // routing bits of the rules that read it
	dict  block.Dictionary
	col   *block.Column // nil: no row has a value
}

// textColumns are the columns of event.text.
var textColumns = func() []event.ColumnID {
	var out []event.ColumnID
	for id := range event.ColumnID(event.NumColumns) {
		if lang.InText(id) {
			out = append(out, id)
		}
	}
	return out
}()

func newFields() *fields {
	return &fields{ids: map[lang.Field]slot{}, keys: map[string]int{}, list: -1}
}

func (x *fields) count() int { return event.NumColumns + len(x.virtual) }

// add notes that rules with a routing read what the expression reads.
func (x *fields) add(e *lang.Expr, route uint64) {
	note := func(f lang.Field) {
		if f.View != lang.Plain {
			x.virtual[x.slot(f)-event.NumColumns].route |= route
		}
	}
	e.Root.Walk(func(n *lang.Node) {
		note(n.Field)
		note(n.Other)
	})
}

// slot is the place of a field; for event.text that of the values of unmapped.
func (x *fields) slot(f lang.Field) slot {
	if f.View == lang.Plain {
		return slot(f.Col)
	}
	id, ok := x.ids[f]
	if !ok {
		i := len(x.virtual)
		id = event.NumColumns + slot(i)
		x.ids[f] = id
		x.virtual = append(x.virtual, virtual{field: f})
		switch f.View {
		case lang.Key:
			x.keys[f.Key] = i
		case lang.Anywhere:
			x.list = i
		}
	}
	return id
}

// values is the slot of the values of unmapped.
func (x *fields) values() slot { return x.slot(lang.AnyText) }

// fill works out the virtual columns of a block. rows has the routing bits of
// every row.
func (x *fields) fill(b *block.Block, rows []uint64) {
	var keys uint64
	for i := range x.virtual {
		v := &x.virtual[i]
		v.col = nil
		if v.field.View == lang.AsText {
			x.number(v, b, rows)
			continue
		}
		keys |= v.route
		v.dict.Reset(v.field.View == lang.Anywhere)
	}
	if keys != 0 {
		if c := b.Column(event.Unmapped); c != nil {
			x.unmapped(c, rows, keys)
		}
	}
}

// unmapped takes the wanted keys out of the rows that rules want them of.
func (x *fields) unmapped(c *block.Column, rows []uint64, want uint64) {
	for row, route := range rows {
		if route&want == 0 {
			continue
		}
		w := walker{data: c.Bytes(row)}
		all := x.list >= 0 && x.virtual[x.list].route&route != 0
		for w.next() {
			key := w.key[1 : len(w.key)-1]
			for _, ch := range key {
				if ch == '\\' {
					x.buf = appendText(x.buf[:0], w.key)
					key = x.buf
					break
				}
			}
			i, wanted := x.keys[string(key)]
			wanted = wanted && x.virtual[i].route&route != 0 && !x.virtual[i].dict.Has(row)
			if !wanted && !all {
				continue
			}
			x.buf = appendText(x.buf[:0], w.value)
			if wanted {
				x.virtual[i].dict.Set(row, x.buf)
			}
			if all {
				x.virtual[x.list].dict.Add(row, x.buf)
			}
		}
	}
	for i := range x.virtual {
		if v := &x.virtual[i]; v.field.View != lang.AsText && v.dict.Has(0) {
			v.col = v.dict.Column(len(rows))
		}
	}
}

// number writes the numbers of a column as texts.
func (x *fields) number(v *virtual, b *block.Block, rows []uint64) {
	c := b.Column(v.field.Col)
	if c == nil {
		return
	}
	v.dict.Reset(false)
	for row, route := range rows {
		if route&v.route == 0 || c.Absent(row) {
			continue
		}
		x.buf = lang.AppendNumber(x.buf[:0], c.Float(row), c.Int(row), c.Kind())
		v.dict.Set(row, x.buf)
	}
	v.col = v.dict.Column(len(rows))
}
