package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrDeep says that a value has more brackets than allowed; its end is known
// all the same.
var ErrDeep = errors.New("JSON nested too deeply")

// SkipSpace is the first byte at or after i that is no JSON white space.
func SkipSpace(b []byte, i int) int { return skipSpace(b, i) }

// Value is the byte after the JSON value that starts at i, found by strings and
// brackets alone. The error is ErrDeep (end is right) or an *Error.
func Value(b []byte, i, maxDepth int) (end int, err error) {
	if i >= len(b) {
		return i, &Error{i, "JSON ends within a value"}
	}
	end, t := scan(b, i, min(max(maxDepth, 0), 64))
	switch t.kind {
	case ok:
		return end, nil
	case deep:
		return end, ErrDeep
	}
	return end, &Error{t.at, t.text()}
}

// Members calls member with each key (without quotes, escapes as they are) and
// value of the object that starts at i, and returns the byte after it. Nothing
// is allocated. The error is as of Value.
func Members(b []byte, i, maxDepth int, member func(key, value []byte)) (end int, err error) {
	if i >= len(b) || b[i] != '{' {
		return i, &Error{i, "no JSON object"}
	}
	tooDeep := maxDepth < 1
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(b) {
			return i, &Error{i, "JSON ends within an object"}
		}
		if b[i] != '"' {
			return i, &Error{i, "a key of a JSON object is no string"}
		}
		stop := stringEnd(b, i)
		if stop < 0 {
			return len(b), &Error{len(b), "JSON ends within a string"}
		}
		key := b[i+1 : stop-1]
		i = skipSpace(b, stop)
		if i >= len(b) || b[i] != ':' {
			return i, &Error{i, "no colon after a key of a JSON object"}
		}
		i = skipSpace(b, i+1)
		stop, err := Value(b, i, maxDepth-1)
		if errors.Is(err, ErrDeep) {
			tooDeep = true
		} else if err != nil {
			return stop, err
		}
		member(key, b[i:stop])
		i = skipSpace(b, stop)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == '}' && tooDeep:
			return i + 1, ErrDeep
		case i < len(b) && b[i] == '}':
			return i + 1, nil
		default:
			return i, &Error{i, fmt.Sprintf("neither comma nor %q after a value of a JSON object", '}')}
		}
	}
}

// Text is the text of a JSON string; ok is false for other values. It is a
// part of value unless the string has escapes.
func Text(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	text = value[1 : len(value)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text, true
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}
