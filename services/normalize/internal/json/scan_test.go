package json

import (
	"bytes"
	stdjson "encoding/json"
	"strings"
	"testing"
)

var documents = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-1.5e+3`, `"x"`, ` { "a" : [ 1 , 2 , { "b" : "c\"d" } ] , "e" : null } `,
	`{"a":"\\","b":"\\\"","c":"\u00e9\ud83d\ude00\n"}`, "{\"a\":\"tab\there\"}",
	``, `{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `[1 2]`,
	`01`, `-`, `1.`, `1e`, `+1`, `.5`, `tru`, `nul`, `truex`, `"open`, `"open\"`, `{} {}`, `]`, `}`, `[}`, `{]`, `{"a":[1}`,
	strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
}

// valid is what the scanner says of a document.
func valid(data []byte) (Value, bool) {
	var s Scanner
	s.Reset(data)
	v := s.Value()
	s.End()
	return v, !s.Failed()
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	for _, doc := range documents {
		if _, got := valid([]byte(doc)); got != lenient([]byte(doc)) {
			t.Errorf("%.60q: sound %v, encoding/json says otherwise", doc, got)
		}
	}
}

// lenient is encoding/json with the control characters and escapes in strings
// that this package lets pass made harmless.
func lenient(data []byte) bool {
	var out []byte
	in := false
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case !in:
			in = c == '"'
		case c == '\\' && i+1 < len(data):
			out = append(out, 'x')
			i++
			c = 'x'
		case c == '"':
			in = false
		case c < ' ':
			c = 'x'
		}
		out = append(out, c)
	}
	return stdjson.Valid(out)
}

func TestDepth(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1)
	var s Scanner
	s.Reset([]byte(deep))
	s.Value()
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "deep") {
		t.Errorf("error %v", s.Err())
	}
}

func TestWalk(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"skip": {"x": [1, "]"]}, "list": ["a", 2], "last": "é\t"}`))
	var got []string
	s.Next()
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			break
		}
		got = append(got, string(key))
		if string(key) != "list" {
			v := s.Value()
			if v.Kind == String {
				got = append(got, string(v.AppendText(nil)))
			} else {
				got = append(got, string(v.AppendCompact(nil)))
			}
			continue
		}
		s.Next()
		s.Enter()
		for first := true; s.Element(first); first = false {
			got = append(got, string(s.Value().Raw))
		}
	}
	s.End()
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	if want := `skip|{"x":[1,"]"]}|list|"a"|2|last|é	`; strings.Join(got, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "|"), want)
	}
}

func FuzzScan(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, ok := valid(data)
		if depth(data) <= MaxDepth && ok != lenient(data) {
			t.Fatalf("%q: sound %v, encoding/json says otherwise", data, ok)
		}
		if !ok {
			return
		}
		compact := v.AppendCompact(nil)
		if _, ok := valid(compact); !ok {
			t.Fatalf("%q became %q", data, compact)
		}
		if v.Kind == String && stdjson.Valid(v.Raw) {
			var want string
			if err := stdjson.Unmarshal(v.Raw, &want); err != nil {
				t.Fatal(err)
			}
			if got := bytes.ToValidUTF8(v.AppendText(nil), []byte("\uFFFD")); string(got) != want && bytes.Equal(v.Raw, bytes.ToValidUTF8(v.Raw, nil)) {
				t.Fatalf("%q says %q, want %q", v.Raw, got, want)
			}
		}
	})
}

// depth is an upper bound of the nesting.
func depth(data []byte) int { return bytes.Count(data, []byte("[")) + bytes.Count(data, []byte("{")) }

func BenchmarkScan(b *testing.B) {
	doc := []byte(`{"id":"chatcmpl-1","call_type":"acompletion","cost":0.00123,"stream":false,"messages":[{"role":"user","content":"` + strings.Repeat("words and more words ", 40) + `"}],"metadata":{"user_api_key_hash":"88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b","tags":["a","b"]}}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := valid(doc); !ok {
			b.Fatal("not sound")
		}
	}
}
