package match

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// walker reads the column unmapped, a flat JSON object, pair by pair. What is
// malformed ends it: the pairs before count.
type walker struct {
	data       []byte
	pos        int
	key, value []byte // as they stand there; the key without its quotes, see appendText
}

// next goes to the next pair.
func (w *walker) next() bool {
	w.skip('{', ',')
	if w.pos >= len(w.data) || w.data[w.pos] != '"' {
		return false
	}
	from := w.pos
	if !w.text() {
		return false
	}
	w.key = w.data[from:w.pos]
	w.skip(':', ':')
	from = w.pos
	if !w.any() {
		return false
	}
	w.value = w.data[from:w.pos]
	return true
}

func (w *walker) skip(one, other byte) {
	for w.pos < len(w.data) {
		if c := w.data[w.pos]; c > ' ' && c != one && c != other {
			return
		}
		w.pos++
	}
}

// text goes behind the text that begins here.
func (w *walker) text() bool {
	for i := w.pos + 1; ; {
		n := bytes.IndexByte(w.data[min(i, len(w.data)):], '"')
		if n < 0 {
			return false
		}
		i += n + 1
		slashes := 0
		for j := i - 2; j > w.pos && w.data[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			w.pos = i
			return true
		}
	}
}

// any goes behind the value that begins here.
func (w *walker) any() bool {
	depth := 0
	for w.pos < len(w.data) {
		switch c := w.data[w.pos]; c {
		case '"':
			if !w.text() {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return true // the end of the object, after a number or word
			}
			if depth--; depth == 0 {
				w.pos++
				return true
			}
		case ',':
			if depth == 0 {
				return true
			}
		}
		w.pos++
	}
	return false
}

// appendUnmapped appends the value that a row has under a key of unmapped, as
// rules see it: the first if there are several, nothing if there is none. It
// reads the row alone, so only matches of rules that group by a key pay for it.
func appendUnmapped(dst []byte, b *block.Block, key string, row int) []byte {
	c := b.Column(event.Unmapped)
	if c == nil {
		return dst
	}
	w := walker{data: c.Bytes(row)}
	for w.next() {
		have := w.key[1 : len(w.key)-1]
		if bytes.IndexByte(have, '\\') >= 0 {
			have = appendText(nil, w.key)
		}
		if string(have) == key {
			return appendText(dst, w.value)
		}
	}
	return dst
}

// appendText appends a value as rules see it: a text without its quotes and
// escapes, anything else as it stands there, null as nothing.
func appendText(dst, v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		if string(v) == "null" {
			return dst
		}
		return append(dst, v...)
	}
	v = v[1 : len(v)-1]
	for {
		i := bytes.IndexByte(v, '\\')
		if i < 0 || i+1 >= len(v) {
			return append(dst, v...)
		}
		dst = append(dst, v[:i]...)
		c := v[i+1]
		v = v[i+2:]
		switch c {
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'u':
			var r rune
			r, v = unicodeEscape(v)
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
}

// unicodeEscape reads what follows \u, and a second half if there is one.
func unicodeEscape(v []byte) (rune, []byte) {
	r, ok := hex4(v)
	if !ok {
		return utf8.RuneError, v
	}
	v = v[4:]
	if utf16.IsSurrogate(r) && len(v) >= 6 && v[0] == '\\' && v[1] == 'u' {
		if low, ok := hex4(v[2:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return both, v[6:]
			}
		}
	}
	return r, v
}

func hex4(v []byte) (rune, bool) {
	if len(v) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range v[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
