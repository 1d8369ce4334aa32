// Package frame cuts a request body into records without changing a byte of
// them: lines, or JSON values found by a scanner that only knows strings and
// brackets. What a record means is the business of normalize.
package frame

import (
	"bytes"
	"fmt"
)

// Reasons of records that are framed but not accepted.
const (
	ReasonTooLong   = "line_too_long"
	ReasonMalformed = "malformed_json"
	ReasonTooDeep   = "json_too_deep"
)

// Limits bounds what is framed. All fields are required.
type Limits struct {
	MaxRecord  int // bytes of one record
	MaxRecords int // records of one body
	MaxDepth   int // brackets within brackets, at most 64
}

// Span is a record: body[Off:End].
type Span struct{ Off, End uint32 }

// Bad is a record for the dead letters.
type Bad struct {
	Span
	Reason string
	Error  string
}

// Frames is the result of framing; it is reused between bodies.
type Frames struct {
	Records []Span
	Bad     []Bad
}

// Reset forgets the records and keeps the memory.
func (f *Frames) Reset() { f.Records, f.Bad = f.Records[:0], f.Bad[:0] }

// Error says that a body cannot be framed at all; nothing of it is taken.
type Error struct {
	Offset int // byte of the body
	Msg    string
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

// TooMany says that a body holds more records than allowed.
type TooMany struct{ Limit int }

func (e *TooMany) Error() string {
	return fmt.Sprintf("more than %d records in one request (send smaller batches)", e.Limit)
}

func (f *Frames) add(lim *Limits, off, end int) error {
	if len(f.Records)+len(f.Bad) >= lim.MaxRecords {
		return &TooMany{lim.MaxRecords}
	}
	if end-off > lim.MaxRecord {
		f.Bad = append(f.Bad, Bad{Span{uint32(off), uint32(end)}, ReasonTooLong,
			fmt.Sprintf("record at byte %d has %d bytes, at most %d are taken", off, end-off, lim.MaxRecord)})
		return nil
	}
	f.Records = append(f.Records, Span{uint32(off), uint32(end)})
	return nil
}

func (f *Frames) bad(lim *Limits, off, end int, reason, text string) error {
	if len(f.Records)+len(f.Bad) >= lim.MaxRecords {
		return &TooMany{lim.MaxRecords}
	}
	f.Bad = append(f.Bad, Bad{Span{uint32(off), uint32(end)}, reason, text})
	return nil
}

var bom = []byte("\xef\xbb\xbf")

// Lines frames text: one record a line, without its LF or CR LF. Empty lines
// and a byte order mark at the start are left out.
func Lines(body []byte, lim Limits, f *Frames) error {
	pos := 0
	if bytes.HasPrefix(body, bom) {
		pos = len(bom)
	}
	return lines(body, pos, &lim, f)
}

func lines(body []byte, pos int, lim *Limits, f *Frames) error {
	for pos < len(body) {
		end, next := len(body), len(body)
		if n := bytes.IndexByte(body[pos:], '\n'); n >= 0 {
			end, next = pos+n, pos+n+1
		}
		if end > pos && body[end-1] == '\r' {
			end--
		}
		if end > pos {
			if err := f.add(lim, pos, end); err != nil {
				return err
			}
		}
		pos = next
	}
	return nil
}

// JSON frames JSON however it is written: one value a line, an array of
// records, one record over several lines, or values one after the other. Text
// that does not look like JSON is framed as lines, so that each becomes a dead
// letter of its own with the parser's reason.
func JSON(body []byte, lim Limits, f *Frames) error {
	start := 0
	if bytes.HasPrefix(body, bom) {
		start = len(bom)
	}
	pos := skipSpace(body, start)
	if pos == len(body) {
		return nil
	}
	switch body[pos] {
	case '[':
		return sequence(body, pos, &lim, f)
	case '{':
	default:
		return lines(body, start, &lim, f)
	}
	eol := bytes.IndexByte(body[pos:], '\n')
	if eol < 0 {
		eol = len(body)
	} else {
		eol += pos
	}
	end, bad := scan(body, pos, lim.MaxDepth)
	if bad.kind != ok && bad.kind != deep || end <= eol {
		// The usual case: a record a line. A broken first line is the dead
		// letter of its own if the next line starts a record.
		next := skipSpace(body, min(eol, len(body)))
		if bad.kind == ok && skipSpace(body, end) >= eol || bad.kind != ok && (next == len(body) || body[next] == '{') && oneLine(body, pos, eol) {
			return lines(body, start, &lim, f)
		}
	}
	return sequence(body, pos, &lim, f)
}

// oneLine reports whether the line looks like a whole record, so that a broken
// one is not taken for the start of an indented document.
func oneLine(body []byte, pos, eol int) bool {
	for eol > pos && space(body[eol-1]) {
		eol--
	}
	return eol-pos > 1
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func skipSpace(b []byte, i int) int {
	for i < len(b) && space(b[i]) {
		i++
	}
	return i
}
