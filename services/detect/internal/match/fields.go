package match

import (
	"bytes"
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// slot numbers what a set of rules reads: columns have their ids, what is
// worked out from them follows.
type slot int

// fields are the virtual fields of a set of rules. Their columns are filled
// once a block, for the rows that a rule wants them in.
type fields struct {
	ids     map[lang.Field]slot
	atoms   map[string]predicate // expensive ones, by what they say
	virtual []virtual
	keys    map[string]int // of unmapped → place in virtual
	list    int            // place of the values of unmapped, -1 if no rule reads them
	buf     []byte
}

// virtual is one field with its column of the block at hand.
type virtual struct {
	field lang.Field
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
	return &fields{ids: map[lang.Field]slot{}, atoms: map[string]predicate{}, keys: map[string]int{}, list: -1}
}

func (x *fields) count() int { return event.NumColumns + len(x.virtual) }

// unmapped says that the field is taken out of unmapped.
func (v *virtual) unmapped() bool { return v.field.View != lang.AsText }

// reads lists the virtual fields that a rule reads, exceptions included.
func (x *fields) reads(r *rule.Rule) []int {
	var out []int
	note := func(f lang.Field) {
		if f.View != lang.Plain {
			if i := int(x.slot(f)) - event.NumColumns; !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	visit := func(e *lang.Expr) {
		e.Root.Walk(func(n *lang.Node) {
			note(n.Field)
			note(n.Other)
		})
	}
	visit(r.When)
	for _, e := range r.Exceptions {
		visit(e.When)
	}
	return out
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

// field is what a slot holds.
func (x *fields) field(s slot) lang.Field {
	if s < event.NumColumns {
		return lang.Field{Col: event.ColumnID(s)}
	}
	return x.virtual[s-event.NumColumns].field
}

// values is the slot of the values of unmapped.
func (x *fields) values() slot { return x.slot(lang.AnyText) }

// fill works out the virtual columns of a block.
func (x *fields) fill(b *block.Block, r *router) {
	if len(x.virtual) == 0 {
		return
	}
	keys := false
	for i := range x.virtual {
		x.virtual[i].col = nil
	}
	for _, at := range r.local {
		keys = keys || at.keys
	}
	for i := range x.virtual {
		v := &x.virtual[i]
		if !v.unmapped() {
			x.number(v, i, b, r)
		} else if keys {
			v.dict.Reset(v.field.View == lang.Anywhere)
		}
	}
	if c := b.Column(event.Unmapped); c != nil && keys {
		x.unmapped(c, r)
	}
}

// unmapped takes the wanted keys out of the rows that rules want them of.
func (x *fields) unmapped(c *block.Column, r *router) {
	for row, place := range r.rows {
		at := r.local[place]
		if !at.keys {
			continue
		}
		w := walker{data: c.Bytes(row)}
		for w.next() {
			key := w.key[1 : len(w.key)-1]
			if bytes.IndexByte(key, '\\') >= 0 {
				x.buf = appendText(x.buf[:0], w.key)
				key = x.buf
			}
			i, wanted := x.keys[string(key)]
			wanted = wanted && at.wants[i] && !x.virtual[i].dict.Has(row)
			if !wanted && !at.list {
				continue
			}
			x.buf = appendText(x.buf[:0], w.value)
			if wanted {
				x.virtual[i].dict.Set(row, x.buf)
			}
			if at.list {
				x.virtual[x.list].dict.Add(row, x.buf)
			}
		}
	}
	for i := range x.virtual {
		if v := &x.virtual[i]; v.unmapped() && v.dict.Has(0) {
			v.col = v.dict.Column(len(r.rows))
		}
	}
}

// number writes the numbers of a column as texts.
func (x *fields) number(v *virtual, i int, b *block.Block, r *router) {
	c := b.Column(v.field.Col)
	if c == nil {
		return
	}
	some := false
	for row, place := range r.rows {
		if !r.local[place].wants[i] || c.Absent(row) {
			continue
		}
		if !some {
			some = true
			v.dict.Reset(false)
		}
		x.buf = lang.AppendNumber(x.buf[:0], c.Float(row), c.Int(row), c.Kind())
		v.dict.Set(row, x.buf)
	}
	if some {
		v.col = v.dict.Column(len(r.rows))
	}
}
