package text

import (
	"bytes"
)

// Table reads lines of separated values: CSV as RFC 4180 has it, and tables
// whose header lines name the columns: Zeek's (#fields) and W3C's (#Fields:).
// Lines of one record share its header; Next gives them one by one.
type Table struct {
	// Columns names the values if no header does; "" and "-" leave one out.
	Columns [][]byte
	// Separator between values; 0 means comma, in Zeek's tables a tab.
	Separator byte
	// Zeek reads its header lines, drops "-" and "(empty)" and does not know
	// quotes.
	Zeek bool

	scratch Scratch
	header  Syslog
	names   [][]byte
	sep     byte
	path    []byte // Zeek's name of the log
	unset   []byte
	empty   []byte
}

var (
	keyPath = []byte("_path")
	dash    = []byte("-")
	noValue = []byte("(empty)")
)

// Begin starts a record: it reads the header lines and returns the lines of
// values after them.
func (t *Table) Begin(data []byte) (lines []byte) {
	t.scratch.Reset()
	t.names, t.sep, t.path, t.unset, t.empty = append(t.names[:0], t.Columns...), t.Separator, nil, dash, noValue
	if t.sep == 0 {
		if t.sep = ','; t.Zeek {
			t.sep = '\t'
		}
	}
	first := true
	for len(data) > 0 {
		l, rest := cut(data, '\n')
		l = bytes.TrimSuffix(l, []byte("\r"))
		switch {
		case len(l) > 0 && l[0] == '#':
			t.directive(l)
		case len(t.names) == 0 && first && !t.Zeek && rest != nil: // the first line of a CSV file
			t.split(l)
		case len(l) > 0:
			return data
		}
		first = false
		data = rest
	}
	return nil
}

// directive reads a header line.
func (t *Table) directive(l []byte) {
	word, rest := l, []byte(nil)
	if i := bytes.IndexAny(l, " \t"+string(rune(t.sep&0x7f))); i >= 0 {
		word, rest = l[:i], l[i+1:]
	}
	switch string(word) {
	case "#separator":
		if n := len(rest); n == 4 && rest[0] == '\\' && rest[1] == 'x' {
			if c, ok := unhex(rest[2], rest[3]); ok {
				t.sep = c
			}
		} else if n == 1 {
			t.sep = rest[0]
		}
	case "#path":
		t.path = rest
	case "#unset_field":
		t.unset = rest
	case "#empty_field":
		t.empty = rest
	case "#fields":
		t.split(rest)
	case "#Fields:":
		saved := t.sep
		t.sep = ' '
		t.split(rest)
		if t.Separator != 0 {
			t.sep = saved
		}
	}
}

func (t *Table) split(l []byte) {
	t.names = t.names[:0]
	for len(l) > 0 && len(t.names) < MaxFields {
		name, rest := cut(l, t.sep)
		t.names = append(t.names, bytes.Trim(trim(name), `"`))
		l = rest
	}
}

// Next hands over the values of the next line and returns the lines after it.
// Lines that are empty or begin with # are skipped; more is false if none is
// left.
func (t *Table) Next(lines []byte, f Fields) (rest []byte, more bool, err error) {
	for len(lines) > 0 && (lines[0] == '\n' || lines[0] == '\r' || lines[0] == '#') {
		if lines[0] == '#' {
			_, lines = cut(lines, '\n')
			continue
		}
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return nil, false, nil
	}
	if lines[0] == '<' {
		line, _ := cut(lines, '\n')
		stripped, err := t.header.strip(line, f)
		if err != nil {
			return nil, true, err
		}
		lines = lines[len(line)-len(stripped):]
	}
	if len(t.path) > 0 {
		f.Set(keyPath, t.path)
	}
	if len(t.names) == 0 {
		return nil, true, errTable
	}
	rest = lines
	for i := 0; ; i++ {
		var value []byte
		var end bool
		value, rest, end = t.value(rest)
		if i < len(t.names) && t.given(t.names[i], value) {
			f.Set(t.names[i], value)
		}
		if end || i > MaxFields {
			break
		}
	}
	return rest, true, nil
}

func (t *Table) given(name, value []byte) bool {
	if len(value) == 0 || len(name) == 0 || bytes.Equal(name, dash) {
		return false
	}
	return !t.Zeek || !bytes.Equal(value, t.unset) && !bytes.Equal(value, t.empty)
}

// value reads one value; end says that it was the line's last.
func (t *Table) value(b []byte) (value, rest []byte, end bool) {
	if len(b) > 0 && b[0] == '"' && !t.Zeek {
		if v, after, ok := t.quoted(b[1:]); ok {
			return t.after(v, after)
		}
	}
	for i, c := range b {
		if c == t.sep {
			return b[:i], b[i+1:], false
		}
		if c == '\n' {
			return bytes.TrimSuffix(b[:i], []byte("\r")), b[i+1:], true
		}
	}
	return bytes.TrimSuffix(b, []byte("\r")), nil, true
}

// after skips to the separator or the line's end behind a quoted value.
func (t *Table) after(v, b []byte) (value, rest []byte, end bool) {
	for i, c := range b {
		if c == t.sep {
			return v, b[i+1:], false
		}
		if c == '\n' {
			return v, b[i+1:], true
		}
	}
	return v, nil, true
}

// quoted reads up to the closing quote; two quotes stand for one.
func (t *Table) quoted(b []byte) (value, rest []byte, ok bool) {
	double := false
	for i := 0; i < len(b); i++ {
		if b[i] != '"' {
			continue
		}
		if i+1 < len(b) && b[i+1] == '"' {
			double = true
			i++
			continue
		}
		value = b[:i]
		if double {
			out := t.scratch.open(i)
			for j := 0; j < i; j++ {
				if out = append(out, b[j]); b[j] == '"' {
					j++
				}
			}
			value = t.scratch.keep(out)
		}
		return value, b[i+1:], true
	}
	return nil, nil, false
}

func unhex(a, b byte) (byte, bool) {
	x, ok1 := nibble(a)
	y, ok2 := nibble(b)
	return x<<4 | y, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
