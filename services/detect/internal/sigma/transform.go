package sigma

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf16"
)

// dashes are the characters that Windows programs take for the beginning of an
// option.
var dashes = []string{"-", "/", "–", "—", "―"}

// optionDash is where an option begins: not within a word, and before one.
var optionDash = regexp.MustCompile(`\B[-/–—―]\b`)

// maxDashes bounds the dashes of one value that vary on their own; beyond, all
// are the same in each variant.
const maxDashes = 3

// windash returns the value with every dash of an option in every spelling.
func windash(p pattern) []pattern {
	count := 0
	for _, t := range p.texts {
		count += len(optionDash.FindAllStringIndex(t, -1))
	}
	if count == 0 {
		return []pattern{p}
	}
	var out []pattern
	if count > maxDashes {
		for _, d := range dashes {
			out = append(out, p.mapped(func(t string) string { return optionDash.ReplaceAllLiteralString(t, d) }))
		}
		return append(out, p)
	}
	total := 1
	for range count {
		total *= len(dashes)
	}
	for i := range total {
		choice := i
		out = append(out, p.mapped(func(t string) string {
			return optionDash.ReplaceAllStringFunc(t, func(string) string {
				d := dashes[choice%len(dashes)]
				choice /= len(dashes)
				return d
			})
		}))
	}
	return out
}

// base64Offset returns what a text can look like inside of a base64 text: one
// value for each of the three places at which it can begin.
func base64Offset(s string) []string {
	start, end := [3]int{0, 2, 3}, [3]int{0, 3, 2}
	var out []string
	for i := range 3 {
		enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + s))
		from, to := start[i], len(enc)-end[(len(s)+i)%3]
		if from < to {
			out = append(out, enc[from:to])
		}
	}
	return out
}

// utf16Text encodes a text as UTF-16 and gives its bytes as a string.
func utf16Text(s string, big, mark bool) string {
	var b []byte
	add := func(u uint16) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	if mark {
		add(0xfeff)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		add(u)
	}
	return string(b)
}
