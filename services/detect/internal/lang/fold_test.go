package lang

import (
	"math/rand/v2"
	"testing"
)

func TestFold(t *testing.T) {
	fold := func(s string) string {
		out := []byte(s)
		for i, c := range out {
			if 'A' <= c && c <= 'Z' {
				out[i] = c - 'A' + 'a'
			}
		}
		return string(out)
	}
	check := func(s string) {
		t.Helper()
		if got := Fold(s); got != fold(s) {
			t.Errorf("Fold(%q) is %q, want %q", s, got, fold(s))
		}
		if got, want := string(AppendFold([]byte("Kept "), s)), "Kept "+fold(s); got != want {
			t.Errorf("AppendFold(%q) is %q, want %q", s, got, want)
		}
	}
	for c := range 256 { // every byte, alone and in every place among others
		check(string([]byte{byte(c)}))
		for at := range 16 {
			s := []byte("aZ@[`{\x00\xffÉZZZ~!9")[:16]
			s[at] = byte(c)
			check(string(s))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := make([]byte, r.IntN(40))
		for i := range s {
			s[i] = byte(r.IntN(256))
		}
		check(string(s))
	}
}
