package frame

import (
	"bytes"
	"time"
)

// Silence is how long a stream may say nothing before what was gathered of a
// record is taken for the whole.
const Silence = 2 * time.Second

// Assembler makes records of the lines of a stream (a file, a connection) as
// Framing.Frame does of a body. It holds at most one record of 500 lines and
// MaxRecord bytes, and a header. Not safe for concurrent use.
//
// With Header every line is a record, with the header before it: a stream has
// no end to wait for.
type Assembler struct {
	fr      Framing
	lim     Limits
	record  []byte
	lines   int
	mark    int64
	last    []byte // key of the group
	touched time.Time
	header  []byte
	reading bool // of a header
}

// NewAssembler makes an Assembler for one stream.
func NewAssembler(fr Framing, lim Limits) *Assembler { return &Assembler{fr: fr, lim: lim} }

// Add takes a line without its end, and calls emit with each record that is
// whole now: none, one or two. mark is the caller's (an offset in a file, say):
// emit gets that of the record's last line. The record is valid until emit
// returns. A record longer than MaxRecord is emitted for the caller to refuse.
func (a *Assembler) Add(line []byte, mark int64, now time.Time, emit func(record []byte, mark int64)) {
	switch {
	case len(line) == 0:
		return
	case !a.fr.Several() || line[0] == '{' && a.lines == 0:
		emit(line, mark)
		return
	case a.fr.Header != "":
		a.headed(line, mark, emit)
		return
	}
	joins, key := a.fr.joins(line, a.last)
	if a.lines > 0 && (!joins || a.lines >= maxLines || len(a.record)+1+len(line) > a.lim.MaxRecord) {
		a.Flush(emit)
	}
	if a.lines > 0 {
		a.record = append(a.record, '\n')
	}
	a.record = append(a.record, line...)
	a.last = append(a.last[:0], key...)
	if key == nil {
		a.last = nil
	}
	a.lines++
	a.mark, a.touched = mark, now
	if a.fr.Group != nil && key == nil {
		a.Flush(emit) // stands alone
	}
}

func (a *Assembler) headed(line []byte, mark int64, emit func([]byte, int64)) {
	if bytes.HasPrefix(line, []byte(a.fr.Header)) && (!a.reading || len(a.header)+len(line) < maxHeader) {
		if !a.reading {
			a.header, a.reading = a.header[:0], true
		}
		a.header = append(append(a.header, line...), '\n')
		return
	}
	a.reading = false
	a.record = append(append(a.record[:0], a.header...), line...)
	emit(a.record, mark)
	a.record = a.record[:0]
}

// Flush emits what was gathered; the stream has ended, or is silent.
func (a *Assembler) Flush(emit func(record []byte, mark int64)) {
	if a.lines == 0 {
		return
	}
	emit(a.record, a.mark)
	a.record, a.last, a.lines = a.record[:0], nil, 0
	if cap(a.record) > 64<<10 {
		a.record = nil // an idle stream holds little
	}
}

// Due is when to call Flush if no line comes before; false: nothing is held.
func (a *Assembler) Due() (at time.Time, ok bool) {
	return a.touched.Add(Silence), a.lines > 0
}

// Header is the header that the next lines get, at most 16 KiB: keep it with
// the position in a file, and give it to SetHeader to go on from there.
func (a *Assembler) Header() []byte { return a.header }

// SetHeader puts back what Header gave.
func (a *Assembler) SetHeader(h []byte) {
	a.header, a.reading = append(a.header[:0], h[:min(len(h), maxHeader)]...), false
}
