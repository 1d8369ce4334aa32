package connector

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const demo = `
id: demo
title: Demo
config:
  url: {required: true}
  token: {required: true, secret: true}
auth: {type: bearer, token: token}
operations:
  act:
    kind: block
    destructive: true
    params: {name: {required: true, max_length: 4096}, data: {type: any}}
    targets: {user: name}
    undo: back
    requests:
      - method: POST
        path: "/v1/users/{{ params.name }}/block"
        query: {q: "{{ params.name }}"}
        headers: {X-Name: "static"}
        body: {name: "{{ params.name }}", text: "hello {{ params.name }}", data: "{{ params.data }}"}
        success: {when: "body?.ok == true"}
        already: [409]
    result: {id: "{{ body?.id }}"}
  header:
    kind: notify
    params: {name: {required: true}}
    requests: [{method: GET, headers: {X-Name: "{{ params.name }}"}}]
  back: {kind: release, params: {name: {}, data: {type: any}}, requests: [{method: DELETE}]}
`

func parse(t testing.TB, name, text string) *Spec {
	t.Helper()
	sp, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

func dial(t *testing.T, url string, more map[string]string) *Set {
	t.Helper()
	t.Setenv("DEMO_TOKEN", "s3cret-token")
	conf := map[string]string{"url": url, "token": "env:DEMO_TOKEN", "allow_networks": "127.0.0.0/8"}
	for k, v := range more {
		conf[k] = v
	}
	s, err := New(Options{Specs: []*Spec{parse(t, "demo.yml", demo)}, Config: map[string]map[string]string{"demo": conf}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestHostileValues: whatever an attacker puts into a value stays one value.
func TestHostileValues(t *testing.T) {
	var got *http.Request
	var body map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		b, _ := io.ReadAll(r.Body)
		body = nil
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("body %q: %v", b, err)
		}
		io.WriteString(w, `{"ok": true, "id": "x-1", "echo": "s3cret-token"}`)
	}))
	defer srv.Close()
	s := dial(t, srv.URL+"/base/", nil)
	for name, value := range map[string]string{
		"json":     `", "admin": true, "x": "`,
		"path":     "../../admin?x=1#y",
		"escaped":  "..%2f..%2fadmin",
		"query":    "a&q=b;c=d",
		"template": `{{ config.url }} {{ params.name }} ${token}`,
		"newline":  "a\r\nX-Evil: 1",
		"unicode":  "名前\u2028\x7f",
		"invalid":  "a\xff\xfe",
		"long":     strings.Repeat("A", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			got = nil
			res, err := s.Do(t.Context(), Call{Connector: "demo", Operation: "act", Params: map[string]any{"name": value, "data": map[string]any{"k": value}}, Key: "run/step"})
			if strings.ContainsAny(value, "\r\n\x7f") {
				if err == nil || got != nil {
					t.Fatalf("a control character in a path was sent: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := string([]rune(value)) // invalid UTF-8 is replaced
			if segs := strings.Split(got.URL.EscapedPath(), "/"); len(segs) != 6 || segs[1] != "base" || segs[5] != "block" || got.URL.Path != "/base/v1/users/"+want+"/block" {
				t.Errorf("path %q", got.URL.EscapedPath())
			}
			if q := got.URL.Query(); len(q) != 1 || q.Get("q") != want {
				t.Errorf("query %q", got.URL.RawQuery)
			}
			if len(body) != 3 || body["name"] != want || body["text"] != "hello "+want {
				t.Errorf("body %q", body)
			}
			if got.Header.Get("Authorization") != "Bearer s3cret-token" || got.Header.Get("Idempotency-Key") != "run/step" || got.Header.Get("X-Evil") != "" {
				t.Errorf("headers %v", got.Header)
			}
			if res.Data["id"] != "x-1" {
				t.Errorf("result %v", res.Data)
			}
			for k, v := range res.Detail {
				if strings.Contains(v, "s3cret") {
					t.Errorf("the audit detail %s shows the secret: %s", k, v)
				}
			}
		})
	}
	for _, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\x00b"} {
		got = nil
		if _, err := s.Do(t.Context(), Call{Connector: "demo", Operation: "header", Params: map[string]any{"name": value}}); err == nil || got != nil {
			t.Errorf("header value %q was sent: %v", value, err)
		}
	}
	for _, value := range []string{".", "..", ""} {
		if _, err := s.Do(t.Context(), Call{Connector: "demo", Operation: "act", Params: map[string]any{"name": value}}); err == nil {
			t.Errorf("path segment %q was sent", value)
		}
	}
}

func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		status  int
		header  string
		body    string
		ok      bool
		retry   bool
		after   time.Duration
		already bool
	}{
		"done":              {status: 200, body: `{"ok":true}`, ok: true},
		"says no":           {status: 200, body: `{"ok":false}`},
		"not json":          {status: 200, body: `<html>`},
		"there already":     {status: 409, body: `{}`, ok: true, already: true},
		"too many":          {status: 429, header: "7", retry: true, after: 7 * time.Second},
		"unavailable":       {status: 503, retry: true},
		"forbidden":         {status: 403},
		"redirect":          {status: 307},
		"absurd wait":       {status: 503, header: "999999999", retry: true, after: 15 * time.Minute},
		"answer too large":  {status: 200, body: `{"ok":true,"x":"` + strings.Repeat("A", MaxResponse) + `"}`},
		"deep answer":       {status: 200, body: strings.Repeat("[", 200_000)},
		"nothing in answer": {status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			hits := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hits++
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			res, err := dial(t, srv.URL, nil).Do(t.Context(), Call{Connector: "demo", Operation: "act", Params: map[string]any{"name": "n"}})
			if (err == nil) != tt.ok {
				t.Fatalf("error %v", err)
			}
			var ce *Error
			if err != nil && (!errors.As(err, &ce) || ce.Retry != tt.retry || ce.After != tt.after) {
				t.Errorf("%+v", ce)
			}
			if tt.already != (res.Detail["already"] == "true") {
				t.Errorf("detail %v", res.Detail)
			}
			if hits != 1 {
				t.Errorf("%d requests", hits)
			}
		})
	}
}

func TestPrivateNetworksAreRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer srv.Close()
	for name, url := range map[string]string{"address": srv.URL, "name": strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)} {
		_, err := dial(t, url, map[string]string{"allow_networks": "192.0.2.0/24"}).Do(t.Context(), Call{Connector: "demo", Operation: "back"})
		var ce *Error
		if !errors.As(err, &ce) || ce.Retry || !strings.Contains(err.Error(), "allow_networks") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, a := range []string{"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0",
		"fd00::1", "0.0.0.0", "::", "100.64.0.1", "224.0.0.1", "255.255.255.255", "64:ff9b::7f00:1", "2002:7f00:1::"} {
		if checkAddr(netip.MustParseAddr(a), nil) == nil {
			t.Errorf("%s is reachable", a)
		}
	}
	for _, a := range []string{"192.0.2.1", "203.0.113.9", "2001:db8::1"} {
		if err := checkAddr(netip.MustParseAddr(a), nil); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestSettings(t *testing.T) {
	sp := parse(t, "demo.yml", demo)
	for name, tt := range map[string]struct {
		conf map[string]map[string]string
		want string
	}{
		"unknown connector": {map[string]map[string]string{"dem": {}}, `did you mean "demo"`},
		"unknown key":       {map[string]map[string]string{"demo": {"ulr": "https://x"}}, `did you mean "url"`},
		"missing":           {map[string]map[string]string{"demo": {"url": "https://example.com"}}, "token is missing"},
		"literal secret":    {map[string]map[string]string{"demo": {"url": "https://example.com", "token": "hunter2"}}, "give a reference"},
		"no scheme":         {map[string]map[string]string{"demo": {"url": "example.com", "token": "env:X"}}, "want http(s)://"},
		"file scheme":       {map[string]map[string]string{"demo": {"url": "file:///etc/passwd", "token": "env:X"}}, "url"},
		"userinfo":          {map[string]map[string]string{"demo": {"url": "https://a:b@example.com", "token": "env:X"}}, "without user"},
		"bad network":       {map[string]map[string]string{"demo": {"url": "https://example.com", "token": "env:X", "allow_networks": "10"}}, "CIDR"},
	} {
		_, err := New(Options{Specs: []*Spec{sp}, Config: tt.conf, Now: time.Now})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestSignature(t *testing.T) {
	// Computed apart: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
	if got, want := Sign("key", "1700000000", []byte(`{"a":1}`)), "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSpecMistakes(t *testing.T) {
	for name, tt := range map[string]struct{ from, to, want string }{
		"unknown key": {"title: Demo", "titel: Demo", `demo.yml:3:1: unknown key "titel" (did you mean "title"?)`},
		"file name":   {"id: demo", "id: other", "differs from the file's name"},
		"method":      {"method: POST", "method: PSOT", "want GET, POST"},
		"undo":        {"undo: back", "undo: bakc", `did you mean "back"`},
		"target":      {"targets: {user: name}", "targets: {user: nmae}", `did you mean "name"`},
		"no targets":  {"    targets: {user: name}\n", "", "names no targets"},
		"template":    {"hello {{ params.name }}", "hello {{ parms.name }}", "parms"},
		"auth":        {"type: bearer", "type: baerer", `did you mean "bearer"`},
		"alias":       {"title: Demo", "title: &x Demo", "anchors"},
		"environment": {"hello {{ params.name }}", "{{ token }}", "token"},
	} {
		text := strings.Replace(demo, tt.from, tt.to, 1)
		_, err := Parse("demo.yml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(demo))
	f.Add([]byte("id: [[[[[[[["))
	f.Fuzz(func(t *testing.T, text []byte) {
		sp, err := Parse("demo.yml", text)
		if err == nil && (sp == nil || sp.ID != "demo") {
			t.Fatal("accepted without an id")
		}
	})
}
