package lint

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// places finds where the parts of a rule stand in its file.
type places struct {
	byPath      map[string]rule.Place
	comparisons []rule.Place // of files in another format
	first       rule.Place
}

func newPlaces(r *rule.Rule, opts Options) *places {
	p := &places{byPath: map[string]rule.Place{}, first: rule.Place{KeyLine: 1, KeyColumn: 1, Line: 1, Column: 1}}
	if opts.Source == nil {
		return p
	}
	for i, x := range rule.Locate(r, opts.Source(r.File), opts.Formats...) {
		if i == 0 {
			p.first = x
		}
		if x.Field != "" {
			p.comparisons = append(p.comparisons, x)
			continue
		}
		p.byPath[x.Path] = x
	}
	return p
}

// of is the place of a path, or of the nearest above it that is in the file.
func (p *places) of(path string) rule.Place {
	for {
		if x, ok := p.byPath[path]; ok {
			return x
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return p.first
		}
		path = path[:i]
	}
}

// key is where a key stands, or the first line.
func (p *places) key(path string) (line, column int) {
	x := p.of(path)
	return x.KeyLine, x.KeyColumn
}

func (p *places) tag(i int) (line, column int) {
	x := p.of(fmt.Sprintf("tags[%d]", i))
	return x.Line, x.Column
}

// atom is where an atom of a condition most likely stands: the field that one
// of its literals follows, in particular the one that is given, if any. A node
// of several atoms stands where the condition does.
func (p *places) atom(path string, n *lang.Node, literal string) (line, column int) {
	if len(p.comparisons) > 0 {
		return p.comparison(path, n, literal)
	}
	x, ok := p.byPath[path]
	if !ok {
		return p.key(path)
	}
	i := find(x.Text, n, literal)
	before := x.Text[:i]
	nl := strings.LastIndexByte(before, '\n')
	column = utf8.RuneCountInString(before[nl+1:]) + x.Column
	return x.Line + strings.Count(before, "\n"), column
}

// comparison is where the value stands that became an atom, or the field if the
// atom has several values or none. A node of several atoms stands where its
// first one does.
func (p *places) comparison(key string, n *lang.Node, literal string) (line, column int) {
	var best rule.Place
	score := 0
	n.Walk(func(n *lang.Node) {
		if score > 0 || n.Op == lang.And || n.Op == lang.Or || n.Op == lang.Const || n.Op == lang.Opaque {
			return
		}
		texts := values(n)
		if literal != "" {
			texts = []string{literal}
		}
		for _, x := range p.comparisons {
			if x.Field != path(n) {
				continue
			}
			if s := likeness(x.Text, texts); s > score {
				best, score = x, s
				if len(texts) != 1 {
					best.Line, best.Column = x.KeyLine, x.KeyColumn
				}
			}
		}
	})
	if score == 0 {
		return p.key(key)
	}
	return best.Line, best.Column
}

// likeness says how sure it is that one of the texts is a value of a file: 3 if
// they are the same, 2 if one holds the other, 1 if an atom has no texts and the
// file does.
func likeness(value string, texts []string) int {
	switch {
	case len(texts) == 0 && value == "":
		return 3
	case len(texts) == 0:
		return 1
	}
	score := 0
	value = lang.Fold(value)
	for _, t := range texts {
		switch t = lang.Fold(t); {
		case t == value:
			return 3
		case t != "" && value != "" && (strings.Contains(value, t) || strings.Contains(t, value)):
			score = 2
		}
	}
	return score
}

// find is the offset of an atom's field in a condition, 0 if it is not seen.
func find(text string, n *lang.Node, literal string) int {
	for n.Op == lang.And || n.Op == lang.Or {
		return 0
	}
	if n.Op == lang.Const || n.Op == lang.Opaque {
		return 0
	}
	name, texts := path(n), values(n)
	if literal != "" {
		texts = []string{literal}
	}
	best, nearest := -1, len(text)+1
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			break
		}
		i += from
		from = i + len(name)
		distance := len(text)
		for _, l := range texts {
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
		out = append(out[:len(out):len(out)], strconv.FormatFloat(v, 'f', -1, 64))
	}
	for _, v := range n.Nets {
		out = append(out[:len(out):len(out)], v.String())
	}
	if n.Re != nil {
		out = append(out[:len(out):len(out)], n.Re.String())
	}
	return out
}
