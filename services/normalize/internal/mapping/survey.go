package mapping

import (
	"bytes"
	"sort"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// Field is a field that was seen in records.
type Field struct {
	Path    string // as a mapping writes it
	Count   int    // records that have it
	Example string // at most 80 bytes
}

// Survey is what records have in common.
type Survey struct {
	Format  string
	Records int
	Fields  []Field // in the order in which they were first seen
}

// maxFields bounds a survey.
const maxFields = 500

// Look surveys records, at least one. The format is guessed from the first.
func Look(records [][]byte) Survey {
	s := surveyor{index: map[string]int{}}
	s.Format = guessFormat(records[0])
	for _, rec := range records {
		s.Records++
		s.seen = map[string]bool{}
		if s.Format == "json" {
			if v, err := fastjson.ParseBytes(rec); err == nil {
				s.value("", v, 0)
			}
			continue
		}
		s.path = nil
		switch s.Format {
		case "kv":
			_ = (&text.Pairs{}).Parse(rec, &s)
		case "cef":
			_ = (&text.CEF{}).Parse(rec, &s)
		case "leef":
			_ = (&text.LEEF{}).Parse(rec, &s)
		case "audit":
			_ = (&text.Audit{}).Parse(rec, &s)
		case "syslog":
			_ = (&text.Syslog{}).Parse(rec, &s)
		case "zeek":
			t := &text.Table{Zeek: true}
			_, _, _ = t.Next(t.Begin(rec), &s)
		}
	}
	return s.Survey
}

// guessFormat looks at one record.
func guessFormat(rec []byte) string {
	trimmed := bytes.TrimSpace(rec)
	h := text.ParseHeader(trimmed)
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		return "json"
	case bytes.HasPrefix(trimmed, []byte("#")):
		return "zeek"
	case bytes.Contains(trimmed, []byte("CEF:")):
		return "cef"
	case bytes.Contains(trimmed, []byte("LEEF:")):
		return "leef"
	case bytes.Contains(trimmed, []byte("msg=audit(")):
		return "audit"
	case pairs(h.Message) >= 3:
		return "kv"
	case h.Priority >= 0 || h.Timestamp != nil && h.Hostname != nil:
		return "syslog"
	}
	return "text"
}

type counted struct{ n int }

func (c *counted) Set(_, _ []byte)      { c.n++ }
func (c *counted) Open(_ []byte, _ int) {}
func (c *counted) Close()               {}

func pairs(rec []byte) int {
	var c counted
	_ = (&text.Pairs{}).Parse(rec, &c)
	return c.n
}

type surveyor struct {
	Survey
	index map[string]int
	seen  map[string]bool
	path  []string
}

func (s *surveyor) note(path string, example []byte) {
	if s.seen[path] || path == "" {
		return
	}
	s.seen[path] = true
	i, ok := s.index[path]
	if !ok {
		if len(s.Fields) >= maxFields {
			return
		}
		i = len(s.Fields)
		s.index[path] = i
		s.Fields = append(s.Fields, Field{Path: path})
	}
	s.Fields[i].Count++
	if s.Fields[i].Example == "" {
		s.Fields[i].Example = strings.ToValidUTF8(string(example[:min(len(example), 80)]), "")
	}
}

func (s *surveyor) value(path string, v *fastjson.Value, depth int) {
	switch v.Type() {
	case fastjson.TypeObject:
		if depth > 8 {
			return
		}
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) { s.value(child(path, string(key)), v, depth+1) })
	case fastjson.TypeArray:
		if list := v.GetArray(); len(list) > 0 && list[0].Type() == fastjson.TypeObject {
			s.value(path+"[0]", list[0], depth+1)
		} else if len(list) > 0 {
			s.note(path, v.MarshalTo(nil))
		}
	case fastjson.TypeNull:
	case fastjson.TypeString:
		if t := v.GetStringBytes(); len(t) > 0 {
			s.note(path, t)
		}
	default:
		s.note(path, v.MarshalTo(nil))
	}
}

// child adds a key to a path, quoted where it has to be.
func child(path, key string) string {
	if strings.ContainsAny(key, `.[]$"' :,{}#`) || key == "" {
		return path + `["` + key + `"]`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Set notes a part of a text.
func (s *surveyor) Set(key, value []byte) {
	if len(value) > 0 && (len(s.path) == 0 || s.path[0] != "FIRST") {
		s.note(child(strings.Join(s.path, "."), string(key)), value)
	}
}

// Open enters an object of a text.
func (s *surveyor) Open(key []byte, index int) {
	name := string(key)
	if index > 0 {
		name += "[" + strconv.Itoa(index) + "]"
	}
	s.path = append(s.path, name)
}

// Close leaves it.
func (s *surveyor) Close() { s.path = s.path[:len(s.path)-1] }

// Common lists the fields that every record has, those with the most telling
// names first.
func (s *Survey) Common() []Field {
	var out []Field
	for _, f := range s.Fields {
		if f.Count == s.Records {
			out = append(out, f)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return telling(out[i].Path) > telling(out[j].Path) })
	return out
}

// telling is high for names that few other sources use.
func telling(path string) int {
	n := min(len(path), 40)
	for _, common := range []string{"time", "message", "msg", "level", "host", "status", "user", "id", "type", "name", "event"} {
		if strings.EqualFold(path, common) || strings.EqualFold(path, "@"+common+"stamp") {
			n -= 30
		}
	}
	return n
}
