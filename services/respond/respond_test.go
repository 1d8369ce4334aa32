package respond

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "test-token"

// hub is a running service and its client.
type hub struct {
	t    *testing.T
	bus  *bus.Bus
	url  string
	http *http.Client
	stop func()
}

func start(t *testing.T, b *bus.Bus, change func(*Options)) *hub {
	t.Helper()
	opts := DefaultOptions()
	opts.Bus, opts.Token, opts.Addr, opts.Content, opts.Logger = b, token, "127.0.0.1:0", os.DirFS("../../playbooks"), nil
	if change != nil {
		change(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	h := &hub{t: t, bus: b, url: "http://" + s.Addr(), http: &http.Client{Transport: &http.Transport{}}}
	h.stop = sync.OnceFunc(func() {
		h.http.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	testkit.Eventually(t, "ready", func() bool { return h.get("/readyz", nil) == http.StatusOK })
	return h
}

func (h *hub) do(method, path, body string, header map[string]string, into any) int {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if into != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(b, into); err != nil {
			h.t.Fatalf("%s %s: %s: %v", method, path, b, err)
		}
	}
	return resp.StatusCode
}

func (h *hub) get(path string, into any) int { return h.do("GET", path, "", nil, into) }

// asks is what a gateway gets for a client.
func (h *hub) asks(ip string) int {
	h.t.Helper()
	return h.do("GET", "/v1/decisions/auth", "", map[string]string{"X-Vagus-Client": ip, "Authorization": ""}, nil)
}

func (h *hub) raise(a finding.Alert) finding.Alert {
	h.t.Helper()
	if a.UID == "" {
		a.UID = finding.UID("test", a.Entity.Type, a.Entity.Value)
	}
	if a.Status == "" {
		a.Status, a.Revision, a.Rule, a.Title, a.Reason = finding.Raised, 1, "test.rule", "Injection burst", "11 in 60 s"
		a.FirstSeen, a.LastSeen = time.Now(), time.Now()
	}
	data, err := json.Marshal(a)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.bus.Publish(h.t.Context(), bus.Msg{Subject: subjects.Alerts(string(a.Level)), ID: subjects.AlertID(a.UID, string(a.Status)), Data: data})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *hub) run(playbook string, a finding.Alert) run.Run {
	var v run.Run
	h.get("/v1/runs/"+engine.RunUID(playbook, a.UID), &v)
	return v
}

func ipAlert(ip string) finding.Alert {
	return finding.Alert{Level: finding.Medium, Lane: finding.Enforce, Entity: finding.Entity{Type: "ip", Value: ip}}
}

// TestBlockAndBack is the whole path: an alert becomes a block at the gateway,
// others pass, the block ends by itself, and a restart in between loses
// nothing.
func TestBlockAndBack(t *testing.T) {
	b := testkit.Bus(t)
	short := func(o *Options) { o.Vars = map[string]map[string]string{"contain-compromised-key": {"ttl": "5s"}} }
	h := start(t, b, short)
	if got := h.asks("203.0.113.7"); got != 200 {
		t.Fatalf("before: %d", got)
	}
	a := h.raise(ipAlert("203.0.113.7"))
	testkit.Eventually(t, "the client is refused", func() bool { return h.asks("203.0.113.7") == 403 })
	if got := h.asks("203.0.113.8"); got != 200 {
		t.Errorf("another client: %d", got)
	}
	testkit.Eventually(t, "the steps are done", func() bool {
		state := h.run("contain-compromised-key", a).State
		return state == run.Waiting || state == run.Succeeded // on a slow machine the block is over
	})
	h.stop()
	h = start(t, b, short)
	testkit.Eventually(t, "the client is let in again", func() bool { return h.asks("203.0.113.7") == 200 })
	testkit.Eventually(t, "the run ends", func() bool { return h.run("contain-compromised-key", a).State == run.Succeeded })

	// The log follows the state.
	const end, want = "succeeded", "started, action block started, action block succeeded, action tell skipped, waiting, undo block started, undo block undone, succeeded"
	var log []string
	testkit.Eventually(t, "the end is in the audit log", func() bool {
		log = audit(t, b, "contain-compromised-key")
		return len(log) > 0 && log[len(log)-1] == end
	})
	if got := strings.Join(log, ", "); got != want {
		t.Errorf("audit log:\n%s\nwant\n%s", got, want)
	}
	var incidents struct{ Incidents []run.Incident }
	if h.get("/v1/incidents", &incidents); len(incidents.Incidents) != 1 || incidents.Incidents[0].Entity != "ip:203.0.113.7" || incidents.Incidents[0].Count != 1 {
		t.Errorf("%+v", incidents)
	}
}

// audit reads the transitions of a playbook's only run.
func audit(t *testing.T, b *bus.Bus, playbook string) (log []string) {
	t.Helper()
	for rec, err := range b.ReadFrom(t.Context(), subjects.StreamRuns, []string{subjects.Runs(playbook)}, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var tr run.Transition
		if err := json.Unmarshal(rec.Data, &tr); err != nil {
			t.Fatal(err)
		}
		if tr.Seq != len(log)+1 {
			t.Errorf("transition %d at place %d", tr.Seq, len(log)+1)
		}
		log = append(log, strings.TrimSpace(fmt.Sprintf("%s %s %s", tr.Kind, tr.Step, tr.State)))
	}
	return log
}

// TestPeople: approvals, decisions by hand, undo by hand.
func TestPeople(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.Path)
		mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer kube" || len(b) > 0 && !json.Valid(b) {
			w.WriteHeader(401)
		}
		io.WriteString(w, "{}")
	}))
	defer api.Close()
	t.Setenv("TEST_KUBE", "kube")
	h := start(t, testkit.Bus(t), func(o *Options) {
		o.Connectors = map[string]map[string]string{"kubernetes": {"url": api.URL, "token": "env:TEST_KUBE", "allow_networks": "127.0.0.0/8"}}
		o.Protected = append(o.Protected, "198.51.100.0/24")
	})
	a := h.raise(finding.Alert{Level: finding.Critical, Lane: finding.Alerts, Entity: finding.Entity{Type: "pod", Value: "training/llm-0"}})
	var asked struct{ Approvals []run.Approval }
	testkit.Eventually(t, "a question is asked", func() bool {
		h.get("/v1/approvals", &asked)
		return len(asked.Approvals) == 1
	})
	q := asked.Approvals[0]
	if q.Step != "ask" || !strings.Contains(q.Question, "training/llm-0") || q.Needed != 1 {
		t.Errorf("%+v", q)
	}
	path := "/v1/approvals/" + q.Run + "/" + q.Step
	for body, want := range map[string]int{`{"by":"alice"}`: 400, `{"approve":true}`: 409, `{"approve":true,"by":"alice","x":1}`: 400, `nonsense`: 400} {
		if got := h.do("POST", path, body, nil, nil); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	if got := h.do("POST", path, `{"approve":true,"by":"alice","reason":"seen it"}`, nil, nil); got != 200 {
		t.Fatal(got)
	}
	testkit.Eventually(t, "the pod is isolated", func() bool { return h.run("isolate-pod", a).State == run.Waiting })
	if got := h.do("POST", path, `{"approve":true,"by":"bob"}`, nil, nil); got != 404 {
		t.Errorf("answered twice: %d", got)
	}
	if got := h.do("POST", "/v1/runs/"+q.Run+"/undo/isolate", `{"by":"bob","reason":"false alarm"}`, nil, nil); got != 202 {
		t.Fatal(got)
	}
	testkit.Eventually(t, "the pod is back", func() bool { return h.run("isolate-pod", a).State == run.Succeeded })
	mu.Lock()
	if len(seen) != 4 || !strings.HasPrefix(seen[3], "DELETE /apis/networking.k8s.io/v1/namespaces/training/networkpolicies/") {
		t.Errorf("%q", seen)
	}
	mu.Unlock()

	for body, want := range map[string]int{
		`{"kind":"block","scope":"ip","value":"192.0.2.1","by":"alice","reason":"x","ttl":"1h"}`:             201,
		`{"kind":"allow","scope":"ip","value":"203.0.113.0/24","by":"alice","reason":"x"}`:                   201,
		`{"kind":"block","scope":"ip","value":"198.51.100.7","by":"alice","reason":"x"}`:                     409, // protected
		`{"kind":"block","scope":"ip","value":"0.0.0.0/0","by":"alice","reason":"x"}`:                        409, // too wide
		`{"kind":"block","scope":"ip","value":"nonsense","by":"alice","reason":"x"}`:                         400,
		`{"kind":"blok","scope":"ip","value":"192.0.2.1","by":"alice","reason":"x"}`:                         400,
		`{"kind":"limit","scope":"user","value":"eve","by":"alice","reason":"x"}`:                            400, // no rate
		`{"kind":"block","scope":"user","value":"eve","by":"alice","reason":"x","ttl":"soon"}`:               400,
		`{"kind":"block","scope":"user","value":"eve","reason":"x"}`:                                         400, // nobody
		`{"kind":"block","scope":"user","value":"` + strings.Repeat("x", 70000) + `","by":"a","reason":"x"}`: 400,
	} {
		if got := h.do("POST", "/v1/decisions", body, nil, nil); got != want {
			t.Errorf("%.90s: %d, want %d", body, got, want)
		}
	}
	testkit.Eventually(t, "blocked by hand", func() bool { return h.asks("192.0.2.1") == 403 })
	h.raise(ipAlert("203.0.113.9"))
	var list struct {
		Revision  uint64
		Decisions []decision.Decision
	}
	testkit.Eventually(t, "the playbook's block is listed", func() bool {
		h.get("/v1/decisions?kind=block&value=203.0.113.9", &list)
		return len(list.Decisions) == 1
	})
	if got := h.asks("203.0.113.9"); got != 200 {
		t.Errorf("a person's allow does not win: %d", got)
	}
	id := decision.ID(decision.Block, decision.IP, "192.0.2.1")
	if got := h.do("DELETE", "/v1/decisions/"+id, "", nil, nil); got != 400 {
		t.Errorf("nobody deletes: %d", got)
	}
	if got := h.do("DELETE", "/v1/decisions/"+id+"?by=alice&reason=done", "", nil, nil); got != 200 {
		t.Error(got)
	}
	testkit.Eventually(t, "let in by hand", func() bool { return h.asks("192.0.2.1") == 200 })
	if got := h.do("DELETE", "/v1/decisions/"+id+"?by=alice", "", nil, nil); got != 404 {
		t.Error(got)
	}
}

func TestLongPoll(t *testing.T) {
	h := start(t, testkit.Bus(t), nil)
	var list struct {
		Revision  uint64
		Decisions []decision.Decision
	}
	h.get("/v1/decisions", &list)
	done := make(chan int)
	go func() {
		done <- h.get(fmt.Sprintf("/v1/decisions?wait=30s&since=%d", list.Revision), &list)
	}()
	if got := h.do("POST", "/v1/decisions", `{"kind":"block","scope":"user","value":"eve","by":"alice","reason":"x"}`, nil, nil); got != 201 {
		t.Fatal(got)
	}
	if got := <-done; got != 200 || len(list.Decisions) != 1 {
		t.Errorf("%d %+v", got, list)
	}
	tag := fmt.Sprintf(`"%d-%d"`, list.Revision, 1)
	if got := h.do("GET", "/v1/decisions", "", map[string]string{"If-None-Match": tag}, nil); got != http.StatusNotModified {
		t.Error(got)
	}
	if got := h.get("/v1/decisions?wait=forever&since=1", nil); got != 400 {
		t.Error(got)
	}
	// A poll that waits does not hold up the end of the service.
	go func() {
		resp, err := http.NewRequest("GET", h.url+"/v1/decisions?wait=60s&since=999999", nil)
		if err == nil {
			resp.Header.Set("Authorization", "Bearer "+token)
			if r, err := h.http.Do(resp); err == nil {
				r.Body.Close()
			}
		}
		done <- 0
	}()
	h.stop()
	<-done
}

func TestAccess(t *testing.T) {
	h := start(t, testkit.Bus(t), func(o *Options) { o.AuthNetworks = []string{"192.0.2.0/24"} })
	none := map[string]string{"Authorization": ""}
	wrong := map[string]string{"Authorization": "Bearer wrong"}
	for _, tt := range []struct {
		method, path string
		header       map[string]string
		want         int
	}{
		{"GET", "/v1/runs", none, 401}, {"GET", "/v1/runs", wrong, 401}, {"GET", "/v1/runs", nil, 200},
		{"GET", "/v1/decisions", none, 401}, {"POST", "/v1/decisions", none, 401}, {"GET", "/metrics", none, 401}, {"GET", "/metrics", nil, 200},
		{"GET", "/v1/playbooks", nil, 200}, {"GET", "/v1/none", nil, 404}, {"GET", "/v1/runs/none", nil, 404}, {"GET", "/v1/runs/..%2f..", nil, 404},
		{"DELETE", "/v1/decisions/a.b?by=x", nil, 404}, {"POST", "/v1/approvals/*/x", nil, 400},
		{"GET", "/healthz", none, 200}, {"GET", "/readyz", none, 200},
		{"GET", "/v1/decisions/auth", none, 401}, // loopback is not on the list here
		{"GET", "/v1/decisions/auth", nil, 200}, {"HEAD", "/v1/decisions/auth", nil, 200}, {"POST", "/v1/decisions/auth", nil, 200},
		{"GET", "/v1/decisions/auth", map[string]string{"X-Vagus-Client": "not an address"}, 400},
	} {
		if got := h.do(tt.method, tt.path, "", tt.header, nil); got != tt.want {
			t.Errorf("%s %s %v: %d, want %d", tt.method, tt.path, tt.header, got, tt.want)
		}
	}
}

// TestBadAlerts: nonsense becomes a dead letter and what follows is handled.
func TestBadAlerts(t *testing.T) {
	h := start(t, testkit.Bus(t), nil)
	for i, data := range []string{"{", `{"uid":""}`, `[]`, strings.Repeat("[", 100000), "\xff\xfe"} {
		if _, err := h.bus.Publish(t.Context(), bus.Msg{Subject: "alerts.high", ID: fmt.Sprint("bad", i), Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	h.raise(ipAlert("203.0.113.7"))
	testkit.Eventually(t, "the good alert is handled", func() bool { return h.asks("203.0.113.7") == 403 })
	n := 0
	testkit.Eventually(t, "five dead letters", func() bool { // handled beside the good one
		n = 0
		for rec, err := range h.bus.ReadFrom(t.Context(), subjects.StreamDead, nil, 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(rec.Subject, "dead.respond.") {
				n++
			}
		}
		return n >= 5
	})
	if n != 5 {
		t.Errorf("%d dead letters, want 5", n)
	}
}

// TestAlertsThatStartNothing: too old to act on, or only a hunt.
func TestAlertsThatStartNothing(t *testing.T) {
	h := start(t, testkit.Bus(t), func(o *Options) { o.MaxAge = time.Nanosecond })
	hunt := ipAlert("203.0.113.6")
	hunt.Lane = finding.Hunt
	h.raise(hunt)
	h.raise(ipAlert("203.0.113.7"))
	var incidents struct{ Incidents []run.Incident }
	testkit.Eventually(t, "the incident is there", func() bool {
		h.get("/v1/incidents", &incidents)
		return len(incidents.Incidents) == 1
	})
	h.raise(ipAlert("203.0.113.8"))
	testkit.Eventually(t, "the next alert is handled", func() bool {
		h.get("/v1/incidents?entity=ip:203.0.113.8", &incidents)
		return len(incidents.Incidents) == 1
	})
	var runs struct{ Runs []run.Run }
	if h.get("/v1/runs", &runs); len(runs.Runs) != 0 || h.asks("203.0.113.7") != 200 {
		t.Errorf("%+v", runs)
	}
}

// TestMutedAlerts: what is muted starts nothing and is in no incident, until it
// is told.
func TestMutedAlerts(t *testing.T) {
	h := start(t, testkit.Bus(t), nil)
	a := ipAlert("203.0.113.9")
	a.Muted = &finding.Muted{By: finding.BySilence, ID: "s1", Reason: "a planned test"}
	a = h.raise(a)
	h.raise(ipAlert("203.0.113.10"))
	testkit.Eventually(t, "the next alert is handled", func() bool { return h.asks("203.0.113.10") == 403 })
	var incidents struct{ Incidents []run.Incident }
	h.get("/v1/incidents?entity=ip:203.0.113.9", &incidents)
	if h.asks("203.0.113.9") != 200 || len(incidents.Incidents) != 0 {
		t.Errorf("a muted alert was acted on: %+v", incidents)
	}
	a.Status, a.Muted = finding.Amended, &finding.Muted{By: finding.BySilence, ID: "s1", Ended: time.Now()}
	h.raise(a)
	testkit.Eventually(t, "it is told", func() bool { return h.asks("203.0.113.9") == 403 })
	testkit.Eventually(t, "it is in an incident", func() bool {
		h.get("/v1/incidents?entity=ip:203.0.113.9", &incidents)
		return len(incidents.Incidents) == 1
	})
}

func TestOptions(t *testing.T) {
	b := testkit.Bus(t)
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no bus":            {func(o *Options) { o.Bus = nil }, "no bus"},
		"no token":          {func(o *Options) { o.Token = "" }, "no token"},
		"no content":        {func(o *Options) { o.Content = nil }, "no content"},
		"unknown connector": {func(o *Options) { o.Connectors = map[string]map[string]string{"webhok": {}} }, `did you mean "webhook"`},
		"literal secret": {func(o *Options) {
			o.Connectors = map[string]map[string]string{"webhook": {"url": "https://example.com", "secret": "x"}}
		}, "reference"},
		"protected": {func(o *Options) { o.Protected = []string{"10.0.0"} }, "protected"},
		"address":   {func(o *Options) { o.Addr = "nonsense" }, "listen"},
	} {
		opts := DefaultOptions()
		opts.Bus, opts.Token, opts.Addr, opts.Content = b, token, "127.0.0.1:0", os.DirFS("../../playbooks")
		tt.change(&opts)
		s, err := New(opts)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestContent runs the tests of the playbooks that ship, and shows that a
// wrong expectation fails.
func TestContent(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		ok   bool
		want string
	}{
		"check": {[]string{"check"}, true, "no mistakes"},
		"test":  {[]string{"test"}, true, "ok   contain-compromised-key"},
		"list":  {[]string{"list", "--json"}, true, `"id":"isolate-pod"`},
		"wrong": {[]string{"test", "testdata/wrong"}, false, "decisions in force are"},
		"no":    {[]string{"check", "testdata/none"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := Command(os.DirFS("../../playbooks"))
			c.SetArgs(tt.args)
			c.SetOut(&out)
			c.SetErr(io.Discard)
			err := c.ExecuteContext(t.Context())
			if (err == nil) != tt.ok || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

func TestConfig(t *testing.T) {
	file := t.TempDir() + "/respond.yml"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("connectors: {webhook: {url: https://example.com, secret: env:X}}\nvars: {contain-compromised-key: {ttl: 1m}}\nbudgets: {block: {max: 3, window: 1m}}\nprotected: [192.0.2.0/24]\n")
	o := DefaultOptions()
	if err := o.Load(file); err != nil {
		t.Fatal(err)
	}
	if o.Budgets["block"].Max != 3 || o.Budgets["isolate"].Max != 5 || len(o.Protected) != 4 || o.Connectors["webhook"]["secret"] != "env:X" {
		t.Errorf("%+v", o)
	}
	write("conectors: {}\n")
	if err := o.Load(file); err == nil || !strings.Contains(err.Error(), `did you mean "connectors"`) {
		t.Error(err)
	}
}
