package derive

import (
	"regexp/syntax"
	"strings"
	"unicode"
)

// patternForms is the number of ways in which a text for a pattern is made.
const patternForms = 6

// maxPatternText bounds the text that is made of a pattern, in bytes.
const maxPatternText = 4 << 10

// patternText is a text that a pattern probably matches; the ways differ in how
// often what may be repeated is there, and which alternative is taken.
func patternText(pattern string, way int) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	w := writer{often: way % 3, last: way >= 3}
	w.write(re)
	return w.b.String()
}

type writer struct {
	b     strings.Builder
	often int  // of what may be left out
	last  bool // alternatives: the last instead of the first
}

func (w *writer) write(re *syntax.Regexp) {
	if w.b.Len() > maxPatternText {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				r = unicode.ToLower(r)
			}
			w.b.WriteRune(r)
		}
	case syntax.OpCharClass:
		w.b.WriteRune(readable(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		w.b.WriteByte('x')
	case syntax.OpBeginLine, syntax.OpEndLine:
		if w.b.Len() > 0 && re.Op == syntax.OpBeginLine {
			w.b.WriteByte('\n')
		}
	case syntax.OpCapture:
		w.write(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		n := w.often
		if re.Op == syntax.OpQuest {
			n = min(n, 1)
		}
		for range n {
			w.write(re.Sub[0])
		}
	case syntax.OpPlus:
		for range max(w.often, 1) {
			w.write(re.Sub[0])
		}
	case syntax.OpRepeat:
		for range max(re.Min, min(w.often, re.Max)) {
			w.write(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			w.write(sub)
		}
	case syntax.OpAlternate:
		if w.last {
			w.write(re.Sub[len(re.Sub)-1])
			return
		}
		w.write(re.Sub[0])
	}
}

// readable is a character of a class, one that people can read if there is one.
func readable(ranges []rune) rune {
	in := func(r rune) bool {
		for i := 0; i+1 < len(ranges); i += 2 {
			if r >= ranges[i] && r <= ranges[i+1] {
				return true
			}
		}
		return false
	}
	for _, r := range "aAx7 1-_.\\/\"'" {
		if in(r) {
			return r
		}
	}
	for r := rune('!'); r < 0x7f; r++ {
		if in(r) {
			return r
		}
	}
	if len(ranges) > 0 {
		return ranges[0]
	}
	return 'x'
}
