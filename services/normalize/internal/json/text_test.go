package json

import (
	stdjson "encoding/json"
	"strings"
	"testing"
)

// TestEveryOffset: what is read eight bytes at a time is the same at every
// place within them.
func TestEveryOffset(t *testing.T) {
	for _, c := range []string{`\"`, `\\`, `\\\"`, `\u00e9`, `é`, "\x1f", " ", `\n\n`} {
		for before := range 80 {
			for _, after := range []int{0, 1, 7, 8, 9, 70} {
				text := strings.Repeat("a", before) + c + strings.Repeat("b", after)
				doc := []byte(`"` + text + `"`)
				v, ok := valid(doc)
				if !ok || string(v.Raw) != string(doc) || v.Escaped != (c[0] == '\\') {
					t.Fatalf("%s: read %q, sound %v", doc, v.Raw, ok)
				}
				if plain := c[0] != '\\' && c[0] != 0x1f; Plain([]byte(text)) != plain {
					t.Fatalf("%q: plain %v", text, !plain)
				}
				if c == "\x1f" {
					continue
				}
				var want string
				if err := stdjson.Unmarshal(doc, &want); err != nil {
					t.Fatal(err)
				}
				if got := string(v.AppendText(nil)); got != want {
					t.Fatalf("%s says %q, want %q", doc, got, want)
				}
			}
		}
	}
}
