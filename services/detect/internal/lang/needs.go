package lang

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// Needs are cheap facts about every text that a pattern matches.
type Needs struct {
	Min    int         // bytes that it has at least
	Counts []ByteCount // characters that it holds several times, the most telling first
	// Run, if above zero, is the whole truth: the pattern matches exactly the
	// texts with that many characters in a row; with Lines, within one line.
	Run   int
	Lines bool
}

// ByteCount is a character that a text holds at least N times.
type ByteCount struct {
	C byte
	N int
}

// maxCounts bounds the characters of Needs.
const maxCounts = 2

// Needs are those of a Match atom's pattern.
func (n *Node) Needs() Needs {
	re, err := syntax.Parse(n.Re.String(), syntax.Perl)
	if err != nil {
		return Needs{}
	}
	if re.Op == syntax.OpRepeat && re.Max < 0 && (re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL) {
		return Needs{Run: re.Min, Lines: re.Sub[0].Op == syntax.OpAnyCharNotNL}
	}
	least, counts := patternNeeds(re)
	out := Needs{Min: least}
	for c := range counts {
		if counts[c] > 0 && !plain(byte(c)) {
			out.Counts = append(out.Counts, ByteCount{byte(c), counts[c]})
		}
	}
	slices.SortStableFunc(out.Counts, func(a, b ByteCount) int { return b.N - a.N })
	out.Counts = out.Counts[:min(len(out.Counts), maxCounts)]
	return out
}

// plain says that a character is too usual to tell anything.
func plain(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == ' ' || c == '\\' || c == '/' || c == '.' || c == ':' || c == '-' || c == '_'
}

type byteCounts [utf8.RuneSelf]int

// patternNeeds walks a pattern; at most maxNeed of anything is counted, so that
// nested repeats cannot overflow.
func patternNeeds(re *syntax.Regexp) (least int, counts byteCounts) {
	const maxNeed = 1 << 16
	add := func(sub *syntax.Regexp, times int) {
		l, c := patternNeeds(sub)
		least = min(least+l*times, maxNeed)
		for i := range c {
			counts[i] = min(counts[i]+c[i]*times, maxNeed)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		fold := re.Flags&syntax.FoldCase != 0
		for _, r := range re.Rune {
			n := 1 // a letter may have a shorter form in the other case; U+FFFD stands for a bad byte
			if !fold && r != utf8.RuneError {
				n = max(utf8.RuneLen(r), 1)
			}
			least = min(least+n, maxNeed)
			if r < utf8.RuneSelf && !(fold && strange(r)) && (r|0x20 < 'a' || r|0x20 > 'z') {
				counts[r]++
			}
		}
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		least = 1
	case syntax.OpCapture, syntax.OpPlus:
		return patternNeeds(re.Sub[0])
	case syntax.OpRepeat:
		add(re.Sub[0], re.Min)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			add(sub, 1)
		}
	case syntax.OpAlternate:
		for i, sub := range re.Sub {
			l, c := patternNeeds(sub)
			if i == 0 {
				least, counts = l, c
				continue
			}
			least = min(least, l)
			for j := range c {
				counts[j] = min(counts[j], c[j])
			}
		}
	}
	return least, counts
}
