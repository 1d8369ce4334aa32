package mapping

import (
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// file mirrors mapping.yaml.
type file struct {
	Source    string            `yaml:"source"`
	Title     string            `yaml:"title"`
	Format    string            `yaml:"format"` // one of formats
	Origin    string            `yaml:"origin"` // recorded or synthetic: where the samples come from
	Columns   []string          `yaml:"columns"`
	Separator *place            `yaml:"separator"`
	Detect    []conditions      `yaml:"detect"`
	Framing   *framingRule      `yaml:"framing"`
	Use       []place           `yaml:"use"`
	Lines     []linePattern     `yaml:"lines"`
	Absent    []string          `yaml:"absent"`
	Aliases   map[string]string `yaml:"aliases"`
	Same      []samePlace       `yaml:"same"`
	KeepAll   bool              `yaml:"keep_all"`
	Unwrap    string            `yaml:"unwrap"`
	Split     []string          `yaml:"split"`
	KeyValues []place           `yaml:"key_values"`
	Embedded  []place           `yaml:"embedded"`
	Ignore    []place           `yaml:"ignore"`
	Time      []timeFrom        `yaml:"time"`
	Drop      []dropRule        `yaml:"drop"`
	Severity  *field            `yaml:"severity"`
	Fields    fields            `yaml:"fields"`
	Classes   []classRule       `yaml:"classes"`
}

// fragment mirrors _fragments/<name>.yaml: what several mappings share.
type fragment struct {
	Title     string            `yaml:"title"`
	Aliases   map[string]string `yaml:"aliases"`
	Same      []samePlace       `yaml:"same"`
	KeyValues []place           `yaml:"key_values"`
	Embedded  []place           `yaml:"embedded"`
	Ignore    []place           `yaml:"ignore"`
	Fields    fields            `yaml:"fields"`
}

// samePlace says that what stands at one path is read as if it stood at
// another; "" is the record itself.
type samePlace struct {
	Path place `yaml:"path"`
	As   place `yaml:"as"`
}

type framingRule struct {
	Start  place `yaml:"start"`
	Group  place `yaml:"group"`
	Header place `yaml:"header"`
}

type timeFrom struct {
	Path   place `yaml:"path"`
	Format place `yaml:"format"`
}

type dropRule struct {
	When   conditions `yaml:"when"`
	Reason string     `yaml:"reason"`
}

type classRule struct {
	When     conditions `yaml:"when"`
	Class    place      `yaml:"class"`
	Family   place      `yaml:"family"`
	Activity *field     `yaml:"activity"`
	Severity *field     `yaml:"severity"`
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

// place is a string with its place in the file.
type place struct {
	pos
	value string
}

// UnmarshalYAML keeps the place.
func (t *place) UnmarshalYAML(n ast.Node) error {
	t.pos = at(n)
	return yaml.NodeToValue(n, &t.value)
}

// field is where a column's value comes from: a path, a list of paths (the
// first that has a value), a constant, or a map with more to say.
type field struct {
	pos
	Paths   []place
	Const   *string
	As      place
	Map     map[string]string
	Default string
	Minus   place
	Join    place   // path whose value is added behind a slash
	Regexp  place   // its first group is the value
	Concat  *string // joins the values of all paths
	Split   string  // cuts a text into a list
	Scale   float64 // factor; 0: none
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
	var one place
	if err := yaml.NodeToValue(n, &one); err != nil {
		return err
	}
	f.Paths = []place{one}
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
		Path    place             `yaml:"path"`
		Paths   []place           `yaml:"paths"`
		Const   *string           `yaml:"const"`
		As      place             `yaml:"as"`
		Map     map[string]string `yaml:"map"`
		Default string            `yaml:"default"`
		Minus   place             `yaml:"minus"`
		Join    place             `yaml:"join"`
		Regexp  place             `yaml:"regexp"`
		Concat  *string           `yaml:"concat"`
		Split   string            `yaml:"split"`
		Scale   float64           `yaml:"scale"`
	}
	if err := yaml.NodeToValue(n, &m, yaml.Strict()); err != nil {
		return err
	}
	if m.Path.value != "" {
		m.Paths = append([]place{m.Path}, m.Paths...)
	}
	if (m.Const == nil) == (len(m.Paths) == 0) {
		return f.errorf("give either a path or a const")
	}
	f.Paths, f.Const, f.As, f.Map, f.Default, f.Minus, f.Join = m.Paths, m.Const, m.As, m.Map, m.Default, m.Minus, m.Join
	f.Regexp, f.Concat, f.Split, f.Scale = m.Regexp, m.Concat, m.Split, m.Scale
	return nil
}

// fields lists columns in the order of the file.
type fields []columnField

type columnField struct {
	name   place
	from   field
	shared bool // from a fragment: left out where it does not fit
}

// UnmarshalYAML keeps order and places, which a Go map would not.
func (fs *fields) UnmarshalYAML(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return at(n).errorf("fields must be a map of column: source")
	}
	for it := m.MapRange(); it.Next(); {
		cf := columnField{name: place{at(it.Key()), it.Key().String()}}
		if err := cf.from.UnmarshalYAML(it.Value()); err != nil {
			return err
		}
		*fs = append(*fs, cf)
	}
	return nil
}
