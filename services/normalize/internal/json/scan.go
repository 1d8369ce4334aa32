// Package json reads JSON in one pass without building a tree: the caller walks
// into the objects and arrays that it wants and skips the others, which are
// checked all the same. Nothing is copied; every value is a part of the input.
//
// It takes all valid JSON (RFC 8259). Like most log pipelines it is lenient
// with strings: control characters and unknown escapes are taken as they are.
package json

import (
	"bytes"
	"errors"
	"fmt"
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
	v := s.str()
	if s.err != nil {
		return nil, false, false
	}
	if s.pos < len(s.data) && s.data[s.pos] != ':' {
		s.space()
	}
	if s.pos == len(s.data) || s.data[s.pos] != ':' {
		s.fail(errColon)
		return nil, false, false
	}
	s.pos++
	return v.Raw[1 : len(v.Raw)-1], v.Escaped, true
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
	switch k := s.Next(); k {
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
	case Number:
		return s.number()
	case Bool:
		if s.data[s.pos] == 't' {
			return s.word("true", Bool)
		}
		return s.word("false", Bool)
	case Null:
		return s.word("null", Null)
	}
	return Value{}
}

// skip reads over the object or array at hand and checks it.
func (s *Scanner) skip() {
	object := s.data[s.pos] == '{'
	s.Enter()
	for first := true; s.err == nil; first = false {
		if object {
			if _, _, ok := s.Key(first); !ok {
				return
			}
		} else if !s.Element(first) {
			return
		}
		switch k := s.Next(); k {
		case String:
			s.str()
		case Object, Array:
			s.skip()
		case Number:
			s.number()
		case Absent:
			return
		default:
			s.Value()
		}
	}
}

// str reads a string; the scanner stands on its quote.
func (s *Scanner) str() Value {
	from := s.pos
	// Most strings are short and have no escapes.
	rest := s.data[from+1:]
	i := bytes.IndexByte(rest, '"')
	if i < 0 {
		s.fail(errString)
		return Value{}
	}
	if bytes.IndexByte(rest[:i], '\\') < 0 {
		s.pos = from + i + 2
		return Value{Raw: s.data[from:s.pos], Kind: String}
	}
	for {
		n := 0
		for i-1-n >= 0 && rest[i-1-n] == '\\' {
			n++
		}
		if n%2 == 0 {
			s.pos = from + i + 2
			return Value{Raw: s.data[from:s.pos], Kind: String, Escaped: true}
		}
		next := bytes.IndexByte(rest[i+1:], '"')
		if next < 0 {
			s.fail(errString)
			return Value{}
		}
		i += 1 + next
	}
}

func (s *Scanner) word(w string, k Kind) Value {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		s.fail(errValue)
		return Value{}
	}
	from := s.pos
	s.pos += len(w)
	return Value{Raw: s.data[from:s.pos], Kind: k}
}

// number reads -?int(.digits)?([eE][+-]?digits)?.
func (s *Scanner) number() Value {
	d, i := s.data, s.pos
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
		s.fail(errNumber)
		return Value{}
	}
	v := Value{Raw: d[s.pos:i], Kind: Number}
	s.pos = i
	return v
}

func digits(d []byte, i int) int {
	for i < len(d) && d[i]-'0' <= 9 {
		i++
	}
	return i
}
