package mapping

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// format says how the records of a source are written.
type format uint8

const (
	formatJSON format = iota
	formatText
	formatAuto
	formatKV
	formatCSV
	formatZeek
	formatCEF
	formatLEEF
	formatSyslog
	formatAudit
)

// formats lists what `format:` accepts, in the order of the constants.
var formats = []string{"json", "text", "auto", "kv", "csv", "zeek", "cef", "leef", "syslog", "audit"}

// Framing says how the records of a text format lie over several lines. At
// most one of the three is given; with none a line is a record.
type Framing struct {
	Start  string // regular expression: a line that begins a record
	Group  string // regular expression: lines with the same capture belong together
	Header string // prefix of the lines that go with the lines after them
}

// Lines reports whether records of the source are lines of any text rather than
// JSON documents.
func (m *Mapping) Lines() bool { return m.format != formatJSON }

// IsText reports whether a record is to be read in the mapping's text format
// rather than as JSON. Only lines that patterns cut may begin with a brace.
func (m *Mapping) IsText(record []byte) bool {
	switch m.format {
	case formatJSON:
		return false
	case formatText:
		return true
	}
	record = bytes.TrimLeft(record, " \t\r\n")
	return len(record) == 0 || record[0] != '{'
}

// ReadsHeader reports whether the mapping reads syslog headers itself, so that a
// syslog message is for it to be left whole. syslog says that it is one.
func (m *Mapping) ReadsHeader(syslog bool) bool {
	switch m.format {
	case formatKV, formatCSV, formatCEF, formatLEEF, formatSyslog, formatAudit:
		return syslog
	}
	return false
}

func (c *compiler) format(f *file) {
	m := c.m
	if m.Format == "" {
		m.Format = "json"
	}
	known := false
	for i, name := range formats {
		if name == m.Format {
			m.format, known = format(i), true
		}
	}
	if !known {
		c.fail(fmt.Errorf("format %q is none of %s%s", f.Format, strings.Join(formats, ", "), suggest(f.Format, formats)))
		return
	}
	sep := c.separator(f.Separator)
	if len(f.Columns) > 0 && m.format != formatCSV && m.format != formatZeek {
		c.fail(fmt.Errorf("columns: only the formats csv and zeek have them"))
	}
	if f.Separator != nil && m.format != formatCSV && m.format != formatKV {
		c.fail(f.Separator.errorf("separator: only the formats csv and kv have one"))
	}
	switch m.format {
	case formatKV:
		m.parser = func() text.Parser { return &text.Pairs{Separator: sep} }
	case formatCEF:
		m.parser = func() text.Parser { return &text.CEF{} }
	case formatLEEF:
		m.parser = func() text.Parser { return &text.LEEF{} }
	case formatSyslog:
		m.parser = func() text.Parser { return &text.Syslog{} }
	case formatAudit:
		m.parser = func() text.Parser { return &text.Audit{} }
	case formatCSV, formatZeek:
		m.table = &text.Table{Separator: sep, Zeek: m.format == formatZeek}
		for _, name := range f.Columns {
			m.table.Columns = append(m.table.Columns, []byte(name))
		}
	}
}

// separator is one character, or an escape such as \t; 0 if none is given.
func (c *compiler) separator(p *place) byte {
	if p == nil {
		return 0
	}
	s := p.value
	if u, err := strconv.Unquote(`"` + s + `"`); err == nil {
		s = u
	}
	if len(s) != 1 {
		c.fail(p.errorf("separator %q is not one character", p.value))
		return 0
	}
	return s[0]
}

func (c *compiler) framing(f *file) {
	if f.Framing == nil {
		return
	}
	r := f.Framing
	given := 0
	for _, p := range []place{r.Start, r.Group} {
		if p.value == "" {
			continue
		}
		given++
		c.regexp(p)
	}
	if r.Header.value != "" {
		given++
	}
	if given != 1 {
		c.fail(fmt.Errorf("framing: give one of start, group and header"))
	}
	if c.m.format == formatJSON {
		c.fail(fmt.Errorf("framing: JSON records need none"))
	}
	c.m.Framing = Framing{Start: r.Start.value, Group: r.Group.value, Header: r.Header.value}
}
