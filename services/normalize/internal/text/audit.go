package text

import "bytes"

// Audit reads records of the Linux audit subsystem: the lines of one event,
// each type=T msg=audit(time:serial): k=v …. The fields of a line go under its
// type (SYSCALL.exe), those of types that come several times in one event also
// by number (PATH[0].name). Under audit are id, time, serial, node and type,
// the type of the first line; under FIRST are the fields of the first line.
// Values in hexadecimal are decoded; EXECVE.argv holds the arguments in one
// text, separated by spaces.
type Audit struct {
	scratch Scratch
	header  Syslog
	seen    [16]struct {
		name  []byte
		count int
	}
	types  int
	execve bool // the line's a0, a1, … are texts, not numbers
}

var (
	keyAudit   = []byte("audit")
	keyID      = []byte("id")
	keyTime    = []byte("time")
	keySerial  = []byte("serial")
	keyNode    = []byte("node")
	keyType    = []byte("type")
	keyFirst   = []byte("FIRST")
	keyArgv    = []byte("argv")
	keyRecords = []byte("records")
	keyMsg     = []byte("msg")
	keyArgc    = []byte("argc")
)

// maxLines bounds the lines of one event.
const maxLines = 512

// Parse reads the lines of one event.
func (p *Audit) Parse(data []byte, f Fields) error {
	p.scratch.Reset()
	p.types = 0
	data, err := p.header.strip(data, f)
	if err != nil {
		return err
	}
	left, good := MaxFields, 0
	for n := 0; len(data) > 0 && n < maxLines && left > 0; n++ {
		l, rest := cut(data, '\n')
		data = rest
		if p.line(trim(l), f, &left, good == 0) {
			good++
		}
	}
	if good == 0 {
		return errAudit
	}
	p.records(f)
	return nil
}

// records lists the types of the lines, with a space before and after each, as
// audit.records: the record's own type is only that of the first.
func (p *Audit) records(f Fields) {
	if p.types < 2 {
		return
	}
	out := p.scratch.open(256)
	for i := range p.types {
		out = append(append(out, ' '), p.seen[i].name...)
	}
	out = append(out, ' ')
	f.Open(keyAudit, -1)
	f.Set(keyRecords, p.scratch.keep(out))
	f.Close()
}

// line reads one line; false if it is none of the audit subsystem.
func (p *Audit) line(l []byte, f Fields, left *int, first bool) bool {
	at := bytes.Index(l, []byte("msg=audit("))
	if at < 0 {
		return false
	}
	head, body := l[:at], l[at+len("msg=audit("):]
	id, body := cut(body, ')')
	if body == nil {
		return false
	}
	var name, node []byte
	for len(head) > 0 {
		var word []byte
		word, head = cut(head, ' ')
		if v, ok := bytes.CutPrefix(word, []byte("type=")); ok {
			name = v
		} else if v, ok := bytes.CutPrefix(word, []byte("node=")); ok {
			node = v
		}
	}
	if len(name) == 0 {
		return false
	}
	body = trim(bytes.TrimPrefix(body, []byte(":")))
	if first {
		f.Open(keyAudit, -1)
		f.Set(keyID, id)
		stamp, serial := cut(id, ':')
		f.Set(keyTime, stamp)
		f.Set(keySerial, serial)
		f.Set(keyType, name)
		if len(node) > 0 {
			f.Set(keyNode, node)
		}
		f.Close()
		f.Open(keyFirst, -1)
		p.fields(body, f, left, 0, nil)
		f.Close()
	}
	f.Open(name, p.count(name))
	if string(name) == "EXECVE" {
		p.arguments(body, f, left)
	} else {
		p.fields(body, f, left, 0, nil)
	}
	f.Close()
	return true
}

// count numbers the lines of a type.
func (p *Audit) count(name []byte) int {
	for i := range p.types {
		if s := &p.seen[i]; bytes.Equal(s.name, name) {
			s.count++
			return s.count
		}
	}
	if p.types < len(p.seen) {
		p.seen[p.types].name, p.seen[p.types].count = name, 0
		p.types++
	}
	return 0
}

// fields hands over k=v pairs; msg='…' holds more of them.
func (p *Audit) fields(b []byte, f Fields, left *int, depth int, argument func(key, value []byte) bool) {
	for len(b) > 0 && *left > 0 {
		if isSpace(b[0]) || b[0] == ',' || b[0] == 0x1d { // 0x1d: interpreted values follow
			b = b[1:]
			continue
		}
		n := bytes.IndexAny(b, "= \x1d")
		if n < 0 {
			return
		}
		if b[n] != '=' || n == 0 {
			b = b[n+1:]
			continue
		}
		key, value := b[:n], []byte(nil)
		b = b[n+1:]
		plain := true
		if len(b) > 0 && (b[0] == '"' || b[0] == '\'') {
			if end := bytes.IndexByte(b[1:], b[0]); end >= 0 {
				value, b, plain = b[1:end+1], b[end+2:], false
			}
		}
		if plain {
			end := 0
			for end < len(b) && !isSpace(b[end]) && b[end] != 0x1d {
				end++
			}
			value, b = b[:end], b[end:]
		}
		if !plain && depth == 0 && bytes.Equal(key, keyMsg) && bytes.IndexByte(value, '=') > 0 {
			p.fields(value, f, left, 1, argument)
			continue
		}
		if plain && (isEncoded(key) || p.execve && key[0] == 'a') {
			value = p.decode(key, value)
		}
		if argument != nil && argument(key, value) {
			continue
		}
		f.Set(key, value)
		*left--
	}
}

// arguments joins a0, a1[0], a1[1], a2 … of EXECVE, and gives the first whole
// ones each by itself.
func (p *Audit) arguments(b []byte, f Fields, left *int) {
	var argv []byte
	p.execve = true
	defer func() { p.execve = false }()
	p.fields(b, f, left, 0, func(key, value []byte) bool {
		if len(key) < 2 || key[0] != 'a' || key[1] < '0' || key[1] > '9' {
			return bytes.Equal(key, keyArgc)
		}
		if bytes.HasSuffix(key, []byte("_len")) {
			return true
		}
		part := bytes.IndexByte(key, '[')
		if part < 0 && len(key) == 2 && key[1] < '8' { // rules look at the first eight
			f.Set(key, value)
		}
		if len(argv) > 0 && (part < 0 || string(key[part:]) == "[0]") {
			argv = append(argv, ' ')
		}
		argv = append(argv, value...)
		return true
	})
	if len(argv) > 0 {
		f.Set(keyArgv, argv)
	}
}

// isEncoded lists the fields that the kernel writes in hexadecimal when they
// hold a space, a quote or a control character.
func isEncoded(key []byte) bool {
	switch string(key) {
	case "exe", "comm", "name", "cwd", "proctitle", "cmd", "key", "path", "acct", "data", "dir", "old", "new", "vm", "watch", "file", "ocomm":
		return true
	}
	return false
}

// decode turns hexadecimal into text; zero bytes, which separate arguments,
// become spaces. What is no hexadecimal stays.
func (p *Audit) decode(key, v []byte) []byte {
	if len(v) < 4 && key[0] != 'a' || len(v)%2 != 0 || len(v) == 0 {
		return v
	}
	out := p.scratch.open(len(v) / 2)
	for i := 0; i < len(v); i += 2 {
		c, ok := unhex(v[i], v[i+1])
		if !ok || v[i] >= 'a' && v[i] <= 'f' || v[i+1] >= 'a' && v[i+1] <= 'f' { // the kernel writes capitals
			return v
		}
		if c == 0 {
			c = ' '
		}
		out = append(out, c)
	}
	return bytes.TrimRight(p.scratch.keep(out), " ")
}
