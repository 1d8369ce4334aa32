package lsp

import (
	"fmt"
	"strings"
)

// scanner reads YAML line by line, without ever failing: keys by their indent,
// flow collections, block scalars and quoted texts. It knows what rules use of
// YAML and takes anything else as text.
type scanner struct {
	visit func(entry)
	// block is the stack of open keys.
	block []level
	// flow is the stack of open brackets.
	flow []flowLevel
	// scalar is the indent of the key whose block scalar is open, -1 if none.
	scalar int
	items  map[string]int // list items so far, by path of the list
	token  int            // byte of the line where the last flow token begins
}

type level struct {
	indent int
	path   string
}

type flowLevel struct {
	open byte
	path string // of the collection
	key  string // path of the value at hand
	item int
}

// entry is a key or a value that the scan has seen.
type entry struct {
	path  string // of the value, or of the mapping that a key is in
	key   string // a key with its value's path in path; "" for a value
	value string
	line  int // from 0
	at    int // byte of the line
}

// place is where the cursor is.
type place struct {
	path string // of the mapping a key is typed in, or of the value
	key  bool   // a key is typed
	// prefix is what stands before the cursor of the key or value.
	prefix string
	from   int // byte of the line where the prefix begins
	scalar bool
}

// maxScan bounds how deep the scan follows nesting.
const maxScan = 64

func newScanner(visit func(entry)) *scanner {
	return &scanner{visit: visit, scalar: -1, items: map[string]int{}}
}

// locate scans the text before the cursor and says where it is.
func locate(d *document, line, at int) place {
	s := newScanner(nil)
	for i := 0; i < line && i < len(d.lines); i++ {
		s.line(d.lines[i], i)
	}
	l := d.line(line)
	at = min(at, len(l))
	return s.cursor(l[:at])
}

// entries scans the whole text.
func entries(d *document, visit func(entry)) {
	s := newScanner(visit)
	for i, l := range d.lines {
		s.line(l, i)
	}
}

func indentOf(l string) int { return len(l) - len(strings.TrimLeft(l, " ")) }

// line reads a whole line.
func (s *scanner) line(l string, n int) {
	body := strings.TrimLeft(l, " ")
	if len(s.flow) > 0 {
		s.flowText(l, 0, n)
		return
	}
	if body == "" || body[0] == '#' {
		return
	}
	indent := indentOf(l)
	if s.scalar >= 0 {
		if indent > s.scalar {
			return
		}
		s.scalar = -1
	}
	s.open(l, indent, n)
}

// open reads a line outside of flow collections and block scalars.
func (s *scanner) open(l string, indent, n int) {
	at := indent
	for strings.HasPrefix(l[at:], "- ") || l[at:] == "-" {
		s.pop(at, true)
		path := s.top()
		i := s.items[path]
		s.items[path] = i + 1
		if len(s.block) < maxScan {
			s.block = append(s.block, level{at, fmt.Sprintf("%s[%d]", path, i)})
		}
		at++
		for at < len(l) && l[at] == ' ' {
			at++
		}
		if at >= len(l) {
			return
		}
	}
	if l[at] == '{' || l[at] == '[' {
		s.flowText(l, at, n)
		return
	}
	key, end := keyAt(l, at)
	if key == "" {
		s.see(entry{path: s.top(), value: l[at:], line: n, at: at})
		return
	}
	if at == indent {
		s.pop(at, false)
	}
	path := join(s.top(), key)
	s.see(entry{path: path, key: key, line: n, at: at})
	if len(s.block) < maxScan {
		s.block = append(s.block, level{at, path})
	}
	value := strings.TrimLeft(l[end:], " ")
	from := len(l) - len(value)
	switch {
	case value == "" || value[0] == '#':
	case value[0] == '|' || value[0] == '>':
		s.scalar = indent
	case value[0] == '{' || value[0] == '[':
		s.flowText(l, from, n)
	default:
		s.see(entry{path: path, value: value, line: n, at: from})
	}
}

// pop closes the keys that a line at an indent is not below. The items of a
// list may stand as deep as its key.
func (s *scanner) pop(indent int, item bool) {
	for len(s.block) > 0 {
		top := s.block[len(s.block)-1]
		if top.indent < indent || item && top.indent == indent && !strings.HasSuffix(top.path, "]") {
			return
		}
		s.block = s.block[:len(s.block)-1]
	}
}

func (s *scanner) top() string {
	if len(s.block) == 0 {
		return ""
	}
	return s.block[len(s.block)-1].path
}

func (s *scanner) see(e entry) {
	if s.visit != nil {
		s.visit(e)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keyAt reads "key:" at a byte of a line; end is behind the colon.
func keyAt(l string, at int) (key string, end int) {
	i := at
	for i < len(l) && (l[i] == '_' || l[i] == '.' || l[i] == '|' || l[i] == '-' || l[i] >= '0' && l[i] <= '9' || l[i]|0x20 >= 'a' && l[i]|0x20 <= 'z') {
		i++
	}
	if i > at && i < len(l) && l[i] == ':' && (i+1 == len(l) || l[i+1] == ' ') {
		return l[at:i], i + 1
	}
	return "", at
}

// flowText reads flow collections from a byte of a line on, and notes where the
// token at the end of the text begins.
func (s *scanner) flowText(l string, at, n int) {
	token := at
	defer func() { s.token = token }()
	value := func(to int) {
		if v := strings.TrimSpace(l[token:to]); v != "" && len(s.flow) > 0 {
			s.see(entry{path: s.flow[len(s.flow)-1].key, value: v, line: n, at: token + indentOf(l[token:])})
		}
	}
	for i := at; i < len(l); i++ {
		var f *flowLevel
		if len(s.flow) > 0 {
			f = &s.flow[len(s.flow)-1]
		}
		switch c := l[i]; {
		case c == '"' || c == '\'':
			for i++; i < len(l) && l[i] != c; i++ {
				if c == '"' && l[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '[':
			path := s.top()
			if f != nil {
				path = f.key
			}
			if len(s.flow) < maxScan {
				next := flowLevel{open: c, path: path, key: path}
				if c == '[' {
					next.key = path + "[0]"
				}
				s.flow = append(s.flow, next)
			}
			token = i + 1
		case f == nil:
			return
		case c == '}' || c == ']':
			value(i)
			s.flow = s.flow[:len(s.flow)-1]
			token = i + 1
		case c == ',':
			value(i)
			if f.open == '[' {
				f.item++
				f.key = fmt.Sprintf("%s[%d]", f.path, f.item)
			} else {
				f.key = f.path
			}
			token = i + 1
		case c == ':' && f.open == '{' && f.key == f.path && (i+1 == len(l) || l[i+1] == ' '):
			key := strings.Trim(strings.TrimSpace(l[token:i]), `"'`)
			f.key = join(f.path, key)
			s.see(entry{path: f.key, key: key, line: n, at: token + indentOf(l[token:])})
			token = i + 1
		}
	}
	if len(s.flow) > 0 && l[min(token, len(l)):] != "" && s.visit != nil {
		value(len(l))
	}
}

// cursor reads the line of the cursor up to it.
func (s *scanner) cursor(before string) place {
	from := func(token int) (string, int) {
		p := strings.TrimLeft(before[min(token, len(before)):], " ")
		return p, len(before) - len(p)
	}
	indent := indentOf(before)
	blank := strings.TrimSpace(before) == ""
	switch {
	case len(s.flow) > 0:
		s.flowText(before, 0, 0)
		return s.inFlow(from)
	case s.scalar >= 0 && indent > s.scalar:
		p, at := from(0)
		return place{path: s.top(), prefix: p, from: at, scalar: true}
	case blank:
		s.pop(indent, false)
		return place{path: s.top(), key: true, from: indent}
	}
	s.scalar = -1
	s.open(before, indent, 0)
	if len(s.flow) > 0 {
		return s.inFlow(from)
	}
	at := indent
	for strings.HasPrefix(before[at:], "- ") {
		at += 2
		at += indentOf(before[at:])
	}
	if key, end := keyAt(before, at); key != "" {
		p, f := from(end)
		return place{path: s.top(), prefix: p, from: f}
	}
	if at == indent {
		s.pop(indent, false)
	}
	return place{path: s.top(), key: true, prefix: before[at:], from: at}
}

// inFlow is a place within brackets that are open.
func (s *scanner) inFlow(from func(int) (string, int)) place {
	p, at := from(s.token)
	f := s.flow[len(s.flow)-1]
	return place{path: f.key, key: f.open == '{' && f.key == f.path, prefix: p, from: at}
}
