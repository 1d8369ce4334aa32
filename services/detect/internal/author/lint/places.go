package lint

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// places finds where the parts of a rule stand in its file.
type places struct{ byPath map[string]rule.Place }

func newPlaces(r *rule.Rule, source func(string) []byte) *places {
	p := &places{byPath: map[string]rule.Place{}}
	if source != nil {
		for _, x := range rule.Places(source(r.File)) {
			p.byPath[x.Path] = x
		}
	}
	return p
}

// key is where a key stands, or the first line.
func (p *places) key(path string) (line, column int) {
	if x, ok := p.byPath[path]; ok {
		return x.KeyLine, x.KeyColumn
	}
	return 1, 1
}

func (p *places) tag(i int) (line, column int) {
	if x, ok := p.byPath[fmt.Sprintf("tags[%d]", i)]; ok {
		return x.Line, x.Column
	}
	if x, ok := p.byPath["tags"]; ok {
		return x.Line, x.Column
	}
	return 1, 1
}

// atom is where an atom of a condition most likely stands: the field that one
// of its literals follows. A node of several atoms stands where the condition
// does.
func (p *places) atom(path string, n *lang.Node) (line, column int) {
	x, ok := p.byPath[path]
	if !ok {
		return 1, 1
	}
	i := find(x.Text, n)
	before := x.Text[:i]
	nl := strings.LastIndexByte(before, '\n')
	column = utf8.RuneCountInString(before[nl+1:]) + x.Column
	return x.Line + strings.Count(before, "\n"), column
}

// find is the offset of an atom's field in a condition, 0 if it is not seen.
func find(text string, n *lang.Node) int {
	for n.Op == lang.And || n.Op == lang.Or {
		return 0
	}
	if n.Op == lang.Const || n.Op == lang.Opaque {
		return 0
	}
	name := path(n)
	best, nearest := -1, len(text)+1
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			break
		}
		i += from
		from = i + len(name)
		distance := len(text)
		for _, l := range values(n) {
			if d := strings.Index(lang.Fold(text[from:]), lang.Fold(l)); d >= 0 {
				distance = min(distance, d)
			}
		}
		if distance < nearest {
			best, nearest = i, distance
		}
	}
	return max(best, 0)
}

// values are texts that an atom compares with.
func values(n *lang.Node) []string {
	out := n.Lits
	for _, v := range n.Nums {
		out = append(out[:len(out):len(out)], fmt.Sprint(v))
	}
	for _, v := range n.Nets {
		out = append(out[:len(out):len(out)], v.String())
	}
	if n.Re != nil {
		out = append(out[:len(out):len(out)], n.Re.String())
	}
	return out
}
