package near

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	long := strings.Repeat("a", longest+1)
	for name, tc := range map[string]struct {
		a, b string
		want int
	}{
		"equal":     {"source", "source", 0},
		"empty":     {"", "abc", 3},
		"change":    {"sorce", "source", 1},
		"swap":      {"soruce", "source", 2},
		"different": {"abc", "xyz", 3},
		"long":      {long, long[:longest], longest + 1},
	} {
		for _, p := range [][2]string{{tc.a, tc.b}, {tc.b, tc.a}} {
			if got := Distance(p[0], p[1]); got != tc.want {
				t.Errorf("%s: %d, want %d", name, got, tc.want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { Distance("http_request.method", "http_request.methods") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOf(t *testing.T) {
	names := []string{"nginx.access", "nginx.error", "kong.gateway"}
	for written, want := range map[string]string{"nginx.acess": "nginx.access", "nginx.eror": "nginx.error", "okta": "", "": "", "x": ""} {
		if got := Of(written, names); got != want {
			t.Errorf("%q: %q, want %q", written, got, want)
		}
	}
}
