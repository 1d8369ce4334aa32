package mapping

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDecoded bounds what is decoded of one text, in bytes: more than any column
// takes.
const maxDecoded = 64 << 10

// fromBase64 decodes base64 in either alphabet, with or without padding, and
// UTF-16 in it, as PowerShell's -EncodedCommand has it. What is no base64 of
// text stays as it is: better the odd text than none.
func fromBase64(b, scratch []byte) []byte {
	in := bytes.TrimRight(bytes.TrimSpace(b), "=")
	if len(in) > base64.RawStdEncoding.EncodedLen(maxDecoded) {
		in = in[:base64.RawStdEncoding.EncodedLen(maxDecoded)&^3]
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(in, "-_") {
		enc = base64.RawURLEncoding
	}
	out := scratch[:0]
	if n := enc.DecodedLen(len(in)); cap(out) < n {
		out = make([]byte, 0, n)
	}
	n, err := enc.Decode(out[:cap(out)], in)
	if err != nil || n == 0 {
		return b
	}
	out = out[:n]
	if wide(out) {
		out = narrow(out)
	}
	for cut := 0; !utf8.Valid(out[:len(out)-cut]); cut++ {
		if cut == utf8.UTFMax-1 || len(out) <= cut || len(out) < maxDecoded-2 {
			return b
		}
		if utf8.Valid(out[:len(out)-cut-1]) { // the last character was cut
			return out[:len(out)-cut-1]
		}
	}
	return out
}

// wide reports whether a text looks like UTF-16 with the low byte first: of
// most of its characters the high byte is 0.
func wide(b []byte) bool {
	zeros := 0
	for i := 1; i < len(b); i += 2 {
		if b[i] == 0 {
			zeros++
		}
	}
	return len(b)%2 == 0 && 4*zeros > len(b)
}

func narrow(b []byte) []byte {
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		units = append(units, binary.LittleEndian.Uint16(b[i:]))
	}
	return []byte(string(utf16.Decode(units)))
}

// fromEscapes resolves the escapes of C, Go and Python in a text: \n, \t, \",
// \x41, \101, \u0041 and \U00000041; quotes around the whole, also with
// Python's b or u before them, are taken off. Unknown escapes stay; bytes
// that are no UTF-8 become U+FFFD.
func fromEscapes(b, scratch []byte) []byte {
	if len(b) > 2 && (b[0] == 'b' || b[0] == 'u') && (b[1] == '\'' || b[1] == '"') && b[len(b)-1] == b[1] {
		b = b[1:]
	}
	if len(b) >= 2 && (b[0] == '\'' || b[0] == '"') && b[len(b)-1] == b[0] {
		b = b[1 : len(b)-1]
	}
	b = b[:min(len(b), maxDecoded)]
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := scratch[:0]
	for i := 0; i < len(b); {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			out = append(out, c)
			i++
			continue
		}
		r, size, isByte := escape(b[i+1:])
		switch {
		case size == 0:
			out = append(out, c)
		case isByte:
			out = append(out, byte(r))
		default:
			out = utf8.AppendRune(out, r)
		}
		i += 1 + size
	}
	if !utf8.Valid(out) {
		return bytes.ToValidUTF8(out, []byte("\uFFFD"))
	}
	return out
}

// escape reads what stands behind a backslash; size 0: nothing that is known.
func escape(b []byte) (r rune, size int, isByte bool) {
	const letters, means = `abefnrtv0\'"`, "\a\b\x1b\f\n\r\t\v\x00\\'\""
	base, from, to := 16, 1, 0
	switch b[0] {
	case 'x':
		to, isByte = 3, true
	case 'u':
		to = 5
	case 'U':
		to = 9
	case '0', '1', '2', '3':
		base, from, to, isByte = 8, 0, 3, true
	}
	if to > 0 && to <= len(b) {
		n, err := strconv.ParseUint(view(b[from:to]), base, 32)
		if err == nil && n <= utf8.MaxRune {
			return rune(n), to, isByte
		}
	}
	if i := bytes.IndexByte([]byte(letters), b[0]); i >= 0 {
		return rune(means[i]), 1, false
	}
	return 0, 0, false
}
