package ingest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// call sends a request to any path.
func call(t testing.TB, s *Service, path string, body []byte, header ...string) answer {
	t.Helper()
	return post(t, s, "../"+path, "", body, header...)
}

func TestAuto(t *testing.T) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	if a := post(t, s, "auto", "edge-secret", []byte("x\n")); a.status != 403 {
		t.Errorf("a token without auto: %d", a.status)
	}
	for _, body := range []string{"{\"a\":1}\n{\"b\":2}\n", "plain\ntext\n", " [{\"c\":3}]"} {
		if a := post(t, s, "auto", "all-secret", []byte(body)); a.status != 200 {
			t.Errorf("%d %v", a.status, a.problem)
		}
	}
	got, raws := stored(t, b, subjects.StreamRaw)
	if diff := cmp.Diff([]string{`{"a":1}`, `{"b":2}`, "plain", "text", `{"c":3}`}, got); diff != "" {
		t.Error(diff)
	}
	if raws[0].Header.Source != "auto" {
		t.Errorf("%+v", raws[0].Header)
	}
}

func TestHooks(t *testing.T) {
	b := testkit.Bus(t)
	o := options(b)
	o.Hooks = map[string]Hook{"github.webhook": {Source: "litellm.proxy", Verify: "github", Secret: "hush"}, "lost": {Source: "no.source", Verify: "github", Secret: "hush"}}
	s := start(t, o)
	body := []byte(`{"action":"created","n":1}`)
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write(body)
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	signed := []string{"X-GitHub-Event", "star", "X-GitHub-Delivery", "d-1", "X-Hub-Signature-256", signature}
	for range 2 { // GitHub repeats a delivery with the same id
		if a := call(t, s, "hook/github.webhook", body, signed...); a.status != 200 || a.Accepted != 1 || a.receipt.Batch != "d-1" {
			t.Fatalf("%d %+v %v", a.status, a.receipt, a.problem)
		}
	}
	for name, tc := range map[string]struct {
		path   string
		body   []byte
		header []string
		status int
	}{
		"other body":     {"hook/github.webhook", []byte(`{}`), signed, 401},
		"no signature":   {"hook/github.webhook", body, nil, 401},
		"token is none":  {"hook/github.webhook", body, []string{"Authorization", "Bearer all-secret"}, 401},
		"compressed":     {"hook/github.webhook", zip(body), append([]string{"Content-Encoding", "gzip"}, signed...), 415},
		"unknown source": {"hook/lost", body, signed, 404},
		"no such hook":   {"hook/nothing.here", body, []string{"Authorization", "Bearer all-secret"}, 404},
		"no token":       {"hook/litellm.proxy", body, nil, 401},
		"wrong source":   {"hook/litellm.proxy", body, []string{"Authorization", "Bearer edge-secret"}, 403},
		"token":          {"hook/litellm.proxy", body, []string{"Authorization", "Bearer all-secret", "X-Gitlab-Event", "Push Hook"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if a := call(t, s, tc.path, tc.body, tc.header...); a.status != tc.status {
				t.Errorf("%d %v", a.status, a.problem)
			}
		})
	}
	got, raws := stored(t, b, subjects.StreamRaw)
	want := []string{
		`{"headers":{"user-agent":"Go-http-client/1.1","x-github-delivery":"d-1","x-github-event":"star"},"body":{"action":"created","n":1}}`,
		`{"headers":{"user-agent":"Go-http-client/1.1","x-gitlab-event":"Push Hook"},"body":{"action":"created","n":1}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if h := raws[0].Header; h.Envelope != "webhook" || h.Auth != "hook.github.webhook" || h.Source != "litellm.proxy" {
		t.Errorf("%+v", h)
	}
}

// TestCloudEvents sends with the official SDK, in each of its modes.
func TestCloudEvents(t *testing.T) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(s.URL()+"/v1/cloudevents"),
		cloudevents.WithHeader("Authorization", "Bearer all-secret"))
	if err != nil {
		t.Fatal(err)
	}
	event := func(id string) cloudevents.Event {
		e := cloudevents.NewEvent()
		e.SetID(id)
		e.SetTime(time.Unix(1_790_000_000, 0))
		e.SetSource("http://fraud.models.example.com/")
		e.SetType("org.kubeflow.serving.inference.request")
		e.SetExtension("inferenceservicename", "fraud")
		if err := e.SetData(cloudevents.ApplicationJSON, map[string]any{"instances": []int{1, 2}}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	ctx := t.Context()
	for range 2 { // the second is a repeat
		if res := client.Send(cloudevents.WithEncodingBinary(ctx), event("one")); cloudevents.IsUndelivered(res) || !cloudevents.IsACK(res) {
			t.Fatalf("binary: %v", res)
		}
	}
	if res := client.Send(cloudevents.WithEncodingStructured(ctx), event("two")); !cloudevents.IsACK(res) {
		t.Fatalf("structured: %v", res)
	}
	batch, err := json.Marshal([]cloudevents.Event{event("three"), event("four")})
	if err != nil {
		t.Fatal(err)
	}
	if a := call(t, s, "cloudevents/litellm.proxy", batch, "Authorization", "Bearer all-secret", "Content-Type", cloudevents.ApplicationCloudEventsBatchJSON); a.status != 200 || a.Accepted != 2 {
		t.Fatalf("batch: %d %v", a.status, a.problem)
	}
	if a := call(t, s, "cloudevents", []byte(`{}`), "Authorization", "Bearer all-secret"); a.status != 400 || a.problem.Code != "no_cloudevent" {
		t.Errorf("no event: %d %v", a.status, a.problem)
	}
	got, raws := stored(t, b, subjects.StreamRaw)
	if len(got) != 4 {
		t.Fatalf("%d records: %s", len(got), got)
	}
	for i, want := range []string{"one", "two", "three", "four"} {
		var e cloudevents.Event // the SDK reads what is stored, whatever the mode was
		if err := json.Unmarshal([]byte(got[i]), &e); err != nil {
			t.Fatalf("%s: %v", got[i], err)
		}
		if e.ID() != want || e.Extensions()["inferenceservicename"] != "fraud" || string(e.Data()) != `{"instances":[1,2]}` {
			t.Errorf("%s", got[i])
		}
	}
	if raws[0].Header.Envelope != "cloudevents" || raws[0].Header.Source != "auto" {
		t.Errorf("%+v", raws[0].Header)
	}
}

// TestKubernetesAudit replays a request that a kube-apiserver sent.
func TestKubernetesAudit(t *testing.T) {
	recorded, err := os.ReadFile("../../schemas/sources/kubernetes.audit/testdata/webhook.json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(recorded, &list); err != nil || len(list.Items) == 0 {
		t.Fatalf("%d items: %v", len(list.Items), err)
	}
	b := testkit.Bus(t)
	s := start(t, options(b))
	for i := range 2 { // the API server repeats what it got no answer for
		a := call(t, s, "kubernetes/audit", recorded, "Authorization", "Bearer all-secret")
		if a.status != 200 || a.Accepted != len(list.Items) || a.Duplicate != (i == 1) {
			t.Fatalf("%d %+v %v", a.status, a.receipt, a.problem)
		}
	}
	got, _ := stored(t, b, subjects.StreamRaw)
	for i, item := range list.Items {
		if got[i] != string(item) {
			t.Errorf("record %d: %.100s", i, got[i])
		}
	}
}

func TestSeveralLines(t *testing.T) {
	b := testkit.Bus(t)
	o := options(b)
	zeek, err := TextFraming("", "", "#")
	if err != nil {
		t.Fatal(err)
	}
	o.Framing = func(string) (Framing, bool) { return zeek, true }
	s := start(t, o)
	var body bytes.Buffer
	body.WriteString("#fields\ta\n")
	for i := range 1200 {
		fmt.Fprintf(&body, "%d\n", i)
	}
	if a := post(t, s, "zeek.conn", "all-secret", body.Bytes()); a.status != 200 || a.Accepted != 3 {
		t.Fatalf("%d %+v %v", a.status, a.receipt, a.problem)
	}
	got, _ := stored(t, b, subjects.StreamRaw)
	for _, r := range got {
		if !strings.HasPrefix(r, "#fields\ta\n") {
			t.Errorf("%.30q", r)
		}
	}
}

// signal is a writer that tells of what is written.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	s <- struct{}{}
	return len(p), nil
}

// TestTokensFile changes, breaks and empties the file under a running service.
func TestTokensFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	o := options(testkit.Bus(t))
	o.TokensFile, o.ReloadEvery = path, 20*time.Millisecond // not there yet
	reported := make(chan struct{}, 100)
	o.Logger = slog.New(slog.NewTextHandler(signal(reported), &slog.HandlerOptions{Level: slog.LevelError}))
	s := start(t, o)
	status := func(token string) int { return post(t, s, "nginx.access", token, []byte("x\n")).status }
	if status("late") != 401 || status("all-secret") != 200 {
		t.Fatal("tokens before the file")
	}
	const entry = "- {name: late, sha256: %s, sources: ['*']}\n"
	write("tokens:\n" + fmt.Sprintf(entry, HashToken("late")))
	testkit.Eventually(t, "the new token is taken", func() bool { return status("late") == 200 })
	for _, broken := range []string{"tokens: [oops", "tokens:\n- {name: late, sha256: short, sources: ['*']}\n"} {
		write(broken)
		<-reported
	}
	if status("late") != 200 || status("all-secret") != 200 {
		t.Error("a broken file took tokens away")
	}
	write("tokens:\n" + fmt.Sprintf(entry, HashToken("later")))
	testkit.Eventually(t, "the token is exchanged", func() bool { return status("later") == 200 && status("late") == 401 })
	write("tokens: []\n")
	testkit.Eventually(t, "the token is revoked", func() bool { return status("later") == 401 })
	if status("all-secret") != 200 {
		t.Error("a token of the options is gone")
	}
}

func TestInTheClearOnLoopbackOnly(t *testing.T) {
	o := options(testkit.Bus(t))
	o.Addr = "0.0.0.0:0"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "ingest.insecure") {
		t.Fatalf("%v", err)
	}
	o.Insecure = true
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

func TestReceiverMetrics(t *testing.T) {
	o := options(testkit.Bus(t))
	s := start(t, o)
	post(t, s, "nginx.access", "", []byte("x"))
	resp, err := http.Get(s.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	_, _ = out.ReadFrom(resp.Body)
	if want := `vagus_ingest_receiver_requests_total{receiver="ingest",code="401"} 1`; !strings.Contains(out.String(), want) {
		t.Errorf("no %s in\n%s", want, out.String())
	}
}
