package mapping

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// mapJSON maps a record that is a JSON document, in one pass: the tree of the
// mapping says at each key whether to look into its value, keep it or pass it.
func (r *Runner) mapJSON(data []byte) Result {
	var s json.Scanner
	s.Reset(data)
	if kind := s.Next(); kind != json.Object {
		s.Value()
		s.End()
		if s.Failed() {
			return Result{Reason: "json", Err: fmt.Errorf("parse record: cannot parse JSON: %w", s.Err())}
		}
		return Result{Reason: "json", Err: fmt.Errorf("parse record: a JSON object is expected, this is %s", kind)}
	}
	if r.m.unwrap != "" && bytes.Contains(data, viewBytes(r.m.unwrap)) {
		doc := s.Value()
		s.End()
		if list := doc.Get(r.m.unwrap); list.Kind == json.Array && !s.Failed() {
			r.mapList(list)
			return r.finished()
		}
		s.Reset(data)
		s.Next()
	}
	r.hasRoot = false
	r.fill(&s, r.m.root)
	s.End()
	if s.Failed() {
		return Result{Reason: "json", Err: fmt.Errorf("parse record: cannot parse JSON: %w", s.Err())}
	}
	if r.m.depth == 0 {
		r.emit()
	} else {
		r.walkSplits(0)
	}
	return r.finished()
}

// finished gives the result of a document, all of which was read.
func (r *Runner) finished() Result {
	if r.result.Events+r.result.Dropped == 0 && r.result.Reason == "" {
		if r.m.depth == 0 && r.m.unwrap == "" {
			return Result{Reason: "class", Err: errNoClass}
		}
		if r.m.depth > 0 && !r.hasRoot {
			return Result{Reason: "shape", Err: errors.New("the record has none of the lists that the mapping splits")}
		}
		r.result.Dropped, r.result.Why = 1, "empty batch"
	}
	return r.result
}

// full reports whether the record has as many events as are allowed.
func (r *Runner) full() bool {
	if r.result.Events+r.result.Dropped < maxEvents {
		return false
	}
	r.result.Dropped++
	r.result.Why = "too many events in one record"
	return true
}

// mapList maps the elements of an envelope, each as a record.
func (r *Runner) mapList(list json.Value) {
	var s json.Scanner
	s.Reset(list.Raw)
	s.Enter()
	for first := true; s.Element(first); first = false {
		r.clear()
		if r.full() {
			return
		}
		if s.Next() == json.Object {
			r.walk(&s, r.m.root, r.m.depth == 0)
		} else {
			s.Value()
		}
	}
}

// walk fills the slots below an object. With emit, the object ends a record.
func (r *Runner) walk(s *json.Scanner, n *node, emit bool) {
	from := len(r.splits)
	r.fill(s, n)
	if emit {
		r.emit()
		return
	}
	r.walkSplits(from)
}

// walkSplits walks the lists of records that were found in an object. The slots
// of the object stay for all records below it.
func (r *Runner) walkSplits(from int) {
	mark, pathMark, arena := len(r.unmapped), len(r.path), len(r.arena)
	for i := from; i < len(r.splits); i++ {
		at := r.splits[i]
		var s json.Scanner
		s.Reset(at.list)
		s.Enter()
		for first := true; s.Element(first); first = false {
			if r.full() {
				break
			}
			r.forget(at.node.below)
			r.unmapped, r.arena = r.unmapped[:mark], r.arena[:arena]
			r.path = append(append(r.path[:pathMark], at.key...), '.')
			if s.Next() == json.Object {
				r.walk(&s, at.node, !hasSplit(at.node))
			} else {
				s.Value()
			}
			r.path = r.path[:pathMark]
		}
	}
	r.splits = r.splits[:from]
}

func hasSplit(n *node) bool {
	for _, c := range n.children {
		if c.split {
			return true
		}
	}
	return false
}

// unescape keeps the text of a string for as long as the record is at hand.
func (r *Runner) unescape(quoted []byte) []byte {
	at := len(r.arena)
	r.arena = json.AppendUnescaped(r.arena, quoted)
	return r.arena[at:len(r.arena):len(r.arena)]
}

// place files the value that comes next, whose node is known.
func (r *Runner) place(s *json.Scanner, n *node, key []byte) {
	kind := s.Next()
	if n.split {
		r.hasRoot = true
	}
	if n.skip || kind == json.Null || kind == json.Absent {
		s.Skip(kind, &r.seen)
		return
	}
	if n.split {
		v := s.Read(kind)
		if kind == json.Array {
			r.splits = append(r.splits, splitAt{n, view(key), v.Raw})
		} else {
			r.keep(key, v)
		}
		return
	}
	parts := kind == json.Object && (n.children != nil || n.rest != nil) || kind == json.Array && (n.indexes != nil || n.every != nil || n.keyValue)
	if !parts {
		v := s.Read(kind)
		if s.Failed() {
			return // the value may be cut short, and the record is a dead letter
		}
		if n.slot >= 0 {
			r.setJSON(n.slot, v)
		}
		inside := n.embedded && kind == json.String && !n.leaf() && r.fillString(v, n, key)
		if n.slot < 0 && !inside && !n.ignore {
			r.keep(key, v)
		}
		return
	}
	r.placeParts(s, n, key, kind)
}

// placeParts files an object or array, and what the mapping wants of it.
func (r *Runner) placeParts(s *json.Scanner, n *node, key []byte, kind json.Kind) {
	outside, from := r.path, s.Pos()
	r.enter(n, key)
	if n.slot >= 0 || n.ignore { // placed whole: its parts are not unmapped
		r.quiet++
	}
	switch {
	case kind == json.Object:
		r.fill(s, n)
	case n.keyValue:
		r.fillKeyValues(s, n)
	default:
		r.fillArray(s, n)
	}
	r.path = outside
	if n.slot >= 0 || n.ignore {
		r.quiet--
	}
	if n.slot >= 0 && !s.Failed() {
		r.setJSON(n.slot, json.Value{Raw: s.Since(from), Kind: kind, Spaced: true})
	}
}

// enter makes the path that of a node's parts. A node that other places are
// read as has the same path wherever it is met; the caller puts the path back.
func (r *Runner) enter(n *node, key []byte) {
	switch {
	case n.other:
		at := len(r.path)
		r.path = append(r.path[at:at:cap(r.path)], n.shown...)
	case key != nil:
		r.path = append(append(r.path, key...), '.')
	}
}

// fillString reads a string that holds a JSON object.
func (r *Runner) fillString(v json.Value, n *node, key []byte) bool {
	text := v.Raw[1 : len(v.Raw)-1]
	if v.Escaped {
		text = r.unescape(text)
	}
	outside := r.path
	r.enter(n, key)
	if n.slot >= 0 || n.ignore {
		r.quiet++
	}
	ok := r.fillEmbedded(text, n)
	if n.slot >= 0 || n.ignore {
		r.quiet--
	}
	r.path = outside
	return ok
}

// fillEmbedded reads a text that holds a JSON object; false if it does not: then
// it stays text.
func (r *Runner) fillEmbedded(text []byte, n *node) bool {
	if len(text) == 0 || text[0] != '{' || r.nested >= 8 {
		return false
	}
	mark := len(r.undo)
	r.undo = append(r.undo, r.live...)
	more, splits, unmapped, kept, root := len(r.more), len(r.splits), len(r.unmapped), r.Unmapped, r.hasRoot
	var s json.Scanner
	s.Reset(text)
	r.nested++
	r.fill(&s, n)
	s.End()
	if s.Failed() {
		copy(r.live, r.undo[mark:])
		r.more, r.splits, r.unmapped, r.Unmapped, r.hasRoot = r.more[:more], r.splits[:splits], r.unmapped[:unmapped], kept, root
		r.nested--
	}
	r.undo = r.undo[:mark]
	return !s.Failed()
}

func (r *Runner) fillArray(s *json.Scanner, n *node) {
	s.Enter()
	for i := 0; s.Element(i == 0); i++ {
		one := n.indexes[i]
		switch {
		case i >= maxMessages || one == nil && n.every == nil:
			s.Value()
		case one != nil && n.every != nil:
			v := s.Value()
			r.placeValue(v, one, nil)
			r.placeValue(v, n.every, nil)
		case one != nil:
			r.place(s, one, nil)
		default:
			r.place(s, n.every, nil)
		}
	}
}

// placeValue files a value that was read already.
func (r *Runner) placeValue(v json.Value, n *node, key []byte) {
	if v.Kind == json.Absent {
		return
	}
	var s json.Scanner
	s.Reset(v.Raw)
	r.place(&s, n, key)
}

// fillKeyValues reads OTLP attributes: [{"key": …, "value": {"stringValue": …}}].
func (r *Runner) fillKeyValues(s *json.Scanner, n *node) {
	s.Enter()
	for i := 0; s.Element(i == 0); i++ {
		if i >= maxMessages || s.Next() != json.Object {
			s.Value()
			continue
		}
		name, v := r.attribute(s)
		if len(name) == 0 || v.Kind == json.Absent {
			continue
		}
		if c := n.child(name); c != nil {
			r.placeValue(v, c, name)
		} else {
			r.keep(name, v)
		}
	}
}

// attribute reads {"key": …, "value": …} and unwraps OTLP's AnyValue.
func (r *Runner) attribute(s *json.Scanner) (name []byte, v json.Value) {
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			return name, v
		}
		switch string(key) {
		case "key":
			if k := s.Value(); k.Kind == json.String {
				name = k.Raw[1 : len(k.Raw)-1]
				if k.Escaped {
					name = r.unescape(name)
				}
			}
		case "value":
			if s.Next() == json.Object {
				v = anyValue(s)
			} else {
				s.Value()
			}
		default:
			s.Value()
		}
	}
}

// anyValue reads {"stringValue": …} and its like.
func anyValue(s *json.Scanner) (out json.Value) {
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			return out
		}
		v := s.Value()
		switch string(key) {
		case "stringValue", "intValue", "doubleValue", "boolValue", "kvlistValue", "bytesValue":
			out = v
		case "arrayValue":
			out = v.Get("values")
		}
	}
}
