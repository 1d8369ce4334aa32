package mapping

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

var _ text.Fields = (*Runner)(nil)

// frame is an object that a text parser is in: up to three nodes speak of the
// same one (PATH, PATH[0] and PATH[*]).
type frame struct {
	nodes [3]*node
	path  int // length of r.path outside
	quiet bool
	twin  *node // what it speaks of is not unmapped: it was there under another name
}

// slotText is a further text for a slot that has one.
type slotText struct {
	slot int
	text []byte
}

// maxOpen bounds how deep the objects of a text may lie in each other.
const maxOpen = 8

// mapText maps a record in one of the text formats.
func (r *Runner) mapText(data []byte) Result {
	r.textual, r.deep = r.textual[:0], 0
	r.textual = append(r.textual, frame{nodes: [3]*node{r.m.root}})
	switch {
	case r.table != nil:
		return r.mapTable(data)
	case r.parser == nil:
		return r.mapLine(data)
	}
	if err := r.parser.Parse(data, r); err != nil {
		return Result{Reason: "line", Err: fmt.Errorf("parse record: %w", err)}
	}
	if len(r.m.lines) > 0 { // patterns of the message behind the header
		h := text.ParseHeader(data)
		for i := range r.m.lines {
			if r.m.lines[i].cut(h.Message, r.setLine) {
				break
			}
		}
	}
	r.emit()
	return r.result
}

// mapTable maps lines of values, each as an event.
func (r *Runner) mapTable(data []byte) Result {
	lines := r.table.Begin(data)
	for n := 0; ; n++ {
		if n > 0 {
			r.clear()
		}
		if r.result.Events+r.result.Dropped >= maxEvents {
			r.result.Dropped++
			r.result.Why = "too many events in one record"
			return r.result
		}
		rest, more, err := r.table.Next(lines, r)
		if !more {
			break
		}
		if err != nil {
			if r.result.Events+r.result.Dropped == 0 {
				return Result{Reason: "line", Err: fmt.Errorf("parse record: %w", err)}
			}
			r.result.Dropped++
			r.result.Why = "a line that cannot be read"
			break
		}
		r.many = n > 0 || len(rest) > 0
		r.emit()
		if r.result.Reason != "" {
			return r.result
		}
		lines = rest
	}
	if r.result.Events+r.result.Dropped == 0 {
		if r.table.Zeek || len(bytes.TrimSpace(data)) > 0 {
			r.result.Dropped, r.result.Why = 1, "header without lines"
			return r.result
		}
		return Result{Reason: "line", Err: errors.New("parse record: it is empty")}
	}
	return r.result
}

// Set files one part of a text.
func (r *Runner) Set(key, value []byte) {
	if len(value) == 0 || r.deep > 0 {
		return
	}
	f := &r.textual[len(r.textual)-1]
	found := false
	for _, n := range f.nodes {
		if n == nil {
			continue
		}
		if c := lookup(n, key); c != nil {
			found = true
			r.placeText(c, key, value)
		}
	}
	if !found && !f.quiet && (f.twin == nil || lookup(f.twin, key) == nil) {
		r.keepText(key, value)
	}
}

// lookup finds the node of a key; a key with dots also is a path.
func lookup(n *node, key []byte) *node {
	if c := n.child(key); c != nil {
		return c
	}
	for {
		i := bytes.IndexByte(key, '.')
		if i < 0 {
			return n.child(key)
		}
		if n = n.child(key[:i]); n == nil {
			return nil
		}
		key = key[i+1:]
	}
}

func (r *Runner) placeText(n *node, key, value []byte) {
	if n.skip {
		return
	}
	if n.slot >= 0 {
		r.setSlot(n.slot, value)
	}
	if n.leaf() {
		if n.slot < 0 && !n.ignore {
			r.keepText(key, value)
		}
		return
	}
	if n.embedded {
		mark := len(r.path)
		r.path = append(append(r.path, key...), '.')
		if n.ignore {
			r.quiet++
		}
		ok := r.fillEmbedded(value, n)
		if n.ignore {
			r.quiet--
		}
		r.path = r.path[:mark]
		if !ok && n.slot < 0 && !n.ignore {
			r.keepText(key, value)
		}
	}
}

func (r *Runner) setSlot(slot int, part []byte) {
	if r.has(slot) {
		r.extra = append(r.extra, slotText{slot, part})
		return
	}
	r.setText(slot, part)
}

// Open enters an object of a text.
func (r *Runner) Open(key []byte, index int) {
	if r.deep > 0 || len(r.textual) > maxOpen {
		r.deep++
		return
	}
	outer := &r.textual[len(r.textual)-1]
	f := frame{path: len(r.path), quiet: outer.quiet}
	if n := outer.nodes[0]; n != nil {
		if c := n.child(key); c != nil {
			if index <= 0 {
				f.nodes[0] = c
			}
			if index >= 0 {
				f.nodes[1], f.nodes[2] = c.indexes[index], c.every
			}
			f.quiet = f.quiet || c.ignore
		}
	}
	// Said again elsewhere: under the line's own type, or as a whole.
	f.quiet = f.quiet || string(key) == "FIRST" || string(key) == "structured"
	if string(key) == "FIRST" {
		r.first = f.nodes[0]
	} else if index >= 0 {
		f.twin, r.first = r.first, nil
	}
	r.path = append(r.path, key...)
	if index > 0 {
		r.path = fmt.Appendf(r.path, "[%d]", index)
	}
	r.path = append(r.path, '.')
	r.textual = append(r.textual, f)
}

// Close goes back to the object around the current one.
func (r *Runner) Close() {
	if r.deep > 0 {
		r.deep--
		return
	}
	if last := len(r.textual) - 1; last > 0 {
		r.path = r.path[:r.textual[last].path]
		r.textual = r.textual[:last]
	}
}

// keepText adds a text that the mapping does not speak of to unmapped.
func (r *Runner) keepText(key, value []byte) {
	if r.quiet > 0 {
		return
	}
	r.Unmapped++
	mark := len(r.unmapped)
	r.unmapped = append(r.unmapped, ',')
	r.path = append(r.path, key...)
	r.unmapped = appendQuoted(r.unmapped, r.path)
	r.path = r.path[:len(r.path)-len(key)]
	r.unmapped = append(r.unmapped, ':')
	r.unmapped = appendQuoted(r.unmapped, value)
	if len(r.unmapped) > event.Columns[event.Unmapped].Max-2 {
		r.unmapped = r.unmapped[:mark]
	}
}
