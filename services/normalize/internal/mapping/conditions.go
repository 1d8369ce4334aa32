package mapping

import (
	"bytes"
	"regexp"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// conditions must all hold.
type conditions []condition

type condition struct {
	path place
	test test // without a slot
}

// UnmarshalYAML reads path: value | [values] | {test: value, …}.
func (cs *conditions) UnmarshalYAML(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return at(n).errorf("a condition must be a map of path: value")
	}
	for it := m.MapRange(); it.Next(); {
		c := condition{path: place{at(it.Key()), strings.Trim(it.Key().String(), `"'`)}}
		switch v := it.Value().(type) {
		case *ast.SequenceNode:
			if err := yaml.NodeToValue(v, &c.test.values); err != nil {
				return err
			}
		case *ast.MappingNode:
			if err := c.read(v); err != nil {
				return err
			}
		default:
			var s string
			if err := yaml.NodeToValue(v, &s); err != nil {
				return err
			}
			c.test.values = []string{s}
		}
		*cs = append(*cs, c)
	}
	sort.SliceStable(*cs, func(i, j int) bool { return (*cs)[i].path.value < (*cs)[j].path.value })
	return nil
}

// texts is one text or a list of them.
type texts []string

// UnmarshalYAML accepts either.
func (t *texts) UnmarshalYAML(n ast.Node) error {
	if s, ok := n.(*ast.SequenceNode); ok {
		return yaml.NodeToValue(s, (*[]string)(t))
	}
	var one string
	err := yaml.NodeToValue(n, &one)
	*t = texts{one}
	return err
}

func (c *condition) read(n ast.Node) error {
	var m struct {
		Exists    *bool    `yaml:"exists"`
		NotExists *bool    `yaml:"not_exists"`
		Prefix    texts    `yaml:"prefix"`
		Suffix    texts    `yaml:"suffix"`
		Contains  texts    `yaml:"contains"`
		Regexp    string   `yaml:"regexp"`
		Not       texts    `yaml:"not"`
		GT        *float64 `yaml:"gt"`
		LT        *float64 `yaml:"lt"`
	}
	if err := yaml.NodeToValue(n, &m, yaml.Strict()); err != nil {
		return err
	}
	t := &c.test
	t.exists, t.prefix, t.suffix, t.contains, t.not, t.gt, t.lt = m.Exists, m.Prefix, m.Suffix, m.Contains, m.Not, m.GT, m.LT
	if m.NotExists != nil {
		no := !*m.NotExists
		t.exists = &no
	}
	if m.Regexp != "" {
		re, err := regexp.Compile(m.Regexp)
		if err != nil {
			return c.path.errorf("the regexp of %s: %v", c.path.value, err)
		}
		t.re, t.needle = re, needle(re)
	}
	if t.empty() {
		return c.path.errorf("the condition on %s says nothing", c.path.value)
	}
	return nil
}

// test is a compiled condition: everything it says must hold.
type test struct {
	slot     int
	values   []string // any of
	not      []string // none of
	exists   *bool
	prefix   []string // any of
	suffix   []string // any of
	contains []string // any of
	re       *regexp.Regexp
	needle   []byte // is in every text that re matches
	gt, lt   *float64
}

func (t *test) empty() bool {
	return t.values == nil && t.not == nil && t.exists == nil && t.prefix == nil && t.suffix == nil && t.contains == nil && t.re == nil && t.gt == nil && t.lt == nil
}

// positive reports whether the test can only hold for a value that is there.
func (t *test) positive() bool {
	return t.exists != nil && *t.exists || t.values != nil || t.prefix != nil || t.suffix != nil || t.contains != nil || t.gt != nil || t.lt != nil
}

// match tests a text; nil is one that is absent.
func (t *test) match(text []byte) bool {
	if t.values != nil && !among(t.values, text) {
		return false
	}
	if t.exists != nil && (len(text) > 0) != *t.exists {
		return false
	}
	if t.not != nil && among(t.not, text) {
		return false
	}
	if t.prefix != nil && !anyOf(t.prefix, text, bytes.HasPrefix) || t.suffix != nil && !anyOf(t.suffix, text, bytes.HasSuffix) || t.contains != nil && !anyOf(t.contains, text, bytes.Contains) {
		return false
	}
	if t.gt != nil || t.lt != nil {
		n, ok := parseNumber(text)
		if !ok || t.gt != nil && n <= *t.gt || t.lt != nil && n >= *t.lt {
			return false
		}
	}
	return t.re == nil || matches(t.re, t.needle, text)
}

func among(values []string, text []byte) bool {
	for _, v := range values {
		if string(text) == v {
			return true
		}
	}
	return false
}

func anyOf(parts []string, text []byte, f func(text, part []byte) bool) bool {
	for _, p := range parts {
		if f(text, viewBytes(p)) {
			return true
		}
	}
	return false
}

// tests compiles the conditions of a class or a drop.
func (c *compiler) tests(cs conditions) []test {
	var out []test
	for _, cond := range cs {
		t := cond.test
		t.slot = c.slot(cond.path)
		out = append(out, t)
	}
	return out
}
