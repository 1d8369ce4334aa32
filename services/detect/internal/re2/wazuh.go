package re2

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// osClasses are OSRegex's classes as the insides of RE2's.
var osClasses = map[byte]string{
	'w': `A-Za-z0-9@_\-`, 'd': `0-9`, 's': ` `, 't': `\t`,
	'p': `()*+,\-.:;<=>?\[\]!"'#$%&|{}`,
}

// OSRegex converts a pattern of Wazuh's OS_Regex: case does not matter, + and *
// follow classes only, \. is any character and a dot itself.
func OSRegex(pattern string) (string, error) {
	if len(pattern) > MaxPattern {
		return "", fmt.Errorf("pattern has %d bytes, at most %d are allowed", len(pattern), MaxPattern)
	}
	var b strings.Builder
	b.WriteString("(?i)")
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if c != '\\' {
			switch c {
			case '^', '$', '|', '(', ')':
				b.WriteByte(c)
			default:
				b.WriteString(regexp.QuoteMeta(string(pattern[i : i+1])))
			}
			continue
		}
		if i++; i == len(pattern) {
			return "", fmt.Errorf("pattern ends with a backslash")
		}
		c = pattern[i]
		class := ""
		switch {
		case c == '.':
			class = `[\s\S]`
		case osClasses[c] != "":
			class = "[" + osClasses[c] + "]"
		case osClasses[c|0x20] != "" && c >= 'A' && c <= 'Z':
			class = "[^" + osClasses[c|0x20] + "]"
		case strings.IndexByte(`$()\|<^`, c) >= 0:
			b.WriteString(regexp.QuoteMeta(string(c)))
			continue
		default:
			return "", fmt.Errorf("\\%c is no part of OS_Regex", c)
		}
		b.WriteString(class)
		if i+1 < len(pattern) && (pattern[i+1] == '+' || pattern[i+1] == '*') {
			i++
			b.WriteByte(pattern[i])
		}
	}
	out := b.String()
	if _, err := syntax.Parse(out, syntax.Perl); err != nil {
		return "", fmt.Errorf("not RE2: %w", err)
	}
	return out, nil
}

// OSMatch splits a pattern of Wazuh's OS_Match: texts of which one must occur,
// whatever its case.
func OSMatch(pattern string) []Text {
	var out []Text
	for _, s := range strings.Split(pattern, "|") {
		t := Text{Value: s}
		if v, ok := strings.CutPrefix(t.Value, "^"); ok {
			t.Value, t.Start = v, true
		}
		if v, ok := strings.CutSuffix(t.Value, "$"); ok {
			t.Value, t.End = v, true
		}
		out = append(out, t)
	}
	return out
}

// Text is a text to look for.
type Text struct {
	Value      string
	Start, End bool // where it must stand
}
