package rule

import (
	"bytes"
	"unicode/utf8"
)

// NotText says where a file is no UTF-8 and what to do about it; the message is
// empty if it is.
func NotText(data []byte) (line, column int, message string) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return 1, 1, "file is UTF-16 and not UTF-8: convert it, for example with iconv -f UTF-16 -t UTF-8"
	}
	if utf8.Valid(data) {
		return 0, 0, ""
	}
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	begin := bytes.LastIndexByte(data[:at], '\n') + 1
	return bytes.Count(data[:at], []byte{'\n'}) + 1, utf8.RuneCount(data[begin:at]) + 1,
		"file is not UTF-8: convert it, for example with iconv -f ISO-8859-1 -t UTF-8"
}
