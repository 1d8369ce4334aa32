package lang

import (
	"strings"
	"unicode/utf8"
)

// A wildcard pattern has * for any text and ? for one character (or one byte
// that is none). A backslash before *, ? or another backslash takes their
// meaning away; before anything else it is itself. That is how Sigma writes
// patterns, so paths of Windows need no escapes.

// Pattern is a parsed wildcard pattern: the texts between stars, where 0xff
// stands for ?, a byte that no character has.
type Pattern struct {
	parts    []string
	anchored [2]bool // no star at the start, at the end
}

const single = 0xff

// ParsePattern reads a wildcard pattern.
func ParsePattern(s string) Pattern {
	var p Pattern
	var part []byte
	star := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?' || s[i+1] == '\\'):
			i++
			part = append(part, s[i])
		case c == '?':
			part = append(part, single)
		case c == '*':
			if !star && len(p.parts) == 0 {
				p.anchored[0] = len(part) > 0
			}
			if len(part) > 0 {
				p.parts = append(p.parts, string(part))
				part = part[:0]
			}
			star = true
		default:
			part = append(part, c)
		}
		if !star {
			p.anchored[0] = true
		}
	}
	if len(part) > 0 {
		p.parts = append(p.parts, string(part))
	}
	p.anchored[1] = !star || len(part) > 0
	if !star {
		p.anchored = [2]bool{true, true}
	}
	return p
}

// simple gives the pattern as a plain relation, if it is one.
func (p Pattern) simple() (op Op, text string, ok bool) {
	switch {
	case len(p.parts) == 0 && p.anchored[0]:
		return Eq, "", true
	case len(p.parts) == 0:
		return Contains, "", true
	case len(p.parts) > 1 || strings.IndexByte(p.parts[0], single) >= 0:
		return 0, "", false
	case p.anchored == [2]bool{true, true}:
		return Eq, p.parts[0], true
	case p.anchored[0]:
		return Prefix, p.parts[0], true
	case p.anchored[1]:
		return Suffix, p.parts[0], true
	}
	return Contains, p.parts[0], true
}

// literal is the text that tells most about whether a value fits, and where it
// must stand; false if there is none.
func (p Pattern) literal() (kind LitKind, text string, ok bool) {
	try := func(k LitKind, s string) {
		if len(s) > len(text) {
			kind, text, ok = k, s, true
		}
	}
	for i, part := range p.parts {
		pieces := strings.Split(part, string([]byte{single}))
		for j, piece := range pieces {
			switch {
			case i == 0 && j == 0 && p.anchored[0]:
				try(LitPrefix, piece)
			case i == len(p.parts)-1 && j == len(pieces)-1 && p.anchored[1]:
				try(LitSuffix, piece)
			default:
				try(LitContains, piece)
			}
		}
	}
	return kind, text, ok
}

// Match reports whether the value fits. It takes the leftmost place for every
// part, which is enough: time is at most the product of the lengths, and
// linear without ?.
func (p Pattern) Match(v string) bool {
	parts := p.parts
	if len(parts) == 0 {
		return !p.anchored[0] || v == ""
	}
	if p.anchored[0] {
		n, ok := fits(v, parts[0])
		if !ok {
			return false
		}
		v, parts = v[n:], parts[1:]
		if len(parts) == 0 {
			// Without a star the value ends here; with one anything may follow.
			return !p.anchored[1] || v == ""
		}
	}
	last := len(parts)
	if p.anchored[1] {
		last--
	}
	for _, part := range parts[:last] {
		end := find(v, part)
		if end < 0 {
			return false
		}
		v = v[end:]
	}
	return !p.anchored[1] || ends(v, parts[last])
}

// fits matches a part at the start of v and returns what it took.
func fits(v, part string) (int, bool) {
	at := 0
	for i := 0; i < len(part); i++ {
		if at >= len(v) {
			return 0, false
		}
		if part[i] != single {
			if v[at] != part[i] {
				return 0, false
			}
			at++
			continue
		}
		_, n := utf8.DecodeRuneInString(v[at:])
		at += n
	}
	return at, true
}

// find returns the end of the leftmost place of a part, -1 if there is none.
func find(v, part string) int {
	if strings.IndexByte(part, single) < 0 {
		if i := strings.Index(v, part); i >= 0 {
			return i + len(part)
		}
		return -1
	}
	for i := 0; i <= len(v); {
		if n, ok := fits(v[i:], part); ok {
			return i + n
		}
		if i == len(v) {
			break
		}
		_, n := utf8.DecodeRuneInString(v[i:])
		i += n
	}
	return -1
}

// ends matches a part at the end of v.
func ends(v, part string) bool {
	if strings.IndexByte(part, single) < 0 {
		return strings.HasSuffix(v, part)
	}
	for i := 0; i <= len(v); {
		if n, ok := fits(v[i:], part); ok && i+n == len(v) {
			return true
		}
		if i == len(v) {
			break
		}
		_, n := utf8.DecodeRuneInString(v[i:])
		i += n
	}
	return false
}
