package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var framings = map[string]Framing{"litellm.proxy": {}, "nginx.access": {Text: true}, "nginx.error": {Text: true}, "kubernetes.audit": {}}

func options(b Bus) Options {
	o := DefaultOptions()
	o.Addr, o.Bus = "127.0.0.1:0", b
	o.Framing = func(s string) (Framing, bool) { f, ok := framings[s]; return f, ok }
	o.Sources = func() []string { return []string{"litellm.proxy", "nginx.access", "nginx.error"} }
	o.Tokens = []Token{
		{Name: "all", SHA256: HashToken("all-secret"), Sources: []string{"*"}},
		{Name: "edge", SHA256: HashToken("edge-secret"), Sources: []string{"nginx.*"}},
	}
	return o
}

// start runs a service until the test ends.
func start(t testing.TB, o Options) *Service {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

type answer struct {
	status int
	header http.Header
	receipt
	*problem
}

func post(t testing.TB, s *Service, source, token string, body []byte, header ...string) answer {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, "http://"+s.Addr()+"/v1/ingest/"+source, bytes.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, problem: &problem{}}
	var v any = &a.receipt
	if a.status != http.StatusOK {
		v = a.problem
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%d %s: %v", a.status, data, err)
	}
	return a
}

// stored reads all blocks of a stream.
func stored(t testing.TB, b *bus.Bus, stream string) (records []string, raws []*block.Raw) {
	t.Helper()
	for r, err := range b.ReadFrom(t.Context(), stream, nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var raw block.Raw
		if err := block.DecodeRaw(r.Data, &raw); err != nil {
			t.Fatal(err)
		}
		for i := range raw.Len() {
			records = append(records, string(raw.Record(i)))
		}
		raws = append(raws, &raw)
	}
	return records, raws
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func TestAnswers(t *testing.T) {
	b := testkit.Bus(t)
	o := options(b)
	o.MaxBody, o.MaxRecord, o.MaxRecords = 6<<20, 1<<20, 1000
	s := start(t, o)
	for name, tc := range map[string]struct {
		source, token string
		body          []byte
		header        []string
		status        int
		code          string
		accepted      int
		dead          int
	}{
		"lines":             {"nginx.access", "edge-secret", []byte("a\nb\r\n\xff\n"), nil, 200, "", 3, 0},
		"ndjson":            {"litellm.proxy", "all-secret", []byte("{\"a\":1}\n{\"b\":2}"), nil, 200, "", 2, 0},
		"array":             {"litellm.proxy", "all-secret", []byte(`[{"a":1},{"b":2},{"c":3}]`), nil, 200, "", 3, 0},
		"array, one broken": {"litellm.proxy", "all-secret", []byte(`[{"a":1},{"b":x},{"c":3}]`), nil, 200, "", 2, 1},
		"deep nesting":      {"litellm.proxy", "all-secret", []byte(`[{"a":1},` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `]`), nil, 200, "", 1, 1},
		"array cut short":   {"litellm.proxy", "all-secret", []byte(`[{"a":1},{"b"`), nil, 400, "malformed_json", 0, 0},
		"gzip":              {"nginx.access", "edge-secret", zip([]byte("a\nb\n")), []string{"Content-Encoding", "gzip"}, 200, "", 2, 0},
		"content type lies": {"nginx.access", "edge-secret", zip([]byte("a\nb\n")), []string{"Content-Type", "application/json"}, 200, "", 2, 0},
		"not gzip":          {"nginx.access", "edge-secret", []byte("a\nb\n"), []string{"Content-Encoding", "gzip"}, 400, "damaged_body", 0, 0},
		"brotli":            {"nginx.access", "edge-secret", []byte("a\nb\n"), []string{"Content-Encoding", "br"}, 415, "unsupported_encoding", 0, 0},
		"zip bomb":          {"nginx.access", "edge-secret", zip(make([]byte, 64<<20)), nil, 413, "body_too_large", 0, 0},
		"too large":         {"nginx.access", "edge-secret", make([]byte, 7<<20), nil, 413, "body_too_large", 0, 0},
		"long line":         {"nginx.access", "edge-secret", append(append([]byte("a\n"), bytes.Repeat([]byte("x"), 2<<20)...), "\nb\n"...), nil, 200, "", 2, 1},
		"too many records":  {"nginx.access", "edge-secret", bytes.Repeat([]byte("a\n"), 1001), nil, 413, "too_many_records", 0, 0},
		"empty":             {"nginx.access", "edge-secret", nil, nil, 200, "", 0, 0},
		"no token":          {"nginx.access", "", []byte("a"), nil, 401, "unauthorized", 0, 0},
		"wrong token":       {"nginx.access", "edge-secreT", []byte("a"), nil, 401, "unauthorized", 0, 0},
		"not its source":    {"litellm.proxy", "edge-secret", []byte("{}"), nil, 403, "forbidden", 0, 0},
		"unknown source":    {"nginx.acess", "edge-secret", []byte("a"), nil, 404, "unknown_source", 0, 0},
		"unknown, no token": {"nginx.acess", "", []byte("a"), nil, 401, "unauthorized", 0, 0},
		"bad key":           {"nginx.access", "edge-secret", []byte("a"), []string{"Idempotency-Key", "a b"}, 400, "bad_idempotency_key", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := post(t, s, tc.source, tc.token, tc.body, tc.header...)
			if a.status != tc.status || a.Code != tc.code || a.Accepted != tc.accepted || a.Dead != tc.dead {
				t.Errorf("%d %+v %+v", a.status, a.receipt, a.problem)
			}
			if a.status != 200 && a.Message == "" {
				t.Error("no message")
			}
			if tc.code == "unknown_source" && !slices.Equal(a.Near, []string{"nginx.access", "nginx.error"}) {
				t.Errorf("near: %v", a.Near)
			}
		})
	}
}

func TestRecordsAreKeptExactly(t *testing.T) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	post(t, s, "nginx.access", "edge-secret", []byte("\xef\xbb\xbf one \r\n\n\xff\x00two\n"))
	got, raws := stored(t, b, subjects.StreamRaw)
	if !slices.Equal(got, []string{" one ", "\xff\x00two"}) {
		t.Errorf("%q", got)
	}
	h := raws[0].Header
	if h.Source != "nginx.access" || h.Auth != "edge" || h.Remote != "127.0.0.1" || h.Received == 0 || h.Rows != 2 {
		t.Errorf("%+v", h)
	}
}

func TestLongLineIsKeptInPart(t *testing.T) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	post(t, s, "nginx.access", "edge-secret", bytes.Repeat([]byte("x"), 3<<20))
	got, raws := stored(t, b, subjects.StreamDead)
	if len(got) != 1 || len(got[0]) != 64<<10 || raws[0].Reason(0) != "line_too_long" || !strings.Contains(raws[0].Error(0), "3145728 bytes") {
		t.Errorf("%d records, %q %q", len(got), raws[0].Reason(0), raws[0].Error(0))
	}
}

func TestChunksAndRetry(t *testing.T) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	var body bytes.Buffer
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("y", 700)))
		fmt.Fprintln(&body, want[i])
	}
	first := post(t, s, "nginx.access", "edge-secret", body.Bytes(), "Idempotency-Key", "k1")
	again := post(t, s, "nginx.access", "edge-secret", zip(body.Bytes()), "Idempotency-Key", "k1")
	if first.Duplicate || !again.Duplicate || first.Accepted != 5000 || again.Accepted != 5000 || again.receipt.Batch != "k1" {
		t.Errorf("%+v then %+v", first.receipt, again.receipt)
	}
	got, raws := stored(t, b, subjects.StreamRaw)
	if !slices.Equal(got, want) {
		t.Fatalf("%d records stored, want %d", len(got), len(want))
	}
	if len(raws) < 4 {
		t.Errorf("%d blocks", len(raws))
	}
	uids := map[[16]byte]bool{}
	for _, r := range raws {
		for i := range r.Len() {
			uids[r.UID(i)] = true
		}
	}
	if len(uids) != 5000 {
		t.Errorf("%d uids", len(uids))
	}
	// Another body under the same key is another batch.
	if other := post(t, s, "nginx.access", "edge-secret", []byte("other\n"), "Idempotency-Key", "k1"); other.Duplicate {
		t.Error("another body was taken for a repeat")
	}
	if got, _ := stored(t, b, subjects.StreamRaw); len(got) != 5001 {
		t.Errorf("%d records after another body", len(got))
	}
}

// TestFullBus: a full stream gives 503 and, when there is room again, the same
// batch goes through once.
func TestFullBus(t *testing.T) {
	b := testkit.BusWith(t, bus.Limits{Streams: map[string]bus.StreamLimits{subjects.StreamRaw: {MaxBytes: 3 << 20}}})
	s := start(t, options(b))
	body := make([]byte, 0, 2<<20) // 2 MB that no compression makes smaller: fits once
	for random := rand.NewChaCha8([32]byte{}); len(body) < 2<<20; {
		for range 124 {
			body = binary.LittleEndian.AppendUint64(body, random.Uint64()|0x8080808080808080)
		}
		body = append(body, '\n')
	}
	if a := post(t, s, "nginx.access", "edge-secret", body, "Idempotency-Key", "first"); a.status != 200 {
		t.Fatalf("%d %+v", a.status, a.problem)
	}
	lines := bytes.Count(body, []byte("\n"))
	body[0] = 'a'
	a := post(t, s, "nginx.access", "edge-secret", body, "Idempotency-Key", "second")
	if a.status != 503 || a.header.Get("Retry-After") == "" || a.problem.Batch != "second" {
		t.Fatalf("%d %v %+v", a.status, a.header, a.problem)
	}
	st, err := b.JetStream().Stream(t.Context(), subjects.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := st.Info(t.Context())
	part := info.State.Msgs
	if err := b.EnsureStreams(t.Context(), bus.Limits{Streams: map[string]bus.StreamLimits{subjects.StreamRaw: {MaxBytes: 64 << 20}}}); err != nil {
		t.Fatal(err)
	}
	if a := post(t, s, "nginx.access", "edge-secret", body, "Idempotency-Key", "second"); a.status != 200 || a.Accepted != lines {
		t.Fatalf("%d %+v", a.status, a.problem)
	}
	got, _ := stored(t, b, subjects.StreamRaw)
	if len(got) != 2*lines {
		t.Errorf("%d records (%d blocks before the retry)", len(got), part)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := testkit.Bus(t)
	o := options(b)
	o.MaxInFlight, o.QueueTimeout = 4<<20, 10*time.Millisecond
	s := start(t, o)
	if a := post(t, s, "nginx.access", "edge-secret", make([]byte, 8<<20)); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %+v", a.status, a.problem)
	}
	if a := post(t, s, "nginx.access", "edge-secret", []byte("a\n")); a.status != 200 {
		t.Errorf("after a refusal: %d %+v", a.status, a.problem)
	}
	testkit.Eventually(t, "memory given back", func() bool { return s.memory.used() == 0 })
}

func TestSlowSender(t *testing.T) {
	o := options(testkit.Bus(t))
	o.IdleTimeout = 500 * time.Millisecond
	s := start(t, o)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/ingest/nginx.access HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer edge-secret\r\nContent-Length: 100\r\n\r\nstart")
	data, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(data), "HTTP/1.1 408") {
		t.Errorf("%s", data)
	}
}

func TestProbesAndPaths(t *testing.T) {
	s := start(t, options(testkit.Bus(t)))
	post(t, s, "nginx.access", "edge-secret", []byte("a\n"))
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/other": 404} {
		resp, err := http.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
		if path == "/metrics" && !strings.Contains(string(data), `vagus_ingest_records_total{source="nginx.access"} 1`) {
			t.Errorf("%s", data)
		}
	}
}

func TestLoadTokens(t *testing.T) {
	if _, err := LoadTokens("testdata/missing.yaml"); err == nil {
		t.Error("a missing file was read")
	}
	tokens, err := LoadTokens("testdata/tokens.yaml")
	if err != nil || len(tokens) != 2 {
		t.Fatal(tokens, err)
	}
	if _, err := LoadTokens("testdata/wrong.yaml"); err == nil || !strings.Contains(err.Error(), "[3:") {
		t.Errorf("%v", err)
	}
}

// sink is a bus that takes everything at once.
type sink struct{}

func (sink) PublishAsync(_ context.Context, _ bus.Msg, done func(bus.Ack, error)) error {
	done(bus.Ack{}, nil)
	return nil
}
func (sink) Ready(context.Context) error { return nil }

// BenchmarkBody is framing, building and handing over a body of 1 MB, without
// HTTP and bus.
func BenchmarkBody(b *testing.B) {
	o := options(sink{})
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	line := []byte(`{"id":"x","model":"gpt-4o-mini","messages":[{"role":"user","content":"` + strings.Repeat("tell me a story ", 50) + `"}]}` + "\n")
	body := bytes.Repeat(line, 1<<20/len(line))
	records := bytes.Count(body, []byte("\n"))
	req, _ := http.NewRequest(http.MethodPost, "http://x/v1/ingest/litellm.proxy", nil)
	req.SetPathValue("source", "litellm.proxy")
	req.Header.Set("Authorization", "Bearer all-secret")
	req.RemoteAddr = "192.0.2.1:1"
	w := discard{http.Header{}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
		if rec, p := s.receive(w, req); p != nil || rec.Accepted != records {
			b.Fatal(p)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkEndToEnd is the same over HTTP with a bus that fsyncs.
func BenchmarkEndToEnd(b *testing.B) {
	s := start(b, options(testkit.BusWith(b, bus.Limits{Streams: map[string]bus.StreamLimits{subjects.StreamRaw: {DropOldest: true}}})))
	line := strings.Repeat("x", 799) + "\n"
	body := []byte(strings.Repeat(line, 1000))
	b.SetBytes(int64(len(body)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := post(b, s, "nginx.access", "edge-secret", body); a.status != 200 {
				b.Error(a.problem)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/record")
}
