package mapping

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
)

// liner cuts a line into slots; false if the line does not fit.
type liner interface {
	cut(line []byte, set func(slot int, part []byte)) bool
}

// linePattern is an item of `lines`: a dissect pattern or {regexp: …}.
type linePattern struct {
	place
	regexp bool
}

// UnmarshalYAML accepts both forms.
func (l *linePattern) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(ast.MapNode); !ok {
		return l.place.UnmarshalYAML(n)
	}
	var m struct {
		Regexp place `yaml:"regexp"`
	}
	if err := yaml.NodeToValue(n, &m, yaml.Strict()); err != nil {
		return err
	}
	l.place, l.regexp = m.Regexp, true
	return nil
}

// expression cuts a line with the named groups of a regular expression.
type expression struct {
	re     *regexp.Regexp
	needle []byte
	slots  []int // by group, -1 for those without a name
}

func (e *expression) cut(line []byte, set func(slot int, part []byte)) bool {
	if len(e.needle) > 0 && !bytes.Contains(line, e.needle) {
		return false
	}
	m := e.re.FindSubmatchIndex(line)
	if m == nil {
		return false
	}
	for i, slot := range e.slots {
		if slot >= 0 && m[2*i] >= 0 && m[2*i+1] > m[2*i] {
			set(slot, line[m[2*i]:m[2*i+1]])
		}
	}
	return true
}

// named is the slot of a name in a pattern; names that begin with _ are not
// wanted.
func (c *compiler) named(p pos, name string) int {
	if strings.HasPrefix(name, "_") {
		return -1
	}
	return c.slot(place{p, name})
}

func (c *compiler) lines(f *file) {
	m := c.m
	for _, l := range f.Lines {
		if l.regexp {
			re := c.regexp(l.place)
			if re == nil {
				continue
			}
			e := &expression{re: re, needle: needle(re), slots: make([]int, re.NumSubexp()+1)}
			names := 0
			for i, name := range re.SubexpNames() {
				if e.slots[i] = -1; name != "" {
					e.slots[i] = c.named(l.pos, name)
					names++
				}
			}
			if names == 0 {
				c.fail(l.errorf("regexp %q has no (?P<name>…)", l.value))
			}
			m.lines = append(m.lines, e)
			continue
		}
		d, err := newDissector(l.value)
		if err != nil {
			c.fail(l.errorf("%v", err))
			continue
		}
		for _, name := range d.names {
			d.slots = append(d.slots, c.named(l.pos, name))
		}
		m.lines = append(m.lines, &d)
	}
	needed := m.format == formatText || m.format == formatAuto
	if needed != (len(m.lines) > 0) && (m.format != formatSyslog || needed) {
		c.fail(fmt.Errorf("lines: needed for the formats text and auto, allowed for syslog, and only there"))
	}
}

// regexp compiles a regular expression of Go's syntax (RE2): its time is
// linear in the text, whatever the text.
func (c *compiler) regexp(p place) *regexp.Regexp {
	if len(p.value) > 4096 {
		c.fail(p.errorf("the regexp is longer than 4096 bytes"))
		return nil
	}
	re, err := regexp.Compile(p.value)
	if err != nil {
		c.fail(p.errorf("%v", err))
		return nil
	}
	return re
}

// refine compiles what a field says beyond paths and transforms.
func (c *compiler) refine(o *op, f *field) {
	o.concat, o.split, o.scale = f.Concat, f.Split, f.Scale
	if f.Regexp.value != "" {
		o.re = c.regexp(f.Regexp)
	}
	if f.Split != "" && o.kind != event.KindKeywords {
		c.fail(f.errorf("split: column %s is no list", event.Columns[o.column].Path))
	}
	if f.Scale != 0 && !o.kind.Number() && o.kind != event.KindF32 && o.kind != event.KindF64 {
		c.fail(f.errorf("scale: column %s is no number", event.Columns[o.column].Path))
	}
	if f.Concat != nil && (len(f.Paths) < 2 || f.Split != "" || f.Map != nil || o.kind == event.KindKeywords) {
		c.fail(f.errorf("concat: joins several paths into one text, without split or map"))
	}
}

// severities are OCSF's, and the words that logs use for them.
var severities = map[string]string{
	"unknown": "0", "informational": "1", "low": "2", "medium": "3", "high": "4", "critical": "5", "fatal": "6", "other": "99",
}

// severity compiles what sets severity_id.
func (c *compiler) severity(out *caseOp, f *field) {
	col := &event.Columns[event.SeverityID]
	number := func(at pos, name string) string {
		if n, ok := severities[strings.ToLower(name)]; ok {
			return n
		}
		c.fail(at.errorf("severity %q is none of Informational, Low, Medium, High, Critical, Fatal", name))
		return "1"
	}
	one := func(f field) field {
		if len(f.Paths) == 1 && f.Map == nil && f.Const == nil && severities[strings.ToLower(f.Paths[0].value)] != "" {
			f.Const, f.Paths = &f.Paths[0].value, nil
		}
		if f.Const != nil {
			n := number(f.pos, *f.Const)
			f.Const = &n
		}
		words := f.Map
		f.Map = map[string]string{}
		for from, to := range words {
			f.Map[from] = number(f.pos, to)
		}
		if words == nil {
			for name, n := range severities {
				f.Map[name], f.Map[strings.ToUpper(name)], f.Map[strings.ToUpper(name[:1])+name[1:]] = n, n, n
			}
		}
		if f.Default != "" {
			f.Default = number(f.pos, f.Default)
		}
		return f
	}
	main := one(*f)
	main.Or = nil
	for _, or := range f.Or {
		main.Or = append(main.Or, one(or))
	}
	c.column(out, columnField{name: place{f.pos, col.Path}, from: main})
}
