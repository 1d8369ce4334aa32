package frame

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var lim = Limits{MaxRecord: 1 << 20, MaxRecords: 1 << 20, MaxDepth: 64}

func texts(body string, spans []Span) []string {
	out := []string{}
	for _, s := range spans {
		out = append(out, body[s.Off:s.End])
	}
	return out
}

func TestLines(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"empty":        {"", nil},
		"no newline":   {"a", []string{"a"}},
		"lines":        {"a\nb\n", []string{"a", "b"}},
		"windows":      {"a\r\nb\r\n", []string{"a", "b"}},
		"empty lines":  {"\n\r\na\n\n\nb", []string{"a", "b"}},
		"order mark":   {"\xef\xbb\xbfa\nb", []string{"a", "b"}},
		"invalid utf8": {"\xff\xfe\n\x80", []string{"\xff\xfe", "\x80"}},
		"spaces kept":  {" a \n\tb", []string{" a ", "\tb"}},
	} {
		t.Run(name, func(t *testing.T) {
			var f Frames
			if err := Lines([]byte(tc.body), lim, &f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), texts(tc.body, f.Records)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	for name, tc := range map[string]struct {
		body   string
		want   []string
		reason []string
		offset int // of the error; -1: none
	}{
		"empty":                    {"", nil, nil, -1},
		"spaces":                   {" \n\t", nil, nil, -1},
		"ndjson":                   {"{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, nil, -1},
		"ndjson, order mark, crlf": {"\xef\xbb\xbf{\"a\":1}\r\n\r\n{\"b\":2}", []string{`{"a":1}`, `{"b":2}`}, nil, -1},
		"ndjson, broken line":      {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", []string{`{"a":1}`, `{"b":`, `{"c":3}`}, nil, -1},
		"ndjson, broken first":     {"{\"a\":1\n{\"b\":2}\n", []string{`{"a":1`, `{"b":2}`}, nil, -1},
		"one object":               {`{"a":1}`, []string{`{"a":1}`}, nil, -1},
		"one broken object":        {`{"a":1`, []string{`{"a":1`}, nil, -1},
		"indented object":          {"{\n  \"a\": 1\n}\n", []string{"{\n  \"a\": 1\n}"}, nil, -1},
		"indented objects":         {"{\n \"a\": 1\n}\n{\n \"b\": 2\n}", []string{"{\n \"a\": 1\n}", "{\n \"b\": 2\n}"}, nil, -1},
		"concatenated":             {`{"a":1}{"b":2}`, []string{`{"a":1}`, `{"b":2}`}, nil, -1},
		"not json":                 {"hello\nworld\n", []string{"hello", "world"}, nil, -1},
		"array":                    {`[{"a":1}, {"b":[1,2]} ,3,"x\"]",null]`, []string{`{"a":1}`, `{"b":[1,2]}`, "3", `"x\"]"`, "null"}, nil, -1},
		"empty array":              {"[ ]\n", nil, nil, -1},
		"arrays a line":            {"[{\"a\":1}]\n[{\"b\":2}]", []string{`{"a":1}`, `{"b":2}`}, nil, -1},
		"brackets in strings":      {`[{"a":"}],[{\\\""},{"b":2}]`, []string{`{"a":"}],[{\\\""}`, `{"b":2}`}, nil, -1},
		"forgotten comma":          {`[{"a":1} {"b":2},]`, []string{`{"a":1}`, `{"b":2}`}, nil, -1},
		"broken bracket":           {`[{"a":1},{"b":[1}},{"c":3}]`, []string{`{"a":1}`, `{"c":3}`}, []string{ReasonMalformed}, -1},
		"open string":              {`[{"a":1},{"b":"oops},{"c":3},{"d":4}]`, []string{`{"a":1}`, `{"c":3}`, `{"d":4}`}, []string{ReasonMalformed}, -1},
		"open string, list inside": {`[{"i":[{"x":1},{"y":2}],"s":"oops}, {"b":1}]`, []string{`{"b":1}`}, []string{ReasonMalformed}, -1},
		"two broken":               {`[{"a":x},{"b":1},{"c":y},{"d":1}]`, []string{`{"b":1}`, `{"d":1}`}, []string{ReasonMalformed, ReasonMalformed}, -1},
		"too deep":                 {`[{"a":1},` + deep + `,{"b":2}]`, []string{`{"a":1}`, `{"b":2}`}, []string{ReasonTooDeep}, -1},
		"deep enough":              {`[` + deep[1:len(deep)-1] + `]`, []string{deep[1 : len(deep)-1]}, nil, -1},
		"cut in a record":          {`[{"a":1},{"b":`, nil, nil, 14},
		"cut between records":      {`[{"a":1},`, nil, nil, 9},
		"last one broken":          {`[{"a":1},{"b":x}]`, nil, nil, 14},
		"garbage after":            {`[{"a":1}] x`, nil, nil, 10},
	} {
		t.Run(name, func(t *testing.T) {
			var f Frames
			err := JSON([]byte(tc.body), lim, &f)
			if tc.offset >= 0 {
				var fe *Error
				if !errors.As(err, &fe) || fe.Offset != tc.offset {
					t.Fatalf("error %v, want one at byte %d", err, tc.offset)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), texts(tc.body, f.Records)); diff != "" {
				t.Error(diff)
			}
			var reasons []string
			for _, b := range f.Bad {
				reasons = append(reasons, b.Reason)
			}
			if diff := cmp.Diff(tc.reason, reasons); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	small := Limits{MaxRecord: 8, MaxRecords: 3, MaxDepth: 64}
	var f Frames
	if err := Lines([]byte("123456789\nab\n12345678\n"), small, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Records) != 2 || len(f.Bad) != 1 || f.Bad[0].Reason != ReasonTooLong || !strings.Contains(f.Bad[0].Error, "9 bytes") {
		t.Errorf("%+v", f)
	}
	f.Reset()
	var many *TooMany
	if err := Lines([]byte("a\nb\nc\nd\n"), small, &f); !errors.As(err, &many) {
		t.Errorf("four records of three: %v", err)
	}
	f.Reset()
	if err := JSON([]byte("[1,2,3,4]"), small, &f); !errors.As(err, &many) {
		t.Errorf("four elements of three: %v", err)
	}
}

// TestHostileResync: many candidates for resynchronisation must not make the
// work quadratic; the framer gives up instead.
func TestHostileResync(t *testing.T) {
	body := append([]byte("[x"), bytes.Repeat([]byte("},{"), 1<<20)...)
	var f Frames
	_ = JSON(body, Limits{MaxRecord: 1 << 20, MaxRecords: 1 << 22, MaxDepth: 64}, &f)
}

// FuzzFrame: no panic, records in order, and nothing between them but what
// separates records.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "{\"a\":1}\n{}", `[{"a":"}"},{"b":x},{"c":1}]`, "[1,,2] [3]", "\xef\xbb\xbf{\n}", `{"a`, "[[[[", `["\\"]`} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		var fr Frames
		var err error
		gap := "\r\n"
		if asJSON {
			err = JSON(body, Limits{64, 1 << 16, 8}, &fr)
			gap = " \t\r\n,[]"
		} else {
			err = Lines(body, Limits{64, 1 << 16, 8}, &fr)
		}
		if err != nil {
			return
		}
		all := append([]Span(nil), fr.Records...)
		for _, b := range fr.Bad {
			all = append(all, b.Span)
		}
		covered := make([]bool, len(body))
		for _, s := range all {
			if s.Off >= s.End || int(s.End) > len(body) {
				t.Fatalf("span %v of %d bytes", s, len(body))
			}
			for i := s.Off; i < s.End; i++ {
				if covered[i] {
					t.Fatalf("byte %d twice", i)
				}
				covered[i] = true
			}
		}
		for i, c := range covered {
			if !c && !strings.ContainsRune(gap, rune(body[i])) && !(i < 3 && bytes.HasPrefix(body, bom)) {
				t.Fatalf("byte %d %q is in no record: %q", i, body[i], body)
			}
		}
	})
}

func corpus(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"chatcmpl-%d","model":"gpt-4o-mini","metadata":{"user_api_key_hash":"%064x","team":"red"},"messages":[{"role":"user","content":"%s"}],"usage":{"prompt_tokens":%d,"completion_tokens":12},"ok":true}`+"\n",
			i, i, strings.Repeat("Tell me how the \\\"tides\\\" work. ", 20), i)
	}
	return b.Bytes()
}

func BenchmarkLines(b *testing.B) {
	body := corpus(1000)
	var f Frames
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		f.Reset()
		_ = JSON(body, lim, &f)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkArray(b *testing.B) {
	body := append(append([]byte("["), bytes.ReplaceAll(bytes.TrimSpace(corpus(1000)), []byte("\n"), []byte(",\n"))...), ']')
	var f Frames
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		f.Reset()
		if err := JSON(body, lim, &f); err != nil || len(f.Records) != 1000 {
			b.Fatal(err, len(f.Records))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
