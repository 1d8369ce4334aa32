package hec

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	guid   = "7f3b1e6c-2a44-4d0e-9c51-0a2b3c4d5e6f"
	ok     = `{"text":"Success","code":0}`
	splunk = "Splunk all-secret"
)

func handler(t testing.TB, hub *hubtest.Hub, cfg Config) *Handler {
	t.Helper()
	h, err := New(cfg, hub)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, path, body string, header ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// The replies are Splunk's, byte by byte.
func TestReplies(t *testing.T) {
	a := []string{"Authorization", splunk}
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	fmt.Fprint(zw, `{"event":"packed"}`)
	zw.Close()
	for name, tc := range map[string]struct {
		cfg    Config
		path   string
		header []string
		body   string
		status int
		reply  string
		stored []string
		dead   []string // reasons
	}{
		"one":             {path: "/event", header: a, body: `{"event":"a","time":1}`, status: 200, reply: ok, stored: []string{`{"event":"a","time":1}`}},
		"short path":      {header: a, body: `{"event":"a"}`, status: 200, reply: ok, stored: []string{`{"event":"a"}`}},
		"version path":    {path: "/event/1.0", header: a, body: `{"event":"a"}`, status: 200, reply: ok, stored: []string{`{"event":"a"}`}},
		"one after other": {path: "/event", header: a, body: `{"event":"a"}{"event":{"b":[1,2]}} {"event":3}` + "\n" + `{"event":"d"}{"event":"e"}`, status: 200, reply: ok, stored: []string{`{"event":"a"}`, `{"event":{"b":[1,2]}}`, `{"event":3}`, `{"event":"d"}`, `{"event":"e"}`}},
		"array":           {path: "/event", header: a, body: `[{"event":"a"}, {"event":"b"}]`, status: 200, reply: ok, stored: []string{`{"event":"a"}`, `{"event":"b"}`}},
		"several lines":   {path: "/event", header: a, body: "{\n \"event\": \"a\"\n}\n{\n \"event\": \"b\"\n}", status: 200, reply: ok, stored: []string{"{\n \"event\": \"a\"\n}", "{\n \"event\": \"b\"\n}"}},
		"gzip":            {path: "/event", header: append([]string{"Content-Encoding", "gzip"}, a...), body: packed.String(), status: 200, reply: ok, stored: []string{`{"event":"packed"}`}},
		"metric":          {path: "/event", header: a, body: `{"event":"metric","fields":{"metric_name:cpu":1}}`, status: 200, reply: ok, stored: []string{`{"event":"metric","fields":{"metric_name:cpu":1}}`}},
		"basic":           {path: "/event", header: []string{"Authorization", "Basic eDphbGwtc2VjcmV0"}, body: `{"event":1}`, status: 200, reply: ok, stored: []string{`{"event":1}`}},
		"no token":        {path: "/event", body: `{"event":1}`, status: 401, reply: `{"text":"Token is required","code":2}`},
		"wrong scheme":    {path: "/event", header: []string{"Authorization", "Digest x"}, body: `{"event":1}`, status: 401, reply: `{"text":"Invalid authorization","code":3}`},
		"wrong token":     {path: "/event", header: []string{"Authorization", "Splunk x"}, body: `{"event":1}`, status: 403, reply: `{"text":"Invalid token","code":4}`},
		"query token off": {path: "/event?token=all-secret", body: `{"event":1}`, status: 400, reply: `{"text":"Query string authorization is not enabled","code":16}`},
		"query token on":  {cfg: Config{QueryToken: true}, path: "/event?token=all-secret", body: `{"event":1}`, status: 200, reply: ok, stored: []string{`{"event":1}`}},
		"query wrong":     {cfg: Config{QueryToken: true}, path: "/event?token=x", body: `{"event":1}`, status: 403, reply: `{"text":"Invalid token","code":4}`},
		"empty":           {path: "/event", header: a, status: 400, reply: `{"text":"No data","code":5}`},
		"blank":           {path: "/event", header: a, body: " \n", status: 400, reply: `{"text":"No data","code":5}`},
		"no JSON": {path: "/event", header: a, body: `{"event":1}` + "\n" + `nonsense`, status: 400, reply: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`,
			stored: []string{`{"event":1}`}, dead: []string{frame.ReasonMalformed}},
		"broken in the middle": {path: "/event", header: a, body: `{"event":1}` + "\n" + `{"event":` + "\n" + `{"event":3}`, status: 400, reply: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`,
			stored: []string{`{"event":1}`, `{"event":3}`}, dead: []string{frame.ReasonMalformed}},
		"cut short": {path: "/event", header: a, body: `{"event":"a`, status: 400, reply: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`, dead: []string{frame.ReasonMalformed}},
		"too deep": {path: "/event", header: a, body: `{"event":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}{"event":2}`, status: 400,
			reply: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`, stored: []string{`{"event":2}`}, dead: []string{frame.ReasonTooDeep}},
		"no event": {path: "/event", header: a, body: `{"event":1}{"host":"a"}{"event":2}`, status: 400, reply: `{"text":"Event field is required","code":12,"invalid-event-number":1}`,
			stored: []string{`{"event":1}`, `{"event":2}`}, dead: []string{reasonNoEvent}},
		"null event":    {path: "/event", header: a, body: `{"event":null}`, status: 400, reply: `{"text":"Event field is required","code":12,"invalid-event-number":0}`, dead: []string{reasonNoEvent}},
		"blank event":   {path: "/event", header: a, body: `{"event":""}`, status: 400, reply: `{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}`, dead: []string{reasonNoEvent}},
		"bad fields":    {path: "/event", header: a, body: `{"event":1,"fields":[1]}`, status: 400, reply: `{"text":"Error in handling indexed fields","code":15,"invalid-event-number":0}`, dead: []string{reasonFields}},
		"bad channel":   {path: "/event?channel=x", header: a, body: `{"event":1}`, status: 400, reply: `{"text":"Invalid data channel","code":11}`},
		"index refused": {cfg: Config{Indexes: []string{"main", "ai-*"}}, path: "/event", header: a, body: `{"event":1,"index":"main"}{"event":1,"index":"x"}`, status: 400, reply: `{"text":"Incorrect index","code":7,"invalid-event-number":1}`},
		"index taken":   {cfg: Config{Indexes: []string{"main", "ai-*"}}, path: "/event", header: a, body: `{"event":1,"index":"ai-x"}{"event":1}`, status: 200, reply: ok, stored: []string{`{"event":1,"index":"ai-x"}`, `{"event":1}`}},
		"source refused": {path: "/event", header: []string{"Authorization", "Splunk edge-secret"}, body: `{"event":1}{"event":1,"sourcetype":"litellm.proxy"}`, status: 400,
			reply: `{"text":"Incorrect index","code":7,"invalid-event-number":1}`},
		"raw":           {path: "/raw", header: a, body: "{\"a\":1}\n{\"a\":2}\n", status: 200, reply: ok, stored: []string{`{"a":1}`, `{"a":2}`}},
		"raw lines":     {path: "/raw?sourcetype=nginx.access", header: a, body: "one {\r\ntwo\n", status: 200, reply: ok, stored: []string{"one {", "two"}},
		"raw empty":     {path: "/raw/1.0", header: a, status: 400, reply: `{"text":"No data","code":5}`},
		"ack":           {path: "/event", header: append([]string{"X-Splunk-Request-Channel", guid}, a...), body: `{"event":1}`, status: 200, reply: `{"text":"Success","code":0,"ackId":0}`, stored: []string{`{"event":1}`}},
		"ack off":       {cfg: Config{NoAck: true}, path: "/ack?channel=" + guid, header: a, body: `{"acks":[0]}`, status: 400, reply: `{"text":"ACK is disabled","code":14}`},
		"ack missing":   {path: "/ack", header: a, body: `{"acks":[0]}`, status: 400, reply: `{"text":"Data channel is missing","code":10}`},
		"ack malformed": {path: "/ack?channel=" + guid, header: a, body: `{"acks":["a"]}`, status: 400, reply: `{"text":"Invalid data format","code":6}`},
		"ack nothing":   {path: "/ack?channel=" + guid, header: a, status: 400, reply: `{"text":"No data","code":5}`},
		"ack unknown":   {path: "/ack?channel=" + guid, header: a, body: `{"acks":[0,7]}`, status: 200, reply: `{"acks":{"0":false,"7":false}}`},
		"health":        {path: "/health", status: 200, reply: `{"text":"HEC is healthy","code":17}`},
		"health 1.0":    {path: "/health/1.0", status: 200, reply: `{"text":"HEC is healthy","code":17}`},
		"unknown path":  {path: "/mint", header: a, status: 404, reply: `{"text":"The requested URL was not found on this server.","code":404}`},
	} {
		t.Run(name, func(t *testing.T) {
			hub := hubtest.New(t)
			status, reply := post(handler(t, hub, tc.cfg), "/services/collector"+tc.path, tc.body, tc.header...)
			if status != tc.status || reply != tc.reply {
				t.Errorf("%d %s, want %d %s", status, reply, tc.status, tc.reply)
			}
			var got, dead []string
			for _, r := range hub.Records() {
				got = append(got, r.Text)
				if want := map[bool]string{true: intake.Bare, false: intake.HEC}[strings.HasPrefix(tc.path, "/raw")]; r.Envelope != want {
					t.Errorf("envelope %q, want %q", r.Envelope, want)
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
	h := handler(t, hub, Config{Routes: []Route{
		{Sourcetype: "nginx:*", Source: "nginx.access"}, {From: "/var/log/llm*", Index: "ai", Source: "litellm.proxy"},
	}})
	body := `{"event":1,"sourcetype":"nginx:plus"}{"event":2,"source":"/var/log/llm.log","index":"ai"}{"event":3,"source":"/var/log/llm.log"}` +
		`{"event":4,"sourcetype":"litellm.proxy"}{"event":5,"sourcetype":"no.such"}{"event":6,"sourcetype":"nginx:plus"}`
	if status, reply := post(h, "/services/collector", body, "Authorization", splunk); status != 200 {
		t.Fatal(reply)
	}
	if status, reply := post(h, "/services/collector/event?sourcetype=nginx:x", `{"event":7}`, "Authorization", splunk); status != 200 {
		t.Fatal(reply)
	}
	got := map[string]string{}
	for _, r := range hub.Records() {
		got[r.Text[9:10]] = r.Source
	}
	want := map[string]string{"1": "nginx.access", "2": "litellm.proxy", "3": "auto", "4": "litellm.proxy", "5": "auto", "6": "nginx.access", "7": "nginx.access"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestConfigRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no condition":   {Routes: []Route{{Source: "auto"}}},
		"no source":      {Routes: []Route{{Index: "x"}}},
		"unknown source": {Routes: []Route{{Index: "x", Source: "no.such"}}},
		"bad source":     {Source: "a b"},
		"max body":       {MaxBody: 2 << 30},
		"stars":          {Routes: []Route{{Index: "*a*a*a*a*a*a*a*a*a*", Source: "auto"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(cfg, hubtest.New(t)); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestAcknowledgements(t *testing.T) {
	h := handler(t, hubtest.New(t), Config{})
	head := []string{"Authorization", splunk, "X-Splunk-Request-Channel", strings.ToUpper(guid)}
	for n := range 3 {
		if _, reply := post(h, "/services/collector", `{"event":1}`, head...); reply != fmt.Sprintf(`{"text":"Success","code":0,"ackId":%d}`, n) {
			t.Fatal(reply)
		}
	}
	_, reply := post(h, "/services/collector/ack?channel="+guid, `{"acks":[0,2,3]}`, "Authorization", splunk)
	if reply != `{"acks":{"0":true,"2":true,"3":false}}` {
		t.Error(reply)
	}
	// Another sender's channel of the same name is another channel.
	_, reply = post(h, "/services/collector/ack?channel="+guid, `{"acks":[0]}`, "Authorization", "Splunk edge-secret")
	if reply != `{"acks":{"0":false}}` {
		t.Error(reply)
	}
}

func TestChannelsAreBounded(t *testing.T) {
	c := newChannels()
	now := time.Unix(0, 0)
	c.now = func() time.Time { return now }
	for i := range maxChannels + 5 {
		c.next(fmt.Sprint(i))
	}
	if c.given("0") != 0 || c.given("5") != 1 || c.used.Len() != maxChannels || len(c.byID) != maxChannels {
		t.Errorf("%d channels", c.used.Len())
	}
	now = now.Add(channelFor + time.Second)
	if c.given("5") != 0 || c.used.Len() != 0 {
		t.Errorf("%d channels after their time", c.used.Len())
	}
}

// A batch that was answered "busy" and comes again is stored once; an equal
// batch after a good answer is another.
func TestBusyAndAgain(t *testing.T) {
	hub := hubtest.New(t)
	h := handler(t, hub, Config{})
	// The first source of the batch is stored, the second is not.
	hub.Busy(func(n int, _ *intake.Batch) bool { return n == 1 })
	body := `{"event":1}{"event":2,"sourcetype":"nginx.access"}`
	if status, reply := post(h, "/services/collector", body, "Authorization", splunk); status != 503 || reply != `{"text":"Server is busy","code":9}` {
		t.Fatalf("%d %s", status, reply)
	}
	if status, _ := post(h, "/services/collector", body, "Authorization", splunk); status != 200 {
		t.Fatal(status)
	}
	if n := len(hub.Records()); n != 2 {
		t.Errorf("%d records", n)
	}
	hub.Busy(nil)
	if status, _ := post(h, "/services/collector", body, "Authorization", splunk); status != 200 || len(hub.Records()) != 4 {
		t.Errorf("%d, %d records", status, len(hub.Records()))
	}
	hub.Full(true)
	if status, reply := post(h, "/services/collector", body, "Authorization", splunk); status != 503 || reply != `{"text":"Server is busy","code":9}` {
		t.Errorf("%d %s", status, reply)
	}
	if status, reply := post(h, "/services/collector/health", ""); status != 503 || reply != `{"text":"HEC is unhealthy, queues are full","code":18}` {
		t.Errorf("%d %s", status, reply)
	}
}

func TestHostileBodies(t *testing.T) {
	hub := hubtest.New(t)
	h := handler(t, hub, Config{MaxBody: 4 << 20})
	for name, body := range map[string]string{
		"bad events":    strings.Repeat("{}", 1<<20),
		"open brackets": strings.Repeat("[", 1<<20),
		"open objects":  strings.Repeat("\n{", 1<<20),
		"open strings":  strings.Repeat("\n{\"", 1<<20),
		"too large":     strings.Repeat(" ", 5<<20),
		"long event":    `{"event":"` + strings.Repeat("a", 1<<20) + `"}`,
	} {
		if status, reply := post(h, "/services/collector", body, "Authorization", splunk); status != 400 && status != 413 {
			t.Errorf("%s: %d %s", name, status, reply)
		}
	}
	if n := len(hub.Dead()); n > maxBad+50 {
		t.Errorf("%d dead letters", n)
	}
}

func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`{"event":"a","time":1.5,"host":"h","source":"s","sourcetype":"t","index":"i","fields":{"a":"b"}}`, `{"event":1}{"event":2}`,
		`[{"event":1},{"event":2}]`, "{\"event\":\n{\"event\":1}", `{"event":""}`, `{"event":null}`, `{}`, `[`, `,`, `]`, `{"event":1,"index":"\u0061"}`,
		`{"event":[[[[]]]]}`, `{"event":1,"fields":1}`, "\xef\xbb\xbf{\"event\":1}", `{"event":"\ud800"}`, `{"a":1,}`, `[[{"event":1}]]`,
	} {
		f.Add([]byte(s))
	}
	lim := frame.Limits{MaxRecord: 1 << 10, MaxRecords: 1 << 10, MaxDepth: 8}
	to := func(e *event) (string, *reply) {
		switch string(e.index) {
		case "no":
			return "", replyIndex
		case "i":
			return "nginx.access", nil
		}
		return "auto", nil
	}
	b := new(batch)
	f.Fuzz(func(t *testing.T, body []byte) {
		b.reset()
		if err := b.events(body, lim, to, "auto"); err != nil && b.n < lim.MaxRecords {
			t.Fatal(err)
		}
		n := 0
		for _, g := range b.groups {
			for _, s := range g.frames.Records {
				n++
				if s.End-s.Off < 11 || body[s.Off] != '{' || body[s.End-1] != '}' || !bytes.Contains(body[s.Off:s.End], []byte("event")) {
					t.Errorf("record %q", body[s.Off:s.End])
				}
			}
			for _, s := range g.frames.Bad {
				n++
				if s.Off >= s.End || int(s.End) > len(body) {
					t.Errorf("dead letter %d to %d of %d", s.Off, s.End, len(body))
				}
			}
			if len(g.frames.Bad) > 0 && b.invalid == nil {
				t.Error("dead letters, and a good answer")
			}
		}
		if n > len(body)/2+1 {
			t.Errorf("%d records of %d bytes", n, len(body))
		}
	})
}

// BenchmarkEvent frames and routes a batch of events of about 1 KB.
func BenchmarkEvent(b *testing.B) {
	one := `{"time":1700000000.123,"host":"gw-1","source":"/var/log/llm.json","sourcetype":"llm:json","index":"ai","event":{"model":"chat-small","prompt":"` +
		strings.Repeat("words and words ", 50) + `","status":200,"usage":{"in":9,"out":2}},"fields":{"zone":"a"}}` + "\n"
	body := []byte(strings.Repeat(one, 1000))
	h := handler(b, hubtest.New(b), Config{Routes: []Route{{Sourcetype: "nginx:*", Source: "nginx.access"}, {Index: "ai*", Source: "litellm.proxy"}}})
	id, _ := h.hub.Identify("all-secret")
	bt := new(batch)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		bt.reset()
		base := event{}
		err := bt.events(body, h.hub.Limits(), func(e *event) (string, *reply) { return h.route(id, e.over(&base)) }, "auto")
		if err != nil || bt.n != 1000 {
			b.Fatal(err, bt.n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
