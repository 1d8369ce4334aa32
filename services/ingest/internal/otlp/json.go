package otlp

import (
	"bytes"
	"context"
	"errors"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// errNotJSON: the body's outline cannot be read; the request is refused.
var errNotJSON = errors.New("malformed OTLP-JSON")

// json cuts an Export…ServiceRequest in JSON. Records keep their bytes: only
// the outline is read, what is in a record is the business of normalize.
func (s *split) json(ctx context.Context, b []byte) error {
	top := find(b, s.sig.resources)
	if top.err != nil {
		return top.err
	}
	return elements(top.list, func(b []byte) error {
		in := find(b, "resource", "schemaUrl", s.sig.scopes)
		if in.err != nil {
			return in.err
		}
		s.openResource()
		s.copy(`"resource":`, in.object, resourceDepth)
		resource := in.object
		if s.broken != "" {
			resource = nil
		}
		o := s.sink.out(resource)
		s.closeResource(copySchema(s.tail[:0], in.schema))
		broken := s.broken
		return elements(in.list, func(b []byte) error {
			s.broken = broken
			return s.jsonScope(ctx, o, b)
		})
	})
}

func (s *split) jsonScope(ctx context.Context, o *out, b []byte) error {
	in := find(b, "scope", "schemaUrl", s.sig.records)
	if in.err != nil {
		return in.err
	}
	s.head = s.head[:s.mark]
	s.copy(`"scope":`, in.object, scopeDepth)
	s.closeScope(copySchema(append(s.end[:0], ']'), in.schema))
	return elements(in.list, func(b []byte) error {
		if !s.room(o, len(b)) {
			return nil
		}
		from := len(o.body)
		reason := s.broken
		s.dst = append(o.body, s.head[:min(len(s.head), s.lim.MaxRecord)]...)
		switch {
		case reason != "":
		case len(b) > s.lim.MaxRecord:
			reason = frame.ReasonTooLong
		case recordDepth+depth(b) > s.lim.MaxDepth:
			reason = frame.ReasonTooDeep
			s.dst = append(s.dst, b...)
		default:
			s.dst = append(s.dst, b...)
		}
		s.timed = s.timed && (len(s.sig.times) == 0 || bytes.Contains(b, []byte(`imeUnixNano"`)))
		return s.finish(ctx, o, from, reason)
	})
}

func (s *split) copy(key string, object []byte, at int) {
	switch {
	case object == nil:
	case len(object) > s.lim.MaxRecord:
		s.broken = frame.ReasonTooLong
	case at+depth(object) > s.lim.MaxDepth:
		s.broken = frame.ReasonTooDeep
	default:
		s.head = append(append(append(s.head, key...), object...), ',')
	}
}

func copySchema(dst, schema []byte) []byte {
	if len(schema) <= 2 || schema[0] != '"' {
		return dst
	}
	return append(append(dst, `,"schemaUrl":`...), schema...)
}

// outline is what find found: spans of values, nil if absent or null.
type outline struct {
	object, schema, list []byte
	err                  error
}

// find reads the members of an object; keys are those of object, schema and
// list, of which the last may be the only one.
func find(b []byte, keys ...string) (o outline) {
	o.err = members(b, func(key, val []byte) error {
		if string(val) == "null" {
			return nil
		}
		switch k := string(key); {
		case k == keys[len(keys)-1]:
			if o.list != nil || val[0] != '[' {
				return errNotJSON
			}
			o.list = val
		case len(keys) == 3 && k == keys[0]:
			if val[0] != '{' {
				return errNotJSON
			}
			o.object = val
		case len(keys) == 3 && k == keys[1]:
			o.schema = val
		}
		return nil
	})
	return o
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// members calls f with every key (without quotes) and value of an object.
func members(b []byte, f func(key, val []byte) error) error {
	return each(b, '{', '}', func(i int) (int, error) {
		if b[i] != '"' {
			return 0, errNotJSON
		}
		end := stringEnd(b, i)
		if end < 0 {
			return 0, errNotJSON
		}
		at := skipSpace(b, end)
		if at >= len(b) || b[at] != ':' {
			return 0, errNotJSON
		}
		key := b[i+1 : end-1]
		at = skipSpace(b, at+1)
		end = valueEnd(b, at)
		if end < 0 {
			return 0, errNotJSON
		}
		return end, f(key, b[at:end])
	})
}

// elements calls f with every element of a list that is an object; nil is an
// empty list.
func elements(b []byte, f func(val []byte) error) error {
	if b == nil {
		return nil
	}
	return each(b, '[', ']', func(i int) (int, error) {
		end := valueEnd(b, i)
		if end < 0 || b[i] != '{' {
			return 0, errNotJSON
		}
		return end, f(b[i:end])
	})
}

// each reads what stands between commas within brackets.
func each(b []byte, open, shut byte, item func(i int) (end int, err error)) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != open {
		return errNotJSON
	}
	i = skipSpace(b, i+1)
	for first := true; ; first = false {
		if i >= len(b) {
			return errNotJSON
		}
		if first && b[i] == shut {
			break
		}
		end, err := item(i)
		if err != nil {
			return err
		}
		i = skipSpace(b, end)
		if i >= len(b) {
			return errNotJSON
		}
		if b[i] == shut {
			break
		}
		if b[i] != ',' {
			return errNotJSON
		}
		i = skipSpace(b, i+1)
	}
	if skipSpace(b, i+1) != len(b) {
		return errNotJSON
	}
	return nil
}

// stringEnd is the index after the string that begins at i, or -1.
func stringEnd(b []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++ // ends at the opening quote at the latest
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// valueEnd is the index after the value that begins at i, or -1. Brackets are
// counted and not matched; a record that is no JSON harms none but itself.
func valueEnd(b []byte, i int) int {
	open := 0
	for start := i; i < len(b); {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i); i < 0 || open == 0 {
				return i
			}
			continue
		case '{', '[':
			open++
		case '}', ']':
			if open == 0 {
				return ended(start, i)
			}
			if open--; open == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if open == 0 {
				return ended(start, i)
			}
		}
		i++
	}
	return -1
}

// ended refuses an empty value.
func ended(start, i int) int {
	if start == i {
		return -1
	}
	return i
}

// depth is how deep the brackets of a value go.
func depth(b []byte) int {
	open, deepest := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i) - 1; i < 0 {
				return deepest
			}
		case '{', '[':
			open++
			deepest = max(deepest, open)
		case '}', ']':
			open--
		}
	}
	return deepest
}
