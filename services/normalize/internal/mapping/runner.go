package mapping

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/json"
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
	AnyTime  bool   // an archive: event times are taken however old they are
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

	m      *Mapping
	sink   Sink
	nested int // strings of JSON that the runner is in
	values []value
	live   bitset // slots that have a value
	bad    bitset // slots whose value did not fit its column
	used   bitset // slots that filled a column of the event at hand
	more   []slotJSON
	seen   json.Seen // what was skipped before
	shapes []*shape  // by node
	rec    Record
	result Result

	path     []byte // of the current node, for unmapped
	slotPath []byte
	unmapped []byte
	setLine  func(slot int, part []byte)
	said     []said
	quiet    int       // > 0: what is found is part of a placed value
	splits   []splitAt // arrays of records found in the current object
	hasRoot  bool      // the record has the outermost list of records at all
	a, b     []byte    // scratch
	arena    []byte    // texts of this record that are not in it as they are
	undo     []uint64  // live, as it was before embedded JSON
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

// slotJSON is a further value for a slot that has one.
type slotJSON struct {
	slot int
	json json.Value
}

type splitAt struct {
	node *node
	key  string
	list []byte // JSON
}

// NewRunner makes a runner that writes to sink.
func NewRunner(m *Mapping, sink Sink) *Runner {
	n := len(m.slots)
	r := &Runner{
		m: m, sink: sink, values: make([]value, n), live: newBitset(n), bad: newBitset(n), used: newBitset(n),
		shapes: make([]*shape, m.nodes),
		a:      make([]byte, 0, 64<<10), b: make([]byte, 0, 64<<10), arena: make([]byte, 0, 16<<10),
	}
	r.setLine = func(slot int, part []byte) {
		if slot >= 0 {
			r.setText(slot, part)
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

var errUTF16 = errors.New("the record is UTF-16, not UTF-8; send UTF-8")

// Map maps one record.
func (r *Runner) Map(rec Record) Result {
	r.begin(rec)
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
	return r.mapJSON(data)
}

func (r *Runner) begin(rec Record) {
	r.rec, r.result, r.nested, r.many = rec, Result{}, 0, false
	r.clear()
}

func (r *Runner) mapLine(data []byte) Result {
	for i := range r.m.lines {
		if r.m.lines[i].cut(data, r.setLine) {
			r.emit()
			return r.result
		}
		r.clear()
	}
	return Result{Reason: "line", Err: errors.New("parse record: the line fits none of the mapping's patterns")}
}

// has reports whether a slot has a value.
func (r *Runner) has(slot int) bool { return r.live.has(slot) }

// setText gives a slot a text.
func (r *Runner) setText(slot int, part []byte) {
	r.live.set(slot)
	r.values[slot] = value{text: part}
}

// setJSON gives a slot a JSON value; the second and later ones of a [*] path are
// more.
func (r *Runner) setJSON(slot int, v json.Value) {
	if r.has(slot) {
		r.more = append(r.more, slotJSON{slot, v})
		return
	}
	r.live.set(slot)
	s := &r.values[slot]
	s.json, s.text = v, nil
}

func (r *Runner) clear() {
	clear(r.live)
	clear(r.bad)
	r.more = r.more[:0]
	r.unmapped, r.path, r.splits, r.extra, r.arena = r.unmapped[:0], r.path[:0], r.splits[:0], r.extra[:0], r.arena[:0]
}

// forget clears slots, so that a record does not inherit from the one before.
func (r *Runner) forget(slots []int) {
	for _, s := range slots {
		r.live.unset(s)
		r.bad.unset(s)
	}
	r.more = slices.DeleteFunc(r.more, func(m slotJSON) bool { return !r.live.has(m.slot) })
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
