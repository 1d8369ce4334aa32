package syslog

import "bytes"

// header is what routes look at; the texts are parts of the message.
type header struct {
	pri       int // -1: none
	host, app []byte
}

// parse reads what it can of a header and never fails: what is odd stays
// empty. It understands RFC 5424, and of RFC 3164 the usual dialects: with and
// without a host, with RFC 3339 times, with a year, with Cisco's sequence
// numbers.
func parse(msg []byte) header {
	h := header{pri: -1}
	rest := msg
	if n, after, ok := priority(msg); ok {
		h.pri, rest = n, after
	}
	if len(rest) > 2 && rest[0] == '1' && rest[1] == ' ' && h.pri >= 0 {
		h.modern(rest[2:])
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

// maxToken bounds the search for the end of a header field, in bytes.
const maxToken = 256

// token cuts b at the first space.
func token(b []byte) (word, rest []byte) {
	if i := bytes.IndexByte(b[:min(len(b), maxToken)], ' '); i >= 0 {
		return b[:i], b[i+1:]
	}
	if len(b) > maxToken {
		return nil, nil
	}
	return b, nil
}

// modern reads TIMESTAMP HOSTNAME APP-NAME of RFC 5424.
func (h *header) modern(b []byte) {
	_, b = token(b)
	h.host, b = token(b)
	h.app, _ = token(b)
	if len(h.host) == 1 && h.host[0] == '-' {
		h.host = nil
	}
	if len(h.app) == 1 && h.app[0] == '-' {
		h.app = nil
	}
}

// old reads what follows the priority in the style of RFC 3164.
func (h *header) old(b []byte) {
	b = afterTime(b)
	if len(b) == 0 {
		return
	}
	word, rest := token(b)
	next := afterTime(rest)
	if cisco := len(next) > 0 && len(next) < len(rest); cisco || !isTag(word) {
		if h.host = word; len(h.host) > 0 && h.host[len(h.host)-1] == ':' { // Cisco: "host: time: tag"
			h.host = h.host[:len(h.host)-1]
		}
		if cisco {
			rest = next
		}
		word, _ = token(rest)
		if !isTag(word) && len(word) > 48 { // no tag but the text itself
			return
		}
	}
	h.app = untag(word)
}

// isTag reports whether the word is a tag rather than a host: it ends in a
// colon or holds a process id. An IPv6 address has more than one colon.
func isTag(w []byte) bool {
	if len(w) < 2 {
		return false
	}
	if bytes.IndexByte(w, '[') > 0 {
		return true
	}
	return w[len(w)-1] == ':' && bytes.IndexByte(w, ':') == len(w)-1 && bytes.IndexByte(w, '.') < 0
}

// untag takes process id and colon from a tag.
func untag(w []byte) []byte {
	for i, c := range w {
		if c == '[' || c == ':' {
			return w[:i]
		}
	}
	return w
}

var months = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// afterTime skips a time and what may stand before it.
func afterTime(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	// Cisco: "123: " sequence number, and * or . before an unsure clock.
	i := digits(b)
	if i > 0 && i+1 < len(b) && b[i] == ':' && b[i+1] == ' ' {
		b = b[i+2:]
		i = digits(b)
	}
	if len(b) > 0 && (b[0] == '*' || b[0] == '.') {
		b = b[1:]
	}
	if i == 4 && len(b) >= 19 && b[4] == '-' && b[7] == '-' && (b[10] == 'T' || b[10] == ' ') { // RFC 3339
		_, rest := token(b[11:])
		return rest
	}
	if !isMonth(b) {
		return b
	}
	rest := b[3:]
	for range 3 { // day, perhaps year, clock
		for len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		word, after := token(rest)
		if len(word) == 0 || digits(word) == 0 {
			return b
		}
		rest = after
		if bytes.IndexByte(word, ':') > 0 {
			return rest
		}
	}
	return b
}

func isMonth(b []byte) bool {
	if len(b) < 5 || b[3] != ' ' {
		return false
	}
	for _, m := range months {
		if string(b[:3]) == m {
			return true
		}
	}
	return false
}

func digits(b []byte) int {
	i := 0
	for i < len(b) && i < 12 && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
