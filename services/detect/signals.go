package detect

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// appendSignal writes a signal as encoding/json would, without reflection:
// under load signals are a tenth of detection's work.
func appendSignal(dst []byte, s *finding.Signal) []byte {
	dst = appendText(append(dst, `{"rule":`...), s.Rule)
	dst = appendText(append(dst, `,"version":`...), s.Version)
	dst = appendText(append(dst, `,"event_uid":`...), s.EventUID)
	dst = strconv.AppendInt(append(dst, `,"time":`...), s.Time, 10)
	dst = strconv.AppendInt(append(dst, `,"received":`...), s.Received, 10)
	dst = appendText(append(dst, `,"source":`...), s.Source)
	dst = appendText(append(dst, `,"family":`...), s.Family)
	dst = appendText(append(dst, `,"group_key":`...), s.GroupKey)
	for i, p := range s.Group {
		if i == 0 {
			dst = append(dst, `,"group":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"path":`...), p.Path)
		dst = append(appendText(append(dst, `,"value":`...), p.Value), '}')
		if i == len(s.Group)-1 {
			dst = append(dst, ']')
		}
	}
	if s.Value != "" {
		dst = appendText(append(dst, `,"value":`...), s.Value)
	}
	// JSON has no word for the others, and no column gives them.
	if s.Number != 0 && !math.IsNaN(s.Number) && !math.IsInf(s.Number, 0) {
		dst = strconv.AppendFloat(append(dst, `,"number":`...), s.Number, 'g', -1, 64)
	}
	if len(s.Fields) > 0 {
		dst = appendFields(append(dst, `,"fields":{`...), s.Fields)
	}
	if s.Traceback != "" {
		dst = appendText(append(dst, `,"traceback":`...), s.Traceback)
	}
	return append(dst, '}')
}

// appendFields writes the fields by name, so that the same signal is the same
// bytes: the message's id has their hash.
func appendFields(dst []byte, fields map[string]string) []byte {
	var room [24]string
	names := room[:0]
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(appendText(dst, name), ':'), fields[name])
	}
	return append(dst, '}')
}

// appendText writes a JSON string; what is not UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[from:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// signalReader reads messages of signals; one goroutine at a time may use it.
type signalReader struct {
	parser fastjson.Parser
	known  map[string]string // texts that repeat: ids, paths
}

// maxKnown bounds what is remembered.
const maxKnown = 4096

// read reads the lines of a message; with an error, those before it.
func (d *signalReader) read(data []byte) ([]finding.Signal, error) {
	var out []finding.Signal
	for line := range bytes.Lines(data) {
		v, err := d.parser.ParseBytes(line)
		if err != nil {
			return out, fmt.Errorf("read signal: %w", err)
		}
		if v.Type() != fastjson.TypeObject {
			return out, fmt.Errorf("read signal: %s instead of an object", v.Type())
		}
		s := finding.Signal{
			Rule: d.name(v.GetStringBytes("rule")), Version: d.name(v.GetStringBytes("version")), EventUID: string(v.GetStringBytes("event_uid")),
			Time: v.GetInt64("time"), Received: v.GetInt64("received"), Source: d.name(v.GetStringBytes("source")), Family: d.name(v.GetStringBytes("family")),
			GroupKey: string(v.GetStringBytes("group_key")), Value: string(v.GetStringBytes("value")), Number: v.GetFloat64("number"),
			Traceback: string(v.GetStringBytes("traceback")),
		}
		for _, p := range v.GetArray("group") {
			s.Group = append(s.Group, finding.Pair{Path: d.name(p.GetStringBytes("path")), Value: string(p.GetStringBytes("value"))})
		}
		if o := v.GetObject("fields"); o != nil && o.Len() > 0 {
			s.Fields = make(map[string]string, o.Len())
			o.Visit(func(key []byte, v *fastjson.Value) { s.Fields[d.name(key)] = string(v.GetStringBytes()) })
		}
		out = append(out, s)
	}
	return out, nil
}

// name is a text that is likely to have been seen before.
func (d *signalReader) name(b []byte) string {
	if s, ok := d.known[string(b)]; ok {
		return s
	}
	if len(d.known) >= maxKnown || d.known == nil {
		d.known = map[string]string{}
	}
	s := string(b)
	d.known[s] = s
	return s
}
