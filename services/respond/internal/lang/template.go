package lang

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Text is a checked template: text with {{ expression }} in it. A template
// that is one expression and nothing else keeps the value's type.
type Text struct {
	parts []part
}

type part struct {
	lit  string
	expr *Expr // nil: lit
}

// ParseText checks a template.
func ParseText(text string, scope Scope) (*Text, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("template: %d bytes, at most %d", len(text), MaxText)
	}
	t := &Text{}
	for rest := text; rest != ""; {
		i := strings.Index(rest, "{{")
		if i < 0 {
			t.parts = append(t.parts, part{lit: rest})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{lit: rest[:i]})
		}
		end := closing(rest[i+2:])
		if end < 0 {
			return nil, fmt.Errorf("template %q: {{ without }}", short(text))
		}
		e, err := Compile(strings.TrimSpace(rest[i+2:i+2+end]), scope, false)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{expr: e})
		rest = rest[i+2+end+2:]
	}
	return t, nil
}

// closing finds the }} that ends an expression, outside of quotes.
func closing(s string) int {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '}' && i+1 < len(s) && s[i+1] == '}' && (i+2 >= len(s) || s[i+2] != '}'):
			return i
		}
	}
	return -1
}

// Static returns the text when it has no expression.
func (t *Text) Static() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].expr == nil:
		return t.parts[0].lit, true
	}
	return "", false
}

// Value fills the template and keeps the type of a lone expression.
func (t *Text) Value(env any) (any, error) {
	if len(t.parts) == 1 && t.parts[0].expr != nil {
		v, err := t.parts[0].expr.Eval(env)
		if err != nil {
			return nil, err
		}
		return plain(v)
	}
	return t.String(env)
}

// String fills the template as text.
func (t *Text) String(env any) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		s := p.lit
		if p.expr != nil {
			v, err := p.expr.Eval(env)
			if err != nil {
				return "", err
			}
			if s, err = text(v); err != nil {
				return "", err
			}
		}
		if b.Len()+len(s) > MaxResult {
			return "", fmt.Errorf("template: result longer than %d bytes", MaxResult)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// text is a value inside other text.
func text(v any) (string, error) {
	v, err := plain(v)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// Tree is a structure of maps, lists and scalars whose strings are templates.
type Tree struct {
	text *Text
	dict map[string]*Tree
	list []*Tree
	lit  any
	kind byte // t text, m map, l list, v literal
}

// maxTree bounds the nodes of a tree.
const maxTree = 512

// ParseTree checks every string in v. The error names the path inside v.
func ParseTree(v any, scope Scope) (*Tree, error) {
	n := 0
	return parseTree(v, scope, "", &n)
}

func parseTree(v any, scope Scope, path string, n *int) (*Tree, error) {
	if *n++; *n > maxTree {
		return nil, fmt.Errorf("%s: more than %d values", path, maxTree)
	}
	switch v := v.(type) {
	case string:
		t, err := ParseText(v, scope)
		if err != nil {
			return nil, &PathError{Path: path, Err: err}
		}
		return &Tree{kind: 't', text: t}, nil
	case map[string]any:
		out := &Tree{kind: 'm', dict: make(map[string]*Tree, len(v))}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			sub, err := parseTree(v[k], scope, path+"."+k, n)
			if err != nil {
				return nil, err
			}
			out.dict[k] = sub
		}
		return out, nil
	case []any:
		out := &Tree{kind: 'l'}
		for i, e := range v {
			sub, err := parseTree(e, scope, path+"["+strconv.Itoa(i)+"]", n)
			if err != nil {
				return nil, err
			}
			out.list = append(out.list, sub)
		}
		return out, nil
	case nil, bool, int, int64, uint64, float64:
		return &Tree{kind: 'v', lit: v}, nil
	}
	return nil, &PathError{Path: path, Err: fmt.Errorf("%T is not allowed here", v)}
}

// PathError is an error at a place inside a tree.
type PathError struct {
	Path string // ".a.b[0]", relative to the tree's root
	Err  error
}

// Error formats the path and the cause.
func (e *PathError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *PathError) Unwrap() error { return e.Err }

// Static returns a leaf's text when the tree is one without an expression.
func (t *Tree) Static() (string, bool) {
	if t == nil || t.kind != 't' {
		return "", false
	}
	return t.text.Static()
}

// Child returns a member of a map, or nil.
func (t *Tree) Child(key string) *Tree {
	if t == nil {
		return nil
	}
	return t.dict[key]
}

// Render fills the tree. Keys are never templates.
func (t *Tree) Render(env any) (any, error) {
	if t == nil {
		return nil, nil
	}
	switch t.kind {
	case 't':
		return t.text.Value(env)
	case 'm':
		out := make(map[string]any, len(t.dict))
		for k, sub := range t.dict {
			v, err := sub.Render(env)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = v
		}
		return out, nil
	case 'l':
		out := make([]any, 0, len(t.list))
		for i, sub := range t.list {
			v, err := sub.Render(env)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out = append(out, v)
		}
		return out, nil
	}
	return plain(t.lit)
}
