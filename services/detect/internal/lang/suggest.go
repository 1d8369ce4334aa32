package lang

import (
	"regexp"
	"strings"
)

// operators are the words that stand between two values.
var operators = []string{"and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches"}

var strayWord = regexp.MustCompile(`^unexpected token (?:Identifier|Operator)\("([^"]+)"\)`)

// operatorHint says which operator a word that the parser trips over is likely
// meant to be.
func operatorHint(message string) string {
	m := strayWord.FindStringSubmatch(message)
	switch {
	case m == nil:
		return ""
	case m[1] == "=":
		return ": did you mean ==?"
	}
	return DidYouMean(m[1], operators)
}

// DidYouMean returns `: did you mean "x"?` for the name that is closest to
// what was written, or "" if none is near.
func DidYouMean(written string, names []string) string {
	best, distance := "", max(2, len(written)/3)+1
	for _, n := range names {
		d := edits(strings.ToLower(written), strings.ToLower(n))
		// The right last part in the wrong group is a near miss too.
		if i := strings.LastIndexByte(n, '.'); i >= 0 && strings.HasSuffix(written, n[i:]) {
			d = min(d, max(1, edits(written, n)*2/3))
		}
		if d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
