package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// Template is an alert's title: text with {path} for fields, and {count},
// {value} and {threshold} for what the correlation saw.
type Template struct {
	parts []part
}

type part struct {
	text  string // literal, or the placeholder's name
	field bool
}

var specials = []string{"count", "value", "threshold"}

func isSpecial(name string) bool {
	for _, s := range specials {
		if s == name {
			return true
		}
	}
	return false
}

// ParseTemplate reads a template. {{ stands for a brace. Names are known beside
// the paths of fields.
func ParseTemplate(s string, names ...string) (Template, error) {
	var t Template
	for s != "" {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			t.parts = append(t.parts, part{text: s})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{text: s[:i]})
		}
		if s = s[i+1:]; strings.HasPrefix(s, "{") {
			t.parts = append(t.parts, part{text: "{"})
			s = s[1:]
			continue
		}
		name, rest, ok := strings.Cut(s, "}")
		if !ok {
			return t, fmt.Errorf("{%s has no closing brace (write {{ for a brace)", s)
		}
		if _, known := event.ByPath(name); !known && !isSpecial(name) && !slices.Contains(names, name) {
			return t, fmt.Errorf("unknown field {%s}%s", name, lang.DidYouMean(name, append(fieldNames(), names...)))
		}
		t.parts = append(t.parts, part{text: name, field: true})
		s = rest
	}
	return t, nil
}

// Fill writes the template with the values by name; a field without a value
// reads "unknown".
func (t Template) Fill(values func(name string) string) string {
	var b strings.Builder
	for _, p := range t.parts {
		if !p.field {
			b.WriteString(p.text)
			continue
		}
		v := values(p.text)
		if v == "" {
			v = "unknown"
		}
		b.WriteString(v)
	}
	return b.String()
}

func (t Template) columns() []event.ColumnID {
	var out []event.ColumnID
	for _, p := range t.parts {
		if col, ok := event.ByPath(p.text); p.field && ok {
			out = append(out, col.ID)
		}
	}
	return out
}

func fieldNames() []string {
	out := append([]string(nil), specials...)
	for i := range event.Columns {
		out = append(out, event.Columns[i].Path)
	}
	return out
}
