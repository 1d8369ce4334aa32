package s3

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// errSyntax ends an object that is not what its beginning promised.
var errSyntax = errors.New("no JSON")

// splitter finds the elements of {"Records": […]} or […] in a stream, by
// strings and brackets alone, holding one element at a time.
type splitter struct {
	r   *bufio.Reader
	lim frame.Limits
	to  sink
	buf []byte // of the value that is read
	off int64
}

// run cuts all arrays; what is no JSON from some byte on becomes one dead
// letter.
func (s *splitter) run() error {
	err := s.document()
	var se *sinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &se):
		return se.err
	case errors.Is(err, io.EOF):
		return s.to.bad(s.buf, frame.ReasonMalformed, fmt.Sprintf("JSON ends within a value at byte %d", s.off))
	case errors.Is(err, errSyntax):
		rest := s.buf
		for len(rest) < keepLong {
			c, err := s.r.ReadByte()
			if err != nil {
				break
			}
			rest = append(rest, c)
		}
		return s.to.bad(rest, frame.ReasonMalformed, fmt.Sprintf("no JSON list of records at byte %d; the rest of the object is left out", s.off))
	}
	return err
}

type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }

func (s *splitter) document() error {
	if head, _ := s.r.Peek(3); bytes.Equal(head, bom) {
		_, _ = s.r.Discard(3)
	}
	for { // documents may follow each other
		c, err := s.space()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch c {
		case '[':
			err = s.array()
		case '{':
			err = s.object()
		default:
			s.buf = append(s.buf[:0], c)
			err = errSyntax
		}
		if err != nil {
			return err
		}
	}
}

func (s *splitter) next() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.off++
	}
	return c, err
}

func (s *splitter) space() (byte, error) {
	for {
		c, err := s.next()
		if err != nil || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c, err
		}
	}
}

// object looks for the list among the members.
func (s *splitter) object() error {
	for {
		c, err := s.space()
		switch {
		case err != nil:
			return err
		case c == '}':
			return nil
		case c == ',':
			continue
		}
		s.buf = s.buf[:0]
		if c != '"' {
			s.buf = append(s.buf, c)
			return errSyntax
		}
		if _, _, err = s.value(c, false); err != nil {
			return err
		}
		list := bytes.EqualFold(s.buf, []byte(`"Records"`))
		if c, err = s.space(); err != nil {
			return err
		}
		if c != ':' {
			return errSyntax
		}
		if c, err = s.space(); err != nil {
			return err
		}
		if list && c == '[' {
			err = s.array()
		} else {
			s.buf = s.buf[:0]
			_, _, err = s.value(c, false)
		}
		if err != nil {
			return err
		}
	}
}

// array hands on the elements of an array whose bracket is read.
func (s *splitter) array() error {
	for first := true; ; first = false {
		c, err := s.space()
		if err != nil {
			return err
		}
		if c == ']' {
			return nil
		}
		if !first {
			s.buf = s.buf[:0]
			if c != ',' {
				s.buf = append(s.buf, c)
				return errSyntax
			}
			if c, err = s.space(); err != nil {
				return err
			}
		}
		s.buf = s.buf[:0]
		long, deep, err := s.value(c, true)
		if err != nil {
			return err
		}
		switch {
		case long:
			err = s.to.bad(s.buf[:min(len(s.buf), keepLong)], frame.ReasonTooLong, fmt.Sprintf("record of more than %d bytes", s.lim.MaxRecord))
		case deep:
			err = s.to.bad(s.buf[:min(len(s.buf), keepLong)], frame.ReasonTooDeep, fmt.Sprintf("more than %d brackets within brackets", s.lim.MaxDepth))
		default:
			err = s.to.record(s.buf)
		}
		if err != nil {
			return &sinkError{err}
		}
	}
}

// value reads the value that begins with c into buf, up to the limit.
func (s *splitter) value(c byte, keep bool) (long, deep bool, err error) {
	limit := s.lim.MaxRecord
	if !keep {
		limit = 256 // a key, or a value that is left out
	}
	depth, inString, escaped, scalar := 0, false, false, false
	for {
		if len(s.buf) < limit {
			s.buf = append(s.buf, c)
		} else {
			long = true
		}
		switch {
		case inString:
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inString = false
			}
			if !inString && depth == 0 {
				return long, deep, nil
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
			deep = deep || depth > s.lim.MaxDepth
		case c == '}' || c == ']':
			if depth == 0 {
				return long, deep, errSyntax
			}
			if depth--; depth == 0 {
				return long, deep, nil
			}
		case depth == 0:
			if c == ':' || c == ',' {
				return long, deep, errSyntax
			}
			scalar = true
		}
		if scalar { // a number or a word ends where something else begins
			after, err := s.r.Peek(1)
			if err != nil {
				return long, deep, err
			}
			if bytes.IndexByte([]byte(" \t\r\n,]}"), after[0]) >= 0 {
				return long, deep, nil
			}
		}
		if c, err = s.next(); err != nil {
			return long, deep, err
		}
	}
}
