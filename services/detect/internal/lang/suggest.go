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
// meant to be, or what to do about types that do not fit.
func operatorHint(message string) string {
	m := strayWord.FindStringSubmatch(message)
	switch {
	case m == nil:
		return typeHint(message)
	case m[1] == "=":
		return ": did you mean ==?"
	case strings.EqualFold(m[1], "like"):
		return ": take icontains(field, \"…\") or, with * and ?, iwildcard(field, \"…\")"
	}
	return DidYouMean(m[1], operators)
}

// typeHint says what to do about values that do not fit together.
func typeHint(message string) string {
	m := mismatch.FindStringSubmatch(message)
	switch {
	case strings.HasPrefix(message, "expected bool, but got "):
		return ": compare it with something, or write exists(field)"
	case message == "invalid operation: not (mismatched type string)":
		return ": put what is denied into brackets, not (field contains \"…\")"
	case m == nil:
		return ""
	case m[1] == "[]string" && m[2] == "string":
		return `: the left side is a list; write "…" in list for an element, icontains(list, "…") for a part of one`
	case m[2] == "string" && m[1] != "bool":
		return ": the left side is a number, so write the right one without quotes"
	case m[1] == "string":
		return ": the left side is a text, so write the right one in quotes"
	case m[1] == "bool" && m[2] == "string":
		return ": the left side is true or false, so write true without quotes"
	}
	return ""
}

// patternHint says what to do about patterns of other dialects.
func patternHint(message string) string {
	for _, look := range []string{"`(?=`", "`(?!`", "`(?<=`", "`(?<!`", "`(?<`"} {
		if strings.HasSuffix(message, look) {
			return ": RE2 does not look around; say it in a condition of its own, with and or not"
		}
	}
	return ""
}

var mismatch = regexp.MustCompile(`\(mismatched types (\[\]string|string|int|float64|bool) and (string|int|float64|bool)\)$`)

// DidYouMean returns `: did you mean "x"?` for the name that is closest to
// what was written, or "" if none is near.
func DidYouMean(written string, names []string) string {
	// Where every letter is another, nothing is near.
	best, distance := "", min(max(2, len(written)/3), len(written)-1)+1
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
