package mapping

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML reads a document and puts what anchors name in the place of their
// aliases and merge keys (<<): decoders that work on nodes see neither.
func parseYAML(data []byte) (ast.Node, error) {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return ast.Null(nil), nil
	}
	x := expander{anchors: map[string]ast.Node{}}
	return x.expand(f.Docs[0].Body), nil
}

type expander struct {
	anchors map[string]ast.Node
	nodes   int // visited: aliases of aliases could be many
}

// maxNodes bounds a document after expansion.
const maxNodes = 200_000

func (x *expander) expand(n ast.Node) ast.Node {
	if x.nodes++; x.nodes > maxNodes {
		return n
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		v := x.expand(n.Value)
		x.anchors[n.Name.String()] = v
		return v
	case *ast.AliasNode:
		if v, ok := x.anchors[n.Value.String()]; ok {
			x.nodes += size(v, maxNodes-x.nodes)
			return v
		}
	case *ast.MappingNode:
		n.Values = x.merge(n.Values)
	case *ast.MappingValueNode:
		n.Value = x.expand(n.Value)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			n.Values[i] = x.expand(v)
		}
	}
	return n
}

// merge expands the entries of a map; its own win over merged ones.
func (x *expander) merge(values []*ast.MappingValueNode) []*ast.MappingValueNode {
	own := map[string]bool{}
	for _, v := range values {
		own[v.Key.String()] = true
	}
	var out []*ast.MappingValueNode
	for _, v := range values {
		v.Value = x.expand(v.Value)
		if !v.Key.IsMergeKey() {
			out = append(out, v)
			continue
		}
		parts := []ast.Node{v.Value}
		if s, ok := v.Value.(*ast.SequenceNode); ok {
			parts = s.Values
		}
		for _, p := range parts {
			switch p := p.(type) {
			case *ast.MappingNode:
				for _, e := range p.Values {
					if !own[e.Key.String()] {
						own[e.Key.String()] = true
						out = append(out, e)
					}
				}
			case *ast.MappingValueNode:
				if !own[p.Key.String()] {
					own[p.Key.String()] = true
					out = append(out, p)
				}
			default:
				out = append(out, v)
			}
		}
	}
	return out
}

// size counts nodes, up to a bound.
func size(n ast.Node, limit int) int {
	count := 0
	ast.Walk(counter(func() bool { count++; return count < limit }), n)
	return count
}

type counter func() bool

// Visit goes on while the counter says so.
func (c counter) Visit(ast.Node) ast.Visitor {
	if !c() {
		return nil
	}
	return c
}
