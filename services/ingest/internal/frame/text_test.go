package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func compiled(t testing.TB, start, group, header string) Framing {
	t.Helper()
	fr, err := Compile(start, group, header)
	if err != nil {
		t.Fatal(err)
	}
	return fr
}

// several lists what a body and the same lines of a stream become; stream is
// the latter if it differs.
var several = map[string]struct {
	start, group, header string
	body                 string
	want, stream         []string
}{
	"start":             {`^\d{4}-`, "", "", "2026-01-01 a\n  at b\r\n\n  at c\n2026-01-02 d\n", []string{"2026-01-01 a\n  at b\r\n\n  at c", "2026-01-02 d"}, []string{"2026-01-01 a\n  at b\n  at c", "2026-01-02 d"}},
	"cut before start":  {`^\d{4}-`, "", "", "  at b\n  at c\n2026-01-02 d", []string{"  at b\n  at c", "2026-01-02 d"}, nil},
	"group":             {"", `audit\(([^)]+)\)`, "", "type=A audit(1:1): x\ntype=B audit(1:1): y\ntype=A audit(1:2): z\n", []string{"type=A audit(1:1): x\ntype=B audit(1:1): y", "type=A audit(1:2): z"}, nil},
	"group, others":     {"", `audit\(([^)]+)\)`, "", "x\ny\naudit(1) a\nz\naudit(1) b\n", []string{"x", "y", "audit(1) a", "z", "audit(1) b"}, nil},
	"group, no capture": {"", `^id=\d`, "", "id=1 a\nid=1 b\nid=2 c", []string{"id=1 a\nid=1 b", "id=2 c"}, nil},
	"header":            {"", "", "#", "#fields a b\n#types x y\n1 2\n3 4\n#close\n", []string{"#fields a b\n#types x y\n1 2\n3 4"}, []string{"#fields a b\n#types x y\n1 2", "#fields a b\n#types x y\n3 4"}},
	"two headers":       {"", "", "#", "#a\n1\n#b\n2\n", []string{"#a\n1", "#b\n2"}, nil},
	"no header":         {"", "", "#", "1\n2\n", []string{"1", "2"}, nil},
	"json instead":      {"", "", "#", "{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, nil},
	"json, not start":   {`^\d`, "", "", "{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, nil},
	"nothing":           {`^\d`, "", "", "\n\n", []string{}, nil},
}

func TestSeveral(t *testing.T) {
	for name, tc := range several {
		t.Run(name, func(t *testing.T) {
			fr := compiled(t, tc.start, tc.group, tc.header)
			var f Frames
			body, err := fr.Frame([]byte(tc.body), lim, &f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, texts(string(body), f.Records)); diff != "" {
				t.Error("body:", diff)
			}
			want := tc.stream
			if want == nil {
				want = tc.want
			}
			got := []string{}
			a := NewAssembler(fr, lim)
			emit := func(r []byte, _ int64) { got = append(got, string(r)) }
			for line := range strings.Lines(tc.body) {
				a.Add([]byte(strings.TrimRight(line, "\r\n")), 0, time.Time{}, emit)
			}
			a.Flush(emit)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("stream:", diff)
			}
		})
	}
}

func TestSeveralBounds(t *testing.T) {
	fr := compiled(t, "^start", "", "")
	body := []byte("start\n" + strings.Repeat("x\n", 1200))
	var f Frames
	if _, err := fr.Frame(body, lim, &f); err != nil || len(f.Records) != 3 {
		t.Errorf("%d records of 1201 lines: %v", len(f.Records), err)
	}
	f.Reset()
	if _, err := fr.Frame(body, Limits{MaxRecord: 100, MaxRecords: 100, MaxDepth: 8}, &f); err != nil || len(f.Bad) != 0 || len(f.Records) < 24 {
		t.Errorf("%d records of 100 bytes, %d too long: %v", len(f.Records), len(f.Bad), err)
	}
	a, n := NewAssembler(fr, lim), 0
	for line := range bytes.Lines(body) {
		a.Add(bytes.TrimRight(line, "\n"), 0, time.Time{}, func([]byte, int64) { n++ })
	}
	if n != 2 {
		t.Errorf("%d records of a stream before its end", n)
	}
	// A long body repeats its header, and grows by little.
	var long bytes.Buffer
	long.WriteString("#fields a\n")
	for i := range 5000 {
		fmt.Fprintf(&long, "%d\n", i)
	}
	f.Reset()
	got, err := compiled(t, "", "", "#").Frame(long.Bytes(), lim, &f)
	if err != nil || len(f.Records) != 10 || len(got) > 3*long.Len() {
		t.Fatalf("%d records, %d bytes of %d: %v", len(f.Records), len(got), long.Len(), err)
	}
	for _, r := range f.Records {
		if rec := got[r.Off:r.End]; !bytes.HasPrefix(rec, []byte("#fields a\n")) || bytes.Count(rec, []byte("\n")) != 500 {
			t.Fatalf("record %.40q of %d lines", rec, bytes.Count(rec, []byte("\n")))
		}
	}
}

func TestAssemblerInTime(t *testing.T) {
	a := NewAssembler(compiled(t, "^start", "", ""), lim)
	now := time.Unix(0, 0)
	if _, ok := a.Due(); ok {
		t.Error("due though empty")
	}
	none := func(r []byte, _ int64) { t.Errorf("record %q too early", r) }
	a.Add([]byte("start"), 6, now, none)
	a.Add([]byte(" more"), 12, now.Add(time.Second), none)
	if at, ok := a.Due(); !ok || at != now.Add(time.Second+Silence) {
		t.Error(at, ok)
	}
	a.Flush(func(r []byte, mark int64) {
		if string(r) != "start\n more" || mark != 12 {
			t.Errorf("%q, mark %d", r, mark)
		}
	})
	b := NewAssembler(compiled(t, "", "", "#"), lim)
	b.SetHeader([]byte("#fields\n"))
	b.Add([]byte("1"), 2, now, func(r []byte, mark int64) {
		if string(r) != "#fields\n1" || mark != 2 || string(b.Header()) != "#fields\n" {
			t.Errorf("%q, mark %d", r, mark)
		}
	})
}

func TestCompileRefuses(t *testing.T) {
	for name, s := range map[string][3]string{"start": {"("}, "group": {"", "("}, "two": {"a", "", "#"}} {
		if _, err := Compile(s[0], s[1], s[2]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// FuzzSeveral: no line is lost, whatever the framing, and no bound is passed;
// a stream and a body give the same lines.
func FuzzSeveral(f *testing.F) {
	for _, tc := range several {
		f.Add([]byte(tc.body))
	}
	framings := []Framing{compiled(f, `^\S`, "", ""), compiled(f, "", `^(\w+)=`, ""), compiled(f, "", "", "#")}
	f.Fuzz(func(t *testing.T, body []byte) {
		small := Limits{MaxRecord: 64, MaxRecords: 1 << 16, MaxDepth: 8}
		for i, fr := range framings {
			var fs Frames
			out, err := fr.Frame(bytes.Clone(body), small, &fs)
			if err != nil {
				continue
			}
			if !bytes.HasPrefix(out, body) {
				t.Fatal("the body was changed")
			}
			seen := map[string]int{}
			for _, s := range fs.Records {
				if s.Off >= s.End || int(s.End) > len(out) {
					t.Fatalf("span %v of %d bytes", s, len(out))
				}
				for line := range bytes.Lines(out[s.Off:s.End]) {
					seen[string(bytes.TrimRight(line, "\r\n"))]++
				}
			}
			for _, s := range fs.Bad {
				for line := range bytes.Lines(out[s.Off:s.End]) {
					seen[string(bytes.TrimRight(line, "\r\n"))]++
				}
			}
			a := NewAssembler(fr, small)
			emit := func(r []byte, _ int64) {}
			longest := small.MaxRecord
			for line := range bytes.Lines(body[start(body):]) {
				text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
				a.Add(text, 0, time.Time{}, emit)
				longest = max(longest, len(text))
				if a.lines > maxLines || len(a.record) > longest || len(a.header) > maxHeader {
					t.Fatal("the assembler holds too much")
				}
				if i < 2 && !LooksJSON(body) && len(text) > 0 && seen[string(bytes.TrimRight(text, "\r\n"))] == 0 {
					t.Fatalf("framing %d lost %q", i, text)
				}
			}
		}
	})
}

func TestItems(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"list":       {`{"kind":"EventList","metadata":{"items":[9]},"items":[{"a":1},{"b":[2]}],"x":1}`, []string{`{"a":1}`, `{"b":[2]}`}},
		"empty list": {`{"items":[]}`, []string{}},
		"no list":    {`{"kind":"Event"}`, []string{`{"kind":"Event"}`}},
		"not array":  {`{"items":null}`, []string{`{"items":null}`}},
		"lines":      {"{\"a\":1}\n{\"b\":2}", []string{`{"a":1}`, `{"b":2}`}},
		"empty":      {"", []string{}},
		"broken":     {`{"items`, []string{`{"items`}},
	} {
		t.Run(name, func(t *testing.T) {
			var f Frames
			if err := Items([]byte(tc.body), "items", lim, &f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, texts(tc.body, f.Records)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzItems(f *testing.F) {
	for _, s := range []string{`{"items":[{"a":1},{"b":2}]}`, `{"a":{"items":[1]},"items" : [`, `{"items":[x]}`, `{"a"`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var fs Frames
		if Items(body, "items", Limits{MaxRecord: 64, MaxRecords: 1 << 16, MaxDepth: 8}, &fs) != nil {
			return
		}
		for _, s := range fs.Records {
			if s.Off >= s.End || int(s.End) > len(body) {
				t.Fatalf("span %v of %d bytes", s, len(body))
			}
		}
	})
}

func BenchmarkStart(b *testing.B) {
	fr := compiled(b, `^\d{4}-\d\d-\d\d`, "", "")
	body := bytes.Repeat([]byte("2026-11-22 10:00:00 ERROR in handler\n  at one\n  at two\n  at three\n"), 1000)
	var f Frames
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		f.Reset()
		if _, err := fr.Frame(body, lim, &f); err != nil || len(f.Records) != 1000 {
			b.Fatal(err, len(f.Records))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
