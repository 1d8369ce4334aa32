package frame

import (
	"bytes"
	"fmt"
)

type kind uint8

const (
	ok       kind = iota
	eof           // the body ends within the value
	garbage       // a byte that no JSON value has at this place
	mismatch      // a bracket closes another kind
	deep          // more brackets than allowed; the end is known all the same
)

type trouble struct {
	kind kind
	at   int
}

func (t trouble) text() string {
	switch t.kind {
	case eof:
		return "JSON ends within a value"
	case garbage:
		return fmt.Sprintf("unexpected byte in JSON at byte %d", t.at)
	case mismatch:
		return fmt.Sprintf("bracket of another kind at byte %d", t.at)
	case deep:
		return fmt.Sprintf("JSON nested too deeply at byte %d", t.at)
	}
	return ""
}

// class tells what a byte outside strings may be.
var class = func() (t [256]uint8) {
	for _, c := range " \t\r\n,:0123456789+-.eEtrufalsn" {
		t[c] = plain
	}
	t['"'], t['{'], t['['], t['}'], t[']'] = quote, open, open, shut, shut
	return t
}()

const (
	plain uint8 = iota + 1
	quote
	open
	shut
)

// scan finds the end of the value that starts at i. It keeps the kinds of open
// brackets in the bits of a word: no recursion, no memory. Beyond maxDepth it
// goes on counting brackets without their kinds.
func scan(b []byte, i, maxDepth int) (end int, t trouble) {
	switch b[i] {
	case '{', '[':
	case '"':
		if end = stringEnd(b, i); end < 0 {
			return len(b), trouble{eof, len(b)}
		}
		return end, trouble{}
	default:
		return scalar(b, i)
	}
	var stack uint64
	depth := 0
	for i < len(b) {
		switch c := b[i]; class[c] {
		case plain:
		case quote:
			if i = stringEnd(b, i); i < 0 {
				return len(b), trouble{eof, len(b)}
			}
			continue
		case open:
			if depth++; depth > maxDepth {
				if t.kind == ok {
					t = trouble{deep, i}
				}
				break
			}
			stack <<= 1
			if c == '[' {
				stack |= 1
			}
		case shut:
			if depth <= maxDepth {
				if (stack&1 == 1) != (c == ']') {
					return i, trouble{mismatch, i}
				}
				stack >>= 1
			}
			if depth--; depth == 0 {
				return i + 1, t
			}
		default:
			return i, trouble{garbage, i}
		}
		i++
	}
	return len(b), trouble{eof, len(b)}
}

// stringEnd is the byte after the closing quote of the string at i, or -1.
func stringEnd(b []byte, i int) int {
	i++
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		slashes := 0
		for j := i + n - 1; j >= i && b[j] == '\\'; j-- {
			slashes++
		}
		i += n + 1
		if slashes&1 == 0 {
			return i
		}
	}
}

// scalar is a number, true, false or null.
func scalar(b []byte, i int) (int, trouble) {
	start := i
	for i < len(b) && class[b[i]] == plain && b[i] != ',' && b[i] != ':' && !space(b[i]) {
		i++
	}
	if i == start {
		return i, trouble{garbage, i}
	}
	return i, trouble{}
}

// sequence frames top-level values; arrays give their elements.
func sequence(body []byte, pos int, lim *Limits, f *Frames) error {
	s := splitter{body: body, lim: lim, f: f, work: 8*len(body) + 4096}
	for pos = skipSpace(body, pos); pos < len(body); pos = skipSpace(body, pos) {
		var err error
		if body[pos] == '[' {
			pos, err = s.array(pos)
		} else {
			pos, err = s.single(pos)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type splitter struct {
	body []byte
	lim  *Limits
	f    *Frames
	// work bounds the bytes scanned to find a way past broken records, so that
	// a hostile body costs no more than a few times its length.
	work int
}

func (s *splitter) single(pos int) (int, error) {
	end, t := scan(s.body, pos, s.lim.MaxDepth)
	switch t.kind {
	case ok:
		return end, s.f.add(s.lim, pos, end)
	case deep:
		return end, s.f.bad(s.lim, pos, end, ReasonTooDeep, t.text())
	}
	return 0, &Error{t.at, t.text()}
}

// array frames the elements of the array that starts at pos and returns the
// byte after it.
func (s *splitter) array(pos int) (int, error) {
	b := s.body
	pos++
	for {
		for pos < len(b) && (space(b[pos]) || b[pos] == ',') {
			pos++
		}
		if pos == len(b) {
			return 0, &Error{pos, "JSON array is cut short"}
		}
		if b[pos] == ']' {
			return pos + 1, nil
		}
		end, t := scan(b, pos, s.lim.MaxDepth)
		var err error
		switch {
		case t.kind == ok && s.follows(end):
			err = s.f.add(s.lim, pos, end)
		case t.kind == deep:
			err = s.f.bad(s.lim, pos, end, ReasonTooDeep, t.text())
		default:
			if t.kind == ok {
				t = trouble{garbage, skipSpace(b, end)}
			}
			if end = s.resync(pos); end < 0 {
				return 0, &Error{t.at, t.text() + fmt.Sprintf(" (in the record at byte %d), and no next record was found", pos)}
			}
			err = s.f.bad(s.lim, pos, end, ReasonMalformed, fmt.Sprintf("%s, in the record at byte %d", t.text(), pos))
		}
		if err != nil {
			return 0, err
		}
		pos = end
	}
}

// follows reports whether what comes after an element may: a comma, the end of
// the array, or another record (a forgotten comma is forgiven).
func (s *splitter) follows(end int) bool {
	i := skipSpace(s.body, end)
	return i < len(s.body) && (s.body[i] == ',' || s.body[i] == ']' || s.body[i] == '{')
}

// resync returns the end of the broken element at pos: a "}" with a comma and
// a "{" after it, where a sound element of this array starts. Elements that
// turn out to belong to a list within the broken one do not count. -1: none.
func (s *splitter) resync(pos int) int {
	for i := pos; s.work > 0; {
		n := bytes.IndexByte(s.body[i:], '}')
		if n < 0 {
			return -1
		}
		i += n + 1
		s.work -= n + 1
		next := skipSpace(s.body, i)
		if next == len(s.body) || s.body[next] != ',' {
			continue
		}
		if next = skipSpace(s.body, next+1); next < len(s.body) && s.body[next] == '{' && s.lookahead(next) {
			return i
		}
	}
	return -1
}

// lookahead scans elements from pos. The first one must be sound; so must be
// the "]" after the last sound one, if there is one: it must end the array and
// not a list within a record.
func (s *splitter) lookahead(pos int) bool {
	sound := false
	for s.work > 0 {
		end, t := scan(s.body, pos, s.lim.MaxDepth)
		s.work -= end - pos + 1
		if t.kind != ok && t.kind != deep || !s.follows(end) {
			return sound
		}
		sound = true
		pos = skipSpace(s.body, end)
		for pos < len(s.body) && (space(s.body[pos]) || s.body[pos] == ',') {
			pos++
		}
		if pos == len(s.body) {
			return sound
		}
		if s.body[pos] == ']' {
			pos = skipSpace(s.body, pos+1)
			return pos == len(s.body) || s.body[pos] == '['
		}
	}
	return sound
}
