package match

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestGuardIsContainsAny(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, 1+r.IntN(n))
		for i := range b {
			b[i] = "abc "[r.IntN(4)]
		}
		return string(b)
	}
	held := 0
	for range 2000 {
		sets := make([][]string, 1+r.IntN(3))
		for i := range sets {
			for range 1 + r.IntN(8) {
				sets[i] = append(sets[i], word(6))
			}
		}
		guard := newGuard(sets)
		for range 5 {
			v := word(60)
			want := true
			for _, set := range sets {
				some := false
				for _, text := range set {
					some = some || strings.Contains(v, text)
				}
				want = want && some
			}
			if got := guard(v); got != want {
				t.Fatalf("%q holds one of each of %q: %v, want %v", v, sets, got, want)
			}
			if want {
				held++
			}
		}
	}
	if held == 0 || held == 10000 {
		t.Fatalf("%d of 10000 held: the test decides nothing", held)
	}
}
