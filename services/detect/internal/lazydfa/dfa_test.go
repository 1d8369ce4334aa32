package lazydfa

import (
	"regexp"
	"strings"
	"testing"
)

var patterns = []string{`a`, `^a`, `a$`, `^$`, `\bfoo\b`, `(?i)powershell`, `(?i)sk`, `[a-z]+\d{2,4}`, `(?:a|ab)(?:c|bcd)`, `.{5,}x`, `(?s).{3}$`, `(?m)^b$`, `é|É`, `\x{fffd}`, `\Bx`,
	`\w+` + "`" + `(?:\w+|-|.)` + "`" + `[\w+|\s]`, `"(\{\d\}){2,}"\s*-f`, `\s[a-fA-F0-9]{64}\s`, `(?i)\$\{?e`, `(\+.*){8}`, `[^a]$`, `(a*)*b`, `x*`, `(?:a?){20}a{20}`, `\d+\.\d+`, `(?i)KELVIN|k`}

var texts = []string{"", "a", "ba", "foo bar", "food", "PowerShell -enc", "\u212a", "ſ", "abcd", "\xff", "é", "a\nb\nc", "x", "ax x", "b`c`d `", `"{1}{0}" -f`, "abc12", "aaaaaaaaaaaaaaaaaaaa",
	strings.Repeat("0f", 40), " " + strings.Repeat("0f", 32) + " ", "1+2+3+4+5+6+7+8+9", "3.14", strings.Repeat("abé\n ", 50)}

func TestMatchIsThatOfRegexp(t *testing.T) {
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		d := New(re)
		if d == nil {
			t.Fatalf("no automaton for %q", p)
		}
		for range 2 {
			for _, text := range texts {
				if got, want := d.Match(text), re.MatchString(text); got != want {
					t.Errorf("%q on %q: got %v", p, text, got)
				}
			}
		}
	}
}

func TestTooBig(t *testing.T) {
	if New(regexp.MustCompile(`(?:ab?){999}`)) != nil {
		t.Error("an automaton without bounds")
	}
}

// States that never end are forgotten, and the result stays right.
func TestManyStates(t *testing.T) {
	re := regexp.MustCompile(`[ab]*a[ab]{12}c`)
	d := New(re)
	text := strings.Builder{}
	for i := range 5000 {
		text.WriteByte("ab"[i*i*7/3&1])
	}
	for _, tail := range []string{"", "c"} {
		if got, want := d.Match(text.String()+tail), re.MatchString(text.String()+tail); got != want {
			t.Errorf("tail %q: got %v", tail, got)
		}
	}
	if len(d.states) > maxStates+1 {
		t.Errorf("%d states are kept", len(d.states))
	}
}

func TestNoAllocation(t *testing.T) {
	d := New(regexp.MustCompile(`\s[a-fA-F0-9]{64}\s`))
	text := strings.Repeat("cmd.exe /c 0123456789abcdef ", 20)
	d.Match(text)
	if n := testing.AllocsPerRun(10, func() { d.Match(text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMatch(f *testing.F) {
	for i, p := range patterns {
		f.Add(p, texts[i%len(texts)])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(pattern) > 100 || len(text) > 1000 {
			return
		}
		d := New(re)
		if d == nil {
			return
		}
		for range 2 {
			if got, want := d.Match(text), re.MatchString(text); got != want {
				t.Fatalf("%q on %q: got %v", pattern, text, got)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	text := `"C:\Windows\System32\cmd.exe" /c "powershell.exe -NoProfile -ExecutionPolicy Bypass -File C:\Users\alice\AppData\Local\Temp\run.ps1 -Id 0123456789" > out.txt 2>&1`
	for _, p := range []string{`\s[a-fA-F0-9]{64}\s[a-fA-F0-9]{16}`, `\w+` + "`" + `(?:\w+|-|.)` + "`", `(?i)\$\{?e`} {
		re := regexp.MustCompile(p)
		d := New(re)
		b.Run("dfa", func(b *testing.B) {
			for b.Loop() {
				d.Match(text)
			}
		})
		b.Run("regexp", func(b *testing.B) {
			for b.Loop() {
				re.MatchString(text)
			}
		})
	}
}
