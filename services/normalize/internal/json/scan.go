// Package json reads JSON in one pass without building a tree: the caller walks
// into the objects and arrays that it wants and skips the others, which are
// checked all the same. Nothing is copied; every value is a part of the input.
//
// It takes all valid JSON (RFC 8259). Like most log pipelines it is lenient
// with strings: control characters and unknown escapes are taken as they are.
package json

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// MaxDepth is how deep brackets may be nested.
const MaxDepth = 200

// Kind is the type of a value.
type Kind uint8

// The kinds of value. Absent is the zero Value.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

var kindNames = [...]string{"nothing", "null", "a boolean", "a number", "a string", "an object", "an array"}

// String names the kind as in "this is a number".
func (k Kind) String() string { return kindNames[k] }

// Value is a value as it stands in the input, quotes and spaces included.
type Value struct {
	Raw     []byte
	Kind    Kind
	Escaped bool // a string with backslashes
	Spaced  bool // an object or array with white space between its parts
}

// Errors of a scan. At gives the place.
var (
	errDepth  = fmt.Errorf("nested more than %d deep", MaxDepth)
	errEnd    = errors.New("the JSON ends too early")
	errString = errors.New("a string is not closed")
	errValue  = errors.New("a value is expected")
	errNumber = errors.New("this is no number")
	errColon  = errors.New(`":" is expected`)
	errComma  = errors.New(`"," or a closing bracket is expected`)
	errKey    = errors.New("a key in quotes is expected")
	errTail   = errors.New("there is more after the end of the JSON")
)

// Scanner stands somewhere in a document. Its methods fail once and for all:
// after an error, whatever is read is Absent, and Err says why.
type Scanner struct {
	data   []byte
	pos    int
	depth  int
	spaced bool // white space was seen since it was last cleared
	err    error
}

// Reset starts on a document.
func (s *Scanner) Reset(data []byte) { *s = Scanner{data: data} }

// Err is the first error with its byte offset, nil if there was none.
func (s *Scanner) Err() error {
	if s.err == nil {
		return nil
	}
	return fmt.Errorf("%w at byte %d", s.err, s.pos)
}

// Failed reports whether there was an error.
func (s *Scanner) Failed() bool { return s.err != nil }

// Pos is the offset of the next byte.
func (s *Scanner) Pos() int { return s.pos }

// Since gives the input from an earlier Pos to here.
func (s *Scanner) Since(pos int) []byte { return s.data[pos:s.pos] }

func (s *Scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// End checks that nothing but white space follows.
func (s *Scanner) End() {
	s.space()
	if s.err == nil && s.pos < len(s.data) {
		s.fail(errTail)
	}
}

func (s *Scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
			s.spaced = true
		default:
			return
		}
	}
}

// Next tells the kind of the value that comes next without reading it.
func (s *Scanner) Next() Kind {
	s.space()
	if s.err != nil {
		return Absent
	}
	if s.pos == len(s.data) {
		s.fail(errEnd)
		return Absent
	}
	switch c := s.data[s.pos]; {
	case c == '"':
		return String
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '-' || c >= '0' && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	s.fail(errValue)
	return Absent
}

// Enter reads the opening bracket of the object or array that Next announced.
func (s *Scanner) Enter() {
	if s.depth++; s.depth > MaxDepth {
		s.fail(errDepth)
		return
	}
	s.pos++
}

// Key reads the next key of the object that was entered, up to the colon. At
// its end it reads the closing bracket and reports false. first must be true
// for the first key. The key is as it stands between its quotes.
func (s *Scanner) Key(first bool) (key []byte, escaped, ok bool) {
	if !s.more('}', first) {
		return nil, false, false
	}
	if s.pos == len(s.data) || s.data[s.pos] != '"' {
		s.fail(errKey)
		return nil, false, false
	}
	from := s.pos + 1
	end, escaped := closing(s.data, s.pos)
	if end < 0 {
		s.fail(errString)
		return nil, false, false
	}
	s.pos = end + 1
	if s.pos < len(s.data) && s.data[s.pos] != ':' {
		s.space()
	}
	if s.pos == len(s.data) || s.data[s.pos] != ':' {
		s.fail(errColon)
		return nil, false, false
	}
	s.pos++
	return s.data[from:end], escaped, true
}

// Element reports whether the array that was entered has one more element; at
// its end it reads the closing bracket.
func (s *Scanner) Element(first bool) bool { return s.more(']', first) }

func (s *Scanner) more(end byte, first bool) bool {
	if s.pos < len(s.data) && s.data[s.pos] <= ' ' {
		s.space()
	}
	if s.err != nil {
		return false
	}
	if s.pos == len(s.data) {
		s.fail(errEnd)
		return false
	}
	switch c := s.data[s.pos]; {
	case c == end:
		s.pos++
		s.depth--
		return false
	case first:
		return true
	case c != ',':
		s.fail(errComma)
		return false
	}
	s.pos++
	if s.pos < len(s.data) && s.data[s.pos] <= ' ' {
		s.space()
	}
	if s.pos < len(s.data) && s.data[s.pos] == end {
		s.fail(errValue) // a comma before the bracket
		return false
	}
	return true
}

// Value reads the next value whole.
func (s *Scanner) Value() Value {
	k := s.Next()
	switch k {
	case Absent:
		return Value{}
	case String:
		return s.str()
	case Object, Array:
		outer := s.spaced
		s.spaced = false
		from := s.pos
		s.skip()
		if s.err != nil {
			return Value{}
		}
		v := Value{Raw: s.data[from:s.pos], Kind: k, Spaced: s.spaced}
		s.spaced = s.spaced || outer
		return v
	}
	end, err := 0, errValue
	if k == Number {
		end, err = number(s.data, s.pos), errNumber
	} else {
		end = word(s.data, s.pos)
	}
	if end < 0 {
		s.fail(err)
		return Value{}
	}
	v := Value{Raw: s.data[s.pos:end], Kind: k}
	s.pos = end
	return v
}

// skip reads over the object or array at hand and checks it.
func (s *Scanner) skip() {
	d, i := s.data, s.pos
	var objects [MaxDepth/64 + 1]uint64 // by depth: an object, not an array
	depth := 0

value:
	if i < len(d) && d[i] <= ' ' {
		i = s.spaces(i)
	}
	if i == len(d) {
		s.failAt(i, errEnd)
		return
	}
	switch c := d[i]; {
	case c == '"':
		end, _ := closing(d, i)
		if end < 0 {
			s.failAt(i, errString)
			return
		}
		i = end + 1
	case c == '{' || c == '[':
		if s.depth+depth >= MaxDepth {
			s.failAt(i, errDepth)
			return
		}
		i++
		for i < len(d) && isSpace[d[i]] {
			i++
			s.spaced = true
		}
		if i < len(d) && d[i] == c+2 { // } and ] stand two behind { and [
			i++
			break
		}
		depth++
		if c == '[' {
			objects[depth>>6] &^= 1 << (depth & 63)
			goto value
		}
		objects[depth>>6] |= 1 << (depth & 63)
		goto key
	case c == '-' || c-'0' <= 9:
		end := number(d, i)
		if end < 0 {
			s.failAt(i, errNumber)
			return
		}
		i = end
	default:
		end := word(d, i)
		if end < 0 {
			s.failAt(i, errValue)
			return
		}
		i = end
	}

after:
	if depth == 0 {
		s.pos = i
		return
	}
	if i < len(d) && d[i] <= ' ' {
		i = s.spaces(i)
	}
	if i == len(d) {
		s.failAt(i, errEnd)
		return
	}
	if object := objects[depth>>6]&(1<<(depth&63)) != 0; d[i] == ',' {
		i++
		if !object {
			goto value
		}
	} else if object && d[i] == '}' || !object && d[i] == ']' {
		i++
		depth--
		goto after
	} else {
		s.failAt(i, errComma)
		return
	}

key:
	if i < len(d) && d[i] <= ' ' {
		i = s.spaces(i)
	}
	if i == len(d) || d[i] != '"' {
		s.failAt(i, errKey)
		return
	}
	end, _ := closing(d, i)
	if end < 0 {
		s.failAt(i, errString)
		return
	}
	i = end + 1
	if i == len(d) || d[i] != ':' {
		for i < len(d) && isSpace[d[i]] {
			i++
			s.spaced = true
		}
		if i == len(d) || d[i] != ':' {
			s.failAt(i, errColon)
			return
		}
	}
	i++
	goto value
}

// spaces is where the white space at i ends.
func (s *Scanner) spaces(i int) int {
	for i < len(s.data) && isSpace[s.data[i]] {
		i++
		s.spaced = true
	}
	return i
}

var isSpace = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

func (s *Scanner) failAt(i int, err error) {
	s.pos = i
	s.fail(err)
}

// Eight bytes at a time: the marks of the bytes that are a quote or a backslash.
const (
	ones      = 0x0101010101010101
	highs     = 0x8080808080808080
	quotes    = '"' * ones
	slashes   = '\\' * ones
	longAfter = 64 // bytes from which the vector search of package bytes is faster
)

// str reads a string; the scanner stands on its quote.
func (s *Scanner) str() Value {
	end, escaped := closing(s.data, s.pos)
	if end < 0 {
		s.fail(errString)
		return Value{}
	}
	v := Value{Raw: s.data[s.pos : end+1], Kind: String, Escaped: escaped}
	s.pos = end + 1
	return v
}

// closing finds the quote that closes the string that begins at i; -1 if there
// is none.
func closing(d []byte, i int) (end int, escaped bool) {
	long := i + longAfter
	i++
	for i+8 <= len(d) {
		if i > long {
			n := bytes.IndexByte(d[i:], '"')
			if n < 0 {
				return -1, false
			}
			// A quote ends the string unless a backslash comes before it.
			b := bytes.IndexByte(d[i:i+n], '\\')
			if b < 0 {
				return i + n, escaped
			}
			i += b + 2
			escaped, long = true, i+longAfter
			continue
		}
		w := binary.LittleEndian.Uint64(d[i:])
		// The lowest mark is right; those above it may be too many.
		marks := (((w ^ quotes) - ones) | ((w ^ slashes) - ones)) &^ w & highs
		if marks == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(marks) >> 3
		if d[i] == '"' {
			return i, escaped
		}
		i += 2
		escaped = true
	}
	for ; i < len(d); i++ {
		switch d[i] {
		case '"':
			return i, escaped
		case '\\':
			i++
			escaped = true
		}
	}
	return -1, false
}

// word is the end of true, false or null; -1 if it is none.
func word(d []byte, i int) int {
	const null, true4, fals = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24, 't' | 'r'<<8 | 'u'<<16 | 'e'<<24, 'f' | 'a'<<8 | 'l'<<16 | 's'<<24
	if i+4 > len(d) {
		return -1
	}
	switch binary.LittleEndian.Uint32(d[i:]) {
	case null, true4:
		return i + 4
	case fals:
		if i+4 < len(d) && d[i+4] == 'e' {
			return i + 5
		}
	}
	return -1
}

// number is the end of -?int(.digits)?([eE][+-]?digits)?; -1 if it is none.
func number(d []byte, i int) int {
	if d[i] == '-' {
		i++
	}
	start := i
	i = digits(d, i)
	ok := i > start && (d[start] != '0' || i == start+1)
	if i < len(d) && d[i] == '.' {
		end := digits(d, i+1)
		ok = ok && end > i+1
		i = end
	}
	if i < len(d) && d[i]|0x20 == 'e' {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		end := digits(d, i)
		ok = ok && end > i
		i = end
	}
	if !ok {
		return -1
	}
	return i
}

func digits(d []byte, i int) int {
	for i < len(d) && d[i]-'0' <= 9 {
		i++
	}
	return i
}
