package atr

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// The bounds of a file.
const (
	maxFile  = 2 << 20
	maxDepth = 16
)

// node is a YAML value with its place.
type node struct {
	text  string // of scalars
	items []*node
	keys  []string
	pairs map[string]*node
	names map[string]*node // of the keys

	scalar, list, mapping bool
	line, column          int
}

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	return n.pairs[key]
}

func (n *node) str() string {
	if n == nil {
		return ""
	}
	return n.text
}

// reader collects what is wrong with a file.
type reader struct {
	file     string
	problems []rule.Problem
}

func (r *reader) error(n *node, format string, args ...any) {
	p := rule.Problem{File: r.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.line > 0 {
		p.Line, p.Column = n.line, n.column
	}
	r.problems = append(r.problems, p)
}

// parse returns the only document, or nil with a problem reported.
func (r *reader) parse(data []byte) (root *node) {
	if len(data) > maxFile {
		r.error(nil, "file has %d bytes, at most %d are allowed", len(data), maxFile)
		return nil
	}
	if line, column, why := rule.NotText(data); why != "" {
		r.error(&node{line: line, column: column}, "%s", why)
		return nil
	}
	// A file is input: whatever the library does with it, the service stays up.
	defer func() {
		if p := recover(); p != nil {
			r.error(nil, "YAML cannot be read: %v", p)
			root = nil
		}
	}()
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		at := &node{line: 1, column: 1}
		message := err.Error()
		var ye yaml.Error
		if errors.As(err, &ye) {
			message = ye.GetMessage()
			if t := ye.GetToken(); t != nil && t.Position != nil {
				at.line, at.column = t.Position.Line, t.Position.Column
			}
		}
		r.error(at, "%s", message)
		return nil
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		r.error(nil, "a file of ATR holds exactly one rule")
		return nil
	}
	return r.node(f.Docs[0].Body, 0)
}

func (r *reader) node(n ast.Node, depth int) *node {
	out := &node{line: 1, column: 1}
	if t := n.GetToken(); t != nil && t.Position != nil {
		out.line, out.column = t.Position.Line, t.Position.Column
	}
	if depth > maxDepth {
		r.error(out, "nested more than %d levels deep", maxDepth)
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		r.mapping(out, n.Values, depth)
	case *ast.MappingValueNode:
		r.mapping(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.list = true
		for _, v := range n.Values {
			out.items = append(out.items, r.node(v, depth+1))
		}
	case *ast.StringNode:
		out.scalar, out.text = true, n.Value
	case *ast.LiteralNode:
		out.scalar, out.text = true, n.Value.Value
	case *ast.NullNode:
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.error(out, "anchors, aliases and tags are not read")
	default:
		out.scalar = true
		if t := n.GetToken(); t != nil {
			out.text = t.Value
		}
	}
	return out
}

func (r *reader) mapping(out *node, values []*ast.MappingValueNode, depth int) {
	out.mapping, out.pairs, out.names = true, map[string]*node{}, map[string]*node{}
	for i, v := range values {
		key := v.Key.GetToken()
		if key == nil {
			r.error(out, "key cannot be read")
			continue
		}
		if i == 0 && key.Position != nil {
			out.line, out.column = key.Position.Line, key.Position.Column
		}
		if _, twice := out.pairs[key.Value]; twice {
			r.error(out, "key %s is repeated", key.Value)
			continue
		}
		at := &node{line: out.line, column: out.column}
		if key.Position != nil {
			at.line, at.column = key.Position.Line, key.Position.Column
		}
		out.keys, out.names[key.Value] = append(out.keys, key.Value), at
		out.pairs[key.Value] = r.node(v.Value, depth+1)
	}
}
