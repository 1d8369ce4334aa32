package sigma

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is a value with wildcards: texts with a wildcard between any two of
// them. Its first and last text may be empty, which is how a pattern begins or
// ends with a wildcard.
type pattern struct {
	texts []string
	wild  []byte // '*' or '?', one fewer than texts
}

// parsePattern reads a Sigma value: * and ? are wildcards, a backslash takes
// the meaning from them and from itself, and is itself elsewhere.
func parsePattern(s string) pattern {
	p := pattern{texts: []string{""}}
	if !strings.ContainsAny(s, `*?\`) {
		p.texts[0] = s
		return p
	}
	var lit strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?' || s[i+1] == '\\'):
			i++
			lit.WriteByte(s[i])
		case c == '*' || c == '?':
			p.texts[len(p.texts)-1] = lit.String()
			lit.Reset()
			p.texts = append(p.texts, "")
			p.wild = append(p.wild, c)
		default:
			lit.WriteByte(c)
		}
	}
	p.texts[len(p.texts)-1] = lit.String()
	return p.normal()
}

// literal is a pattern without wildcards.
func literal(s string) pattern { return pattern{texts: []string{s}} }

// normal joins runs of *.
func (p pattern) normal() pattern {
	out := pattern{texts: p.texts[:1:1]}
	for i, w := range p.wild {
		if last := len(out.wild) - 1; w == '*' && last >= 0 && out.wild[last] == '*' && p.texts[i] == "" {
			out.texts[len(out.texts)-1] = p.texts[i+1]
			continue
		}
		out.wild = append(out.wild, w)
		out.texts = append(out.texts, p.texts[i+1])
	}
	return out
}

func star() pattern { return pattern{texts: []string{"", ""}, wild: []byte{'*'}} }

// then puts one pattern behind another.
func (p pattern) then(q pattern) pattern {
	out := pattern{texts: append([]string(nil), p.texts...), wild: append([]byte(nil), p.wild...)}
	out.texts[len(out.texts)-1] += q.texts[0]
	out.texts = append(out.texts, q.texts[1:]...)
	out.wild = append(out.wild, q.wild...)
	return out.normal()
}

// mapped replaces the texts.
func (p pattern) mapped(f func(string) string) pattern {
	out := pattern{wild: p.wild}
	for _, t := range p.texts {
		out.texts = append(out.texts, f(t))
	}
	return out
}

// plain is the pattern's text if it has no wildcards.
func (p pattern) plain() (string, bool) { return p.texts[0], len(p.wild) == 0 }

type form uint8

const (
	isEqual form = iota
	isPrefix
	isSuffix
	isInside
	isAny // * alone: the field has a value
	isRegexp
)

// form says how the pattern is to be compared, and with which text.
func (p pattern) form() (form, string) {
	switch n := len(p.wild); {
	case n == 0:
		return isEqual, p.texts[0]
	case strings.IndexByte(string(p.wild), '?') >= 0:
	case n == 1 && p.texts[0] == "" && p.texts[1] == "":
		return isAny, ""
	case n == 1 && p.texts[0] == "":
		return isSuffix, p.texts[1]
	case n == 1 && p.texts[1] == "":
		return isPrefix, p.texts[0]
	case n == 2 && p.texts[0] == "" && p.texts[2] == "":
		return isInside, p.texts[1]
	}
	return isRegexp, ""
}

// regexp is the pattern in RE2's syntax.
func (p pattern) regexp(cased bool) string {
	flags := "(?is)"
	if cased {
		flags = "(?s)"
	}
	var b strings.Builder
	last := len(p.texts) - 1
	for i, t := range p.texts {
		if i == 0 && (t != "" || last == 0 || p.wild[0] == '?') {
			b.WriteByte('^')
		}
		b.WriteString(regexp.QuoteMeta(t))
		switch {
		case i == last:
			if t != "" || last == 0 || p.wild[last-1] == '?' {
				b.WriteByte('$')
			}
		case p.wild[i] == '?':
			b.WriteByte('.')
		case (i > 0 || t != "") && (i+1 < last || p.texts[last] != ""):
			b.WriteString(".*")
		}
	}
	return flags + b.String()
}

// foreign reports whether a text has letters beyond ASCII that come in two
// cases: functions that ignore case know A to Z only.
func foreign(s string) bool {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.ToLower(r) != unicode.ToUpper(r) {
			return true
		}
		i += n
	}
	return false
}

func (p pattern) foreign() bool {
	for _, t := range p.texts {
		if foreign(t) {
			return true
		}
	}
	return false
}
