package match

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// holds is what a literal means.
func (l *literal) holds(v []byte) bool {
	switch l.kind {
	case lang.LitEq:
		return bytes.Equal(v, l.text)
	case lang.LitPrefix:
		return bytes.HasPrefix(v, l.text)
	case lang.LitSuffix:
		return bytes.HasSuffix(v, l.text)
	}
	return bytes.Contains(v, l.text)
}

// The index finds in a value exactly the literals that it holds: of any length,
// anywhere in it, also where grams are shared, overlap or repeat.
func compareScan(t *testing.T, lits []literal, values [][]byte) int {
	t.Helper()
	index, found := newTextIndex(slices.Clone(lits), neverSeen), 0
	for _, v := range values {
		want := []int32{}
		for i := range lits {
			if len(v) > 0 && lits[i].holds(v) {
				want = append(want, int32(i))
			}
		}
		if diff := cmp.Diff(want, append([]int32{}, index.scan(v)...)); diff != "" {
			for i := range lits {
				t.Logf("%d: %v %q", i, lits[i].kind, lits[i].text)
			}
			t.Fatalf("%q: naive (-) index (+):\n%s", v, diff)
		}
		found += len(want)
	}
	return found
}

var litKinds = []lang.LitKind{lang.LitEq, lang.LitPrefix, lang.LitSuffix, lang.LitContains, lang.LitContains, lang.LitContains}

func TestTextIndexEqualsNaive(t *testing.T) {
	found := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		letters := 2 + r.IntN(5)*r.IntN(6)
		text := func(n int) []byte {
			out := make([]byte, n)
			for i := range out {
				out[i] = byte('a' + r.IntN(letters))
			}
			return out
		}
		var values [][]byte
		for range 30 {
			values = append(values, text(r.IntN(60)))
		}
		var lits []literal
		for range 1 + r.IntN(60) {
			l := text(1 + r.IntN(30))
			if v := pick(r, values); r.IntN(3) > 0 && len(v) > 0 {
				from := r.IntN(len(v))
				l = bytes.Clone(v[from : from+1+r.IntN(len(v)-from)])
			}
			lits = append(lits, literal{kind: pick(r, litKinds), text: l})
		}
		found += compareScan(t, lits, values)
	}
	if found < 10_000 {
		t.Errorf("only %d literals found: the test proves little", found)
	}
}

func FuzzTextIndex(f *testing.F) {
	f.Add([]byte("ignore previous instructions"), []byte("previous"), []byte("instruction"), []byte("ig"), byte(0x33))
	f.Add([]byte("aaaaaaaaaaaa"), []byte("aaaaaaaaaaa"), []byte("aaaa"), []byte("a"), byte(0xff))
	f.Add([]byte("\x00\x00\x00\x00"), []byte("\x00"), []byte("\x00\x00\x00"), []byte("\x00\x00\x00\x00"), byte(0))
	f.Fuzz(func(t *testing.T, v, a, b, c []byte, kinds byte) {
		var lits []literal
		for i, text := range [][]byte{a, b, c} {
			if len(text) > 0 { // no rule has an empty one in the index
				lits = append(lits, literal{kind: litKinds[kinds>>(2*i)&3], text: text})
			}
		}
		if len(lits) > 0 {
			compareScan(t, lits, [][]byte{v, append(bytes.Clone(a), v...), append(bytes.Clone(v), b...), bytes.Join([][]byte{a, b, c}, v)})
		}
	})
}
