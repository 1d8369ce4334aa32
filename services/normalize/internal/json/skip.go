package json

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// ": null, ", as Python writes it: the most frequent of the values that nobody
// wants.
const nullSpaced = ':' | ' '<<8 | 'n'<<16 | 'u'<<24 | 'l'<<32 | 'l'<<40 | ','<<48 | ' '<<56

// skip reads over the object or array at hand, checks it, and tells whether
// there is white space between its parts.
func (s *Scanner) skip() (spaced bool) {
	d, i := s.data, s.pos
	var objects [MaxDepth/64 + 1]uint64 // by depth: an object, not an array
	depth, object := 0, false

value:
	if i < len(d) && d[i] == ' ' {
		i++
		spaced = true
	}
	if i < len(d) && d[i] <= ' ' {
		i, spaced = spaces(d, i), true
	}
	if i >= len(d) {
		s.failAt(i, errEnd)
		return false
	}
	switch c := d[i]; {
	case c == '"':
		end, _ := closing(d, i)
		if end < 0 {
			s.failAt(i, errString)
			return false
		}
		i = end + 1
	case c == '{' || c == '[':
		if s.depth+depth >= MaxDepth {
			s.failAt(i, errDepth)
			return false
		}
		if i++; i < len(d) && d[i] <= ' ' {
			i, spaced = spaces(d, i), true
		}
		if i < len(d) && d[i] == c+2 { // } and ] stand two behind { and [
			i++
			break
		}
		depth++
		if object = c == '{'; !object {
			objects[depth>>6] &^= 1 << (depth & 63)
			goto value
		}
		objects[depth>>6] |= 1 << (depth & 63)
		goto key
	case c == '-' || c-'0' <= 9:
		end := number(d, i)
		if end < 0 {
			s.failAt(i, errNumber)
			return false
		}
		i = end
	default:
		end := word(d, i)
		if end < 0 {
			s.failAt(i, errValue)
			return false
		}
		i = end
	}

after:
	if depth == 0 {
		s.pos = i
		return spaced
	}
	if object && i+2 < len(d) && d[i] == ',' && d[i+1] == ' ' && d[i+2] == '"' {
		i += 2
		spaced = true
		goto name
	}
	if i < len(d) && d[i] <= ' ' {
		i, spaced = spaces(d, i), true
	}
	if i >= len(d) {
		s.failAt(i, errEnd)
		return false
	}
	if d[i] == ',' {
		i++
		if !object {
			goto value
		}
	} else if object && d[i] == '}' || !object && d[i] == ']' {
		i++
		depth--
		object = objects[depth>>6]&(1<<(depth&63)) != 0
		goto after
	} else {
		s.failAt(i, errComma)
		return false
	}

key:
	if i < len(d) && d[i] == ' ' {
		i++
		spaced = true
	}
	if i < len(d) && d[i] <= ' ' {
		i, spaced = spaces(d, i), true
	}
	if i >= len(d) || d[i] != '"' {
		s.failAt(i, errKey)
		return false
	}
name:
	end, _ := closing(d, i)
	if end < 0 {
		s.failAt(i, errString)
		return false
	}
	i = end + 1
	if i+8 < len(d) && d[i+8] == '"' && binary.LittleEndian.Uint64(d[i:]) == nullSpaced {
		i += 8
		spaced = true
		goto name
	}
	if i < len(d) && d[i] != ':' {
		i, spaced = spaces(d, i), true
	}
	if i >= len(d) || d[i] != ':' {
		s.failAt(i, errColon)
		return false
	}
	i++
	goto value
}

// Eight bytes at a time: the marks of the bytes that are a quote or a backslash.
const (
	ones      = 0x0101010101010101
	highs     = 0x8080808080808080
	quotes    = '"' * ones
	slashes   = '\\' * ones
	longAfter = 64 // bytes from which the vector search of package bytes is faster
)

// marks has the high bit of each byte of w that is a quote or a backslash. The
// lowest mark is right; those above it may be too many.
func marks(w uint64) uint64 {
	return (((w ^ quotes) - ones) | ((w ^ slashes) - ones)) &^ w & highs
}

// load8 reads eight bytes; the caller has checked that there are so many.
func load8(d []byte, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(d)), i))[:])
}

// closing finds the quote that closes the string that begins at i; -1 if there
// is none.
func closing(d []byte, i int) (end int, escaped bool) {
	long := i + longAfter
	i++
	for i <= len(d)-16 {
		m, m2 := marks(load8(d, i)), marks(load8(d, i+8))
		if m|m2 == 0 {
			if i += 16; i > long {
				break
			}
			continue
		}
		n := bits.TrailingZeros64(m2)>>3 + 8
		if m != 0 {
			n = bits.TrailingZeros64(m) >> 3
		}
		if i += n; d[i] == '"' {
			return i, escaped
		}
		i += 2
		escaped = true
	}
	return closingLong(d, i, escaped)
}

// closingLong goes on from within a long string, or near the end. Escapes stand
// close to each other, so that the vector search begins again only after a
// while without; no byte is searched for a quote twice.
func closingLong(d []byte, i int, escaped bool) (int, bool) {
	quote := -1
	for i < len(d) {
		for clean := 0; clean < longAfter && i <= len(d)-8; {
			m := marks(load8(d, i))
			if m == 0 {
				i += 8
				clean += 8
				continue
			}
			if i += bits.TrailingZeros64(m) >> 3; d[i] == '"' {
				return i, escaped
			}
			i += 2
			clean, escaped = 0, true
		}
		if i >= len(d) {
			break
		}
		if quote < i {
			n := bytes.IndexByte(d[i:], '"')
			if n < 0 {
				break
			}
			quote = i + n
		}
		b := bytes.IndexByte(d[i:quote], '\\')
		if b < 0 {
			return quote, escaped
		}
		i += b + 2
		escaped = true
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
