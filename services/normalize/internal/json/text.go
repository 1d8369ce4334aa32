package json

import (
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Of reads a value that is known to be sound, such as the Raw of another.
func Of(raw []byte) Value {
	var s Scanner
	s.Reset(raw)
	return s.Value()
}

// Get is the value of a key of an object; Absent if there is none. Keys with
// escapes are not found.
func (v Value) Get(key string) Value {
	if v.Kind != Object {
		return Value{}
	}
	var s Scanner
	s.Reset(v.Raw)
	s.Enter()
	for first := true; ; first = false {
		k, _, ok := s.Key(first)
		if !ok {
			return Value{}
		}
		if one := s.Value(); string(k) == key {
			return one
		}
	}
}

// AppendText appends what a string says: without quotes, escapes resolved.
func (v Value) AppendText(dst []byte) []byte {
	if len(v.Raw) < 2 {
		return dst
	}
	text := v.Raw[1 : len(v.Raw)-1]
	if !v.Escaped {
		return append(dst, text...)
	}
	return AppendUnescaped(dst, text)
}

// AppendUnescaped appends the text of a string without its quotes. Escapes that
// JSON does not know stay as they are; halves of a surrogate pair become U+FFFD.
func AppendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		n := escape(s, i)
		dst = append(dst, s[i:n]...)
		if i = n; i >= len(s)-1 {
			return append(dst, s[i:]...)
		}
		i++
		switch s[i] {
		case '"', '\\', '/':
			dst = append(dst, s[i])
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := hex4(s[i+1:])
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low, ok = hex4(s[i+3:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', s[i])
		}
	}
	return dst
}

// escape is where the next backslash stands, len(s) if there is none.
func escape(s []byte, i int) int {
	for ; i <= len(s)-8; i += 8 {
		w := load8(s, i) ^ slashes
		if m := (w - ones) &^ w & highs; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(s) && s[i] != '\\' {
		i++
	}
	return i
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
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

// AppendCompact appends a value as JSON without white space between its parts.
func (v Value) AppendCompact(dst []byte) []byte {
	if !v.Spaced {
		return append(dst, v.Raw...)
	}
	from := 0
	for i := 0; i < len(v.Raw); i++ {
		switch c := v.Raw[i]; c {
		case '"':
			i, _ = closing(v.Raw, i)
		case ' ', '\t', '\n', '\r':
			dst = append(dst, v.Raw[from:i]...)
			from = i + 1
		}
	}
	return append(dst, v.Raw[from:]...)
}

// Empty reports whether the value says nothing: absent, null, "", [] or {}.
func (v Value) Empty() bool {
	switch v.Kind {
	case Absent, Null:
		return true
	case String:
		return len(v.Raw) == 2
	case Object, Array:
		for _, c := range v.Raw[1 : len(v.Raw)-1] {
			if c > ' ' {
				return false
			}
		}
		return true
	}
	return false
}

// Plain reports whether a text needs no escapes to stand in quotes.
func Plain(s []byte) bool {
	i := 0
	for ; i <= len(s)-8; i += 8 {
		w := load8(s, i)
		if marks(w)|(w-' '*ones)&^w&highs != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
