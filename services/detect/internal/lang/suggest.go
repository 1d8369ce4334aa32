package lang

import (
	"regexp"
	"strings"

	"github.com/vagus-hub/vagus/services/internal/near"
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
		d := near.Distance(strings.ToLower(written), strings.ToLower(n))
		// The right last part in the wrong group is a near miss too.
		if i := strings.LastIndexByte(n, '.'); i >= 0 && strings.HasSuffix(written, n[i:]) {
			d = min(d, max(1, near.Distance(written, n)*2/3))
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
