package mapping

import (
	"fmt"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// file mirrors mapping.yaml.
type file struct {
	Source    string            `yaml:"source"`
	Title     string            `yaml:"title"`
	Format    string            `yaml:"format"` // json, text or auto
	Origin    string            `yaml:"origin"` // recorded or synthetic: where the samples come from
	Lines     []text            `yaml:"lines"`
	Absent    []string          `yaml:"absent"`
	Aliases   map[string]string `yaml:"aliases"`
	Unwrap    string            `yaml:"unwrap"`
	Split     []string          `yaml:"split"`
	KeyValues []text            `yaml:"key_values"`
	Embedded  []text            `yaml:"embedded"`
	Ignore    []text            `yaml:"ignore"`
	Time      []timeFrom        `yaml:"time"`
	Drop      []dropRule        `yaml:"drop"`
	Fields    fields            `yaml:"fields"`
	Classes   []classRule       `yaml:"classes"`
}

type timeFrom struct {
	Path   text `yaml:"path"`
	Format text `yaml:"format"`
}

type dropRule struct {
	When   conditions `yaml:"when"`
	Reason string     `yaml:"reason"`
}

type classRule struct {
	When     conditions `yaml:"when"`
	Class    text       `yaml:"class"`
	Family   text       `yaml:"family"`
	Activity *field     `yaml:"activity"`
	Fields   fields     `yaml:"fields"`
}

// pos is where something stands in the file, for messages.
type pos struct{ line, column int }

func at(n ast.Node) pos {
	if n == nil || n.GetToken() == nil {
		return pos{}
	}
	p := n.GetToken().Position
	return pos{p.Line, p.Column}
}

// Error is a fault in a mapping, with its place (1-based; 0 if unknown).
type Error struct {
	File         string
	Line, Column int
	Message      string
}

// Error writes file:line:column: message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

func (p pos) errorf(format string, args ...any) error {
	return &Error{Line: p.line, Column: p.column, Message: fmt.Sprintf(format, args...)}
}

// text is a string with its place.
type text struct {
	pos
	value string
}

// UnmarshalYAML keeps the place.
func (t *text) UnmarshalYAML(n ast.Node) error {
	t.pos = at(n)
	return yaml.NodeToValue(n, &t.value)
}

// field is where a column's value comes from: a path, a list of paths (the
// first that has a value), a constant, or a map with more to say.
type field struct {
	pos
	Paths   []text
	Const   *string
	As      text
	Map     map[string]string
	Default string
	Minus   text
	Join    text    // path whose value is added behind a slash
	Or      []field // tried in order when this one gives nothing
}

// UnmarshalYAML accepts the three forms; in a list, each item may be any.
func (f *field) UnmarshalYAML(n ast.Node) error {
	f.pos = at(n)
	switch n := n.(type) {
	case *ast.SequenceNode:
		return f.fromList(n)
	case *ast.MappingNode:
		return f.fromMap(n)
	case *ast.NullNode:
		return f.errorf("a path, a list of paths or a map is missing")
	}
	var one text
	if err := yaml.NodeToValue(n, &one); err != nil {
		return err
	}
	f.Paths = []text{one}
	return nil
}

func (f *field) fromList(n *ast.SequenceNode) error {
	var all []field
	for _, item := range n.Values {
		var one field
		if err := one.UnmarshalYAML(item); err != nil {
			return err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return f.errorf("the list of paths is empty")
	}
	place := f.pos
	*f = all[0]
	f.pos, f.Or = place, all[1:]
	return nil
}

func (f *field) fromMap(n ast.Node) error {
	var m struct {
		Path    text              `yaml:"path"`
		Paths   []text            `yaml:"paths"`
		Const   *string           `yaml:"const"`
		As      text              `yaml:"as"`
		Map     map[string]string `yaml:"map"`
		Default string            `yaml:"default"`
		Minus   text              `yaml:"minus"`
		Join    text              `yaml:"join"`
	}
	if err := yaml.NodeToValue(n, &m, yaml.Strict()); err != nil {
		return err
	}
	if m.Path.value != "" {
		m.Paths = append([]text{m.Path}, m.Paths...)
	}
	if (m.Const == nil) == (len(m.Paths) == 0) {
		return f.errorf("give either a path or a const")
	}
	f.Paths, f.Const, f.As, f.Map, f.Default, f.Minus, f.Join = m.Paths, m.Const, m.As, m.Map, m.Default, m.Minus, m.Join
	return nil
}

// fields lists columns in the order of the file.
type fields []columnField

type columnField struct {
	name text
	from field
}

// UnmarshalYAML keeps order and places, which a Go map would not.
func (fs *fields) UnmarshalYAML(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return at(n).errorf("fields must be a map of column: source")
	}
	for it := m.MapRange(); it.Next(); {
		cf := columnField{name: text{at(it.Key()), it.Key().String()}}
		if err := cf.from.UnmarshalYAML(it.Value()); err != nil {
			return err
		}
		*fs = append(*fs, cf)
	}
	return nil
}

// conditions must all hold.
type conditions []condition

type condition struct {
	path   text
	values []string // any of
	not    []string // none of
	exists *bool
	prefix string
}

// UnmarshalYAML reads path: value | [values] | {exists: bool} |
// {prefix: text} | {not: [values]}.
func (cs *conditions) UnmarshalYAML(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return at(n).errorf("when must be a map of path: value")
	}
	for it := m.MapRange(); it.Next(); {
		c := condition{path: text{at(it.Key()), strings.Trim(it.Key().String(), `"'`)}}
		switch v := it.Value().(type) {
		case *ast.SequenceNode:
			if err := yaml.NodeToValue(v, &c.values); err != nil {
				return err
			}
		case *ast.MappingNode:
			var more struct {
				Exists *bool    `yaml:"exists"`
				Prefix string   `yaml:"prefix"`
				Not    []string `yaml:"not"`
			}
			if err := yaml.NodeToValue(v, &more, yaml.Strict()); err != nil {
				return err
			}
			c.exists, c.prefix, c.not = more.Exists, more.Prefix, more.Not
			if c.exists == nil && c.prefix == "" && c.not == nil {
				return c.path.errorf("the condition on %s says nothing", c.path.value)
			}
		default:
			var s string
			if err := yaml.NodeToValue(v, &s); err != nil {
				return err
			}
			c.values = []string{s}
		}
		*cs = append(*cs, c)
	}
	sort.SliceStable(*cs, func(i, j int) bool { return (*cs)[i].path.value < (*cs)[j].path.value })
	return nil
}
