package syslog

import "strings"

// pattern is a text in which * stands for any text; the zero value fits all.
type pattern struct {
	parts []string // between the stars; nil: anything
	fold  bool     // lower-case ASCII before comparing
}

func newPattern(s string, fold bool) pattern {
	if s == "" {
		return pattern{}
	}
	if fold {
		s = strings.ToLower(s)
	}
	return pattern{strings.Split(s, "*"), fold}
}

// matches is linear in len(text) times the number of parts, and does not
// allocate.
func (p *pattern) matches(text []byte) bool {
	if p.parts == nil {
		return true
	}
	first, last := p.parts[0], p.parts[len(p.parts)-1]
	if len(p.parts) == 1 {
		return len(text) == len(first) && p.at(text, first)
	}
	if len(text) < len(first)+len(last) || !p.at(text, first) || !p.at(text[len(text)-len(last):], last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range p.parts[1 : len(p.parts)-1] {
		for !p.at(text, part) {
			if len(text) <= len(part) {
				return false
			}
			text = text[1:]
		}
		text = text[len(part):]
	}
	return true
}

// at reports whether text begins with part.
func (p *pattern) at(text []byte, part string) bool {
	if len(text) < len(part) {
		return false
	}
	for i := range len(part) {
		c := text[i]
		if p.fold && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != part[i] {
			return false
		}
	}
	return true
}
