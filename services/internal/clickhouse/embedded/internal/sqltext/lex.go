// Package sqltext looks at ClickHouse SQL just closely enough to route a
// statement: what kind it is, whether several statements are joined, where the
// data of an INSERT begins, and whether it names files or functions that a
// user may not reach. It is a lexer, not a parser; the engine has the last word.
package sqltext

import "strings"

// kind tells tokens apart.
type kind uint8

const (
	word   kind = iota + 1 // bare word, also numbers
	quoted                 // `x` or "x": an identifier
	str                    // 'x' or $tag$x$tag$
	punct                  // one byte of punctuation
)

// token is a slice of the text, comments and space left out.
type token struct {
	kind       kind
	start, end int
	text       string // as written, without quotes for quoted identifiers
}

// lexer walks over a text. Unfinished quotes and comments run to its end.
type lexer struct {
	s   string
	pos int
}

// next returns the next token; ok is false at the end.
func (l *lexer) next() (t token, ok bool) {
	l.skip()
	if l.pos >= len(l.s) {
		return token{}, false
	}
	start := l.pos
	c := l.s[start]
	switch {
	case c == '\'':
		l.quote('\'')
		return l.token(str, start), true
	case c == '`' || c == '"':
		l.quote(c)
		t := l.token(quoted, start)
		t.text = strings.Trim(t.text, string(c))
		return t, true
	case c == '$' && l.heredoc():
		return l.token(str, start), true
	case strings.HasPrefix(l.s[start:], "‘"):
		l.until("’")
		return l.token(str, start), true
	case strings.HasPrefix(l.s[start:], "“"):
		l.until("”")
		return l.token(quoted, start), true
	case isWord(c):
		for l.pos < len(l.s) && isWord(l.s[l.pos]) {
			l.pos++
		}
		return l.token(word, start), true
	}
	l.pos++
	return l.token(punct, start), true
}

func (l *lexer) token(k kind, start int) token {
	return token{kind: k, start: start, end: l.pos, text: l.s[start:l.pos]}
}

// skip moves over white space and comments.
func (l *lexer) skip() {
	for l.pos < len(l.s) {
		rest := l.s[l.pos:]
		switch {
		case isSpace(rest[0]):
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				l.pos += i + 1
			} else {
				l.pos = len(l.s)
			}
		case strings.HasPrefix(rest, "/*"):
			l.pos += 2
			l.until("*/")
		default:
			return
		}
	}
}

// quote moves past a quoted text: a backslash escapes, a doubled quote stays in.
func (l *lexer) quote(q byte) {
	for l.pos++; l.pos < len(l.s); l.pos++ {
		switch l.s[l.pos] {
		case '\\':
			l.pos++
		case q:
			if l.pos+1 < len(l.s) && l.s[l.pos+1] == q {
				l.pos++
				continue
			}
			l.pos++
			return
		}
	}
	l.pos = len(l.s)
}

// heredoc moves past $tag$…$tag$; it reports whether one starts here.
func (l *lexer) heredoc() bool {
	end := l.pos + 1
	for end < len(l.s) && isWord(l.s[end]) && l.s[end] != '$' {
		end++
	}
	if end >= len(l.s) || l.s[end] != '$' {
		return false
	}
	tag := l.s[l.pos : end+1]
	i := strings.Index(l.s[end+1:], tag)
	if i < 0 {
		return false
	}
	l.pos = end + 1 + i + len(tag)
	return true
}

// until moves past the next occurrence of mark.
func (l *lexer) until(mark string) {
	if i := strings.Index(l.s[l.pos:], mark); i >= 0 {
		l.pos += i + len(mark)
		return
	}
	l.pos = len(l.s)
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
