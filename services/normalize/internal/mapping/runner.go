package mapping

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// Sink gives the builder of a family; rows go where the class belongs.
type Sink interface {
	Builder(event.Family) *block.Builder
}

// Record is one record to map.
type Record struct {
	UID      [16]byte
	Received int64 // ms since 1970
	Data     []byte
	Known    *Known // what was around the record, nil for nothing
}

// Known is what an envelope says of the record in it. It fills what the
// mapping leaves empty.
type Known struct {
	Time int64  // ms since 1970, 0 if it does not say
	Host []byte // device.hostname
	App  []byte // service.name
}

// Result says what became of a record. Events + Dropped is at least 1 unless
// Reason is set: then the record is a dead letter and nothing was written.
type Result struct {
	Events  int
	Dropped int
	Why     string // reason of the drops
	Reason  string // of a dead letter, short and countable
	Err     error
}

// Bounds on event time: what is outside is clamped to the time of receipt.
const (
	maxFuture = 60 * 60 * 1000           // 1 h, ms
	maxPast   = 90 * 24 * 60 * 60 * 1000 // 90 days, ms
	maxEvents = 10_000                   // events in one record
)

// Runner runs a mapping on one goroutine. It reuses its buffers: mapping an
// event allocates nothing once they have grown.
type Runner struct {
	Mapped   int // values placed in columns, since the runner was made
	Unmapped int // values kept under unmapped

	m        *Mapping
	sink     Sink
	json     fastjson.Parser
	embedded []*fastjson.Parser
	nested   int
	values   []value
	bad      []bool // slots whose value did not fit its column
	rec      *Record
	result   Result

	at       *node
	path     []byte // of the current node, for unmapped
	slotPath []byte
	unmapped []byte
	visit    func(key []byte, v *fastjson.Value)
	setText  func(slot int, part []byte)
	quiet    int       // > 0: what is found is part of a placed value
	splits   []splitAt // arrays of records found in the current object
	a, b     []byte    // scratch
	c, d     []byte    // scratch of joined and captured values

	parser  text.Parser // of the mapping's format, nil if it has none
	table   *text.Table
	textual []frame // objects that the parser is in
	deep    int     // objects beyond those
	extra   []slotText
	item1   value // one item of a list, for its transform
	first   *node
	filled  filled
	trace   func(*caseOp) // told of every event, for Explain
	many    bool          // the record holds several events
}

type splitAt struct {
	node *node
	key  string
	list []*fastjson.Value
}

// NewRunner makes a runner that writes to sink.
func NewRunner(m *Mapping, sink Sink) *Runner {
	r := &Runner{m: m, sink: sink, values: make([]value, len(m.slots)), bad: make([]bool, len(m.slots)), a: make([]byte, 0, 64<<10), b: make([]byte, 0, 64<<10)}
	r.visit = r.onKey
	r.setText = func(slot int, part []byte) {
		if slot >= 0 {
			r.values[slot] = value{text: part, set: true}
		}
	}
	if m.parser != nil {
		r.parser = m.parser()
	}
	if m.table != nil {
		t := *m.table
		r.table = &t
	}
	return r
}

// parseError keeps what a person can use of the parser's error: nested values
// give a long chain with the cause at its end.
func parseError(err error) error {
	text := err.Error()
	if strings.Contains(text, "too big depth") {
		return fmt.Errorf("the JSON is nested more than %d deep", fastjson.MaxDepth)
	}
	const head, tail = 100, 200
	if len(text) > head+tail {
		text = strings.ToValidUTF8(text[:head]+" … "+text[len(text)-tail:], "")
	}
	return errors.New(text)
}

var errUTF16 = errors.New("the record is UTF-16, not UTF-8; send UTF-8")

// Map maps one record.
func (r *Runner) Map(rec Record) Result {
	r.begin(&rec)
	data := rec.Data
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return Result{Reason: "encoding", Err: errUTF16}
	}
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD")) // rare: the raw table keeps the bytes
	}
	if r.m.IsText(data) {
		return r.mapText(data)
	}
	v, err := r.json.ParseBytes(data)
	if err != nil {
		return Result{Reason: "json", Err: fmt.Errorf("parse record: %w", parseError(err))}
	}
	return r.mapJSON(v)
}

func (r *Runner) begin(rec *Record) {
	r.rec, r.result, r.nested, r.many = rec, Result{}, 0, false
	r.clear()
}

func (r *Runner) mapJSON(v *fastjson.Value) Result {
	if v.Type() != fastjson.TypeObject {
		return Result{Reason: "json", Err: fmt.Errorf("parse record: a JSON object is expected, this is %s", v.Type())}
	}
	if list := v.GetArray(r.m.unwrap); r.m.unwrap != "" && list != nil {
		r.mapList(list)
	} else {
		r.walk(v, r.m.root, r.m.depth == 0)
	}
	if r.result.Events+r.result.Dropped == 0 && r.result.Reason == "" {
		if r.m.depth == 0 && r.m.unwrap == "" {
			return Result{Reason: "class", Err: errors.New("no class of the mapping fits the record")}
		}
		if r.m.depth > 0 && !r.hasRoot(v) {
			return Result{Reason: "shape", Err: errors.New("the record has none of the lists that the mapping splits")}
		}
		r.result.Dropped, r.result.Why = 1, "empty batch"
	}
	return r.result
}

// hasRoot reports whether the record has the outermost list of records at all.
func (r *Runner) hasRoot(v *fastjson.Value) bool {
	for key, n := range r.m.root.children {
		if n.split && v.Exists(key) {
			return true
		}
	}
	return false
}

// mapList maps the elements of an envelope, each as a record.
func (r *Runner) mapList(list []*fastjson.Value) {
	for _, e := range list {
		r.clear()
		if r.result.Events+r.result.Dropped >= maxEvents {
			r.result.Dropped++
			r.result.Why = "too many events in one record"
			return
		}
		if e.Type() == fastjson.TypeObject {
			r.walk(e, r.m.root, r.m.depth == 0)
		}
	}
}

func (r *Runner) mapLine(data []byte) Result {
	for i := range r.m.lines {
		if r.m.lines[i].cut(data, r.setText) {
			r.emit()
			return r.result
		}
		r.clear()
	}
	return Result{Reason: "line", Err: errors.New("parse record: the line fits none of the mapping's patterns")}
}

func (r *Runner) clear() {
	for i := range r.values {
		if r.values[i].set {
			r.values[i] = value{more: r.values[i].more[:0]}
		}
		r.bad[i] = false
	}
	r.unmapped, r.path, r.splits, r.extra = r.unmapped[:0], r.path[:0], r.splits[:0], r.extra[:0]
}

// walk fills the slots below an object. With emit, the object ends a record.
func (r *Runner) walk(v *fastjson.Value, n *node, emit bool) {
	savedSplits := len(r.splits)
	r.fill(v, n)
	if emit {
		r.emit()
		return
	}
	// The slots of this level stay for all records below it.
	mark, pathMark := len(r.unmapped), len(r.path)
	for i := savedSplits; i < len(r.splits); i++ {
		s := r.splits[i]
		for _, e := range s.list {
			if r.result.Events+r.result.Dropped >= maxEvents {
				r.result.Dropped++
				r.result.Why = "too many events in one record"
				break
			}
			r.forget(s.node)
			r.unmapped = r.unmapped[:mark]
			r.path = append(append(r.path[:pathMark], s.key...), '.')
			if e.Type() == fastjson.TypeObject {
				r.walk(e, s.node, !hasSplit(s.node))
			}
			r.path = r.path[:pathMark]
		}
	}
	r.splits = r.splits[:savedSplits]
}

func hasSplit(n *node) bool {
	for _, c := range n.children {
		if c.split {
			return true
		}
	}
	return false
}

// forget clears the slots below n, so that a record does not inherit from the
// one before.
func (r *Runner) forget(n *node) {
	if n.slot >= 0 {
		r.values[n.slot] = value{more: r.values[n.slot].more[:0]}
		r.bad[n.slot] = false
	}
	for _, c := range n.children {
		r.forget(c)
	}
	for _, c := range n.indexes {
		r.forget(c)
	}
	if n.every != nil {
		r.forget(n.every)
	}
}

// fill visits the keys of an object.
func (r *Runner) fill(v *fastjson.Value, n *node) {
	o := v.GetObject()
	if o == nil {
		return
	}
	saved := r.at
	r.at = n
	o.Visit(r.visit)
	r.at = saved
}

// onKey files one key of the object at r.at.
func (r *Runner) onKey(key []byte, v *fastjson.Value) {
	n := r.at.children[string(key)]
	if n == nil {
		if bytes.IndexByte(key, '.') > 0 {
			if n = lookup(r.at, key); n != nil {
				r.place(n, key, v)
				return
			}
		}
		r.keep(key, v)
		return
	}
	r.place(n, key, v)
}

// place files a value whose node is known.
func (r *Runner) place(n *node, key []byte, v *fastjson.Value) {
	if n.ignore {
		return
	}
	t := v.Type()
	if t == fastjson.TypeNull {
		return
	}
	if n.split {
		if t == fastjson.TypeArray {
			r.splits = append(r.splits, splitAt{n, view(key), v.GetArray()})
			return
		}
		r.keep(key, v)
		return
	}
	if n.slot >= 0 {
		s := &r.values[n.slot]
		if s.set {
			s.more = append(s.more, v)
		} else {
			s.json, s.set = v, true
		}
	}
	if n.leaf() {
		if n.slot < 0 {
			r.keep(key, v)
		}
		return
	}
	mark := len(r.path)
	if key != nil {
		r.path = append(append(r.path, key...), '.')
	}
	if n.slot >= 0 { // placed whole: its parts are not unmapped
		r.quiet++
		defer func() { r.quiet-- }()
	}
	switch {
	case n.keyValue && t == fastjson.TypeArray:
		r.fillKeyValues(v.GetArray(), n)
	case t == fastjson.TypeObject:
		r.fill(v, n)
	case t == fastjson.TypeArray:
		r.fillArray(v.GetArray(), n)
	case n.embedded && t == fastjson.TypeString && r.fillEmbedded(v.GetStringBytes(), n):
	default:
		r.path = r.path[:mark]
		if n.slot < 0 {
			r.keep(key, v)
		}
		return
	}
	r.path = r.path[:mark]
}

func (r *Runner) fillArray(list []*fastjson.Value, n *node) {
	for i, e := range list {
		if i >= maxMessages {
			break
		}
		if c := n.indexes[i]; c != nil {
			r.place(c, nil, e)
		}
		if n.every != nil {
			r.place(n.every, nil, e)
		}
	}
}

// fillKeyValues reads OTLP attributes: [{"key": …, "value": {"stringValue": …}}].
func (r *Runner) fillKeyValues(list []*fastjson.Value, n *node) {
	for i, e := range list {
		if i >= maxMessages {
			break
		}
		key, v := e.GetStringBytes("key"), anyValue(e.Get("value"))
		if len(key) == 0 || v == nil {
			continue
		}
		if c := n.children[string(key)]; c != nil {
			r.place(c, key, v)
		} else {
			r.keep(key, v)
		}
	}
}

// anyValue unwraps OTLP's AnyValue.
func anyValue(v *fastjson.Value) *fastjson.Value {
	for _, k := range [...]string{"stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue", "bytesValue"} {
		if inner := v.Get(k); inner != nil {
			if k == "arrayValue" {
				return inner.Get("values")
			}
			return inner
		}
	}
	return nil
}

// fillEmbedded parses a string that holds a JSON object; false if it does not:
// then it stays text.
func (r *Runner) fillEmbedded(s []byte, n *node) bool {
	if len(s) == 0 || s[0] != '{' || r.nested >= 8 {
		return false
	}
	if r.nested == len(r.embedded) {
		r.embedded = append(r.embedded, &fastjson.Parser{})
	}
	p := r.embedded[r.nested]
	r.nested++
	v, err := p.ParseBytes(s)
	if err != nil || v.Type() != fastjson.TypeObject {
		return false
	}
	r.fill(v, n)
	return true
}

// uid is the record's for its first event, and derived from it for the others.
func (r *Runner) uid() [16]byte {
	n := r.result.Events + r.result.Dropped
	if n == 0 {
		return r.rec.UID
	}
	var in [20]byte
	copy(in[:], r.rec.UID[:])
	binary.BigEndian.PutUint32(in[16:], uint32(n))
	h := xxh3.Hash128(in[:])
	u := r.rec.UID
	binary.BigEndian.PutUint64(u[0:], h.Hi)
	binary.BigEndian.PutUint32(u[8:], uint32(h.Lo))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}
