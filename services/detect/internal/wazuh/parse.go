// Package wazuh makes the hub's rules of Wazuh's: the XML files of versions 3
// and 4 (https://documentation.wazuh.com/current/user-manual/ruleset/). Nothing
// of Wazuh's own ruleset, which is under the GPL, is part of the hub.
//
// Rules of Wazuh refine one another: a rule with if_sid is looked at when its
// parent matches. Such a chain becomes the conjunction of its conditions, and a
// rule that counts others becomes a correlation. Wazuh's decoders name fields
// otherwise than the hub's mappings do; fields.go says what becomes of them.
package wazuh

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// The bounds of an import.
const (
	maxFile  = 8 << 20 // bytes of a file
	maxRules = 50_000
	maxTags  = 200 // of a rule
	maxText  = 64 << 10
)

// definition is a rule as it is written.
type definition struct {
	id        int
	level     int
	frequency int
	timeframe int
	ignore    int
	noAlert   bool
	overwrite bool
	groups    []string
	tags      []tag
	file      string
	line      int
	problem   string // why it is no rule of Wazuh
}

// tag is an element of a rule.
type tag struct {
	name  string
	attrs map[string]string
	text  string
	line  int
}

// all returns the texts of the elements with a name, joined: Wazuh reads
// several match or if_sid elements as one.
func (d *definition) all(name, sep string) string {
	var out []string
	for _, t := range d.tags {
		if t.name == name {
			out = append(out, t.text)
		}
	}
	return strings.Join(out, sep)
}

func (d *definition) number(name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(d.all(name, "")))
	if err != nil || n < 0 || n > 1<<30 {
		return 0
	}
	return n
}

func (d *definition) has(name string) bool {
	return slices.ContainsFunc(d.tags, func(t tag) bool { return t.name == name })
}

// ids reads a list such as "5700, 5710".
func ids(text string) []int {
	var out []int
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' }) {
		if n, err := strconv.Atoi(s); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// bare is a backslash before a bracket, which Wazuh's reader takes for the
// bracket and XML's does not.
var bare = regexp.MustCompile(`\\<`)

// parse reads a file of groups of rules.
func parse(name string, data []byte) ([]*definition, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s:1:1: error: file has %d bytes, at most %d are allowed", name, len(data), maxFile)
	}
	if line, column, why := rule.NotText(data); why != "" {
		return nil, fmt.Errorf("%s:%d:%d: error: %s", name, line, column, why)
	}
	data = bare.ReplaceAll(data, []byte(`&lt;`))
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.Strict, dec.Entity = false, xml.HTMLEntity
	p := parser{file: name, dec: dec, vars: map[string]string{}}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return p.out, nil
		}
		if err != nil {
			line, column := dec.InputPos()
			return p.out, fmt.Errorf("%s:%d:%d: error: XML cannot be read: %w", name, line, column, err)
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			if end, ok := tok.(xml.EndElement); ok && end.Name.Local == "group" {
				p.groups = nil
			}
			continue
		}
		switch start.Name.Local {
		case "group":
			p.groups = split(attr(start, "name"))
		case "var":
			if text, err := p.text(); err == nil {
				p.vars[attr(start, "name")] = text
			}
		case "rule":
			if err := p.rule(start); err != nil {
				line, column := dec.InputPos()
				return p.out, fmt.Errorf("%s:%d:%d: error: %w", name, line, column, err)
			}
		}
	}
}

// wrong says what is wrong with the id and the level of a rule.
func wrong(id, level string) string {
	if n, err := strconv.Atoi(id); err != nil || n < 1 || n > 1<<30 {
		return fmt.Sprintf("id %q is no number of a rule", id)
	}
	if level == "" {
		return "level is missing"
	}
	if n, err := strconv.Atoi(level); err != nil || n < 0 || n > 16 {
		return fmt.Sprintf("level %q is no number from 0 to 16", level)
	}
	return ""
}

type parser struct {
	file   string
	dec    *xml.Decoder
	vars   map[string]string
	groups []string
	out    []*definition
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

func split(s string) []string {
	var out []string
	for _, x := range strings.Split(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return out
}

// text reads the text of an element up to its end; elements within are left
// out, but for those of mitre, which are joined.
func (p *parser) text() (string, error) {
	var b strings.Builder
	for depth := 1; ; {
		tok, err := p.dec.Token()
		if err != nil {
			return "", err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			depth++
			if b.Len() > 0 {
				b.WriteByte(',')
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return p.expand(b.String()), nil
			}
		case xml.CharData:
			if b.Len()+len(t) > maxText {
				return "", fmt.Errorf("text of more than %d bytes", maxText)
			}
			b.Write(t)
		}
	}
}

var variable = regexp.MustCompile(`\$[A-Za-z_][A-Za-z0-9_]*`)

func (p *parser) expand(s string) string {
	if len(p.vars) == 0 {
		return s
	}
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		if x, ok := p.vars[v[1:]]; ok && len(x) < maxText {
			return x
		}
		return v
	})
}

func (p *parser) rule(start xml.StartElement) error {
	if len(p.out) >= maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	line, _ := p.dec.InputPos()
	d := &definition{groups: slices.Clone(p.groups), file: p.file, line: line}
	number := func(name string) int {
		n, err := strconv.Atoi(p.expand(attr(start, name)))
		if err != nil || n < 0 || n > 1<<30 {
			return 0
		}
		return n
	}
	d.problem = wrong(p.expand(attr(start, "id")), p.expand(attr(start, "level")))
	d.id, d.level, d.frequency, d.timeframe, d.ignore = number("id"), number("level"), number("frequency"), number("timeframe"), number("ignore")
	d.noAlert, d.overwrite = attr(start, "noalert") == "1", attr(start, "overwrite") == "yes"
	for {
		tok, err := p.dec.Token()
		if err != nil {
			return fmt.Errorf("XML of rule %d cannot be read: %w", d.id, err)
		}
		switch t := tok.(type) {
		case xml.EndElement:
			d.frequency = max(d.frequency, d.number("frequency"))
			d.timeframe = max(d.timeframe, d.number("timeframe"))
			d.groups = append(d.groups, split(d.all("group", ","))...)
			p.out = append(p.out, d)
			return nil
		case xml.StartElement:
			if len(d.tags) >= maxTags {
				return fmt.Errorf("rule %d has more than %d elements", d.id, maxTags)
			}
			x := tag{name: t.Name.Local, attrs: map[string]string{}}
			x.line, _ = p.dec.InputPos()
			for _, a := range t.Attr {
				x.attrs[a.Name.Local] = a.Value
			}
			if x.text, err = p.text(); err != nil {
				return fmt.Errorf("XML of rule %d cannot be read: %w", d.id, err)
			}
			d.tags = append(d.tags, x)
		}
	}
}
