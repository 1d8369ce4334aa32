package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"

	"github.com/vagus-hub/vagus/services/ingest"
)

// maxMemory bounds what the hub and its engine may ever take, whatever is sent.
const maxMemory = 1500 << 20

// nginxRecord is a request that succeeded, told apart by its id.
func nginxRecord(id string) string {
	return fmt.Sprintf(`{"msec":%d.123,"request_id":%q,"remote_addr":"192.0.2.10","request_method":"GET","request_uri":"/v1/models","uri":"/v1/models","server_protocol":"HTTP/1.1","status":200,"body_bytes_sent":17,"request_time":0.001,"http_user_agent":"good/1.0"}`,
		time.Now().Unix(), id)
}

func nginxRecords(prefix string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(nginxRecord(fmt.Sprintf("%s-%d", prefix, i)))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// audit is a record of kubernetes.audit.
func audit(id string) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":%q,"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/web/pods","verb":"list","user":{"username":"alice@example.com"},"sourceIPs":["192.0.2.7"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"pods","namespace":"web","apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":%q,"stageTimestamp":%q}`,
		id, time.Now().UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339Nano))
}

// neighbour is a well-behaved sender beside a bad one.
type neighbour struct {
	h      *hub
	prefix string
	cancel context.CancelFunc
	done   chan struct{}
	sent   int
	err    error
}

// neighbour sends small batches until it is asked to end.
func (h *hub) neighbour(prefix string) *neighbour {
	ctx, cancel := context.WithCancel(context.Background())
	n := &neighbour{h: h, prefix: prefix, cancel: cancel, done: make(chan struct{})}
	h.t.Cleanup(func() { cancel(); <-n.done })
	go func() {
		defer close(n.done)
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%s-%d", prefix, i)
			limit, cancel := context.WithTimeout(context.Background(), patience)
			_, err := h.deliver(limit, "nginx.access", key, nginxRecords(key, 20))
			cancel()
			if err != nil {
				n.err = err
				return
			}
			n.sent += 20
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return n
}

// settle ends the sender and waits until all it sent is stored, once.
func (n *neighbour) settle() int {
	h := n.h
	h.t.Helper()
	n.cancel()
	<-n.done
	if n.err != nil {
		h.t.Fatalf("a well-behaved sender was disturbed: %v", n.err)
	}
	if n.sent == 0 {
		h.t.Fatal("the well-behaved sender sent nothing")
	}
	h.stored(n.prefix, n.sent)
	return n.sent
}

// stored waits until the events whose id has the prefix are all in ClickHouse,
// and each once.
func (h *hub) stored(prefix string, want int) {
	h.t.Helper()
	last := 0
	eventually(h.t, patience, fmt.Sprintf("%d events %s… are stored", want, prefix), func() bool {
		last = h.number("SELECT count() FROM events WHERE startsWith(metadata_correlation_uid, '" + prefix + "-')")
		return last >= want
	})
	distinct := h.count("SELECT uniqExact(event_uid) FROM events WHERE startsWith(metadata_correlation_uid, '" + prefix + "-')")
	if last != want || distinct != want {
		h.t.Errorf("%s: %d events of %d sent, %d distinct", prefix, last, want, distinct)
	}
}

// deadGroup is what `vagus dead list --json` prints.
type deadGroup struct {
	Stage, Source, Reason, Error, Sample string
	Records                              int
}

func (h *hub) dead() []deadGroup {
	h.t.Helper()
	return decode[[]deadGroup](h.t, h.cli("dead", "list", "--json"))
}

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, body []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(body, nil)
}

func utf16le(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

func text(s string) func(testing.TB) []byte { return func(testing.TB) []byte { return []byte(s) } }

// bad is a request that is wrong, and what is to come of it.
type bad struct {
	name, source string
	body         func(testing.TB) []byte
	stream       bool // send it without saying how long it is
	header       []string

	status int
	code   string // of the refusal
	says   string // in its message
	events int    // that come of it all the same
	dead   int    // dead letters that come of it
	reason string // of each
	why    string // in the error of each
}

func badRequests(narrow string) []bad {
	line := func(n int) func(testing.TB) []byte {
		return func(testing.TB) []byte { return bytes.Repeat([]byte("x"), n) }
	}
	const k8s = "kubernetes.audit"
	return []bad{
		{name: "malformed JSON", source: k8s, body: text(`{"kind":"Event","auditID":`),
			status: 200, dead: 1, reason: "json", why: "parse record: cannot parse JSON"},
		{name: "malformed line between good ones", source: k8s, body: text(audit("ok-1") + "\n{\"kind\":\"Event\",,}\n" + audit("ok-2") + "\n"),
			status: 200, events: 2, dead: 1, reason: "json", why: "parse record: cannot parse JSON"},
		{name: "broken array element", source: k8s, body: text("[" + audit("ok-3") + `,{"kind":},` + audit("ok-4") + "]"),
			status: 200, events: 2, dead: 1, reason: "json", why: "parse record: cannot parse JSON"},
		{name: "array with a bracket of another kind", source: k8s, body: text("[" + audit("ok-5") + `,{"kind":"Event",]},` + audit("ok-6") + "]"),
			status: 200, events: 2, dead: 1, reason: "malformed_json", why: "bracket of another kind"},
		{name: "array without an end", source: k8s, body: text("[" + audit("lost") + "," + audit("lost")),
			status: 400, code: "malformed_json", says: "nothing was taken"},
		{name: "UTF-16", source: k8s, body: func(testing.TB) []byte { return utf16le(audit("utf16")) },
			status: 200, dead: 1, reason: "encoding", why: "the record is UTF-16, not UTF-8; send UTF-8"},
		{name: "invalid UTF-8", source: k8s, body: text(strings.Replace(audit("utf8"), "alice", "al\xff\xfeice", 1)), status: 200, events: 1},
		{name: "NUL", source: k8s, body: text(strings.Replace(audit("nul"), "alice", "al\x00ice", 1)), status: 200, events: 1},
		{name: "text where JSON is due", source: k8s, body: text("hello world\n"),
			status: 200, dead: 1, reason: "json", why: "parse record: cannot parse JSON"},
		{name: "a JSON value that is no object", source: k8s, body: text("[1, 2]"),
			status: 200, dead: 2, reason: "json", why: "a JSON object is expected"},
		{name: "100 MB line", source: k8s, body: line(100 << 20), status: 413, code: "body_too_large", says: "send smaller batches"},
		{name: "100 MB line of unknown length", source: k8s, body: line(100 << 20), stream: true,
			status: 413, code: "body_too_large", says: "send smaller batches"},
		{name: "100 MB line, compressed", source: "nginx.access", header: []string{"Content-Encoding", "zstd"},
			body:   func(t testing.TB) []byte { return zstded(t, noise(100<<20)) },
			status: 413, code: "body_too_large", says: "more than 67108864 bytes after unpacking (send smaller batches)"},
		{name: "50 MB line", source: "nginx.access", body: line(50 << 20),
			status: 200, dead: 1, reason: "line_too_long", why: "has 52428800 bytes, at most 1048576 are taken"},
		{name: "gzip bomb", source: k8s, header: []string{"Content-Encoding", "gzip"},
			body:   func(t testing.TB) []byte { return gzipped(t, make([]byte, 100<<20)) },
			status: 413, code: "body_too_large", says: "unpacks to more than 200 times its size"},
		{name: "zstd bomb", source: k8s, header: []string{"Content-Encoding", "zstd"},
			body:   func(t testing.TB) []byte { return zstded(t, make([]byte, 100<<20)) },
			status: 413, code: "body_too_large", says: "unpacks to more than 200 times its size"},
		{name: "deep nesting", source: k8s, body: text(audit("ok-7") + "\n{\"a\":" + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}\n"),
			status: 200, events: 1, dead: 1, reason: "json", why: "parse record: cannot parse JSON: nested more than 200 deep"},
		{name: "deep nesting in an array", source: k8s, body: text("[" + audit("ok-8") + ",{\"a\":" + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}]"),
			status: 200, events: 1, dead: 1, reason: "json_too_deep", why: "nested too deeply"},
		{name: "brackets alone", source: k8s, body: text(strings.Repeat("[", 1_000_000)),
			status: 400, code: "malformed_json", says: "nothing was taken"},
		{name: "a source with a slip in its name", source: "kubernetes.audits", body: text(audit("lost")),
			status: 404, code: "unknown_source", says: `unknown source "kubernetes.audits", did you mean kubernetes.audit`},
		{name: "unknown source", source: "no-such-thing", body: text(audit("lost")),
			status: 404, code: "unknown_source", says: `unknown source "no-such-thing"`},
		{name: "wrong token", source: k8s, header: []string{"Authorization", "Bearer wrong"}, body: text(audit("lost")),
			status: 401, code: "unauthorized", says: "missing or wrong token (send Authorization: Bearer TOKEN)"},
		{name: "no token", source: k8s, header: []string{"Authorization", ""}, body: text(audit("lost")),
			status: 401, code: "unauthorized", says: "missing or wrong token"},
		{name: "wrong token for an unknown source", source: "no-such-thing", header: []string{"Authorization", "Bearer wrong"}, body: text(audit("lost")),
			status: 401, code: "unauthorized", says: "missing or wrong token"},
		{name: "token of another source", source: k8s, header: []string{"Authorization", "Bearer " + narrow}, body: text(audit("lost")),
			status: 403, code: "forbidden", says: "token narrow may not write to source kubernetes.audit"},
		{name: "huge header", source: k8s, header: []string{"X-Much", strings.Repeat("y", 200<<10)}, body: text(audit("lost")), status: 431},
		{name: "unknown encoding", source: k8s, header: []string{"Content-Encoding", "br"}, body: text(audit("lost")),
			status: 415, code: "unsupported_encoding", says: `"br" (gzip and zstd are understood)`},
		{name: "gzip that is none", source: k8s, header: []string{"Content-Encoding", "gzip"}, body: text(audit("lost")),
			status: 400, code: "damaged_body", says: "Content-Encoding says gzip, the body is not"},
		{name: "truncated gzip", source: k8s, header: []string{"Content-Encoding", "gzip"}, body: func(t testing.TB) []byte {
			z := gzipped(t, []byte(strings.Repeat(audit("lost")+"\n", 100)))
			return z[:len(z)/2]
		}, status: 400, code: "damaged_body", says: "damaged compressed body: unexpected EOF"},
		{name: "truncated zstd", source: k8s, header: []string{"Content-Encoding", "zstd"}, body: func(t testing.TB) []byte {
			z := zstded(t, []byte(strings.Repeat(audit("lost")+"\n", 100)))
			return z[:len(z)/2]
		}, status: 400, code: "damaged_body", says: "damaged compressed body"},
		{name: "empty body", source: k8s, body: text(""), status: 200},
		{name: "blank body", source: k8s, body: text(" \n\r\n\n"), status: 200},
		{name: "idempotency key with a space", source: k8s, header: []string{"Idempotency-Key", "a b"}, body: text(audit("lost")),
			status: 400, code: "bad_idempotency_key", says: "1 to 128 printable ASCII characters"},
	}
}

// noise is text that compresses about four times: no bomb.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint32(1)
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = 'a' + byte(x>>28)&3
	}
	return out
}

func TestBadInput(t *testing.T) {
	const narrow = "narrow-token-of-the-test"
	h := start(t, withConfig(fmt.Sprintf("ingest:\n  tokens:\n    - {name: narrow, sha256: %s, sources: [litellm.proxy]}\n", ingest.HashToken(narrow))))
	seen := 0 // dead letters
	reasons := map[string]int{}
	for i, b := range badRequests(narrow) {
		t.Run(b.name, func(t *testing.T) {
			h.within(t)
			body := b.body(t)
			good := h.neighbour(fmt.Sprintf("good%d", i))
			events := h.count("SELECT count() FROM events WHERE source = 'kubernetes.audit'")
			var r io.Reader = bytes.NewReader(body)
			if b.stream {
				r = io.MultiReader(r)
			}
			got, err := h.post(b.source, r, b.header...)
			if b.status != http.StatusRequestHeaderFieldsTooLarge && err != nil { // that one net/http answers in plain text
				t.Fatal(err)
			}
			if got.Status != b.status || got.Code != b.code || !strings.Contains(got.Error, b.says) {
				t.Errorf("answer %d %s %q; want %d %s …%s…", got.Status, got.Code, got.Error, b.status, b.code, b.says)
			}
			if b.status == 200 && got.Accepted+got.Dead != b.events+b.dead {
				t.Errorf("%d accepted and %d dead of %d records", got.Accepted, got.Dead, b.events+b.dead)
			}
			good.settle()
			where := fmt.Sprintf("FROM dead_letters WHERE source = '%s'", b.source)
			if b.dead > 0 {
				reasons[b.reason] += b.dead
				eventually(t, patience, "the dead letter is stored", func() bool {
					return h.number("SELECT count() FROM dead_letters") >= seen+b.dead
				})
				rows := h.query("SELECT reason, error, length(raw) AS size " + where + " ORDER BY seq DESC LIMIT " + strconv.Itoa(b.dead))
				for _, row := range rows {
					if row["reason"] != b.reason || !strings.Contains(row["error"].(string), b.why) {
						t.Errorf("dead letter with reason %v: %v; want %s: …%s…", row["reason"], row["error"], b.reason, b.why)
					}
				}
			}
			seen += b.dead
			if b.events > 0 {
				eventually(t, patience, "the good records of the bad request are stored", func() bool {
					return h.number("SELECT count() FROM events WHERE source = 'kubernetes.audit'") >= events+b.events
				})
			}
			if now := h.count("SELECT count() FROM events WHERE source = 'kubernetes.audit'"); now != events+b.events {
				t.Errorf("%d events came of it, want %d", now-events, b.events)
			}
			h.bounded()
		})
	}
	if n := h.count("SELECT count() FROM dead_letters"); n != seen {
		t.Errorf("%d dead letters, want %d", n, seen)
	}
	listed := map[string]int{}
	for _, d := range h.dead() {
		listed[d.Reason] += d.Records
		if d.Error == "" || d.Stage == "" || d.Source == "" {
			t.Errorf("a group of dead letters does not say all: %+v", d)
		}
	}
	for reason, n := range reasons {
		if listed[reason] != n {
			t.Errorf("`dead list` has %d of %s, want %d", listed[reason], reason, n)
		}
	}
	// Hostile bytes stay in the data and nothing else.
	rows := h.query("SELECT actor_user_name AS name FROM events WHERE source = 'kubernetes.audit' AND metadata_correlation_uid IN ('utf8', 'nul')")
	names := map[any]bool{}
	for _, row := range rows {
		names[row["name"]] = true
	}
	if len(rows) != 2 || !names["al\ufffdice@example.com"] || !names["al\x00ice@example.com"] {
		t.Errorf("records with odd bytes became %q", rows)
	}
	h.ledger()
	_, peak := h.rss()
	t.Logf("memory of hub and engine at most %d MB", peak>>20)
}

// within makes failures those of a part of the test.
func (h *hub) within(t *testing.T) {
	old := h.t
	h.t = t
	t.Cleanup(func() { h.t = old })
}

// bounded checks that the hub never took too much memory.
func (h *hub) bounded() {
	h.t.Helper()
	if _, peak := h.rss(); peak > maxMemory {
		h.t.Errorf("hub and engine took %d MB", peak>>20)
	}
}

// Senders that stop in the middle are hung up on and hold up nobody.
func TestSlowSenders(t *testing.T) {
	h := start(t)
	good := h.neighbour("beside-slow")
	state := h.at()
	addr := strings.TrimPrefix(state.IngestURL, "http://")
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	head := "POST /v1/ingest/nginx.access HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer " + state.IngestToken + "\r\n"
	inHeader := dial(head)
	bodies := make([]net.Conn, 50)
	for i := range bodies {
		bodies[i] = dial(head + "Content-Length: 60000000\r\n\r\n" + nginxRecord("slow"))
	}
	if rest, err := io.ReadAll(inHeader); err != nil {
		t.Errorf("a request without an end of its header: %q %v", rest, err)
	}
	for _, c := range bodies {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !(resp.StatusCode == http.StatusRequestTimeout && strings.Contains(string(answer), "the body did not arrive in time") ||
			resp.StatusCode == http.StatusTooManyRequests && strings.Contains(string(answer), "too many bytes in flight")) {
			t.Fatalf("%s %q %v", resp.Status, answer, err)
		}
	}
	t.Logf("%d events of another sender meanwhile", good.settle())
	h.bounded()
	if n := h.count("SELECT count() FROM events WHERE metadata_correlation_uid = 'slow'"); n != 0 {
		t.Errorf("%d events of halves of bodies", n)
	}
	h.ledger()
}

// The engine may die at any time: it is started again, and nothing is lost.
func TestEngineKilled(t *testing.T) {
	h := start(t)
	good := h.neighbour("over-kills")
	for range 3 {
		before := h.children()
		if len(before) != 1 {
			t.Fatalf("children %v, want the engine alone", before)
		}
		stored := h.count("SELECT count() FROM events")
		if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "another engine runs", func() bool {
			now := h.children()
			return len(now) == 1 && now[0] != before[0]
		})
		eventually(t, patience, "events are stored again", func() bool { return h.number("SELECT count() FROM events") > stored })
	}
	t.Logf("%d events", good.settle())
	h.ledger()
	h.bounded()
}

// fill sends until the hub refuses, and returns the refusal and the number of
// records taken.
func (h *hub) fill(prefix string, limit int) (receipt, int) {
	h.t.Helper()
	random := rand.New(rand.NewPCG(1, 2)) // what repeats would be compressed away
	for i := range limit {
		key := fmt.Sprintf("%s-%d", prefix, i)
		var body []byte
		for part := range bytes.SplitSeq(nginxRecords(key, 1000), []byte("good/1.0")) {
			body = append(body, part...)
			for range 32 {
				body = fmt.Appendf(body, "%016x", random.Uint64())
			}
		}
		r, err := h.post("nginx.access", bytes.NewReader(body), "Idempotency-Key", key)
		if err != nil {
			h.t.Fatal(err)
		}
		if r.Status != http.StatusOK {
			return r, i * 1000
		}
	}
	h.t.Fatalf("never refused, with %d records", limit*1000)
	return receipt{}, 0
}

func (h *hub) wantFull(r receipt) {
	h.t.Helper()
	seconds, err := strconv.Atoi(r.RetryAfter)
	if r.Status != http.StatusServiceUnavailable || r.Code != "busy" || err != nil || seconds < 1 || r.Batch == "" ||
		!strings.Contains(r.Error, "the bus cannot take the batch now; send it again with the same Idempotency-Key") {
		h.t.Errorf("a full hub answers %+v", r)
	}
	h.t.Logf("full: %d, Retry-After %s: %s", r.Status, r.RetryAfter, r.Error)
}

// A full bus refuses what it cannot keep, and goes on when there is room.
func TestFullBus(t *testing.T) {
	h := start(t, withConfig("bus:\n  max_bytes: 64000000\n"))
	goOn := pause(t, h.children()[0]) // the engine: nothing can be stored
	r, n := h.fill("full", 400)
	h.wantFull(r)
	goOn()
	good := h.neighbour("after-full")
	h.send("nginx.access", fmt.Sprintf("full-%d", n/1000), nginxRecords(fmt.Sprintf("again-%d", n/1000), 1000))
	h.stored("again", 1000)
	good.settle()
	t.Logf("%d records were taken before", n)
	rep := h.ledger()
	if len(rep.Sources) != 1 || rep.Sources[0].Stored < uint64(n) {
		t.Errorf("%d records were acknowledged, the ledger has %+v", n, rep.Sources)
	}
	h.bounded()
}

// A full disk is the same, for as long as it lasts.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := mountTmpfs(dir, "size=700m"); err != nil {
		t.Logf("no file system of its own to fill (%v); the bus's limit stands for it", err)
		return
	}
	t.Cleanup(func() {
		eventually(t, patience, "the file system can be unmounted", func() bool { return unmount(dir) == nil })
	})
	h := start(t, withData(filepath.Join(dir, "data")))
	h.send("nginx.access", "before-0", nginxRecords("before-0", 1000))
	h.stored("before", 1000)
	ballast := filepath.Join(dir, "ballast")
	fillDisk(t, ballast)
	r, n := h.fill("disk", 400)
	h.wantFull(r)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	good := h.neighbour("after-disk")
	h.send("nginx.access", fmt.Sprintf("disk-%d", n/1000), nginxRecords(fmt.Sprintf("later-%d", n/1000), 1000))
	h.stored("later", 1000)
	good.settle()
	h.stored("disk", n)
	h.ledger()
	h.bounded()
}

// fillDisk leaves 4 MB of the file system.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for n := int64(st.Bavail)*int64(st.Bsize) - 4<<20; n > 0; n -= int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			return // full already
		}
	}
}

// Dead letters of a wrong mapping become events once the mapping is mended,
// under the uids they were received with.
func TestDeadReplay(t *testing.T) {
	const combined = `192.0.2.%d - - [%s] "GET /v1/models HTTP/1.1" 200 17 "-" "good/1.0"` + "\n"
	folder := filepath.Join(t.TempDir(), "sources")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("..", "..", "..", "schemas", "sources"))); err != nil {
		t.Fatal(err)
	}
	mapping := filepath.Join(folder, "nginx.access", "mapping.yaml")
	sound, err := os.ReadFile(mapping)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Replace(sound, []byte("'%{remote_addr} - %{remote_user} ["), []byte("'%{remote_addr} = %{remote_user} ["), 1)
	if bytes.Equal(broken, sound) {
		t.Fatal("the mapping has no line to break")
	}
	write(t, mapping, string(broken))
	h := start(t, withConfig("normalize:\n  sources: "+folder+"\n"))
	var body bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&body, combined, i+1, time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700"))
	}
	h.send("nginx.access", "replay", body.Bytes())
	h.send("kubernetes.audit", "beside", []byte(audit("beside")))
	eventually(t, patience, "dead letters", func() bool { return h.number("SELECT count() FROM dead_letters") == 50 })
	if d := h.dead(); len(d) != 1 || d[0].Reason != "line" || d[0].Source != "nginx.access" || d[0].Stage != "normalize" || d[0].Records != 50 ||
		d[0].Error != "parse record: the line fits none of the mapping's patterns" {
		t.Errorf("dead letters %+v", d)
	}
	uids := func(table string) []string {
		var out []string
		for _, row := range h.query("SELECT toString(event_uid) AS uid FROM " + table + " WHERE source = 'nginx.access' ORDER BY uid") {
			out = append(out, row["uid"].(string))
		}
		return out
	}
	want := uids("dead_letters")
	h.ledger()
	h.stop()

	write(t, mapping, string(sound))
	h.start()
	if out := h.cli("dead", "replay", "--dry-run"); !strings.HasPrefix(out, "50 records") {
		t.Errorf("dry run: %s", out)
	}
	for i, want := range []string{"0 records", "50 records", "0 records"} { // each once, whatever the reason given
		args := [][]string{{"--reason", "json"}, {"--source", "nginx.access"}, {"--reason", "line"}}[i]
		if out := h.cli(append([]string{"dead", "replay"}, args...)...); !strings.HasPrefix(out, want) {
			t.Errorf("replay %v: %s, want %s", args, out, want)
		}
	}
	eventually(t, patience, "the replayed records are events", func() bool { return h.number("SELECT count() FROM events WHERE source = 'nginx.access'") >= 50 })
	if got := uids("events"); !slices.Equal(got, want) {
		t.Errorf("%d events with other uids than the %d dead letters", len(got), len(want))
	}
	h.ledger() // raw records are stored beside events
	if got := uids("raw"); !slices.Equal(got, want) {
		t.Errorf("the raw table has %d records, want %d", len(got), len(want))
	}
}
