package lang

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
)

// View is how an atom sees its column.
type View uint8

// The views.
const (
	Plain    View = iota // the column as it is
	Key                  // one key of the column unmapped, as a text: unmapped.Name
	AsText               // a number or truth value as decimal text: text(path)
	Anywhere             // all texts of the event, as a list: event.text
)

// Field is what an atom reads. The zero View is an ordinary column. Whoever
// looks at Col alone must first know that View is Plain: for Key and Anywhere
// it is the column unmapped.
type Field struct {
	Col  event.ColumnID
	View View
	Key  string // View Key: the key as it is written in unmapped
}

// AnyText is the field event.text: every text and list of texts of the event,
// addresses, and the values of unmapped. Ids of kind uuid are not among them.
var AnyText = Field{Col: event.Unmapped, View: Anywhere}

// UnmappedKey is the field unmapped.key.
func UnmappedKey(key string) Field { return Field{Col: event.Unmapped, View: Key, Key: key} }

// maxKey bounds a key of unmapped, in bytes.
const maxKey = 512

// ParseKey reads a key of unmapped as Path writes it: unmapped.Name or
// unmapped["Some Key"]. ok is false if the path is another.
func ParseKey(path string) (f Field, ok bool, err error) {
	key, ok := strings.CutPrefix(path, unmappedDot)
	if !ok {
		inner, isKey := strings.CutPrefix(path, "unmapped[")
		if !isKey {
			return Field{}, false, nil
		}
		inner, ok = strings.CutSuffix(inner, "]")
		if key, err = strconv.Unquote(inner); !ok || err != nil {
			return Field{}, false, fmt.Errorf(`%s: write a key of unmapped as unmapped.Name or unmapped["Some Key"]`, path)
		}
	}
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return Field{}, false, fmt.Errorf("%q is no key of unmapped: 1 to %d bytes without control characters", key, maxKey)
	}
	return UnmappedKey(key), true, nil
}

// Path is the field as rules write it.
func (f Field) Path() string {
	switch f.View {
	case Key:
		if plainName(f.Key) {
			return "unmapped." + f.Key
		}
		return `unmapped["` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(f.Key) + `"]`
	case AsText:
		return "text(" + event.Columns[f.Col].Path + ")"
	case Anywhere:
		return "event.text"
	}
	return event.Columns[f.Col].Path
}

// plainName says that a key needs no quotes in an expression.
func plainName(s string) bool {
	for _, part := range strings.Split(s, ".") {
		if part == "" || part[0] >= '0' && part[0] <= '9' {
			return false
		}
		for i := range len(part) {
			c := part[i]
			if c|0x20 < 'a' || c|0x20 > 'z' {
				if c != '_' && (c < '0' || c > '9') {
					return false
				}
			}
		}
	}
	return true
}

// Kind is the kind of value that rules see.
func (f Field) Kind() event.Kind {
	switch f.View {
	case Key, AsText:
		return event.KindKeyword
	case Anywhere:
		return event.KindKeywords
	}
	return event.Columns[f.Col].Kind
}

// list says that the field has several texts.
func (f Field) list() bool { return f.Kind() == event.KindKeywords }

// single says that rules see one text.
func (f Field) single() bool { return f.Kind().Text() }

// InText reports whether a column is part of event.text. Of the column
// unmapped the values are, not the column as a whole.
func InText(id event.ColumnID) bool {
	k := event.Columns[id].Kind
	return id != event.Unmapped && (k == event.KindString || k == event.KindKeyword || k == event.KindKeywords || k == event.KindIP)
}

// Names that the environment of the virtual machine has beside the columns.
const (
	EnvKeys = "unmapped_keys" // the keys of unmapped, map[string]string
	EnvText = "event_text"    // all texts of the event, []string
)

const (
	anyTextPath = "event.text"
	unmappedDot = "unmapped."
)

// keyOf reads the key off a path below unmapped.
func keyOf(path string) (string, bool) {
	for _, prefix := range []string{unmappedDot, EnvKeys + "."} {
		if k, ok := strings.CutPrefix(path, prefix); ok && k != "" {
			return k, true
		}
	}
	return "", false
}
