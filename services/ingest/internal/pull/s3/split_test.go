package s3

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

var limits = frame.Limits{MaxRecord: 4096, MaxRecords: 1000, MaxDepth: 16}

type found struct {
	records, dead []string
}

func (f *found) record(rec []byte) error { f.records = append(f.records, string(rec)); return nil }

func (f *found) bad(_ []byte, reason, _ string) error { f.dead = append(f.dead, reason); return nil }

func cut(t testing.TB, format, body string) *found {
	t.Helper()
	f := &found{}
	if err := split(bufio.NewReaderSize(strings.NewReader(body), 64), format, limits, f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSplit(t *testing.T) {
	long := strings.Repeat("x", 5000)
	deep := strings.Repeat("[", 20) + strings.Repeat("]", 20)
	for name, c := range map[string]struct {
		body          string
		records, dead []string
	}{
		"empty":             {body: ""},
		"lines":             {body: "a\r\n\nb", records: []string{"a", "b"}},
		"NDJSON":            {body: "{\"a\":1}\n{\"b\":2}\n", records: []string{`{"a":1}`, `{"b":2}`}},
		"CloudTrail":        {body: `{"Records":[{"a":"]}"},{"b":[1]}]}`, records: []string{`{"a":"]}"}`, `{"b":[1]}`}},
		"members around it": {body: ` {"records" : [ 1 , "x" ,null], "z":[{"Records":[7]}]}`, records: []string{"1", `"x"`, "null"}},
		"array":             {body: "[{\"a\":1},\n {\"a\":2}]\n", records: []string{`{"a":1}`, `{"a":2}`}},
		"two documents":     {body: `[1][2]`, records: []string{"1", "2"}},
		"long line":         {body: "a\n" + long + "\nb", records: []string{"a", "b"}, dead: []string{frame.ReasonTooLong}},
		"long element":      {body: `[1,"` + long + `",2]`, records: []string{"1", "2"}, dead: []string{frame.ReasonTooLong}},
		"deep element":      {body: `[1,` + deep + `,2]`, records: []string{"1", "2"}, dead: []string{frame.ReasonTooDeep}},
		"it ends":           {body: `{"Records":[{"a":1},{"b"`, records: []string{`{"a":1}`}, dead: []string{frame.ReasonMalformed}},
		"no comma":          {body: `[1 2]`, records: []string{"1"}, dead: []string{frame.ReasonMalformed}},
	} {
		t.Run(name, func(t *testing.T) {
			got := cut(t, auto, c.body)
			if diff := cmp.Diff(&found{c.records, c.dead}, got, cmp.AllowUnexported(found{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A connection that breaks is no damage of the object.
func TestBrokenConnection(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte("a line\n"), 10_000))
	_ = z.Close()
	read := func(r *bufio.Reader, done func(), err error) error {
		if err != nil {
			return err
		}
		defer done()
		return split(r, lines, limits, &found{})
	}
	broken := errors.New("connection reset")
	half := b.Bytes()[:b.Len()/2]
	var d *damage
	if err := read(unpack(&after{bytes.NewReader(half), broken}, 1<<20)); !errors.Is(err, broken) || errors.As(err, &d) {
		t.Errorf("a broken connection: %v", err)
	}
	if err := read(unpack(bytes.NewReader(half), 1<<20)); !errors.As(err, &d) {
		t.Errorf("half an object: %v", err)
	}
	if err := read(unpack(bytes.NewReader(b.Bytes()), 1000)); !errors.Is(err, errLarge) {
		t.Errorf("a large object: %v", err)
	}
	if err := read(unpack(iotest.OneByteReader(bytes.NewReader(b.Bytes())), 1<<20)); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

// after gives err where r ends.
type after struct {
	r   *bytes.Reader
	err error
}

func (a *after) Read(b []byte) (int, error) {
	if a.r.Len() == 0 {
		return 0, a.err
	}
	return a.r.Read(b)
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a\nb", `{"Records":[{"a":1},{"b":"\"]"}]}`, `[1,[2],{"a":3}]`, "\xef\xbb\xbf{}", `{"Records":[`, `[1 2`, "{\"a\":1}\n{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, format := range []string{auto, lines, records} {
			got := cut(t, format, string(body))
			for _, r := range got.records {
				if len(r) > limits.MaxRecord {
					t.Fatalf("a record of %d bytes", len(r))
				}
			}
			again := &found{}
			if err := split(bufio.NewReader(iotest.HalfReader(bytes.NewReader(body))), format, limits, again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again, cmp.AllowUnexported(found{})); diff != "" {
				t.Fatalf("another buffer gives another result: %s", diff)
			}
		}
		var want []json.RawMessage
		if len(body) > limits.MaxRecord || json.Unmarshal(body, &want) != nil || want == nil {
			return
		}
		got := cut(t, records, string(body))
		if len(got.records)+len(got.dead) != len(want) {
			t.Fatalf("%d records of %d: %q", len(got.records), len(want), body)
		}
		for i, r := range got.records {
			if len(got.dead) == 0 && r != string(want[i]) {
				t.Fatalf("record %d is %q, not %q", i, r, want[i])
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("a\nb\n"))
	_ = z.Close()
	f.Add(b.Bytes())
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00abc"))
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, done, err := unpack(bytes.NewReader(body), 1<<20)
		if err == nil {
			defer done()
			err = split(r, auto, limits, &found{})
		}
		var d *damage
		if err != nil && !errors.As(err, &d) && !errors.Is(err, errLarge) {
			t.Fatalf("an error of the object that is no dead letter: %v", err)
		}
	})
}

func FuzzNotification(f *testing.F) {
	f.Add([]byte(`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"logs"},"object":{"key":"a+b%2Bc","eTag":"x"}}}]}`))
	f.Add([]byte(`{"Type":"Notification","Message":"{\"Event\":\"s3:TestEvent\"}"}`))
	f.Add([]byte(`{"bucket":"logs","files":[{"path":"data/a.gz","size":1,"checksum":"x"}]}`))
	f.Add([]byte(`{"detail-type":"Object Created","detail":{"bucket":{"name":"logs"},"object":{"key":"a","etag":"x"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		objects, err := notification(body, "logs", nested)
		if err != nil && len(objects) > 0 {
			t.Fatal("objects and an error")
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	rec := `{"eventVersion":"1.09","eventName":"InvokeModel","eventSource":"bedrock.amazonaws.com","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/app/session"},"requestParameters":{"modelId":"example.model-v1"},"sourceIPAddress":"192.0.2.7","eventTime":"2026-01-01T00:00:00Z"}`
	const n = 10_000
	for name, body := range map[string]string{
		records: `{"Records":[` + strings.Repeat(rec+",", n-1) + rec + `]}`,
		lines:   strings.Repeat(rec+"\n", n),
	} {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		fmt.Fprint(w, body)
		_ = w.Close()
		for _, packing := range []string{"plain", "gzip"} {
			b.Run(name+"/"+packing, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					in := []byte(body)
					if packing == "gzip" {
						in = z.Bytes()
					}
					r, done, err := unpack(bytes.NewReader(in), 1<<30)
					if err != nil {
						b.Fatal(err)
					}
					var c counter
					if err := split(r, auto, limits, &c); err != nil || c != n {
						b.Fatal(c, err)
					}
					done()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

type counter int

func (c *counter) record([]byte) error { *c++; return nil }

func (c *counter) bad([]byte, string, string) error { return errors.New("dead") }
