package text

import "bytes"

// old reads what follows the priority in the style of RFC 3164: with and
// without a host, with RFC 3339 times, with a year, with Cisco's sequence
// numbers.
func (h *Header) old(b []byte) {
	begin := b
	h.Timestamp, b = oldTime(b)
	if h.Timestamp == nil && h.Priority < 0 { // plain text
		h.Message = begin
		return
	}
	b = bytes.TrimLeft(b, " ")
	h.Message = b
	word, _ := cut(b[:min(len(b), 256)], ' ')
	rest := b[min(len(word)+1, len(b)):]
	if !isTag(word) && h.Timestamp != nil && len(word) > 0 && isHost(word) {
		h.Hostname = bytes.TrimSuffix(word, []byte(":"))
		if t, after := oldTime(rest); t != nil { // Cisco: host: sequence: time
			h.Timestamp, rest = t, bytes.TrimLeft(after, " ")
		}
		h.Message = rest
		word, _ = cut(rest[:min(len(rest), 256)], ' ')
		rest = rest[min(len(word)+1, len(rest)):]
	}
	if isTag(word) && word[0] != '%' {
		h.tag(word)
		h.Message = bytes.TrimPrefix(bytes.TrimPrefix(rest, []byte(": ")), []byte(" "))
	}
	h.Message = bytes.TrimPrefix(h.Message, []byte(": "))
}

// tag reads app[pid]: and app:.
func (h *Header) tag(w []byte) {
	w = bytes.TrimSuffix(w, []byte(":"))
	if i := bytes.IndexByte(w, '['); i > 0 && w[len(w)-1] == ']' {
		h.Procid, w = w[i+1:len(w)-1], w[:i]
	}
	h.Appname = w
}

// isTag reports whether a word is a tag rather than a host: it ends in a colon
// or holds a process id. An IPv6 address has more than one colon.
func isTag(w []byte) bool {
	if len(w) < 2 || len(w) > 128 || w[len(w)-1] != ':' && w[len(w)-1] != ']' {
		return false
	}
	if i := bytes.IndexByte(w, '['); i > 0 {
		return true
	}
	return w[len(w)-1] == ':' && bytes.IndexByte(w, ':') == len(w)-1 && parts(w) < 4
}

// parts counts the dots of an IPv4 address with a colon behind it, else 0.
func parts(w []byte) int {
	n := 1
	for _, c := range w[:len(w)-1] {
		switch {
		case c == '.':
			n++
		case c < '0' || c > '9':
			return 0
		}
	}
	return n
}

// isHost reports whether a word may be a host's name or address.
func isHost(w []byte) bool {
	for _, c := range w {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == ':':
		default:
			return false
		}
	}
	return true
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// oldTime reads a time and what may stand before it; nil if there is none.
func oldTime(b []byte) (stamp, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	n := digits(b)
	if n > 0 && n+1 < len(b) && b[n] == ':' && b[n+1] == ' ' { // Cisco's sequence number
		b = b[n+2:]
		n = digits(b)
	}
	if len(b) > 0 && (b[0] == '*' || b[0] == '.') { // a clock that is not sure
		b = b[1:]
		n = digits(b)
	}
	if n == 4 && len(b) >= 19 && b[4] == '-' && b[7] == '-' && (b[10] == 'T' || b[10] == ' ') {
		word, _ := cut(b[11:min(len(b), 64)], ' ')
		end := 11 + len(word)
		return bytes.TrimSuffix(b[:end], []byte(":")), b[end:]
	}
	if len(b) < 15 || b[3] != ' ' || !isMonth(b[:3]) {
		return nil, b
	}
	at := 3
	for range 3 { // day, perhaps year, clock
		for at < len(b) && b[at] == ' ' {
			at++
		}
		d := digits(b[at:])
		if d == 0 {
			return nil, b
		}
		if at+d < len(b) && b[at+d] == ':' {
			end := at
			for end < len(b) && b[end] != ' ' {
				end++
			}
			return bytes.TrimSuffix(b[:end], []byte(":")), b[end:]
		}
		at += d
	}
	return nil, b
}

func isMonth(b []byte) bool {
	for i := 0; i < len(months); i += 3 {
		if months[i] == b[0] && months[i+1] == b[1] && months[i+2] == b[2] {
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
