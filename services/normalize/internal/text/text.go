// Package text reads the text formats of logs: key=value pairs, separated
// values, Zeek's tables, CEF, LEEF, syslog and Linux audit records. A parser
// keeps nothing: it hands each part to a Fields as it goes, so that a record
// costs no map and, in most formats, no allocation.
//
// Every parser is bounded (see MaxFields) and takes any bytes: what fits no
// format is an error, never a panic.
package text

import (
	"bytes"
	"errors"
)

// Fields takes the parts of a record. Keys and values are valid until the
// record has been mapped; they must not be changed.
type Fields interface {
	// Set gives the value of a key of the current object. Keys may repeat.
	Set(key, value []byte)
	// Open enters the object under key, of which there may be several: index
	// counts them from 0, or is -1 if there is only ever one.
	Open(key []byte, index int)
	// Close goes back to the object around the current one.
	Close()
}

// Parser reads one record, or one line of a table.
type Parser interface {
	// Parse hands the parts of data to f. It may have handed over some when it
	// finds that data does not fit.
	Parse(data []byte, f Fields) error
}

// MaxFields bounds the parts of a record: what is beyond is left out.
const MaxFields = 1024

// Scratch is memory for values that differ from the bytes of the record:
// unescaped, decoded or counted. What it gives out stays valid until Reset.
type Scratch struct{ buf []byte }

// Reset takes everything back.
func (s *Scratch) Reset() { s.buf = s.buf[:0] }

// open starts a value of at most n bytes, to be appended to and given to keep.
func (s *Scratch) open(n int) []byte {
	if cap(s.buf)-len(s.buf) < n {
		s.buf = make([]byte, 0, max(n, 4<<10)) // values in the old memory stay
	}
	return s.buf[len(s.buf):len(s.buf):cap(s.buf)]
}

// keep takes a value that was started with open.
func (s *Scratch) keep(v []byte) []byte {
	s.buf = s.buf[:len(s.buf)+len(v)]
	return v[:len(v):len(v)]
}

// number renders n, which is not negative.
func (s *Scratch) number(n int) []byte {
	v := s.open(20)
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	return s.keep(append(v, digits[i:]...))
}

var (
	errPairs  = errors.New("no key=value pair")
	errCEF    = errors.New("no CEF:version|vendor|product|version|id|name|severity|")
	errLEEF   = errors.New("no LEEF:version|vendor|product|version|id|")
	errSyslog = errors.New("the record is empty")
	errAudit  = errors.New("no audit line type=… msg=audit(time:serial): …")
	errTable  = errors.New("no line of values, or no names for them")
)

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// cut splits b at the first sep; after is nil if there is none.
func cut(b []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}
