// Package json reads JSON in one pass without building a tree: the caller walks
// into the objects and arrays that it wants and skips the others, which are
// checked all the same. Nothing is copied; every value is a part of the input.
//
// It takes all valid JSON (RFC 8259). Like most log pipelines it is lenient
// with strings: control characters and unknown escapes are taken as they are.
package json

import (
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
	data  []byte
	pos   int
	depth int
	err   error
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

// fail ends the document here, so that the fast paths need not look at err.
func (s *Scanner) fail(err error) {
	if s.err == nil {
		s.err = err
		s.data = s.data[:min(s.pos, len(s.data))]
	}
}

func (s *Scanner) failAt(i int, err error) {
	s.pos = i
	s.fail(err)
}

// End checks that nothing but white space follows.
func (s *Scanner) End() {
	s.space()
	if s.pos < len(s.data) {
		s.fail(errTail)
	}
}

func (s *Scanner) space() { s.pos = spaces(s.data, s.pos) }

// spaces is where the white space at i ends.
func spaces(d []byte, i int) int {
	for i < len(d) && isSpace[d[i]] {
		i++
	}
	return i
}

var isSpace = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

// kindOf tells the kind of a value by its first byte.
var kindOf = [256]Kind{
	'"': String, '{': Object, '[': Array, 't': Bool, 'f': Bool, 'n': Null, '-': Number,
	'0': Number, '1': Number, '2': Number, '3': Number, '4': Number, '5': Number, '6': Number, '7': Number, '8': Number, '9': Number,
}

// Next tells the kind of the value that comes next without reading it.
func (s *Scanner) Next() Kind {
	if i := s.pos; i < len(s.data) {
		if k := kindOf[s.data[i]]; k != Absent {
			return k
		}
	}
	return s.next()
}

// next is Next where there is white space, or nothing.
func (s *Scanner) next() Kind {
	s.space()
	if s.pos == len(s.data) {
		s.fail(errEnd)
		return Absent
	}
	k := kindOf[s.data[s.pos]]
	if k == Absent {
		s.fail(errValue)
	}
	return k
}

// Enter reads the opening bracket of the object or array that Next announced.
func (s *Scanner) Enter() {
	if s.depth >= MaxDepth {
		s.fail(errDepth)
		return
	}
	s.depth++
	s.pos++
}

// Key reads the next key of the object that was entered, up to the colon. At
// its end it reads the closing bracket and reports false. first must be true
// for the first key. The key is as it stands between its quotes.
func (s *Scanner) Key(first bool) (key []byte, escaped, ok bool) {
	d, i := s.data, s.pos
	// Nearly all keys follow as ,"key" or, from Python, as , "key".
	switch {
	case !first && i+1 < len(d) && d[i] == ',' && d[i+1] == '"':
		i++
	case !first && i+2 < len(d) && d[i] == ',' && d[i+1] == ' ' && d[i+2] == '"':
		i += 2
	default:
		if !s.more('}', first) {
			return nil, false, false
		}
		if i = s.pos; d[i] != '"' {
			s.fail(errKey)
			return nil, false, false
		}
	}
	end, escaped := closing(d, i)
	if end < 0 {
		s.failAt(i, errString)
		return nil, false, false
	}
	key = d[i+1 : end]
	i = end + 1
	if i < len(d) && d[i] != ':' {
		i = spaces(d, i)
	}
	if i >= len(d) || d[i] != ':' {
		s.failAt(i, errColon)
		return nil, false, false
	}
	i++
	if i < len(d) && d[i] == ' ' {
		i++
	}
	s.pos = i
	return key, escaped, true
}

// KeyIs reads the next key if it is the given one, written as "key": with quotes
// and colon and without escapes; else it reports false and reads nothing.
func (s *Scanner) KeyIs(first bool, quoted string) bool {
	d, i := s.data, s.pos
	if !first {
		if i >= len(d) || d[i] != ',' {
			return false
		}
		i++
		if i < len(d) && d[i] == ' ' {
			i++
		}
	}
	end := i + len(quoted)
	if end >= len(d) || string(d[i:end]) != quoted {
		return false
	}
	if d[end] == ' ' {
		end++
	}
	s.pos = end
	return true
}

// Null reads a null if it comes next, and reports whether it did.
func (s *Scanner) Null() bool {
	if i := s.pos; i+4 <= len(s.data) && string(s.data[i:i+4]) == "null" {
		s.pos += 4
		return true
	}
	return false
}

// Element reports whether the array that was entered has one more element; at
// its end it reads the closing bracket.
func (s *Scanner) Element(first bool) bool { return s.more(']', first) }

// more reads up to the next key or element; false if there is none.
func (s *Scanner) more(end byte, first bool) bool {
	s.space()
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
	s.space()
	if s.pos == len(s.data) {
		s.fail(errEnd)
		return false
	}
	if s.data[s.pos] == end {
		s.fail(errValue) // a comma before the bracket
		return false
	}
	return true
}

// Value reads the next value whole.
func (s *Scanner) Value() Value { return s.Read(s.Next()) }

// Read is Value for who has asked Next for the kind.
func (s *Scanner) Read(k Kind) Value {
	from, end := s.pos, 0
	switch k {
	case String:
		end, escaped := closing(s.data, from)
		if end < 0 {
			s.fail(errString)
			return Value{}
		}
		s.pos = end + 1
		return Value{Raw: s.data[from : end+1], Kind: String, Escaped: escaped}
	case Object, Array:
		spaced := s.skip()
		if s.err != nil {
			return Value{}
		}
		return Value{Raw: s.data[from:s.pos], Kind: k, Spaced: spaced}
	case Number:
		if end = number(s.data, from); end < 0 {
			s.fail(errNumber)
			return Value{}
		}
	case Bool, Null:
		if end = word(s.data, from); end < 0 {
			s.fail(errValue)
			return Value{}
		}
	default:
		return Value{}
	}
	s.pos = end
	return Value{Raw: s.data[from:end], Kind: k}
}
