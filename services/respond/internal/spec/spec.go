// Package spec reads the YAML files of this service strictly: unknown and
// repeated keys, anchors and deep nesting are errors, and every error says
// file, line and column.
package spec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/vagus-hub/vagus/services/internal/near"
)

// Limits of a file. Content is trusted more than events, but a broken or
// generated file must not take the service down.
const (
	// MaxBytes is the size of the largest file read.
	MaxBytes = 64 << 10
	// MaxFlow is how deep [] and {} may nest.
	MaxFlow = 24
	// MaxColumn is the furthest column a token may start at; it bounds the
	// depth of block nesting.
	MaxColumn = 4096
	maxDepth  = 200
)

// Error is a mistake in a file.
type Error struct {
	File   string
	Line   int // 1-based; 0 when unknown
	Column int
	Text   string
}

// Error formats file:line:column: text.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// File is a parsed file that can still tell positions.
type File struct {
	name string
	ast  *ast.File
}

// Parse decodes text into the struct that into points to. name is only for
// messages.
func Parse(name string, text []byte, into any) (*File, error) {
	if len(text) > MaxBytes {
		return nil, &Error{File: name, Text: fmt.Sprintf("%d bytes, at most %d", len(text), MaxBytes)}
	}
	if err := scan(name, text); err != nil {
		return nil, err
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, wrap(name, err, nil)
	}
	if n := len(tree.Docs); n != 1 || tree.Docs[0].Body == nil {
		return nil, &Error{File: name, Text: fmt.Sprintf("want exactly one document, found %d", n)}
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into); err != nil {
		return nil, wrap(name, err, keys(reflect.TypeOf(into), nil, 0))
	}
	return &File{name: name, ast: tree}, nil
}

// scan refuses what the parser should not even see.
func scan(name string, text []byte) error {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return &Error{File: name, Text: fmt.Sprintf("zero byte at offset %d", i)}
	}
	flow := 0
	for _, t := range lexer.Tokenize(string(text)) {
		bad := ""
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			bad = "anchors, aliases and merge keys are not allowed: write the value out"
		case token.TagType:
			bad = "tags are not allowed"
		case token.SequenceStartType, token.MappingStartType:
			if flow++; flow > MaxFlow {
				bad = fmt.Sprintf("nested deeper than %d", MaxFlow)
			}
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		if bad == "" && t.Position != nil && (t.Position.IndentNum > maxDepth || t.Position.Column > MaxColumn) {
			bad = "indented too far"
		}
		if bad != "" {
			return &Error{File: name, Line: t.Position.Line, Column: t.Position.Column, Text: bad}
		}
	}
	return nil
}

func wrap(name string, err error, known []string) error {
	var own *Error
	if errors.As(err, &own) {
		own.File = name
		return own
	}
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return &Error{File: name, Text: err.Error()}
	}
	e := &Error{File: name, Text: ye.GetMessage()}
	if t := ye.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
		var unknown *yaml.UnknownFieldError
		if errors.As(err, &unknown) {
			e.Text = fmt.Sprintf("unknown key %q%s", t.Value, Suggest(t.Value, known))
		}
	}
	return e
}

// Errorf makes an error at a path such as "steps[2].if"; a path that the file
// does not have falls back to its nearest parent.
func (f *File) Errorf(path, format string, args ...any) error {
	e := &Error{File: f.name, Text: fmt.Sprintf(format, args...)}
	if path != "" && !strings.HasPrefix(path, "[") {
		e.Text = path + ": " + e.Text
	}
	for p := path; ; {
		if line, column, ok := f.position(p); ok {
			e.Line, e.Column = line, column
			return e
		}
		cut := max(strings.LastIndexByte(p, '.'), strings.LastIndexByte(p, '['))
		if cut <= 0 {
			e.Line, e.Column = 1, 1
			return e
		}
		p = p[:cut]
	}
}

func (f *File) position(path string) (line, column int, ok bool) {
	if path == "" {
		return 1, 1, true
	}
	p, err := yaml.PathString("$." + path)
	if err != nil {
		return 0, 0, false
	}
	node, err := p.FilterFile(f.ast)
	if err != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 0, 0, false
	}
	pos := node.GetToken().Position
	return pos.Line, pos.Column, true
}

// keys collects the YAML keys a type can have, for suggestions.
func keys(t reflect.Type, have []string, depth int) []string {
	if depth > 8 {
		return have
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		return keys(t.Elem(), have, depth+1)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name != "" && name != "-" && !slices.Contains(have, name) {
				have = append(have, name)
			}
			have = keys(f.Type, have, depth+1)
		}
	}
	return have
}

// Suggest returns ` (did you mean "x"?)` for the name nearest to s, or ` (one
// of …)` when few are known, or nothing.
func Suggest(s string, known []string) string {
	best, dist := "", 1+len(s)/3
	for _, k := range known {
		if d := near.Distance(s, k); d <= dist && (best == "" || d < dist) {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	if n := len(known); n > 0 && n <= 12 {
		known = slices.Clone(known)
		slices.Sort(known)
		return " (one of " + strings.Join(known, ", ") + ")"
	}
	return ""
}

// ParseDuration reads Go durations and whole days such as "7d".
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 3650 {
			return 0, fmt.Errorf("duration %q: want for example 30s, 15m, 2h or 7d", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("duration %q: want for example 30s, 15m, 2h or 7d", s)
	}
	return d, nil
}

// Duration is a length of time written as 30s, 15m, 2h or 7d.
type Duration time.Duration

// UnmarshalYAML reads the text form.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	t := n.GetToken()
	v, err := ParseDuration(t.Value)
	if err != nil {
		return &Error{Line: t.Position.Line, Column: t.Position.Column, Text: err.Error()}
	}
	*d = Duration(v)
	return nil
}

// Std is the value as time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }
