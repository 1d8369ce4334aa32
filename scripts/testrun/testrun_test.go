package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	const p = `"Package":"github.com/vagus-hub/vagus/x"`
	tests := map[string]struct {
		events []string
		ci     bool
		want   []string // in the report, in this order
		last   string
		ok     bool
	}{
		"pass": {
			events: []string{`{"Action":"pass",` + p + `,"Test":"TestA"}`, `{"Action":"pass",` + p + `}`},
			last:   "1 passed, 0 failed, 0 skipped", ok: true,
		},
		"only innermost tests count": {
			events: []string{
				`{"Action":"pass",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA/two"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA"}`, `{"Action":"fail",` + p + `}`,
			},
			want: []string{"--- x TestA/two"}, last: "1 passed, 1 failed, 0 skipped",
		},
		"a parent that failed by itself counts": {
			events: []string{
				`{"Action":"pass",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"output",` + p + `,"Test":"TestA","Output":"    a_test.go:3: after\n"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA"}`, `{"Action":"fail",` + p + `}`,
			},
			want: []string{"--- x TestA", "after"}, last: "1 passed, 1 failed, 0 skipped",
		},
		"skip": {
			events: []string{
				`{"Action":"output",` + p + `,"Test":"TestA","Output":"    a_test.go:3: nginx is missing\n"}`,
				`{"Action":"skip",` + p + `,"Test":"TestA"}`, `{"Action":"pass",` + p + `}`,
			},
			want: []string{"x TestA: nginx is missing"}, last: "0 passed, 0 failed, 1 skipped", ok: true,
		},
		"skip in CI": {
			events: []string{`{"Action":"skip",` + p + `,"Test":"TestA"}`, `{"Action":"pass",` + p + `}`},
			ci:     true, want: []string{"no reason given", "nothing may be skipped"}, last: "0 passed, 0 failed, 1 skipped",
		},
		"build failure": {
			events: []string{
				`{"Action":"build-output","ImportPath":"dep","Output":"a.go:1:1: oops\n"}`,
				`{"Action":"fail",` + p + `,"FailedBuild":"dep"}`,
			},
			want: []string{"--- x", "a.go:1:1: oops"}, last: "0 passed, 1 failed, 0 skipped",
		},
		"the process died": {
			events: []string{`{"Action":"run",` + p + `,"Test":"TestA"}`, `{"Action":"fail",` + p + `}`},
			want:   []string{"--- x TestA"}, last: "0 passed, 1 failed, 0 skipped",
		},
		"a leak after the tests": {
			events: []string{
				`{"Action":"pass",` + p + `,"Test":"TestA"}`,
				`{"Action":"output",` + p + `,"Output":"goroutine leaked\n"}`, `{"Action":"fail",` + p + `}`,
			},
			want: []string{"--- x", "goroutine leaked"}, last: "1 passed, 1 failed, 0 skipped",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			res := newResults()
			if err := res.read(strings.NewReader(strings.Join(tt.events, "\n"))); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if ok := res.report(&out, tt.ci); ok != tt.ok {
				t.Errorf("report = %t, want %t", ok, tt.ok)
			}
			rest := out.String()
			for _, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q in\n%s", want, out.String())
				}
				rest = after
			}
			if !strings.HasSuffix(out.String(), "\n"+tt.last+"\n") {
				t.Errorf("last line is not %q:\n%s", tt.last, out.String())
			}
		})
	}
}

func TestKeepBoundsOutput(t *testing.T) {
	var b bytes.Buffer
	for range 3 * maxOutput / 1000 {
		keep(&b, strings.Repeat("x", 1000))
	}
	if b.Len() > maxOutput+2000 {
		t.Errorf("kept %d bytes, limit %d", b.Len(), maxOutput)
	}
}

// module writes a module outside the workspace and returns settings for it.
func module(t *testing.T, files map[string]string) settings {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module m\n\ngo 1.26.0\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return settings{dir: dir, env: []string{"GOWORK=off", "GOFLAGS=", "STATE=" + filepath.Join(dir, "state")}}
}

const flakyTest = `package a

import ("os"; "testing")

func TestSteady(t *testing.T) {}

func TestFlaky(t *testing.T) {
	if _, err := os.Stat(os.Getenv("STATE")); err != nil {
		os.WriteFile(os.Getenv("STATE"), nil, 0o600)
		t.Fatal("the first time")
	}
}
`

func TestRunFlaky(t *testing.T) {
	for name, tt := range map[string]struct {
		ci   bool
		last string
	}{
		"at a desk it passes": {false, "3 passed, 0 failed, 0 skipped"},
		"in CI it fails":      {true, "2 passed, 1 failed, 0 skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			s := module(t, map[string]string{
				"a/a_test.go":     flakyTest,
				"e2e/e2e_test.go": "package e2e\n\nimport \"testing\"\n\nfunc TestEnd(t *testing.T) {}\n",
			})
			s.ci, s.last = tt.ci, "m/e2e"
			var out bytes.Buffer
			ok, err := runTests(t.Context(), s, []string{"./..."}, &out)
			if err != nil || ok == tt.ci {
				t.Errorf("runTests = %t, %v", ok, err)
			}
			if got := out.String(); !strings.Contains(got, "m/a TestFlaky") || !strings.HasSuffix(got, "\n"+tt.last+"\n") {
				t.Errorf("report:\n%s", got)
			}
		})
	}
}

func TestRunBadPattern(t *testing.T) {
	s := module(t, map[string]string{"a/a.go": "package a\n"})
	if ok, err := runTests(t.Context(), s, []string{"./nothing"}, &bytes.Buffer{}); ok || err == nil {
		t.Errorf("runTests = %t, %v, want an error", ok, err)
	}
}

func TestRunFuzz(t *testing.T) {
	s := module(t, map[string]string{"a/a_test.go": `package a

import "testing"

func FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }

func FuzzBad(f *testing.F) { f.Add([]byte("x")); f.Fuzz(func(t *testing.T, b []byte) { t.Fatal("bad") }) }
`})
	var out bytes.Buffer
	ok, err := runFuzz(t.Context(), s, 50*time.Millisecond, []string{"./..."}, &out)
	if ok || err != nil || !strings.HasSuffix(out.String(), "\n1 passed, 1 failed, 0 skipped\n") {
		t.Errorf("runFuzz = %t, %v:\n%s", ok, err, out.String())
	}
}
