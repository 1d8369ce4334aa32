package text

import "bytes"

// Syslog reads messages of RFC 5424 and RFC 3164 and what is written in their
// style, with or without <PRI>: priority, facility, severity (numbers),
// timestamp, hostname, appname, procid, msgid, structured and message, all
// under syslog. Structured data is there whole and by id and name.
type Syslog struct{ scratch Scratch }

var (
	keySyslog     = []byte("syslog")
	keyPriority   = []byte("priority")
	keyFacility   = []byte("facility")
	keySeverity   = []byte("severity")
	keyTimestamp  = []byte("timestamp")
	keyHostname   = []byte("hostname")
	keyAppname    = []byte("appname")
	keyProcid     = []byte("procid")
	keyMsgid      = []byte("msgid")
	keyStructured = []byte("structured")
	keyMessage    = []byte("message")
)

// Header is what the header of a message says; texts are parts of it.
type Header struct {
	Priority                                    int // -1: none
	Timestamp, Hostname, Appname, Procid, Msgid []byte
	Structured                                  []byte
	Message                                     []byte
}

// Parse reads one message. Only an empty one is an error: text without a
// header is a message without one.
func (p *Syslog) Parse(data []byte, f Fields) error {
	if len(trim(data)) == 0 {
		return errSyslog
	}
	h := ParseHeader(data)
	p.hand(&h, f, true)
	return nil
}

// strip hands over the header in front of another format and returns the rest;
// data without <PRI> is returned as it is.
func (p *Syslog) strip(data []byte, f Fields) ([]byte, error) {
	if len(data) == 0 || data[0] != '<' {
		return data, nil
	}
	h := ParseHeader(data)
	if h.Priority < 0 {
		return data, nil
	}
	p.hand(&h, f, false)
	return h.Message, nil
}

func (p *Syslog) hand(h *Header, f Fields, message bool) {
	p.scratch.Reset()
	f.Open(keySyslog, -1)
	set := func(key, value []byte) {
		if len(value) > 0 {
			f.Set(key, value)
		}
	}
	if h.Priority >= 0 {
		f.Set(keyPriority, p.scratch.number(h.Priority))
		f.Set(keyFacility, p.scratch.number(h.Priority>>3))
		f.Set(keySeverity, p.scratch.number(h.Priority&7))
	}
	set(keyTimestamp, h.Timestamp)
	set(keyHostname, h.Hostname)
	set(keyAppname, h.Appname)
	set(keyProcid, h.Procid)
	set(keyMsgid, h.Msgid)
	if len(h.Structured) > 0 {
		f.Set(keyStructured, h.Structured)
		f.Open(keyStructured, -1)
		p.elements(h.Structured, f)
		f.Close()
	}
	if message {
		set(keyMessage, h.Message)
	}
	f.Close()
}

// elements hands over [id name="value" …][…].
func (p *Syslog) elements(b []byte, f Fields) {
	count := 0
	for len(b) > 0 && b[0] == '[' {
		b = b[1:]
		end := bytes.IndexAny(b, " ]")
		if end <= 0 {
			return
		}
		f.Open(b[:end], -1)
		b = b[end:]
		for len(b) > 0 && b[0] == ' ' && count < MaxFields {
			b = b[1:]
			name, rest := cut(b, '=')
			if len(rest) == 0 || rest[0] != '"' {
				break
			}
			value, after, ok := parameter(rest[1:], &p.scratch)
			if !ok {
				break
			}
			f.Set(name, value)
			b = after
			count++
		}
		f.Close()
		if len(b) == 0 || b[0] != ']' {
			return
		}
		b = b[1:]
	}
}

// parameter reads a quoted value in which \", \\ and \] are escaped.
func parameter(b []byte, s *Scratch) (value, rest []byte, ok bool) {
	escaped := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			escaped = true
			i++
		case b[i] == '"':
			if value = b[:i]; escaped {
				out := s.open(i)
				for j := 0; j < i; j++ {
					if b[j] == '\\' && j+1 < i && (b[j+1] == '"' || b[j+1] == '\\' || b[j+1] == ']') {
						j++
					}
					out = append(out, b[j])
				}
				value = s.keep(out)
			}
			return value, b[i+1:], true
		}
	}
	return nil, nil, false
}

// ParseHeader reads what it can of a header: what is odd stays empty.
func ParseHeader(msg []byte) Header {
	h := Header{Priority: -1, Message: msg}
	rest := msg
	if n, after, ok := priority(msg); ok {
		h.Priority, rest, h.Message = n, after, after
	}
	if h.Priority >= 0 && len(rest) > 2 && rest[0] == '1' && rest[1] == ' ' && h.modern(rest[2:]) {
		return h
	}
	h.old(rest)
	return h
}

// priority reads <PRI>.
func priority(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 3 || b[0] != '<' {
		return 0, b, false
	}
	for i := 1; i < len(b) && i <= 4; i++ {
		switch c := b[i]; {
		case c == '>' && i > 1 && n <= 191:
			return n, b[i+1:], true
		case '0' <= c && c <= '9':
			n = n*10 + int(c-'0')
		default:
			return 0, b, false
		}
	}
	return 0, b, false
}

// modern reads RFC 5424 behind the version; false if it is something else.
func (h *Header) modern(b []byte) bool {
	var parts [5][]byte
	for i := range parts {
		word, rest := cut(b[:min(len(b), 512)], ' ')
		if rest == nil && len(b) > len(word) || len(word) == 0 {
			return false
		}
		b = b[min(len(word)+1, len(b)):]
		if len(word) != 1 || word[0] != '-' {
			parts[i] = word
		}
	}
	h.Timestamp, h.Hostname, h.Appname, h.Procid, h.Msgid = parts[0], parts[1], parts[2], parts[3], parts[4]
	switch {
	case len(b) > 0 && b[0] == '-':
		b = b[1:]
	case len(b) > 0 && b[0] == '[':
		n := structured(b)
		h.Structured, b = b[:n], b[n:]
	}
	h.Message = bytes.TrimPrefix(bytes.TrimPrefix(b, []byte(" ")), []byte("\xef\xbb\xbf"))
	return true
}

// structured is the length of the elements at the beginning of b.
func structured(b []byte) int {
	end, quote := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && quote:
			i++
		case c == '"':
			quote = !quote
		case c == ']' && !quote:
			if end = i + 1; end == len(b) || b[end] != '[' {
				return end
			}
		}
	}
	return end
}
