package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// width is how much of a line an excerpt shows, in characters.
const width = 120

// Excerpt is a line of a file with the token at a column underlined, in two
// lines. The line is cut around the token and stripped of control characters.
func Excerpt(line string, number, column int) string {
	rs := []rune(strings.TrimRight(line, "\r\n"))
	at := min(max(column-1, 0), len(rs))
	n := Token(rs, at)
	from := 0
	if at+n > width {
		from = max(0, min(at-width/3, len(rs)-width))
	}
	to := min(len(rs), from+width)
	n = max(1, min(n, to-at))
	shown := Clean(string(rs[from:to]))
	gutter := fmt.Sprintf("%5d | ", number)
	if from > 0 {
		gutter += "…"
	}
	return gutter + shown + "\n" + strings.Repeat(" ", 5) + " | " + strings.Repeat(" ", utf8.RuneCountInString(gutter)-8+at-from) +
		"^" + strings.Repeat("~", n-1) + "\n"
}

// Token is the length of the token at a place of a line, in characters: a
// quoted text, a dotted name, or a run of operator characters; at least 1.
func Token(line []rune, at int) int {
	if at >= len(line) {
		return 1
	}
	name := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_.-#$", r)
	}
	end := at + 1
	switch c := line[at]; {
	case c == '"' || c == '\'':
		for end < len(line) && line[end] != c {
			if line[end] == '\\' {
				end++
			}
			end++
		}
		return min(end+1, len(line)) - at
	case name(c):
		for end < len(line) && name(line[end]) {
			end++
		}
	case !unicode.IsSpace(c):
		for end < len(line) && strings.ContainsRune("=!<>&|?", line[end]) {
			end++
		}
	}
	return end - at
}

// Clean replaces control characters, so that a hostile text cannot steer a
// terminal or a log; tabs and newlines become blanks.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069':
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// CleanText is Clean that keeps newlines.
func CleanText(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Clean(l)
	}
	return strings.Join(lines, "\n")
}
