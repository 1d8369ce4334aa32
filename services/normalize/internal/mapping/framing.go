package mapping

import (
	"bytes"
	"regexp"

	"github.com/valyala/fastjson"
)

// frame cuts a text into records as ingest does, for samples.
func (fr Framing) frame(data []byte) [][]byte {
	var start, group *regexp.Regexp
	if fr.Start != "" {
		start = regexp.MustCompile(fr.Start) // checked when the mapping was compiled
	}
	if fr.Group != "" {
		group = regexp.MustCompile(fr.Group)
	}
	var out [][]byte
	var current, last []byte
	header := false
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue
		}
		joins, key := false, []byte(nil)
		switch {
		case line[0] == '{':
		case start != nil:
			joins = !start.Match(line)
		case group != nil:
			if m := group.FindSubmatch(line); m != nil {
				key = m[len(m)-1]
			}
			joins = key != nil && bytes.Equal(key, last)
		case fr.Header != "":
			is := bytes.HasPrefix(line, []byte(fr.Header))
			joins, header = !is || header, is
		}
		last = key
		if joins && current != nil {
			current = append(append(current, '\n'), line...)
			continue
		}
		if current != nil {
			out = append(out, current)
		}
		current = bytes.Clone(line)
	}
	if current != nil && !(fr.Header != "" && header) { // a header without lines is no record
		out = append(out, current)
	}
	return out
}

// Records cuts data as ingest does: JSON values if it begins with a bracket
// (the elements of an array are records), otherwise by framing or lines.
func Records(data []byte, fr Framing) [][]byte {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if v, err := fastjson.ParseBytes(trimmed); err == nil {
			if v.Type() != fastjson.TypeArray {
				return [][]byte{trimmed}
			}
			var out [][]byte
			for _, e := range v.GetArray() {
				out = append(out, e.MarshalTo(nil))
			}
			return out
		}
	}
	return fr.frame(data)
}
