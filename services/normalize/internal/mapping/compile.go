package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// Mapping is a compiled mapping. It is read-only and may be shared; each
// goroutine runs it through its own Runner.
type Mapping struct {
	Source  string
	Title   string
	Origin  string // recorded or synthetic
	Format  string // as in the mapping; json if it says nothing
	Framing Framing

	format  format
	parser  func() text.Parser // nil for json, text, auto, csv and zeek
	table   *text.Table        // for csv and zeek: to be copied
	lines   []liner
	detect  []alternative
	marks   []mark // lists of attributes and embedded JSON, for detection
	absent  [][]byte
	root    *node
	nodes   int      // of the tree
	unwrap  string   // array that stands for its elements
	depth   int      // levels of split
	slots   []string // paths as unmapped shows them
	ignored bitset   // slots that are placed by a pattern, and not wanted
	keepAll bool     // what filled no column is kept, even where it could have
	times   []timeOp
	drops   []dropOp
	cases   []caseOp
	columns map[event.ColumnID]bool
}

type timeOp struct {
	slot  int
	parse timeParser
}

type dropOp struct {
	when   []test
	reason string
}

// caseOp is one class of event with everything that fills it.
type caseOp struct {
	when     []test
	class    *event.Class
	family   event.Family
	activity *op
	ops      []op
	consumed bitset // slots that are used; the others go to unmapped
}

// op fills one column.
type op struct {
	column  event.ColumnID
	kind    event.Kind
	limit   int
	slots   []int
	minus   int // slot to subtract, -1 if none
	join    int // slot to add behind a slash, -1 if none
	as      transform
	asName  string
	chat    *chat // as is one of these
	mapping map[string]string
	other   string // default of a mapped value
	text    string // constant
	number  float64
	isConst bool
	re      *regexp.Regexp // its first group is the value
	concat  *string        // joins all the slots' values
	split   string         // cuts a text into a list
	scale   float64        // factor, 0 for none
	or      *op            // tried when this one gives nothing
}

// Compile reads a mapping that uses no fragments. Errors are *Error with a
// place, joined.
func Compile(name string, data []byte) (*Mapping, error) {
	return CompileWith(name, data, nil)
}

// CompileWith reads a mapping; fragments finds the text of those that it uses.
func CompileWith(name string, data []byte, fragments func(name string) ([]byte, error)) (*Mapping, error) {
	if len(data) > 1<<20 {
		return nil, &Error{File: name, Message: "the mapping is larger than 1 MiB"}
	}
	var f file
	doc, err := parseYAML(data)
	if err == nil {
		err = yaml.NodeToValue(doc, &f, yaml.Strict())
	}
	if err != nil {
		return nil, placed(name, err)
	}
	c := compiler{m: &Mapping{Source: f.Source, Title: f.Title, Origin: f.Origin, Format: f.Format, root: newNode(), columns: map[event.ColumnID]bool{}}, slots: map[string]int{}, aliases: map[string]string{}}
	c.fragments = fragments
	c.compile(&f)
	if len(c.errs) > 0 {
		for i, err := range c.errs {
			c.errs[i] = placed(name, err)
		}
		return nil, errors.Join(c.errs...)
	}
	return c.m, nil
}

// placed gives every error the file's name, and YAML errors their line.
func placed(name string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		if own.File == "" {
			own.File = name
		}
		return own
	}
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		p := y.GetToken().Position
		return &Error{File: name, Line: p.Line, Column: p.Column, Message: y.GetMessage()}
	}
	return &Error{File: name, Message: err.Error()}
}

type compiler struct {
	m       *Mapping
	aliases map[string]string

	slots map[string]int
	errs  []error

	fragments func(name string) ([]byte, error)
}

func (c *compiler) fail(err error) { c.errs = append(c.errs, err) }

func (c *compiler) compile(f *file) {
	m := c.m
	c.format(f)
	c.use(f)
	if f.Source == "" || !strings.Contains(f.Source, ".") {
		c.fail(fmt.Errorf("source %q is not <vendor>.<product>", f.Source))
	}
	if len(f.Classes) == 0 {
		c.fail(errors.New("classes: at least one is needed"))
	}
	for _, a := range f.Absent {
		m.absent = append(m.absent, []byte(a))
	}
	c.lines(f)
	c.same(f.Same)
	m.unwrap, m.keepAll = f.Unwrap, f.KeepAll
	at := m.root
	for _, key := range f.Split {
		at = at.find([]segment{{key: key, index: -1}})
		at.split = true
		m.depth++
	}
	c.mark(f.KeyValues, func(n *node) { n.keyValue = true })
	c.mark(f.Embedded, func(n *node) { n.embedded = true })
	c.mark(f.Ignore, func(n *node) { n.ignore = true })
	for _, t := range f.Time {
		parse, err := newTimeParser(t.Format.value)
		if err != nil {
			c.fail(t.Format.errorf("%v", err))
			continue
		}
		m.times = append(m.times, timeOp{c.slot(t.Path), parse})
	}
	for _, d := range f.Drop {
		if d.Reason == "" {
			c.fail(errors.New("drop: a reason is missing"))
		}
		m.drops = append(m.drops, dropOp{c.tests(d.When), d.Reason})
	}
	for i := range f.Classes {
		c.class(f, &f.Classes[i])
	}
	c.detect(f)
	c.framing(f)
	if len(c.errs) > 0 {
		return
	}
	m.ignored = newBitset(len(m.slots))
	for path, s := range c.slots {
		if segments, err := c.parse(place{value: path}); err == nil {
			if m.root.find(segments).ignore {
				m.ignored.set(s)
			}
			m.slots[s] = shown(segments)
		}
	}
	for i := range m.cases {
		c.consume(&m.cases[i])
	}
	m.root.freeze(&m.nodes)
}

// same lets places of the record stand for others, in the order of the file.
// The last key of a path may be *: any that the mapping does not speak of.
func (c *compiler) same(list []samePlace) {
	for _, s := range list {
		from, err := c.parse(s.Path)
		if err != nil {
			c.fail(err)
			continue
		}
		to, path := c.m.root, ""
		if s.As.value != "" {
			segments, err := c.parse(s.As)
			if err != nil {
				c.fail(err)
				continue
			}
			to, path = c.m.root.find(segments), shown(segments)+"."
		}
		last := from[len(from)-1]
		parent := c.m.root.find(from[:len(from)-1])
		switch {
		case last.index >= 0 || last.index == everyElement:
			c.fail(s.Path.errorf("path %q: an element of a list cannot be read as another place", s.Path.value))
			continue
		case last.key == "*":
			parent.rest = to
		case parent.children[last.key] != nil:
			c.fail(s.Path.errorf("path %q is spoken of before; put it first", s.Path.value))
			continue
		default:
			if parent.children == nil {
				parent.children = map[string]*node{}
			}
			parent.children[last.key] = to
		}
		to.other, to.shown = true, []byte(path)
	}
}

func (c *compiler) mark(paths []place, set func(*node)) {
	for _, p := range paths {
		segments, err := c.parse(p)
		if err != nil {
			c.fail(err)
			continue
		}
		set(c.m.root.find(segments))
	}
}

// parse reads a path, with $alias at its beginning replaced; an alias may begin
// with another.
func (c *compiler) parse(p place) ([]segment, error) {
	path := p.value
	for depth := 0; strings.HasPrefix(path, "$"); depth++ {
		name := path[1:]
		if i := strings.IndexAny(name, ".["); i >= 0 {
			name = name[:i]
		}
		full, ok := c.aliases[name]
		switch {
		case !ok:
			return nil, p.errorf("path %q: there is no alias %q", p.value, name)
		case depth >= maxAliases || len(path) > maxPath:
			return nil, p.errorf("path %q: the alias %q leads back to itself, or through more than %d others", p.value, name, maxAliases)
		}
		path = full + path[1+len(name):]
	}
	return parsePath(place{p.pos, path})
}

// Bounds of aliases that stand for others.
const (
	maxAliases = 8
	maxPath    = 4096 // bytes
)

// slot numbers a path; the same path has the same number.
func (c *compiler) slot(p place) int {
	if s, ok := c.slots[p.value]; ok {
		return s
	}
	segments, err := c.parse(p)
	if err != nil {
		c.fail(err)
		return 0
	}
	n := c.m.root.find(segments)
	if n.slot < 0 { // else the same place was spelled in another way
		n.slot = len(c.m.slots)
		c.m.slots = append(c.m.slots, p.value)
	}
	c.slots[p.value] = n.slot
	return n.slot
}

// Families lists the families that the mapping's classes are stored in.
func (m *Mapping) Families() []string {
	var out []string
	for i := range m.cases {
		if f := m.cases[i].family.String(); !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	sort.Strings(out)
	return out
}

// Columns lists the columns that the mapping can fill, by path.
func (m *Mapping) Columns() []string {
	var out []string
	for id := range m.columns {
		out = append(out, event.Columns[id].Path)
	}
	sort.Strings(out)
	return out
}
