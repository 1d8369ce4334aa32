package mapping

import (
	"bytes"
	"regexp"
	"regexp/syntax"
)

// needle is the longest text that whatever a regular expression matches
// contains; "" if none is known. Looking for it is much cheaper than matching.
func needle(re *regexp.Regexp) []byte {
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	return []byte(required(parsed))
}

func required(re *syntax.Regexp) (out string) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if s := required(sub); len(s) > len(out) {
				out = s
			}
		}
	}
	return out
}

// matches tells whether re matches; needle is what must be in text.
func matches(re *regexp.Regexp, needle, text []byte) bool {
	return (len(needle) == 0 || bytes.Contains(text, needle)) && re.Match(text)
}
