package rule

import (
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	want := map[string]struct {
		line, column int
		text         string
	}{
		"id":                 {1, 5, "ai-gateway.example"},
		"tags[1]":            {7, 25, "attack.t1059.001"},
		"source.product":     {8, 41, "nginx.access"},
		"when":               {10, 3, "http_response.code == 401\nand http_request.path startsWith \"/v1/\""},
		"exceptions[0].when": {18, 13, `src_endpoint.ip == "192.0.2.1"`},
		"tests[0].name":      {20, 11, "one"},
	}
	for _, p := range Places([]byte(good)) {
		w, ok := want[p.Path]
		if !ok {
			continue
		}
		delete(want, p.Path)
		if p.Line != w.line || p.Column != w.column || p.Text != w.text {
			t.Errorf("%s is at %d:%d %q, want %v", p.Path, p.Line, p.Column, p.Text, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if got := Places([]byte("a: [")); got != nil {
		t.Errorf("broken YAML has places: %v", got)
	}
	if n := len(Places([]byte(strings.Repeat("[", 200) + strings.Repeat("]", 200)))); n > 20 {
		t.Errorf("nesting is not bounded: %d", n)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: [{b: |\n  c}, d]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range Places(data) {
			if p.Line < 1 || p.Column < 1 {
				t.Errorf("%+v", p)
			}
		}
	})
}
