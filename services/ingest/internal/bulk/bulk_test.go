package bulk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func handler(t testing.TB, hub *hubtest.Hub, cfg Config) *Handler {
	t.Helper()
	h, err := New(cfg, hub, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "ApiKey all-secret")
	r.Header.Set("User-Agent", "shipper/1")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestItems(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    Config
		path   string
		header []string
		body   string
		status int
		items  string // action:status for each item, or the type of the error
		stored []string
		dead   []string
	}{
		"index and create": {path: "/_bulk", body: "{\"index\":{\"_index\":\"a\"}}\n{\"x\":1}\n{\"create\":{\"_index\":\"b\",\"_id\":\"7\"}}\n{\"x\":2}\n", status: 200, items: "index:201 create:201", stored: []string{`{"x":1}`, `{"x":2}`}},
		"index in path":    {path: "/logs/_bulk", body: "{\"create\":{}}\r\n{\"x\":1}\r\n", status: 200, items: "create:201", stored: []string{`{"x":1}`}},
		"prefix":           {path: Prefix + "/logs/_bulk", body: "{\"create\":{}}\n{\"x\":1}\n", status: 200, items: "create:201", stored: []string{`{"x":1}`}},
		"no last newline":  {path: "/logs/_bulk", body: "\n{\"create\":{}}\n{\"x\":1}", status: 200, items: "create:201", stored: []string{`{"x":1}`}},
		"no index":         {path: "/_bulk", body: "{\"create\":{}}\n{\"x\":1}\n", status: 200, items: "create:400"},
		"update, delete": {path: "/a/_bulk", body: "{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n{\"delete\":{\"_id\":\"1\"}}\n{\"index\":{}}\n{\"x\":1}\n", status: 200,
			items: "update:400 delete:400 index:201", stored: []string{`{"x":1}`}},
		"broken document": {path: "/a/_bulk", body: "{\"index\":{}}\n{\"x\":\n{\"index\":{}}\n{\"x\":1}\n{\"index\":{}}\n[1]\n", status: 200, items: "index:400 index:201 index:400",
			stored: []string{`{"x":1}`}, dead: []string{frame.ReasonMalformed, frame.ReasonMalformed}},
		"deep document": {path: "/a/_bulk", body: "{\"index\":{}}\n{\"x\":" + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}\n", status: 200, items: "index:400", dead: []string{frame.ReasonTooDeep}},
		"long document": {path: "/a/_bulk", body: "{\"index\":{}}\n{\"x\":\"" + strings.Repeat("a", 70<<10) + "\"}\n", status: 200, items: "index:400", dead: []string{frame.ReasonTooLong}},
		"not allowed": {cfg: Config{Routes: []Route{{Index: "llm*", Source: "litellm.proxy"}}}, path: "/_bulk", header: []string{"Authorization", "Bearer edge-secret"},
			body: "{\"index\":{\"_index\":\"llm-1\"}}\n{\"x\":1}\n{\"index\":{\"_index\":\"b\"}}\n{\"x\":2}\n", status: 200, items: "index:403 index:201", stored: []string{`{"x":2}`}},
		"no action":     {path: "/a/_bulk", body: "{\"x\":1}\n{\"x\":1}\n", status: 400, items: "illegal_argument_exception"},
		"unknown":       {path: "/a/_bulk", body: "{\"upsert\":{}}\n{\"x\":1}\n", status: 400, items: "illegal_argument_exception"},
		"cut short":     {path: "/a/_bulk", body: "{\"index\":{}}\n{\"x\":1}\n{\"index\":{}}\n", status: 400, items: "illegal_argument_exception"},
		"empty":         {path: "/a/_bulk", status: 400, items: "parse_exception"},
		"too many":      {cfg: Config{MaxItems: 1}, path: "/a/_bulk", body: "{\"index\":{}}\n{}\n{\"index\":{}}\n{}\n", status: 413, items: "content_too_long_exception"},
		"too large":     {cfg: Config{MaxBody: 10}, path: "/a/_bulk", body: "{\"index\":{}}\n{}\n", status: 413, items: "content_too_long_exception"},
		"no token":      {path: "/a/_bulk", header: []string{"Authorization", ""}, body: "{\"index\":{}}\n{}\n", status: 401, items: "security_exception"},
		"wrong token":   {path: "/a/_bulk", header: []string{"Authorization", "ApiKey x"}, body: "{\"index\":{}}\n{}\n", status: 401, items: "security_exception"},
		"wrong packing": {path: "/a/_bulk", header: []string{"Content-Encoding", "gzip"}, body: "{\"index\":{}}\n{}\n", status: 400, items: "illegal_argument_exception"},
	} {
		t.Run(name, func(t *testing.T) {
			hub := hubtest.New(t)
			w := ask(handler(t, hub, tc.cfg), http.MethodPost, tc.path, tc.body, tc.header...)
			var a struct {
				Errors bool
				Items  []map[string]struct {
					ID     string `json:"_id"`
					Status int
					Error  struct{ Type, Reason string }
				}
				Status int
				Error  struct {
					Type  string
					Cause []struct{ Type string } `json:"root_cause"`
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			var items []string
			bad := false
			for _, it := range a.Items {
				for op, x := range it {
					items = append(items, fmt.Sprintf("%s:%d", op, x.Status))
					if (x.Status != 201) != (x.Error.Type != "" && x.Error.Reason != "") || x.ID == "" {
						t.Errorf("item %+v", x)
					}
					bad = bad || x.Status != 201
				}
			}
			if w.Code != 200 {
				items = []string{a.Error.Type}
				if a.Status != w.Code || len(a.Error.Cause) != 1 {
					t.Errorf("error %s", w.Body)
				}
			}
			if got := strings.Join(items, " "); w.Code != tc.status || got != tc.items || a.Errors != bad {
				t.Errorf("%d %s, want %d %s (%s)", w.Code, got, tc.status, tc.items, w.Body)
			}
			if w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
				t.Error("no product header")
			}
			var got, dead []string
			for _, r := range hub.Records() {
				got = append(got, r.Text)
				if r.Envelope != intake.Bulk {
					t.Errorf("envelope %q", r.Envelope)
				}
			}
			for _, r := range hub.Dead() {
				dead = append(dead, r.Auth)
			}
			if d := cmp.Diff(tc.stored, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.dead, dead); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	hub := hubtest.New(t)
	h := handler(t, hub, Config{Routes: []Route{{Index: "logs-nginx.*", Source: "nginx.access"}, {Dataset: "litellm*", Source: "litellm.proxy"}}})
	var body strings.Builder
	for i, d := range []string{
		`{"n":"%d","data_stream":{"type":"logs","dataset":"litellm.x"}}`, `{"n":"%d","event":{"dataset":"litellm"}}`, `{"n":"%d","event.dataset":"litellm"}`,
		`{"n":"%d","data_stream.dataset":"litellm"}`, `{"n":"%d","event":{"dataset":"other"}}`, `{"n":"%d"}`, `{"n":"%d","event":"litellm"}`,
	} {
		fmt.Fprintf(&body, "{\"create\":{\"_index\":\"logs-x\"}}\n"+d+"\n", i)
	}
	body.WriteString("{\"create\":{\"_index\":\"logs-nginx.access-default\"}}\n{\"n\":\"7\",\"event\":{\"dataset\":\"litellm\"}}\n")
	if w := ask(h, http.MethodPost, "/_bulk?filter_path=errors", body.String()); w.Body.String() != `{"errors":false}` {
		t.Fatal(w.Body)
	}
	got := map[string]string{}
	for _, r := range hub.Records() {
		got[r.Text[6:7]] = r.Source
	}
	want := map[string]string{"0": "litellm.proxy", "1": "litellm.proxy", "2": "litellm.proxy", "3": "litellm.proxy", "4": "auto", "5": "auto", "6": "auto", "7": "nginx.access"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Shippers repeat what was answered 429; nothing is stored twice, whether they
// repeat the items or the whole.
func TestBusyAndAgain(t *testing.T) {
	cfg := Config{Routes: []Route{{Index: "n", Source: "nginx.access"}}}
	body := "{\"index\":{\"_index\":\"a\"}}\n{\"x\":1}\n{\"index\":{\"_index\":\"n\"}}\n{\"x\":2}\n"
	const path = "/_bulk?filter_path=errors,items.*.status"
	for name, again := range map[string]string{"whole": body, "item": body[strings.Index(body, "{\"index\":{\"_index\":\"n"):]} {
		t.Run(name, func(t *testing.T) {
			hub := hubtest.New(t)
			h := handler(t, hub, cfg)
			hub.Busy(func(n int, b *intake.Batch) bool { return b.Source == "nginx.access" && n < 2 })
			if w := ask(h, http.MethodPost, path, body); w.Body.String() != `{"errors":true,"items":[{"index":{"status":201}},{"index":{"status":429}}]}` {
				t.Fatal(w.Body)
			}
			if w := ask(h, http.MethodPost, path, again); w.Code != 200 || strings.Contains(w.Body.String(), "true") {
				t.Fatal(w.Body)
			}
			if n := len(hub.Records()); n != 2 {
				t.Errorf("%d records", n)
			}
		})
	}
	hub := hubtest.New(t)
	hub.Busy(func(int, *intake.Batch) bool { return true })
	if w := ask(handler(t, hub, cfg), http.MethodPost, path, body); w.Code != 429 || w.Header().Get("Retry-After") == "" ||
		!json.Valid(w.Body.Bytes()) || !strings.HasSuffix(w.Body.String(), `"errors":true,"items":[{"index":{"status":429}},{"index":{"status":429}}]}`) {
		t.Errorf("all busy: %d %s", w.Code, w.Body)
	}
	hub.Full(true)
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("a sender without a name is answered")
			}
		}()
		ask(handler(t, hub, cfg), http.MethodPost, path, body, "User-Agent", "")
	}()
	if w := ask(handler(t, hub, cfg), http.MethodPost, path, body); w.Code != 429 {
		t.Errorf("no memory: %d %s", w.Code, w.Body)
	}
}

func TestIdsCountOnce(t *testing.T) {
	hub := hubtest.New(t)
	h := handler(t, hub, Config{})
	for range 2 {
		ask(h, http.MethodPost, "/a/_bulk", "{\"index\":{\"_id\":\"1\"}}\n{\"x\":1}\n{\"create\":{\"_id\":2}}\n{\"x\":2}\n")
	}
	if n := len(hub.Records()); n != 2 {
		t.Errorf("%d records of documents with ids, want 2", n)
	}
	for range 2 {
		ask(h, http.MethodPost, "/a/_bulk", "{\"index\":{}}\n{\"x\":1}\n")
	}
	if n := len(hub.Records()); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}

func TestFilterPath(t *testing.T) {
	body := "{\"index\":{\"_id\":\"i\"}}\n{\"x\":1}\n{\"delete\":{\"_id\":\"\\u00e9\\\"\"}}\n"
	for filter, want := range map[string]string{
		"errors":                              `{"errors":true}`,
		"errors,items.*.error,items.*.status": `{"errors":true,"items":[{"index":{"status":201}},{"delete":{"status":400,"error":{"type":"action_request_validation_exception","reason":"` + faults[unsupported].reason + `"}}}]}`,
		"items.*.error.type":                  `{"items":[{"delete":{"error":{"type":"action_request_validation_exception"}}}]}`,
		"items.index._id":                     `{"items":[{"index":{"_id":"i"}}]}`,
		"**._id":                              `{"items":[{"index":{"_id":"i"}},{"delete":{"_id":"é\""}}]}`,
		"-took,-items":                        `{"errors":true}`,
		"no.such":                             `{}`,
	} {
		t.Run(filter, func(t *testing.T) {
			w := ask(handler(t, hubtest.New(t), Config{}), http.MethodPost, "/a/_bulk?filter_path="+filter, body)
			if got := w.Body.String(); got != want || !json.Valid([]byte(got)) {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

func TestQuestions(t *testing.T) {
	h := handler(t, hubtest.New(t), Config{Version: "8.15.3"})
	for name, tc := range map[string]struct {
		method, path string
		status       int
		has          string
	}{
		"root":              {"GET", "/", 200, `"number":"8.15.3"`},
		"root head":         {"HEAD", "/", 200, ""},
		"prefix":            {"GET", Prefix, 200, `"tagline":"You Know, for Search"`},
		"license":           {"GET", "/_license", 200, `"status":"active"`},
		"xpack":             {"GET", "/_xpack", 200, `"ilm"`},
		"health":            {"GET", "/_cluster/health", 200, `"status":"green"`},
		"nodes":             {"GET", "/_nodes/http", 200, `"publish_address":"example.com"`},
		"ilm":               {"HEAD", "/_ilm/policy/filebeat", 200, ""},
		"ilm put":           {"PUT", "/_ilm/policy/filebeat", 200, `"acknowledged":true`},
		"template":          {"HEAD", "/_index_template/filebeat-8.15.3", 200, ""},
		"template put":      {"PUT", "/_index_template/filebeat-8.15.3", 200, `"acknowledged":true`},
		"old template":      {"PUT", "/_template/logstash", 200, `"acknowledged":true`},
		"component":         {"GET", "/_component_template/x", 200, `"component_templates"`},
		"alias":             {"HEAD", "/_alias/filebeat", 200, ""},
		"pipeline":          {"GET", "/_ingest/pipeline/x", 200, `"processors"`},
		"data stream":       {"PUT", "/_data_stream/logs-x-default", 200, `"acknowledged":true`},
		"index":             {"HEAD", "/logs-x", 200, ""},
		"index put":         {"PUT", "/%3Clogs-x-%7Bnow%2Fd%7D-000001%3E", 404, ""},
		"index put plain":   {"PUT", "/logs-x-000001", 200, `"acknowledged":true`},
		"search":            {"POST", "/logs-x/_search", 400, "vagus sql"},
		"unknown":           {"GET", "/_cluster/what", 404, `"type":"invalid_request_exception"`},
		"not ours":          {"GET", "/something", 404, "404 page not found"},
		"not ours either":   {"POST", "/v1/ingest", 404, "404 page not found"},
		"nor the like":      {"GET", "/v1/elastics", 404, "404 page not found"},
		"bulk of no method": {"GET", "/_bulk", 405, "method_not_allowed_exception"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(h, tc.method, tc.path, "")
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.has) || tc.method == "HEAD" && w.Body.Len() > 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	w := ask(h, "GET", "/", "", "Accept", "application/vnd.elasticsearch+json;compatible-with=8")
	if w.Header().Get("Content-Type") != "application/vnd.elasticsearch+json;compatible-with=8" {
		t.Error(w.Header())
	}
}

func TestConfigRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no condition":   {Routes: []Route{{Source: "auto"}}},
		"no source":      {Routes: []Route{{Index: "x"}}},
		"unknown source": {Routes: []Route{{Index: "x", Source: "no.such"}}},
		"bad source":     {Source: "a b"},
		"version":        {Version: "6.8.0"},
		"max items":      {MaxItems: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(cfg, hubtest.New(t), nil); err == nil {
				t.Error("taken")
			}
		})
	}
}

func FuzzBulk(f *testing.F) {
	for _, s := range []string{
		"{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"x\":1,\"event\":{\"dataset\":\"d\"}}\n", "{\"delete\":{}}\n{\"create\":{}}\n{}\n", "{\"update\":{}}\n{}\n",
		"{\"index\":{\"_id\":7}}\n{\"data_stream.dataset\":\"\\u0061\"}", "\n\n\r\n", "{\"index\":{}}\n\n", "{\"index\":{}}\n{\"a\":[[[[[]]]]]}\n", "{\"index\":1}\n{}\n", "{\"index\":{}}{}\n",
		"{\"index\":{\"_index\":\"\xff\"}}\n{}x\n",
	} {
		f.Add([]byte(s))
	}
	lim := limits{Limits: frame.Limits{MaxRecord: 1 << 10, MaxRecords: 1 << 10, MaxDepth: 6}, items: 64}
	b := new(batch)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, lim.dataset = range []bool{false, true} {
			b.reset()
			err := b.parse(body, "i", lim, func(index, dataset []byte) (string, verdict) {
				if bytes.Equal(index, []byte("no")) {
					return "", forbidden
				}
				return "auto", stored
			})
			if err != nil {
				continue
			}
			records, bad := 0, 0
			for _, g := range b.groups {
				records += len(g.frames.Records)
				bad += len(g.frames.Bad)
				for _, s := range g.frames.Records {
					if r := body[s.Off:s.End]; len(r) < 2 || r[0] != '{' || r[len(r)-1] != '}' || bytes.IndexByte(r, '\n') >= 0 {
						t.Errorf("record %q", r)
					}
				}
			}
			for i := range b.items {
				switch v := b.items[i].verdict; v {
				case stored:
					records--
				case malformed, tooLong:
					bad--
				}
			}
			if records != 0 || bad != 0 {
				t.Errorf("%d records, %d dead letters more than items", records, bad)
			}
			w := newWants("")
			if out := appendAnswer([]byte{'{'}, b, &w, 0, "s"); !json.Valid(out) {
				t.Errorf("answer %s", out)
			}
		}
	})
}

// BenchmarkBulk frames and answers documents of about 1 KB.
func BenchmarkBulk(b *testing.B) {
	one := "{\"create\":{\"_index\":\"logs-llm-default\"}}\n" + `{"@timestamp":"2026-01-01T00:00:00.000Z","event":{"dataset":"llm"},"message":"` +
		strings.Repeat("words and words ", 55) + `","http":{"response":{"status_code":200}}}` + "\n"
	body := []byte(strings.Repeat(one, 1000))
	for name, routes := range map[string][]Route{"index": {{Index: "logs-nginx*", Source: "nginx.access"}}, "dataset": {{Dataset: "nginx*", Source: "nginx.access"}}} {
		b.Run(name, func(b *testing.B) {
			h := handler(b, hubtest.New(b), Config{Routes: routes})
			id, _ := h.hub.Identify("all-secret")
			lim := limits{Limits: h.hub.Limits(), items: h.cfg.MaxItems, dataset: h.dataset}
			bt := new(batch)
			w := newWants("errors,items.*.error,items.*.status")
			var out []byte
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				bt.reset()
				if err := bt.parse(body, "", lim, func(i, d []byte) (string, verdict) { return h.route(id, i, d) }); err != nil || len(bt.items) != 1000 {
					b.Fatal(err)
				}
				out = appendAnswer(append(out[:0], '{'), bt, &w, 0, "s")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}
