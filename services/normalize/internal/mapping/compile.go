package mapping

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/schemas/event"
)

// Mapping is a compiled mapping. It is read-only and may be shared; each
// goroutine runs it through its own Runner.
type Mapping struct {
	Source string
	Title  string
	Origin string // recorded or synthetic
	Text   bool   // records are lines, not JSON documents

	auto    bool
	lines   []dissector
	absent  [][]byte
	root    *node
	unwrap  string // array that stands for its elements
	depth   int    // levels of split
	slots   []string
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
	consumed []bool // by slot: what is not consumed goes to unmapped
}

// test is a compiled condition.
type test struct {
	slot   int
	values []string
	not    []string
	exists *bool
	prefix string
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
	mapping map[string]string
	other   string // default of a mapped value
	text    string // constant
	number  float64
	isConst bool
	or      *op // tried when this one gives nothing
}

// Compile reads a mapping. Errors are *Error with a place, joined.
func Compile(name string, data []byte) (*Mapping, error) {
	if len(data) > 1<<20 {
		return nil, &Error{File: name, Message: "the mapping is larger than 1 MiB"}
	}
	var f file
	if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
		return nil, placed(name, err)
	}
	c := compiler{m: &Mapping{Source: f.Source, Title: f.Title, Origin: f.Origin, root: newNode(), columns: map[event.ColumnID]bool{}}, slots: map[string]int{}, aliases: f.Aliases}
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
		own.File = name
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
	slots   map[string]int
	errs    []error
}

func (c *compiler) fail(err error) { c.errs = append(c.errs, err) }

func (c *compiler) compile(f *file) {
	m := c.m
	switch f.Format {
	case "json", "":
	case "text":
		m.Text = true
	case "auto":
		m.auto = true
	default:
		c.fail(fmt.Errorf("format %q is none of json, text, auto", f.Format))
	}
	if f.Source == "" || !strings.Contains(f.Source, ".") {
		c.fail(fmt.Errorf("source %q is not <vendor>.<product>", f.Source))
	}
	if len(f.Classes) == 0 {
		c.fail(errors.New("classes: at least one is needed"))
	}
	for _, a := range f.Absent {
		m.absent = append(m.absent, []byte(a))
	}
	for _, l := range f.Lines {
		d, err := newDissector(l.value)
		if err != nil {
			c.fail(l.errorf("%v", err))
			continue
		}
		for _, name := range d.names {
			d.slots = append(d.slots, c.slot(text{l.pos, name}))
		}
		m.lines = append(m.lines, d)
	}
	if (m.Text || m.auto) != (len(m.lines) > 0) {
		c.fail(errors.New("lines: needed for the formats text and auto, and only there"))
	}
	m.unwrap = f.Unwrap
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
	if len(c.errs) > 0 {
		return
	}
	for i := range m.cases {
		c.consume(&m.cases[i])
	}
}

func (c *compiler) mark(paths []text, set func(*node)) {
	for _, p := range paths {
		segments, err := c.parse(p)
		if err != nil {
			c.fail(err)
			continue
		}
		set(c.m.root.find(segments))
	}
}

// parse reads a path, with $alias at its beginning replaced.
func (c *compiler) parse(p text) ([]segment, error) {
	if !strings.HasPrefix(p.value, "$") {
		return parsePath(p)
	}
	name := p.value[1:]
	if i := strings.IndexAny(name, ".["); i >= 0 {
		name = name[:i]
	}
	full, ok := c.aliases[name]
	if !ok {
		return nil, p.errorf("path %q: there is no alias %q", p.value, name)
	}
	return parsePath(text{p.pos, full + p.value[1+len(name):]})
}

// slot numbers a path; the same path has the same number.
func (c *compiler) slot(p text) int {
	if s, ok := c.slots[p.value]; ok {
		return s
	}
	segments, err := c.parse(p)
	if err != nil {
		c.fail(err)
		return 0
	}
	s := len(c.m.slots)
	c.slots[p.value] = s
	c.m.slots = append(c.m.slots, p.value)
	c.m.root.find(segments).slot = s
	return s
}

func (c *compiler) tests(cs conditions) []test {
	var out []test
	for _, cond := range cs {
		out = append(out, test{c.slot(cond.path), cond.values, cond.not, cond.exists, cond.prefix})
	}
	return out
}

func (c *compiler) class(f *file, r *classRule) {
	class, ok := event.ClassByName(r.Class.value)
	if !ok {
		var names []string
		for i := range event.Classes {
			names = append(names, event.Classes[i].Name)
		}
		c.fail(r.Class.errorf("unknown class %q%s", r.Class.value, suggest(r.Class.value, names)))
		return
	}
	out := caseOp{when: c.tests(r.When), class: class, family: class.Family}
	if r.Family.value != "" {
		if out.family, ok = event.FamilyByName(r.Family.value); !ok {
			c.fail(r.Family.errorf("unknown family %q%s", r.Family.value, suggest(r.Family.value, event.FamilyNames[:])))
		}
	}
	if r.Activity != nil {
		out.activity = c.activity(class, r.Activity)
	}
	own := map[string]bool{}
	for _, cf := range r.Fields {
		own[cf.name.value] = true
		c.column(&out, cf)
	}
	for _, cf := range f.Fields {
		col, ok := event.ByPath(cf.name.value)
		// A shared field fills whatever families have the column; a class's own
		// field that its family lacks is a mistake.
		if own[cf.name.value] || ok && !col.Families.Has(out.family) && len(f.Classes) > 1 {
			continue
		}
		c.column(&out, cf)
	}
	c.m.cases = append(c.m.cases, out)
}

// activity compiles a name, or a path whose values map to names.
func (c *compiler) activity(class *event.Class, f *field) *op {
	id := func(name string) string {
		if n, ok := class.Activity(name); ok {
			return fmt.Sprint(n)
		}
		if strings.EqualFold(name, "other") {
			return "99"
		}
		var names []string
		for _, a := range class.Activities {
			names = append(names, a.Name)
		}
		c.fail(f.errorf("class %s has no activity %q%s", class.Name, name, suggest(name, names)))
		return "0"
	}
	if len(f.Map) == 0 && f.Const == nil && len(f.Paths) == 1 {
		return &op{isConst: true, minus: -1, join: -1, text: id(f.Paths[0].value)}
	}
	if f.Const != nil {
		return &op{isConst: true, minus: -1, join: -1, text: id(*f.Const)}
	}
	o := &op{minus: -1, join: -1, mapping: map[string]string{}, other: "99"}
	for _, p := range f.Paths {
		at := &op{slots: []int{c.slot(p)}, as: c.transform(f.As)}
		at.or, o.or = o.or, at
	}
	for from, to := range f.Map {
		o.mapping[from] = id(to)
	}
	if f.Default != "" {
		o.other = id(f.Default)
	}
	return o
}

func (c *compiler) column(out *caseOp, cf columnField) {
	col, ok := event.ByPath(cf.name.value)
	if !ok {
		var names []string
		for i := range event.Columns {
			names = append(names, event.Columns[i].Path)
		}
		c.fail(cf.name.errorf("unknown column %q%s", cf.name.value, suggest(cf.name.value, names)))
		return
	}
	if !col.Families.Has(out.family) {
		c.fail(cf.name.errorf("column %s is not in the family %s, where class %s is stored", col.Path, out.family, out.class.Name))
		return
	}
	switch col.ID {
	case event.EventUID, event.Time, event.ReceivedAt, event.Source, event.ClassUID, event.Unmapped:
		c.fail(cf.name.errorf("column %s is filled by the hub", col.Path))
		return
	}
	if o := c.op(col, &cf.from); o != nil {
		last := o
		for i := range cf.from.Or {
			if last.or = c.op(col, &cf.from.Or[i]); last.or == nil {
				return
			}
			last = last.or
		}
		c.m.columns[col.ID] = true
		out.ops = append(out.ops, *o)
	}
}

// op compiles one source of a column; nil after an error.
func (c *compiler) op(col *event.Column, f *field) *op {
	o := op{column: col.ID, kind: col.Kind, limit: col.Max, minus: -1, join: -1, mapping: f.Map, other: f.Default}
	for _, p := range f.Paths {
		o.slots = append(o.slots, c.slot(p))
	}
	if f.Minus.value != "" {
		o.minus = c.slot(f.Minus)
	}
	if f.Join.value != "" {
		o.join = c.slot(f.Join)
	}
	o.as = c.transform(f.As)
	if f.Const != nil {
		o.isConst, o.text = true, *f.Const
		if col.Kind.Number() || col.Kind == event.KindBool {
			n, ok := parseNumber([]byte(o.text))
			if !ok {
				c.fail(f.errorf("column %s is a number, %q is not", col.Path, o.text))
				return nil
			}
			o.number = n
		}
	}
	for _, v := range f.Map {
		if _, ok := parseNumber([]byte(v)); !ok && col.Kind.Number() {
			c.fail(f.errorf("column %s is a number, %q in its map is not", col.Path, v))
			return nil
		}
	}
	return &o
}

// transform finds a transform by name; nil for none.
func (c *compiler) transform(name text) transform {
	if name.value == "" {
		return nil
	}
	t, ok := transforms[name.value]
	if !ok {
		c.fail(name.errorf("unknown transform %q%s", name.value, suggest(name.value, transformNames())))
	}
	return t
}

// consume notes which slots a case uses; the others count as unmapped there.
func (c *compiler) consume(k *caseOp) {
	k.consumed = make([]bool, len(c.m.slots))
	use := func(slots ...int) {
		for _, s := range slots {
			if s >= 0 {
				k.consumed[s] = true
			}
		}
	}
	for i := range k.ops {
		for o := &k.ops[i]; o != nil; o = o.or {
			use(o.slots...)
			use(o.minus, o.join)
		}
	}
	for o := k.activity; o != nil; o = o.or {
		use(o.slots...)
	}
	for _, t := range c.m.times {
		use(t.slot)
	}
	for _, t := range k.when {
		use(t.slot)
	}
	for _, d := range c.m.drops {
		for _, t := range d.when {
			use(t.slot)
		}
	}
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
