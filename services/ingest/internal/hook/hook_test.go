package hook

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_790_000_000, 0)

func sum(secret, text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

func TestVerify(t *testing.T) {
	const body = `{"zen":"Design for failure."}`
	stamp := strconv.FormatInt(now.Unix(), 10)
	old := strconv.FormatInt(now.Add(-6*time.Minute).Unix(), 10)
	m := hmac.New(sha1.New, []byte("k"))
	m.Write([]byte(body))
	sha1base64 := base64.StdEncoding.EncodeToString(m.Sum(nil))
	for name, tc := range map[string]struct {
		cfg    Config
		header map[string]string
		want   bool
	}{
		"github":              {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=" + sum("k", body)}, true},
		"github, previous":    {Config{Verify: "github", Secret: "new", Previous: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=" + sum("k", body)}, true},
		"github, wrong":       {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=" + sum("x", body)}, false},
		"github, other body":  {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=" + sum("k", body+" ")}, false},
		"github, none":        {Config{Verify: "github", Secret: "k"}, nil, false},
		"github, no prefix":   {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": sum("k", body)}, false},
		"github, cut":         {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=" + sum("k", body)[:62]}, false},
		"github, no hex":      {Config{Verify: "github", Secret: "k"}, map[string]string{"X-Hub-Signature-256": "sha256=zz"}, false},
		"hugging face":        {Config{Verify: "huggingface", Secret: "k"}, map[string]string{"X-Webhook-Secret": "k"}, true},
		"hugging face, wrong": {Config{Verify: "huggingface", Secret: "k"}, map[string]string{"X-Webhook-Secret": "kk"}, false},
		"gitlab":              {Config{Verify: "gitlab", Secret: "k"}, map[string]string{"X-Gitlab-Token": "k"}, true},
		"gitlab, none":        {Config{Verify: "gitlab", Secret: "k"}, nil, false},
		"slack":               {Config{Verify: "slack", Secret: "k"}, map[string]string{"X-Slack-Signature": "v0=" + sum("k", "v0:"+stamp+":"+body), "X-Slack-Request-Timestamp": stamp}, true},
		"slack, replayed":     {Config{Verify: "slack", Secret: "k"}, map[string]string{"X-Slack-Signature": "v0=" + sum("k", "v0:"+old+":"+body), "X-Slack-Request-Timestamp": old}, false},
		"slack, new stamp":    {Config{Verify: "slack", Secret: "k"}, map[string]string{"X-Slack-Signature": "v0=" + sum("k", "v0:"+old+":"+body), "X-Slack-Request-Timestamp": stamp}, false},
		"slack, no stamp":     {Config{Verify: "slack", Secret: "k"}, map[string]string{"X-Slack-Signature": "v0=" + sum("k", "v0::"+body)}, false},
		"sha1, base64":        {Config{Verify: "hmac", Secret: "k", Header: "X-Sig", Algorithm: "sha1", Encoding: "base64"}, map[string]string{"X-Sig": sha1base64}, true},
		"generic, stamp":      {Config{Verify: "hmac", Secret: "k", Header: "X-Sig", Timestamp: "X-T"}, map[string]string{"X-Sig": sum("k", stamp+"."+body), "X-T": stamp}, true},
		"generic header":      {Config{Verify: "header", Secret: "k", Header: "X-Key", Prefix: "Key "}, map[string]string{"X-Key": "Key k"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := New("a.hook", tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			for k, v := range tc.header {
				header.Set(k, v)
			}
			if err := h.Verify(header, []byte(body), now); (err == nil) != tc.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no secret":         {Verify: "github"},
		"unknown":           {Verify: "gitub", Secret: "k"},
		"preset and own":    {Verify: "github", Secret: "k", Header: "X"},
		"no verify":         {Secret: "k"},
		"no header":         {Verify: "hmac", Secret: "k"},
		"algorithm":         {Verify: "hmac", Secret: "k", Header: "X", Algorithm: "md5"},
		"encoding":          {Verify: "hmac", Secret: "k", Header: "X", Encoding: "base32"},
		"signed, no body":   {Verify: "hmac", Secret: "k", Header: "X", Signed: "{timestamp}"},
		"stamp, not signed": {Verify: "hmac", Secret: "k", Header: "X", Timestamp: "T", Signed: "{body}"},
		"keeps a secret":    {Headers: []string{"X-Api-Key"}},
		"key is a secret":   {Key: "Authorization"},
		"tolerance":         {Verify: "slack", Secret: "k", Tolerance: 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if c.Check() == nil {
				t.Error("taken")
			}
		})
	}
	if _, err := New("a", Config{Verify: "github", Secret: "env:VAGUS_TEST_NOT_SET"}); err == nil || !strings.Contains(err.Error(), "VAGUS_TEST_NOT_SET") {
		t.Errorf("secret that is not set: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v", Config{Secret: "hush"}, Config{Secret: "hush"}, Config{Secret: "hush"}); strings.Contains(s, "hush") {
		t.Errorf("the secret prints: %s", s)
	}
}

func TestWrap(t *testing.T) {
	h, err := New("a.hook", Config{Headers: []string{"x-more"}})
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for k, v := range map[string]string{"X-GitHub-Event": "push", "X-More": "m\"", "Authorization": "Bearer t", "X-Hub-Signature-256": "s", "Cookie": "c", "X-Other": "o"} {
		header.Set(k, v)
	}
	form := header.Clone()
	form.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, tc := range map[string]struct {
		header     http.Header
		body, want string
	}{
		"json":  {header, " {\"a\":\n1} ", `{"headers":{"x-github-event":"push","x-more":"m\""},"body":{"a":` + "\n" + `1}}`},
		"text":  {header, "hi\xff", `{"headers":{"x-github-event":"push","x-more":"m\""},"body":"hi` + "\ufffd" + `"}`},
		"form":  {form, "payload=%7B%22a%22%3A1%7D", `{"headers":{"content-type":"application/x-www-form-urlencoded","x-github-event":"push","x-more":"m\""},"body":{"a":1}}`},
		"plain": {form, "a=b", `{"headers":{"content-type":"application/x-www-form-urlencoded","x-github-event":"push","x-more":"m\""},"body":"a=b"}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(h.Wrap(nil, tc.header, []byte(tc.body))); got != tc.want {
				t.Errorf("%s", got)
			}
		})
	}
	if k := h.Key(http.Header{"X-Github-Delivery": {"0b1c"}}); k != "0b1c" {
		t.Error(k)
	}
	if k := h.Key(http.Header{"X-Github-Delivery": {"a b"}}); k != "" {
		t.Error(k)
	}
}

// FuzzWrap: whatever comes, the record is JSON with the body in it, and no
// longer than Size says; no signature is right by accident.
func FuzzWrap(f *testing.F) {
	f.Add("push", "application/json", []byte(`{"a":1}`))
	f.Add("", "application/x-www-form-urlencoded", []byte("payload=%7b%7d&x=%zz"))
	f.Add("\x00", "", []byte("\xff\x01"))
	h, err := New("a.hook", Config{Verify: "github", Secret: "k"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, event, content string, body []byte) {
		header := http.Header{"X-Github-Event": {event}, "Content-Type": {content}, "X-Hub-Signature-256": {event}}
		if h.Verify(header, body, now) == nil {
			t.Fatal("signed")
		}
		got := h.Wrap(nil, header, body)
		if !json.Valid(got) || len(got) > Size(header, body) {
			t.Fatalf("%d bytes, bound %d: %q", len(got), Size(header, body), got)
		}
	})
}

func BenchmarkVerifyAndWrap(b *testing.B) {
	h, err := New("a.hook", Config{Verify: "github", Secret: "k"})
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"a":"` + strings.Repeat("x", 10_000) + `"}`)
	header := http.Header{"X-Hub-Signature-256": {"sha256=" + sum("k", string(body))}, "X-Github-Event": {"push"}}
	var dst []byte
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := h.Verify(header, body, now); err != nil {
			b.Fatal(err)
		}
		dst = h.Wrap(dst[:0], header, body)
	}
}
