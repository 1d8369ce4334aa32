package json

import (
	"fmt"
	"strings"
	"testing"
)

// prices is a value such as senders repeat with every record.
func prices(model string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"model": %q`, model)
	for i := range 40 {
		fmt.Fprintf(&b, `, "price_per_token_above_%dk": null`, i)
	}
	return b.String() + `, "tiers": ["}", "\"", {}]}`
}

// skipped skips a document's one value, and says where it ended.
func skipped(doc string, depth int, seen *Seen) (int, error) {
	var s Scanner
	s.Reset([]byte(strings.Repeat("[", depth) + doc))
	for range depth {
		s.Next()
		s.Enter()
	}
	s.Skip(s.Next(), seen)
	return s.Pos() - depth, s.Err()
}

func TestSkipAgreesWithRead(t *testing.T) {
	var seen Seen
	a, b := prices("a"), prices("b")
	for name, doc := range map[string]string{
		"new": a, "again": a, "another": b, "again after another": a, "more behind": a + `,{`,
		"cut": a[:len(a)-1], "spoilt": strings.Replace(a, "null", "nul", 1), "spoilt late": strings.Replace(a, `"}",`, `"}",,`, 1),
		"small": `{"a":1}`, "string": `"` + strings.Repeat("x", 2*seenMin) + `"`, "number": "12 ", "none": "",
	} {
		for range 2 {
			var s Scanner
			s.Reset([]byte(doc))
			s.Value()
			pos, err := skipped(doc, 0, &seen)
			if fmt.Sprint(err) != fmt.Sprint(s.Err()) || pos != s.Pos() {
				t.Errorf("%s: skipped to %d (%v), read to %d (%v)", name, pos, err, s.Pos(), s.Err())
			}
		}
	}
}

func TestSkipKeepsTheDepth(t *testing.T) {
	var seen Seen
	doc := `{"pad": "` + strings.Repeat("x", seenMin) + `", "list": [[]]}`
	if _, err := skipped(doc, MaxDepth-3, &seen); err != nil {
		t.Fatal(err)
	}
	if _, err := skipped(doc, MaxDepth-2, &seen); err == nil {
		t.Error("a known value may lie deeper than MaxDepth")
	}
}

func TestSkipAllocatesNothing(t *testing.T) {
	var seen Seen
	var s Scanner
	docs := [][]byte{[]byte(prices("a")), []byte(prices("b"))}
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(docs[i&1])
		s.Skip(s.Next(), &seen)
		i++
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// FuzzSeen: whatever was skipped before, skipping is the same as reading.
func FuzzSeen(f *testing.F) {
	f.Add([]byte(prices("a")), []byte(prices("b")))
	f.Add([]byte(prices("a")), []byte(prices("a")+"}"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var seen Seen
		for _, doc := range [][]byte{a, b, a} {
			var read, skip Scanner
			read.Reset(doc)
			read.Value()
			skip.Reset(doc)
			skip.Skip(skip.Next(), &seen)
			if read.Pos() != skip.Pos() || read.Failed() != skip.Failed() {
				t.Fatalf("skipped to %d (%v), read to %d (%v)", skip.Pos(), skip.Err(), read.Pos(), read.Err())
			}
		}
	})
}
