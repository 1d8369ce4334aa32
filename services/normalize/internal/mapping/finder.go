package mapping

import (
	"bytes"
	"io/fs"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// Finder recognises the source of records. It reuses its buffers: one for each
// goroutine.
type Finder struct {
	d     *detector
	json  *sight
	texts []*sight
	best  *chosen
	tie   bool
}

// Bounds on what a Finder looks at.
const (
	findDepth    = 12
	findElements = 128
)

// sight is what a reading found in the record at hand.
type sight struct {
	r      *reading
	values [][]byte
	set    []int // slots that have a value
	buf    []byte
	parser text.Parser
	table  *text.Table
	scan   json.Scanner
	nodes  []*node // objects of a text
	deep   int
}

// NewFinder makes a Finder.
func (s *Set) NewFinder() *Finder {
	f := &Finder{d: s.detector, json: newSight(s.detector.json)}
	for _, r := range s.detector.texts {
		f.texts = append(f.texts, newSight(r))
	}
	return f
}

func newSight(r *reading) *sight {
	v := &sight{r: r, values: make([][]byte, r.slots)}
	if r.parser != nil {
		v.parser = r.parser()
	}
	if r.table != nil {
		t := *r.table
		v.table = &t
	}
	return v
}

// Find names the mapping whose alternative with the most conditions holds for
// the record; nil if none does. Between equals the id that sorts first wins.
func (f *Finder) Find(record []byte) *Mapping {
	f.best, f.tie = nil, false
	trimmed := bytes.TrimLeft(record, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '{' {
		f.json.clear()
		if f.json.document(trimmed) {
			f.weigh(f.json, record)
			if f.best == nil {
				return nil
			}
			return f.best.m
		}
	}
	if len(trimmed) > 0 {
		for _, c := range f.d.first[record[0]] {
			f.line(c, record)
		}
	}
	for _, c := range f.d.lines {
		f.line(c, record)
	}
	for _, v := range f.texts {
		if v.r.may(record) {
			v.clear()
			v.text(record)
			f.weigh(v, record)
		}
	}
	if f.best == nil {
		return nil
	}
	return f.best.m
}

// Recognises reports whether the record is one of the source's.
func (f *Finder) Recognises(source string, record []byte) bool {
	m := f.Find(record)
	return m != nil && m.Source == source
}

// Ambiguous reports whether two sources were equally sure of the last record.
func (f *Finder) Ambiguous() bool { return f.tie }

func (f *Finder) line(c *chosen, record []byte) {
	if f.best != nil && c.count < f.best.count {
		return
	}
	for i := range c.alt.line {
		if !c.alt.line[i].match(record) {
			return
		}
	}
	f.take(c)
}

func (f *Finder) weigh(v *sight, record []byte) {
	for _, slot := range v.set {
		for _, c := range v.r.at[slot] {
			if f.best != nil && c.count < f.best.count {
				continue
			}
			if v.holds(c, record) {
				f.take(c)
			}
		}
	}
}

func (f *Finder) take(c *chosen) {
	switch {
	case f.best == nil || c.count > f.best.count:
		f.best, f.tie = c, false
	case c.m != f.best.m:
		f.tie = true
		if c.m.Source < f.best.m.Source {
			f.best = c
		}
	}
}

func (v *sight) holds(c *chosen, record []byte) bool {
	for i := range c.paths {
		if t := &c.paths[i]; !t.match(v.values[t.slot]) {
			return false
		}
	}
	for i := range c.alt.line {
		if !c.alt.line[i].match(record) {
			return false
		}
	}
	return true
}

func (v *sight) clear() {
	for _, s := range v.set {
		v.values[s] = nil
	}
	v.set, v.buf, v.nodes, v.deep = v.set[:0], v.buf[:0], append(v.nodes[:0], v.r.root), 0
}

func (v *sight) put(slot int, value []byte) {
	if v.values[slot] == nil && len(value) > 0 {
		v.values[slot] = value
		v.set = append(v.set, slot)
	}
}

// document reads a JSON object; false if it is not sound.
func (v *sight) document(data []byte) bool {
	v.scan.Reset(data)
	v.value(v.r.root, 0)
	v.scan.End()
	return !v.scan.Failed()
}

// value reads the value that comes next, of which n speaks.
func (v *sight) value(n *node, depth int) {
	s := &v.scan
	kind := s.Next()
	if n.leaf() || kind != json.Object && kind != json.Array || depth > findDepth {
		one := s.Value()
		if n.slot >= 0 {
			v.put(n.slot, v.plain(one))
		}
		if n.embedded && kind == json.String && !n.leaf() {
			v.nested(n, one, depth)
		}
		return
	}
	from := s.Pos()
	s.Enter()
	if kind == json.Object {
		v.object(n, depth)
	} else {
		v.array(n, depth)
	}
	if n.slot >= 0 && !s.Failed() {
		v.put(n.slot, s.Since(from))
	}
}

func (v *sight) object(n *node, depth int) {
	for first := true; ; first = false {
		key, _, ok := v.scan.Key(first)
		if !ok {
			return
		}
		if c := lookup(n, key); c != nil {
			v.value(c, depth+1)
		} else {
			v.scan.Value()
		}
	}
}

// array reads the elements: those that are asked for by number, and all of
// them as if there were only one, as lists of records and attributes want it.
func (v *sight) array(n *node, depth int) {
	s := &v.scan
	for i := 0; s.Element(i == 0); i++ {
		c := n.indexes[i]
		if c == nil {
			c = n.every
		}
		switch {
		case c != nil:
			v.value(c, depth+1)
		case i >= findElements || n.children == nil || s.Next() != json.Object:
			s.Value()
		case n.keyValue:
			v.attribute(n)
		default:
			s.Enter()
			v.object(n, depth+1)
		}
	}
}

// attribute reads {"key": …, "value": {"stringValue": …}}, of which n holds the
// keys that are asked for.
func (v *sight) attribute(n *node) {
	s := &v.scan
	s.Enter()
	var c *node          // of the key, once it was read
	var early json.Value // a value that came before its key
	for first := true; ; first = false {
		k, _, ok := s.Key(first)
		if !ok {
			break
		}
		switch {
		case string(k) == "key" && s.Next() == json.String:
			c = n.child(v.plain(s.Value()))
			if early.Kind == json.Object && c != nil {
				saved := v.scan
				s.Reset(early.Raw)
				v.any(c)
				v.scan = saved
			}
		case string(k) == "value" && c != nil && s.Next() == json.Object:
			v.any(c)
		case string(k) == "value" && c == nil:
			early = s.Value()
		default:
			s.Value()
		}
	}
}

// any reads OTLP's AnyValue for a node.
func (v *sight) any(c *node) {
	s := &v.scan
	s.Enter()
	for first := true; ; first = false {
		if _, _, ok := s.Key(first); !ok {
			return
		}
		if one := s.Value(); c.slot >= 0 {
			v.put(c.slot, v.plain(one))
		}
	}
}

// nested reads JSON in a string.
func (v *sight) nested(n *node, one json.Value, depth int) {
	inner := v.plain(one)
	if len(inner) == 0 || inner[0] != '{' || depth > 4 {
		return
	}
	saved := v.scan
	v.scan.Reset(inner)
	if v.scan.Next() == json.Object {
		v.scan.Enter()
		v.object(n, depth+1)
	}
	v.scan = saved
}

// plain is a value's text: strings without quotes and escapes.
func (v *sight) plain(one json.Value) []byte {
	switch {
	case one.Kind == json.Null || len(one.Raw) == 0:
		return nil
	case one.Kind == json.String && !one.Escaped:
		return one.Raw[1 : len(one.Raw)-1]
	case one.Kind == json.String:
		if cap(v.buf)-len(v.buf) < len(one.Raw) {
			v.buf = make([]byte, 0, len(one.Raw)+1024) // values in the old memory stay
		}
		mark := len(v.buf)
		v.buf = one.AppendText(v.buf)
		return v.buf[mark:len(v.buf):len(v.buf)]
	}
	return one.Raw
}

// text reads a record in the reading's format; of a table the first line.
func (v *sight) text(record []byte) {
	if v.table != nil {
		lines := v.table.Begin(record)
		_, _, _ = v.table.Next(lines, v)
		return
	}
	if v.parser.Parse(record, v) != nil {
		v.clear()
	}
}

// Set takes a part of a text.
func (v *sight) Set(key, value []byte) {
	if v.deep > 0 {
		return
	}
	if c := lookup(v.nodes[len(v.nodes)-1], key); c != nil && c.slot >= 0 {
		v.put(c.slot, value)
	}
}

// Open enters an object of a text.
func (v *sight) Open(key []byte, index int) {
	var c *node
	if v.deep == 0 {
		if c = v.nodes[len(v.nodes)-1].children[string(key)]; c != nil && index > 0 {
			c = c.indexes[index]
		}
	}
	if c == nil {
		v.deep++
		return
	}
	v.nodes = append(v.nodes, c)
}

// Close goes back to the object around the current one.
func (v *sight) Close() {
	if v.deep > 0 {
		v.deep--
	} else if len(v.nodes) > 1 {
		v.nodes = v.nodes[:len(v.nodes)-1]
	}
}

// RecognisesSamples reports whether every sample of a source in fsys is
// recognised as its own and as surely as no other's, but for records that the
// mapping drops.
func (s *Set) RecognisesSamples(fsys fs.FS, source string) (bool, error) {
	m, f, all := s.Get(source), s.NewFinder(), true
	r := NewRunner(m, &sampleSink{})
	n := 0
	err := m.eachSample(fsys, func(_ string, record []byte) {
		n++
		if got := f.Find(record); got != m || f.Ambiguous() {
			all = all && got == nil && r.Map(Record{Received: fixedReceived, Data: record}).Dropped > 0
		}
	})
	return all && n > 0, err
}
