package lsp

import (
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
)

// document is an open file.
type document struct {
	uri     string
	name    string // <domain>/<slug>.yml
	version int
	text    string
	lines   []string
}

func (d *document) set(text string, version int) {
	d.text, d.version = text, version
	d.lines = strings.Split(text, "\n")
	for i, l := range d.lines {
		d.lines[i] = strings.TrimSuffix(l, "\r")
	}
}

// line is a line by number from 0, empty beyond the end.
func (d *document) line(n int) string {
	if n < 0 || n >= len(d.lines) {
		return ""
	}
	return d.lines[n]
}

// offset is the byte of a line at a character of the protocol, which counts
// units of UTF-16.
func offset(line string, character int) int {
	units := 0
	for i, r := range line {
		if units >= character {
			return i
		}
		if units++; r > 0xffff {
			units++
		}
	}
	return len(line)
}

// units is the length of a text in units of UTF-16.
func units(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// byteAt is the offset in the text of a position.
func (d *document) byteAt(p position) int {
	at := 0
	for i := 0; i < p.Line; i++ {
		nl := strings.IndexByte(d.text[at:], '\n')
		if nl < 0 {
			return len(d.text)
		}
		at += nl + 1
	}
	end := strings.IndexByte(d.text[at:], '\n')
	if end < 0 {
		end = len(d.text) - at
	}
	return at + offset(d.text[at:at+end], p.Character)
}

// apply makes a change of the text. A change that would make the file too long
// is cut off, so that the memory of the server stays bounded.
func (d *document) apply(c change) {
	text := c.Text
	if c.Range != nil {
		from, to := d.byteAt(c.Range.Start), d.byteAt(c.Range.End)
		if to < from {
			from, to = to, from
		}
		text = d.text[:from] + c.Text + d.text[to:]
	}
	if len(text) > maxMessage {
		text = text[:maxMessage]
	}
	d.set(text, d.version)
}

// span is the range of the token at a line and column, both from 1 and in
// characters, as problems have them.
func (d *document) span(line, column int) textRange {
	l := d.line(line - 1)
	rs := []rune(l)
	at := min(max(column-1, 0), len(rs))
	n := min(report.Token(rs, at), len(rs)-at)
	start := units(string(rs[:at]))
	return textRange{position{max(line-1, 0), start}, position{max(line-1, 0), start + units(string(rs[at:at+n]))}}
}

// word is the dotted name around a byte of a line.
func word(line string, at int) (from, to int) {
	part := func(r rune) bool {
		return r == '_' || r == '.' || r == '-' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z'
	}
	from, to = at, at
	for from > 0 {
		r, size := utf8.DecodeLastRuneInString(line[:from])
		if !part(r) {
			break
		}
		from -= size
	}
	for to < len(line) {
		r, size := utf8.DecodeRuneInString(line[to:])
		if !part(r) {
			break
		}
		to += size
	}
	return from, to
}
