package finding

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The form of a message of signals: two bytes, then entries. A shape has what
// the signals of one rule, step and source share; a signal names its shape.
// All numbers are varints but uids and floats, texts follow their length.
const (
	signalsMagic   = 0xB5
	signalsVersion = 1

	entryShape  = 1
	entrySignal = 2
)

// The flags of a signal.
const (
	hasValue = 1 << iota
	hasNumber
	hasMore
	isRetracted
	hasTrace // else it is that of the signal before
)

// ErrBadSignals says that a message of signals cannot be read.
var ErrBadSignals = errors.New("not a message of signals")

// SignalWriter makes a message of signals. The same signals give the same bytes. The zero value is ready.
type SignalWriter struct {
	buf    []byte
	shapes map[shapeKey]shape
	time   int64
	trace  string
}

type shapeKey struct {
	rule, version, source, family string
	step                          int
}

type shape struct {
	index uint64
	paths []string
}

// Len is the size of the message so far in bytes; 0 when there is nothing in it.
func (w *SignalWriter) Len() int { return len(w.buf) }

// Take returns the message and begins another. The message belongs to the caller.
func (w *SignalWriter) Take() []byte {
	out := w.buf
	clear(w.shapes)
	*w = SignalWriter{shapes: w.shapes}
	return out
}

func (w *SignalWriter) begin() {
	if len(w.buf) == 0 {
		w.buf = append(make([]byte, 0, 1024), signalsMagic, signalsVersion)
		if w.shapes == nil {
			w.shapes = map[shapeKey]shape{}
		}
	}
}

// Signal adds a signal.
func (w *SignalWriter) Signal(s *Signal) {
	w.begin()
	key := shapeKey{s.Rule, s.Version, s.Source, s.Family, s.Step}
	sh, ok := w.shapes[key]
	if !ok || !sh.fits(s.Fields) {
		sh = shape{index: uint64(len(w.shapes))}
		for _, f := range s.Fields {
			sh.paths = append(sh.paths, f.Path)
		}
		if ok {
			// The shape is told anew: its number is the one after all others.
			w.shapes[shapeKey{step: -1 - len(w.shapes)}] = w.shapes[key]
			sh.index = uint64(len(w.shapes) - 1)
		}
		w.shapes[key] = sh
		w.shape(s, sh)
	}
	flags := byte(0)
	set := func(on bool, flag byte) {
		if on {
			flags |= flag
		}
	}
	set(s.Value != "", hasValue)
	set(s.Number != 0, hasNumber)
	set(s.More > 0, hasMore)
	set(s.Retracted, isRetracted)
	set(s.Traceback != w.trace, hasTrace)
	b := binary.AppendUvarint(append(w.buf, entrySignal), sh.index)
	b = binary.AppendVarint(append(b, flags), s.Time-w.time)
	b = binary.AppendVarint(b, s.Received-s.Time)
	b = appendText(append(b, s.EventUID[:]...), s.GroupKey)
	w.time, w.trace = s.Time, s.Traceback
	if flags&hasValue != 0 {
		b = appendText(b, s.Value)
	}
	if flags&hasNumber != 0 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.Number))
	}
	if flags&hasMore != 0 {
		b = binary.AppendUvarint(b, uint64(s.More))
		b = binary.AppendVarint(b, s.MoreUntil-s.Time)
	}
	if flags&hasTrace != 0 {
		b = appendText(b, s.Traceback)
	}
	for _, f := range s.Fields {
		b = appendText(b, f.Value)
	}
	w.buf = b
}

func (sh *shape) fits(fields []Pair) bool {
	if len(sh.paths) != len(fields) {
		return false
	}
	for i := range fields {
		if sh.paths[i] != fields[i].Path {
			return false
		}
	}
	return true
}

func (w *SignalWriter) shape(s *Signal, sh shape) {
	b := append(w.buf, entryShape)
	for _, t := range [...]string{s.Rule, s.Version, s.Source, s.Family} {
		b = appendText(b, t)
	}
	b = binary.AppendUvarint(b, uint64(s.Step))
	b = binary.AppendUvarint(b, uint64(len(sh.paths)))
	for _, p := range sh.paths {
		b = appendText(b, p)
	}
	w.buf = b
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// SignalReader reads messages of signals. One goroutine at a time may use it.
type SignalReader struct {
	shapes []Signal // what a shape's signals begin with; Fields has the paths
	signal Signal
	fields []Pair
}

// maxStep bounds the number of a step.
const maxStep = 1 << 10

// Read hands out the signals of a message in order. A signal and its fields are valid until the function returns, and its texts
// share the memory of the message: clone what is kept. With an error, the
// signals before it have been handed out.
func (r *SignalReader) Read(data []byte, signal func(*Signal)) error {
	if len(data) < 2 || data[0] != signalsMagic || data[1] != signalsVersion {
		return fmt.Errorf("read signals: %w", ErrBadSignals)
	}
	r.shapes = r.shapes[:0]
	in := input{text: string(data[2:])}
	last := Signal{}
	for in.text != "" {
		at := len(data) - len(in.text)
		switch kind := in.byte(); kind {
		case entryShape:
			r.shape(&in)
		case entrySignal:
			r.read(&in, &last)
			if !in.bad {
				signal(&r.signal)
			}
		default:
			in.bad = true
		}
		if in.bad {
			return fmt.Errorf("read signals: byte %d: %w", at, ErrBadSignals)
		}
	}
	return nil
}

func (r *SignalReader) shape(in *input) {
	s := Signal{Rule: in.string(), Version: in.string(), Source: in.string(), Family: in.string()}
	step, n := in.uvarint(), in.uvarint()
	if step > maxStep || n > uint64(len(in.text)) {
		in.bad = true
		return
	}
	s.Step = int(step)
	for range n {
		s.Fields = append(s.Fields, Pair{Path: in.string()})
	}
	r.shapes = append(r.shapes, s)
}

func (r *SignalReader) read(in *input, last *Signal) {
	i := in.uvarint()
	if i >= uint64(len(r.shapes)) {
		in.bad = true
		return
	}
	s := &r.signal
	*s = r.shapes[i]
	flags := in.byte()
	s.Time = last.Time + in.varint()
	s.Received = s.Time + in.varint()
	copy(s.EventUID[:], in.take(16))
	s.GroupKey = in.string()
	if flags&hasValue != 0 {
		s.Value = in.string()
	}
	if flags&hasNumber != 0 {
		if b := in.take(8); len(b) == 8 {
			s.Number = math.Float64frombits(binary.LittleEndian.Uint64([]byte(b)))
		}
	}
	if flags&hasMore != 0 {
		n := in.uvarint()
		s.More, s.MoreUntil = uint32(min(n, math.MaxUint32)), s.Time+in.varint()
	}
	s.Retracted = flags&isRetracted != 0
	if s.Traceback = last.Traceback; flags&hasTrace != 0 {
		s.Traceback = in.string()
	}
	r.fields = append(r.fields[:0], s.Fields...)
	for k := range r.fields {
		r.fields[k].Value = in.string()
	}
	s.Fields = r.fields
	last.Time, last.Traceback = s.Time, s.Traceback
}

// input reads a message; after a failure it gives zeros.
type input struct {
	text string
	bad  bool
}

func (in *input) take(n uint64) string {
	if n > uint64(len(in.text)) {
		in.bad, in.text = true, ""
		return ""
	}
	out := in.text[:n]
	in.text = in.text[n:]
	return out
}

func (in *input) byte() byte {
	if b := in.take(1); b != "" {
		return b[0]
	}
	return 0
}

func (in *input) string() string { return in.take(in.uvarint()) }

func (in *input) uvarint() uint64 {
	var v uint64
	for i := range min(len(in.text), binary.MaxVarintLen64) {
		b := in.text[i]
		if i == 9 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			in.text = in.text[i+1:]
			return v
		}
	}
	in.bad, in.text = true, ""
	return 0
}

func (in *input) varint() int64 {
	u := in.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
