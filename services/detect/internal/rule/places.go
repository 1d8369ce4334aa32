package rule

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Place is where a value stands in a rule's file. Lines and columns count from
// 1, columns in characters.
type Place struct {
	// Path names the value: "when", "source.class", "exceptions[0].when",
	// "tests[1].expect". A list's items have paths of their own.
	Path string
	// KeyLine and KeyColumn are where its key stands, or the item itself.
	KeyLine, KeyColumn int
	// Line and Column are the value's first character; for an expression the
	// first one of its text.
	Line, Column int
	// Text is the value of a text, as it stands in the file for conditions.
	Text string
	// Field is set of a comparison in a file of another format, whose Path is
	// that of the condition: the column that it became a comparison of. Text is
	// then one of the values, as the rule's own condition has it.
	Field string
}

// maxPlaces bounds what Places returns: a rule's file has a few hundred.
const maxPlaces = 20_000

// Places lists the values of a rule's file in order, down to the events of
// tests; none if the file is not YAML.
func Places(data []byte) []Place {
	r := &reader{}
	root := r.parse(data)
	if root == nil {
		return nil
	}
	var out []Place
	r.places(&out, root, "", 0)
	return out
}

func (r *reader) places(out *[]Place, n ast.Node, path string, depth int) {
	if depth > 16 || len(*out) >= maxPlaces {
		return
	}
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			p := path + "[" + strconv.Itoa(i) + "]"
			at := r.place(p, v, v)
			*out = append(*out, at)
			r.places(out, v, p, depth+1)
		}
		return
	}
	for _, v := range values {
		key, ok := v.Key.(ast.Node).(*ast.StringNode)
		if !ok {
			continue
		}
		p := key.Value
		if path != "" {
			p = path + "." + p
		}
		*out = append(*out, r.place(p, key, v.Value))
		r.places(out, v.Value, p, depth+1)
	}
}

func (r *reader) place(path string, key, value ast.Node) Place {
	p := Place{Path: path}
	p.KeyLine, p.KeyColumn = position(key)
	p.Line, p.Column = position(value)
	switch value.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		if path == "when" || strings.HasSuffix(path, ".when") {
			p.Text, p.Line, p.Column = r.expression(field{key, value})
		} else {
			p.Text = r.text(field{key, value}, path)
		}
	}
	return p
}
