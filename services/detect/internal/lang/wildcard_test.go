package lang

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPattern(t *testing.T) {
	for pattern, tc := range map[string]struct{ yes, no []string }{
		``:                {yes: []string{""}, no: []string{"a"}},
		`*`:               {yes: []string{"", "a", "ab\n"}},
		`a*`:              {yes: []string{"a", "ab"}, no: []string{"", "ba"}},
		`*a`:              {yes: []string{"a", "ba"}, no: []string{"", "ab"}},
		`a`:               {yes: []string{"a"}, no: []string{"ab", "ba", ""}},
		`a*b*c`:           {yes: []string{"abc", "axxbxc", "abbcc"}, no: []string{"ab", "acb", "abcd"}},
		`ab*ba`:           {yes: []string{"abba", "abxba"}, no: []string{"aba"}},
		`?`:               {yes: []string{"a", "é", "\xff"}, no: []string{"", "ab"}},
		`a?c`:             {yes: []string{"abc", "aéc"}, no: []string{"ac", "abbc"}},
		`*?c`:             {yes: []string{"bc", "abc", "éc"}, no: []string{"c", "cb"}},
		`a\*b`:            {yes: []string{"a*b"}, no: []string{"axb"}},
		`a\?b\\*`:         {yes: []string{`a?b\`, `a?b\x`}, no: []string{`a?b`}},
		`C:\Windows\*\x?`: {yes: []string{`C:\Windows*\xy`}, no: []string{`C:\Windows\a\xy`}},
		`C:\Windows\\*.e`: {yes: []string{`C:\Windows\a.e`, `C:\Windows\.e`}, no: []string{`C:\Windows.e`}},
		`**a**`:           {yes: []string{"a", "bab"}, no: []string{"b"}},
	} {
		p := ParsePattern(pattern)
		for _, v := range tc.yes {
			if !p.Match(v) {
				t.Errorf("%q does not match %q", pattern, v)
			}
		}
		for _, v := range tc.no {
			if p.Match(v) {
				t.Errorf("%q matches %q", pattern, v)
			}
		}
	}
}

// A pattern means what its translation into a regular expression means, its
// simple form too, and its literal is in every value that fits.
func FuzzPattern(f *testing.F) {
	f.Add(`a*b?c`, "axxbéc")
	f.Add(`\*x\\*`, `*x\y`)
	f.Fuzz(func(t *testing.T, pattern, v string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(v) || len(pattern) > 200 {
			return
		}
		var b strings.Builder
		b.WriteString(`(?s)\A`)
		for i := 0; i < len(pattern); {
			r, n := utf8.DecodeRuneInString(pattern[i:])
			rest := pattern[i+n:]
			switch {
			case r == '\\' && rest != "" && strings.IndexByte(`*?\`, rest[0]) >= 0:
				b.WriteString(regexp.QuoteMeta(rest[:1]))
				n++
			case r == '*':
				b.WriteString(".*")
			case r == '?':
				b.WriteString(".")
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
			i += n
		}
		b.WriteString(`\z`)
		want := regexp.MustCompile(b.String()).MatchString(v)
		p := ParsePattern(pattern)
		if p.Match(v) != want {
			t.Fatalf("pattern %q, value %q: want %v", pattern, v, want)
		}
		if !want {
			return
		}
		if kind, text, ok := p.literal(); ok {
			holds := map[LitKind]bool{LitPrefix: strings.HasPrefix(v, text), LitSuffix: strings.HasSuffix(v, text), LitContains: strings.Contains(v, text)}
			if !holds[kind] {
				t.Errorf("pattern %q: literal %s %q is not in %q", pattern, kind, text, v)
			}
		}
	})
}
