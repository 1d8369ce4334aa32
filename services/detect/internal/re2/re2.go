// Package re2 turns regular expressions of other dialects into RE2's, which
// Go's regexp is: only where both match the same texts, but for what \s, \w and
// \b mean beyond ASCII. It serves the import of rules, where it only matters
// whether a text matches, not what.
package re2

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxPattern bounds a pattern, in bytes.
const MaxPattern = 32 << 10

// Perl converts a pattern of PCRE, Python or JavaScript. What needs
// backtracking (look-around in the midst of a pattern, references back) is an
// error that names it; look-around at the ends becomes an ordinary part.
func Perl(pattern string) (string, error) {
	if len(pattern) > MaxPattern {
		return "", fmt.Errorf("pattern has %d bytes, at most %d are allowed", len(pattern), MaxPattern)
	}
	if !utf8.ValidString(pattern) {
		return "", fmt.Errorf("pattern is not UTF-8")
	}
	p := perl{in: pattern}
	if err := p.run(); err != nil {
		return "", err
	}
	out := p.out.String()
	if _, err := syntax.Parse(out, syntax.Perl); err != nil {
		return "", fmt.Errorf("not RE2: %w", err)
	}
	return out, nil
}

// perl is a conversion on its way.
type perl struct {
	in   string
	at   int
	out  strings.Builder
	atom int   // where the last atom begins in out; -1: none
	open []int // where the open groups begin in out
}

func (p *perl) run() error {
	p.atom = -1
	for p.at < len(p.in) {
		rest := p.in[p.at:]
		switch c := rest[0]; {
		case c == '\\':
			start := p.out.Len()
			if err := p.escape(false); err != nil {
				return err
			}
			p.atom = start
		case c == '[':
			start := p.out.Len()
			if err := p.class(); err != nil {
				return err
			}
			p.atom = start
		case c == '(':
			if err := p.group(); err != nil {
				return err
			}
		case c == ')':
			if len(p.open) == 0 {
				return fmt.Errorf("bracket at byte %d closes nothing", p.at)
			}
			p.atom = p.open[len(p.open)-1]
			p.open = p.open[:len(p.open)-1]
			p.copy(1)
		case c == '{':
			p.repeat()
		case c == '*' || c == '+' || c == '?':
			p.copy(1)
			if p.at < len(p.in) && p.in[p.at] == '+' {
				return fmt.Errorf("possessive quantifier %c+ needs backtracking", c)
			}
		case c == '|':
			p.atom = -1
			p.copy(1)
		default:
			p.atom = p.out.Len()
			_, n := utf8.DecodeRuneInString(rest)
			p.copy(n)
		}
	}
	return nil
}

func (p *perl) copy(n int) {
	p.out.WriteString(p.in[p.at : p.at+n])
	p.at += n
}

// escape converts what begins with a backslash.
func (p *perl) escape(inClass bool) error {
	rest := p.in[p.at:]
	if len(rest) < 2 {
		return fmt.Errorf("pattern ends with a backslash")
	}
	c := rest[1]
	emit := func(s string, n int) error {
		p.out.WriteString(s)
		p.at += n
		return nil
	}
	switch {
	case c == 'u':
		r, n, err := unicodeEscape(rest)
		if err != nil {
			return err
		}
		return emit(fmt.Sprintf(`\x{%X}`, r), n)
	case c >= '1' && c <= '9':
		return fmt.Errorf("reference back \\%c needs backtracking", c)
	case c == '0':
		return emit(`\x00`, 2)
	case c == 'e':
		return emit(`\x1B`, 2)
	case c == 'c' && len(rest) > 2:
		return emit(fmt.Sprintf(`\x%02X`, rest[2]&31), 3)
	case c == 'h' && inClass:
		return emit(` \t`, 2)
	case c == 'h':
		return emit(`[ \t]`, 2)
	case c == 'R' && !inClass:
		return emit(`(?:\r\n|\n|\r)`, 2)
	case c == 'Z' && !inClass:
		return emit(`(?:\n?\z)`, 2)
	case c == 'b' && inClass:
		return emit(`\x08`, 2)
	case c == 'k' || c == 'g' || c == 'K' || c == 'G' || c == 'X':
		return fmt.Errorf("\\%c needs backtracking", c)
	case c == 'Q':
		return fmt.Errorf(`\Q is not supported`)
	case c >= utf8.RuneSelf:
		_, n := utf8.DecodeRuneInString(rest[1:])
		return emit(rest[1:1+n], 1+n)
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		if !strings.ContainsRune("aftnrvdDsSwWbBAzpPx", rune(c)) || inClass && (c == 'B' || c == 'A' || c == 'z') {
			return emit(string(c), 2) // an escaped letter that means nothing is itself
		}
	}
	p.copy(2)
	return nil
}

// unicodeEscape reads
//
//	\uXXXX, a pair of surrogates, or \u{X…}
func unicodeEscape(s string) (r rune, n int, err error) {
	if strings.HasPrefix(s, `\u{`) {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return 0, 0, fmt.Errorf(`\u{ is not closed`)
		}
		v, err := strconv.ParseUint(s[3:end], 16, 32)
		if err != nil || v > utf8.MaxRune {
			return 0, 0, fmt.Errorf("%s is no character", s[:end+1])
		}
		return rune(v), end + 1, nil
	}
	hex := func(s string) (rune, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		v, err := strconv.ParseUint(s[2:6], 16, 32)
		return rune(v), err == nil
	}
	r, ok := hex(s)
	if !ok {
		return 0, 0, fmt.Errorf(`\u wants four hex digits`)
	}
	if r >= 0xd800 && r < 0xdc00 {
		low, ok := hex(s[6:])
		if !ok || low < 0xdc00 || low > 0xdfff {
			return 0, 0, fmt.Errorf("half a surrogate pair is no character")
		}
		return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), 12, nil
	}
	if r >= 0xdc00 && r <= 0xdfff {
		return 0, 0, fmt.Errorf("half a surrogate pair is no character")
	}
	return r, 6, nil
}

// class copies a bracket expression.
func (p *perl) class() error {
	start := p.at
	if strings.HasPrefix(p.in[p.at:], "[^]") { // JavaScript: any character
		p.out.WriteString(`[\s\S]`)
		p.at += 3
		return nil
	}
	p.copy(1)
	if p.at < len(p.in) && p.in[p.at] == '^' {
		p.copy(1)
	}
	for first := true; p.at < len(p.in); first = false {
		switch c := p.in[p.at]; {
		case c == ']' && !first:
			p.copy(1)
			return nil
		case c == '\\':
			if err := p.escape(true); err != nil {
				return err
			}
		case c == '[' && !strings.HasPrefix(p.in[p.at:], "[:"):
			p.out.WriteString(`\[`)
			p.at++
		case c == '[':
			end := strings.Index(p.in[p.at:], ":]")
			if end < 0 {
				return fmt.Errorf("class at byte %d is not closed", start)
			}
			p.copy(end + 2)
		default:
			_, n := utf8.DecodeRuneInString(p.in[p.at:])
			p.copy(n)
		}
	}
	return fmt.Errorf("class at byte %d is not closed", start)
}

func (p *perl) group() error {
	rest := p.in[p.at:]
	for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.HasPrefix(rest, look) {
			return p.look(look)
		}
	}
	for _, no := range []string{"(?>", "(?|", "(?(", "(?R", "(?&", "(?1", "(*"} {
		if strings.HasPrefix(rest, no) {
			return fmt.Errorf("%s needs backtracking", no)
		}
	}
	if strings.HasPrefix(rest, "(?#") {
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return fmt.Errorf("comment at byte %d is not closed", p.at)
		}
		p.at += end + 1
		return nil
	}
	if len(p.open) >= 200 {
		return fmt.Errorf("groups are nested too deeply")
	}
	if !strings.HasPrefix(rest, "(?") {
		p.open = append(p.open, p.out.Len())
		p.copy(1)
		p.atom = -1
		return nil
	}
	end := strings.IndexAny(rest, ":)>")
	if end < 0 {
		return fmt.Errorf("group at byte %d is not closed", p.at)
	}
	if rest[end] != ')' {
		p.open = append(p.open, p.out.Len())
	}
	p.copy(end + 1)
	p.atom = -1
	return nil
}

// look converts look-around that stands at an end of the whole pattern, where a
// text that matches also matches without it, or with an ordinary part.
func (p *perl) look(kind string) error {
	end, err := closing(p.in, p.at)
	if err != nil {
		return err
	}
	inner := p.in[p.at+len(kind) : end]
	behind := strings.HasPrefix(kind, "(?<")
	before, after := p.in[:p.at], p.in[end+1:]
	atEnd := len(p.open) == 0 && (after == "" || after[0] == '|')
	atStart := len(p.open) == 0 && (before == "" || before[len(before)-1] == '|' && !strings.HasSuffix(before, `\|`) || flagsOnly(before))
	if behind && !atStart || !behind && !atEnd {
		return fmt.Errorf("look-around %s…) in the midst of a pattern needs backtracking", kind)
	}
	sub := perl{in: inner}
	if err := sub.run(); err != nil {
		return err
	}
	text := sub.out.String()
	switch kind {
	case "(?=", "(?<=":
		fmt.Fprintf(&p.out, "(?:%s)", text)
	default:
		not, ok := negated(text)
		if !ok {
			return fmt.Errorf("negative look-around %s%s) of more than one character needs backtracking", kind, inner)
		}
		if behind {
			fmt.Fprintf(&p.out, `(?:\A|%s)`, not)
		} else {
			fmt.Fprintf(&p.out, `(?:%s|\z)`, not)
		}
	}
	p.at = end + 1
	p.atom = -1
	return nil
}

func flagsOnly(s string) bool {
	return strings.HasPrefix(s, "(?") && len(s) < 8 && strings.HasSuffix(s, ")") && strings.Trim(s[2:len(s)-1], "imsU") == ""
}

// negated is the class of every character but those that a pattern of one
// character matches.
func negated(text string) (string, bool) {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "", false
	}
	re = re.Simplify()
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	switch {
	case re.Op == syntax.OpLiteral && len(re.Rune) == 1:
		return fmt.Sprintf(`[^\x{%X}]`, re.Rune[0]), true
	case re.Op == syntax.OpCharClass && len(re.Rune) > 0:
		var b strings.Builder
		b.WriteString("[^")
		for i := 0; i+1 < len(re.Rune); i += 2 {
			fmt.Fprintf(&b, `\x{%X}-\x{%X}`, re.Rune[i], re.Rune[i+1])
		}
		return b.String() + "]", true
	}
	return "", false
}

// closing finds the bracket that closes the group at a place.
func closing(s string, at int) (int, error) {
	depth, class := 0, false
	for i := at; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
			if i+1 < len(s) && s[i+1] == '^' {
				i++
			}
			if i+1 < len(s) && s[i+1] == ']' {
				i++
			}
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("group at byte %d is not closed", at)
}

// maxRepeat is RE2's bound of a count.
const maxRepeat = 1000

// repeat copies a count in braces; one above RE2's bound is divided.
func (p *perl) repeat() {
	end := strings.IndexByte(p.in[p.at:], '}')
	low, high := 0, 0
	if end > 0 {
		a, b, two := strings.Cut(p.in[p.at+1:p.at+end], ",")
		var err1, err2 error
		low, err1 = strconv.Atoi(a)
		high = low
		if two {
			if high = -1; b != "" {
				high, err2 = strconv.Atoi(b)
			}
		}
		if err1 != nil || err2 != nil {
			end = -1
		}
	}
	if end < 0 || p.atom < 0 { // a brace that is itself
		p.out.WriteString(`\{`)
		p.at++
		return
	}
	if low <= maxRepeat && high <= maxRepeat || low > maxRepeat || high > 10*maxRepeat {
		p.copy(end + 1) // what RE2 refuses is said by its parser
		return
	}
	atom := p.out.String()[p.atom:]
	fmt.Fprintf(&p.out, "{%d,%d}", low, maxRepeat)
	for high -= maxRepeat; high > 0; high -= maxRepeat {
		fmt.Fprintf(&p.out, "%s{0,%d}", atom, min(high, maxRepeat))
	}
	p.at += end + 1
}
