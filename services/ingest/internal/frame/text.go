package frame

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// Bounds of records of several lines.
const (
	maxLines  = 500      // lines of one record
	maxHeader = 16 << 10 // bytes of a header
)

// Framing says how the records of a source are told apart: JSON values, lines,
// or records of several lines, of which at most one of Start, Group and Header
// is set. It is read-only and safe for concurrent use.
type Framing struct {
	// Text takes one record a line; otherwise JSON is looked for.
	Text bool
	// Start matches the line that begins a record; the lines after it belong to
	// it until the next such line.
	Start *regexp.Regexp
	// Group matches lines that belong together as long as what its first group
	// captured (the whole match if it has none) stays the same. A line that it
	// does not match is a record.
	Group *regexp.Regexp
	// Header begins lines that explain the lines after them: a record is a
	// header and up to 500 lines, and a long body has the header in each record.
	// A header without lines is no record, a line without header is one.
	Header string
}

// Several reports whether a record may have several lines of text.
func (fr Framing) Several() bool { return fr.Start != nil || fr.Group != nil || fr.Header != "" }

// LooksJSON reports whether text begins with an object, as some products write
// the same log in either form.
func LooksJSON(body []byte) bool {
	i := skipSpace(body, start(body))
	return i < len(body) && body[i] == '{'
}

// Frame frames a body, appending to f. The result is the body for Submit: body
// itself, or body and after it records that repeat a header, at most 1.25
// times as many bytes more.
func (fr Framing) Frame(body []byte, lim Limits, f *Frames) ([]byte, error) {
	switch {
	case fr.Several() && LooksJSON(body):
		return body, JSON(body, lim, f)
	case fr.Header != "":
		return fr.headed(body, lim, f)
	case fr.Several():
		return body, fr.several(body, lim, f)
	case fr.Text:
		return body, Lines(body, lim, f)
	}
	return body, JSON(body, lim, f)
}

// Any frames a body of an unknown source: JSON if that is what it begins with,
// lines otherwise, also lines such as "[2026-11-22 18:21:42] …".
func Any(body []byte, lim Limits, f *Frames) error {
	i := skipSpace(body, start(body))
	if i < len(body) && (body[i] == '{' || body[i] == '[' && listed(body, i+1)) {
		return JSON(body, lim, f)
	}
	return Lines(body, lim, f)
}

// listed reports whether what follows an opening bracket may be a list of
// records: numbers and words are none.
func listed(body []byte, i int) bool {
	i = skipSpace(body, i)
	return i == len(body) || bytes.IndexByte([]byte(`{["]`), body[i]) >= 0
}

// key is what the lines of a group share; nil: the line stands alone.
func (fr Framing) key(line []byte) []byte {
	m := fr.Group.FindSubmatchIndex(line)
	switch {
	case m == nil:
		return nil
	case len(m) >= 4 && m[2] >= 0:
		return line[m[2]:m[3]]
	}
	return line[m[0]:m[1]]
}

// joins reports whether line goes with the record before it, whose group has
// the key last; key is the line's own.
func (fr Framing) joins(line, last []byte) (joins bool, key []byte) {
	if fr.Start != nil {
		return !fr.Start.Match(line), nil
	}
	key = fr.key(line)
	return key != nil && last != nil && bytes.Equal(key, last), key
}

func (fr Framing) several(body []byte, lim Limits, f *Frames) error {
	off, end, count := 0, 0, 0
	var last []byte
	for pos := start(body); pos < len(body); {
		from, to, next := cut(body, pos)
		pos = next
		if from == to {
			continue // between records, or within one
		}
		joins, key := fr.joins(body[from:to], last)
		last = key
		if joins && count > 0 && count < maxLines && to-off <= lim.MaxRecord {
			end = to
			count++
			continue
		}
		if count > 0 {
			if err := f.add(&lim, off, end); err != nil {
				return err
			}
		}
		off, end, count = from, to, 1
	}
	if count == 0 {
		return nil
	}
	return f.add(&lim, off, end)
}

// headed cuts at headers and, in long bodies, between lines.
func (fr Framing) headed(body []byte, lim Limits, f *Frames) ([]byte, error) {
	h := heading{body: body, lim: &lim, f: f}
	size, prefix := len(body), []byte(fr.Header)
	reading, from := false, 0 // a header, and where it began
	for pos := start(body); pos < size; {
		at, to, next := cut(h.body[:size], pos)
		pos = next
		if at == to {
			continue
		}
		if bytes.HasPrefix(h.body[at:to], prefix) && (!reading || next-from <= maxHeader) {
			if !reading {
				if err := h.flush(); err != nil {
					return h.body, err
				}
				reading, from = true, at
			}
			h.header = h.body[from:next:next]
			h.off, h.repeat = from, false
			continue
		}
		reading = false
		if err := h.line(at, to); err != nil {
			return h.body, err
		}
	}
	return h.body, h.flush()
}

// heading is the record that headed is at.
type heading struct {
	body     []byte
	lim      *Limits
	f        *Frames
	header   []byte // lines with their ends
	off, end int    // the record
	count    int    // its lines after the header
	repeat   bool   // the header is not in front of off
}

func (h *heading) line(from, to int) error {
	full := h.count >= maxLines && h.end-h.off >= 4*len(h.header) || to-h.off+len(h.header) > h.lim.MaxRecord
	if h.count > 0 && (full || len(h.header) == 0) {
		if err := h.flush(); err != nil {
			return err
		}
		h.repeat = len(h.header) > 0
	}
	if h.count == 0 && (h.repeat || len(h.header) == 0) {
		h.off = from
	}
	h.end = to
	h.count++
	return nil
}

// flush adds the record; a header without lines is none.
func (h *heading) flush() error {
	if h.count == 0 {
		return nil
	}
	off, end := h.off, h.end
	if h.repeat {
		at := len(h.body)
		h.body = append(append(h.body, h.header...), h.body[off:end]...)
		off, end = at, len(h.body)
	}
	h.count = 0
	return h.f.add(h.lim, off, end)
}

func start(body []byte) int {
	if bytes.HasPrefix(body, bom) {
		return len(bom)
	}
	return 0
}

// cut finds the line at pos without its end, and the line after it.
func cut(body []byte, pos int) (from, to, next int) {
	to, next = len(body), len(body)
	if n := bytes.IndexByte(body[pos:], '\n'); n >= 0 {
		to, next = pos+n, pos+n+1
	}
	if to > pos && body[to-1] == '\r' {
		to--
	}
	return pos, to, next
}

// errMany says that a mapping frames in several ways.
var errMany = errors.New("start, group and header exclude one another")

// Compile makes the Framing of text of what a mapping says: regular
// expressions for Start and Group, a prefix for Header; at most one of them.
func Compile(start, group, header string) (Framing, error) {
	fr := Framing{Text: true, Header: header}
	given := 0
	for _, s := range []string{start, group, header} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return Framing{}, errMany
	}
	var err error
	if start != "" {
		if fr.Start, err = regexp.Compile(start); err != nil {
			return Framing{}, fmt.Errorf("start: %w", err)
		}
	}
	if group != "" {
		if fr.Group, err = regexp.Compile(group); err != nil {
			return Framing{}, fmt.Errorf("group: %w", err)
		}
	}
	return fr, nil
}
