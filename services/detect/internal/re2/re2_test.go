package re2

import (
	"regexp"
	"strings"
	"testing"
)

func TestPerl(t *testing.T) {
	for name, tc := range map[string]struct {
		in, want string
		yes, no  []string
	}{
		"plain":            {`(?i)ab\s+[c-d]`, `(?i)ab\s+[c-d]`, []string{"AB  c"}, []string{"abc"}},
		"unicode":          {`[\u200b-\u200f]\u{1F600}\uD83D\uDE00`, `[\x{200B}-\x{200F}]\x{1F600}\x{1F600}`, []string{"\u200c😀😀"}, []string{"x"}},
		"any":              {`a[^]b`, `a[\s\S]b`, []string{"a\nb"}, []string{"ab"}},
		"slash":            {`a\/b\-c`, `a\/b\-c`, []string{"a/b-c"}, nil},
		"look ahead":       {`foo(?=bar)`, `foo(?:bar)`, []string{"foobar"}, []string{"foo"}},
		"not ahead":        {`foo(?![a-z])`, `foo(?:[^\x{61}-\x{7A}]|\z)`, []string{"foo", "foo1"}, []string{"food"}},
		"not behind":       {`(?i)(?<!\w)foo`, `(?i)(?:\A|[^\x{30}-\x{39}\x{41}-\x{5A}\x{5F}-\x{5F}\x{61}-\x{7A}])foo`, []string{"foo", " foo"}, []string{"xfoo"}},
		"alternatives":     {`a(?=b)|(?<=c)d`, `a(?:b)|(?:c)d`, []string{"ab", "cd"}, []string{"a", "d"}},
		"big count":        {`a.{0,2500}b`, `a.{0,1000}.{0,1000}.{0,500}b`, []string{"ab", "a" + strings.Repeat("x", 2500) + "b"}, []string{"a" + strings.Repeat("x", 2501) + "b"}},
		"group counted":    {`(?:ab){1,1500}c`, `(?:ab){1,1000}(?:ab){0,500}c`, []string{"abc"}, []string{"c"}},
		"brace":            {`{"a":`, `\{"a":`, []string{`{"a":`}, nil},
		"brace after text": {`a{b}`, `a\{b}`, []string{`a{b}`}, nil},
		"bracket in class": {`[[a]`, `[\[a]`, []string{"[", "a"}, []string{"b"}},
		"horizontal":       {`a\h[\h]b`, `a[ \t][ \t]b`, []string{"a \tb"}, nil},
		"escaped letter":   {`\y`, `y`, []string{"y"}, nil},
		"comment":          {`a(?#why)b`, `ab`, []string{"ab"}, nil},
		"named":            {`(?<n>a)b`, `(?<n>a)b`, []string{"ab"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Perl(tc.in)
			if err != nil || got != tc.want {
				t.Fatalf("got %s, %v, want %s", got, err, tc.want)
			}
			re := regexp.MustCompile(got)
			for _, s := range tc.yes {
				if !re.MatchString(s) {
					t.Errorf("does not match %.40q", s)
				}
			}
			for _, s := range tc.no {
				if re.MatchString(s) {
					t.Errorf("matches %.40q", s)
				}
			}
		})
	}
}

func TestPerlRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`a(?=b)c`:                         "in the midst",
		`^(?!.*x)y`:                       "in the midst",
		`a(?!bc)`:                         "more than one character",
		`(a)\1`:                           "reference back",
		`(?>a)`:                           "backtracking",
		`a++`:                             "possessive",
		`\uD83Dx`:                         "surrogate",
		`[a`:                              "not closed",
		`(a`:                              "not RE2",
		`a)`:                              "closes nothing",
		`a\`:                              "backslash",
		"\xff":                            "UTF-8",
		strings.Repeat("a", MaxPattern+1): "at most",
	} {
		t.Run(in[:min(len(in), 20)], func(t *testing.T) {
			if got, err := Perl(in); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %s, %v, want …%s…", got, err, want)
			}
		})
	}
}

func TestOSRegex(t *testing.T) {
	for in, tc := range map[string]struct{ yes, no []string }{
		`^\d+.\d+ \w+$`:  {[]string{"12.3 a-b@c"}, []string{"12x3 a", "12.3  a"}},
		`Failed \S+ for`: {[]string{"failed password for"}, []string{"failed for"}},
		`a\.*b|c`:        {[]string{"axxb", "ab", "C"}, []string{"a"}},
		`\(x\)\p\\`:      {[]string{`(x)!\`}, []string{"(x)"}},
		`user+`:          {[]string{"user+"}, []string{"userr"}},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := OSRegex(in)
			if err != nil {
				t.Fatal(err)
			}
			re := regexp.MustCompile(got)
			for _, s := range tc.yes {
				if !re.MatchString(s) {
					t.Errorf("%s does not match %q", got, s)
				}
			}
			for _, s := range tc.no {
				if re.MatchString(s) {
					t.Errorf("%s matches %q", got, s)
				}
			}
		})
	}
	if _, err := OSRegex(`\q`); err == nil {
		t.Error(`\q is taken`)
	}
}

func FuzzPerl(f *testing.F) {
	for _, s := range []string{`(?i)a{0,2000}b`, `(?<![a-z])x|y(?=z)`, `[^]\u{1F600}`, `a(?#x)\h\R`, `[[:alpha:]\b]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if out, err := Perl(s); err == nil {
			if _, err := regexp.Compile(out); err != nil && !strings.Contains(err.Error(), "too large") {
				t.Fatalf("%q became %q: %v", s, out, err)
			}
		}
		if out, err := OSRegex(s); err == nil {
			if _, err := regexp.Compile(out); err != nil {
				t.Fatalf("%q became %q: %v", s, out, err)
			}
		}
		OSMatch(s)
	})
}
