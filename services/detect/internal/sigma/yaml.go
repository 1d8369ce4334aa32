package sigma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Bounds of one file.
const (
	maxFile  = 2 << 20 // bytes
	maxDocs  = 1000
	maxDepth = 16
	maxNodes = 100_000
)

type kind uint8

const (
	null kind = iota
	text
	number // as written
	boolean
	list
	mapping
)

// node is a YAML value with its place.
type node struct {
	kind         kind
	text         string // of scalars; of booleans true or false
	items        []node
	pairs        []pair
	line, column int
}

type pair struct {
	key   node
	value node
}

// get finds the value of a key, nil if it is not there.
func (n *node) get(key string) *node {
	for i := range n.pairs {
		if n.pairs[i].key.text == key {
			return &n.pairs[i].value
		}
	}
	return nil
}

// problems collects what is wrong with a file.
type problems struct {
	file string
	list []rule.Problem
}

func (p *problems) add(n *node, warning bool, format string, args ...any) {
	line, column := 1, 1
	if n != nil && n.line > 0 {
		line, column = n.line, n.column
	}
	p.list = append(p.list, rule.Problem{File: p.file, Line: line, Column: column, Warning: warning, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) error(n *node, format string, args ...any) { p.add(n, false, format, args...) }

func (p *problems) warn(n *node, format string, args ...any) { p.add(n, true, format, args...) }

// documents reads the documents of a file. Anchors, aliases and tags are
// refused: no rule needs them, and they make small files large.
func (p *problems) documents(data []byte) (docs []node) {
	if len(data) > maxFile {
		p.error(nil, "file has %d bytes, at most %d are allowed", len(data), maxFile)
		return nil
	}
	if line, column, why := rule.NotText(data); why != "" {
		p.error(&node{line: line, column: column}, "%s", why)
		return nil
	}
	// A file is input: whatever the library does with it, the service stays up.
	defer func() {
		if x := recover(); x != nil {
			p.error(nil, "YAML cannot be read: %v", x)
			docs = nil
		}
	}()
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) && ye.GetToken() != nil && ye.GetToken().Position != nil {
			at := ye.GetToken().Position
			p.error(&node{line: at.Line, column: at.Column}, "%s", ye.GetMessage())
			return nil
		}
		p.error(nil, "%v", err)
		return nil
	}
	if len(f.Docs) > maxDocs {
		p.error(nil, "file has %d documents, at most %d are allowed", len(f.Docs), maxDocs)
		return nil
	}
	c := converter{p: p}
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if n, ok := c.node(d.Body, 0); ok {
			docs = append(docs, n)
		}
	}
	return docs
}

type converter struct {
	p     *problems
	nodes int
}

func (c *converter) node(a ast.Node, depth int) (node, bool) {
	n := node{line: 1, column: 1}
	if t := a.GetToken(); t != nil && t.Position != nil {
		n.line, n.column = t.Position.Line, t.Position.Column
	}
	if c.nodes++; c.nodes > maxNodes {
		if c.nodes == maxNodes+1 {
			c.p.error(&n, "file holds more than %d values", maxNodes)
		}
		return n, false
	}
	if depth > maxDepth {
		c.p.error(&n, "values are nested more than %d deep", maxDepth)
		return n, false
	}
	switch a := a.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		n.kind, n.text = text, a.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, a.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		n.kind, n.text = number, strings.TrimSpace(a.GetToken().Value)
	case *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = text, a.GetToken().Value
	case *ast.BoolNode:
		n.kind, n.text = boolean, strconv.FormatBool(a.Value)
	case *ast.SequenceNode:
		n.kind = list
		n.items = make([]node, 0, len(a.Values))
		for _, v := range a.Values {
			item, ok := c.node(v, depth+1)
			if !ok {
				return n, false
			}
			n.items = append(n.items, item)
		}
	case *ast.MappingNode:
		if len(a.Values) > 0 {
			if t := a.Values[0].Key.GetToken(); t != nil && t.Position != nil {
				n.line, n.column = t.Position.Line, t.Position.Column
			}
		}
		return c.mapping(n, a.Values, depth)
	case *ast.MappingValueNode:
		if t := a.Key.GetToken(); t != nil && t.Position != nil {
			n.line, n.column = t.Position.Line, t.Position.Column
		}
		return c.mapping(n, []*ast.MappingValueNode{a}, depth)
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		c.p.error(&n, "anchors, aliases and tags are not allowed in rules")
		return n, false
	default:
		c.p.error(&n, "%s is not allowed in rules", a.Type())
		return n, false
	}
	return n, true
}

func (c *converter) mapping(n node, values []*ast.MappingValueNode, depth int) (node, bool) {
	n.kind = mapping
	n.pairs = make([]pair, 0, len(values))
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		key, ok := c.node(v.Key, depth+1)
		if !ok {
			return n, false
		}
		if key.kind == list || key.kind == mapping {
			c.p.error(&key, "a key must be a text")
			return n, false
		}
		if seen[key.text] {
			c.p.error(&key, "key %s is repeated", key.text)
			return n, false
		}
		seen[key.text] = true
		value, ok := c.node(v.Value, depth+1)
		if !ok {
			return n, false
		}
		n.pairs = append(n.pairs, pair{key, value})
	}
	return n, true
}
