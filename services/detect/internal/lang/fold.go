package lang

import "encoding/binary"

// Fold lowers the ASCII letters of s; other letters stay as they are.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return string(AppendFold(make([]byte, 0, len(s)), s))
		}
	}
	return s
}

// AppendFold appends Fold(s) to dst.
func AppendFold(dst []byte, s string) []byte {
	n := len(dst)
	dst = append(dst, s...)
	rest := dst[n:]
	for ; len(rest) >= 8; rest = rest[8:] {
		w := binary.LittleEndian.Uint64(rest)
		binary.LittleEndian.PutUint64(rest, w|capitals(w)>>2) // 'a' - 'A' is 0x20
	}
	for i, c := range rest {
		if c-'A' < 26 {
			rest[i] = c + 'a' - 'A'
		}
	}
	return dst
}

// capitals has the highest bit of those of 8 bytes that are ASCII capitals.
func capitals(w uint64) uint64 {
	const each = 0x0101010101010101
	low := w & (0x7f * each) // so that no sum reaches into the next byte
	from, above := low+(0x80-'A')*each, low+(0x7f-'Z')*each
	return from &^ above &^ w & (0x80 * each)
}
