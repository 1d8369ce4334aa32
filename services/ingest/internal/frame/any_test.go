package frame

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAny(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"object":        {` {"a":1}`, []string{` {"a":1}`}},
		"list":          {"[\n {\"a\":1},{\"b\":2}]", []string{`{"a":1}`, `{"b":2}`}},
		"empty list":    {"[ ]", nil},
		"text":          {"a\nb", []string{"a", "b"}},
		"date, bracket": {"[2026/11/22 18:21:42] [INFO] a\n[2026/11/22 18:21:43] [INFO] b\n", []string{"[2026/11/22 18:21:42] [INFO] a", "[2026/11/22 18:21:43] [INFO] b"}},
		"word, bracket": {"[INFO] {a}\nb", []string{"[INFO] {a}", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var f Frames
			if err := Any([]byte(tc.body), lim, &f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), texts(tc.body, f.Records)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
