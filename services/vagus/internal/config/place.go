package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// placed gives the error of a value that is no duration the place of the value,
// which the YAML library leaves out: the first one that is written like this.
func placed(data []byte, err error) error {
	rest, ok := strings.CutPrefix(err.Error(), "time: ")
	if !ok {
		return err
	}
	_, value, ok := strings.Cut(rest, `"`)
	value, _, closed := strings.Cut(value, `"`)
	file, bad := parser.ParseBytes(data, 0)
	if !ok || !closed || bad != nil {
		return err
	}
	f := finder{value: value}
	for _, d := range file.Docs {
		ast.Walk(&f, d.Body)
	}
	if f.found == nil {
		return err
	}
	return mistake(f.found, "%s: want a duration such as 10m or 24h, not %q", strings.TrimPrefix(f.found.GetPath(), "$."), value)
}

// finder looks for the first value that is written like this.
type finder struct {
	value string
	found ast.Node
}

// Visit implements ast.Visitor.
func (f *finder) Visit(n ast.Node) ast.Visitor {
	if v, ok := n.(*ast.MappingValueNode); ok && f.found == nil {
		if s, ok := v.Value.(ast.ScalarNode); ok && fmt.Sprint(s.GetValue()) == f.value {
			f.found = v.Value
		}
	}
	return f
}
