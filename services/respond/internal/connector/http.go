package connector

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MaxResponse is how much of an answer is read, in bytes.
const MaxResponse = 256 << 10

// refused are networks no connector reaches unless its settings list them:
// what is private, local or of the cloud's own (metadata services).
var refused = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"), netip.MustParsePrefix("::/127"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

var errNetwork = errors.New("address refused")

// checkAddr says why an address must not be reached.
func checkAddr(a netip.Addr, allow []netip.Prefix) error {
	a = a.Unmap().WithZone("")
	for _, p := range allow {
		if p.Contains(a) {
			return nil
		}
	}
	for _, p := range refused {
		if p.Contains(a) {
			return fmt.Errorf("%w: %s is in %s: list the network in allow_networks of the connector if it is meant", errNetwork, a, p)
		}
	}
	return nil
}

// guarded is a client that checks the address it really connects to, after the
// name was resolved, follows no redirect and uses no proxy.
func guarded(allow []netip.Prefix, pool *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return checkAddr(ap.Addr(), allow)
	}}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// send performs an operation's requests in order. Each has the same key on
// every attempt, so a repeat from the first one is harmless.
func (in *instance) send(ctx context.Context, op *Operation, c Call, now time.Time) (Result, error) {
	e := env{Params: c.Params, Config: in.plain, Key: c.Key, Run: c.Run, Step: c.Step, Now: now, Prior: c.Prior}
	secrets := map[string]string{}
	for k, ref := range in.secrets {
		v, err := Resolve(ref)
		if err != nil {
			return Result{}, permanent("%s: %w", k, err)
		}
		secrets[k] = v
	}
	detail := map[string]string{}
	for i, r := range op.Requests {
		if len(op.Requests) > 1 {
			e.Key = c.Key + "/" + strconv.Itoa(i+1)
		}
		req, body, err := in.build(r, e, secrets, now)
		if err != nil {
			return Result{}, permanent("build request: %w", err)
		}
		// The base path stays out of it: chat services keep a secret there.
		detail["request"] = req.Method + " " + req.URL.Scheme + "://" + req.URL.Host + cut(strings.TrimPrefix(req.URL.EscapedPath(), in.base.EscapedPath()), 256)
		if len(body) > 0 {
			detail["body"] = cut(redact(string(body), secrets), 512)
		}
		rctx, cancel := context.WithTimeout(ctx, r.Timeout.Std())
		status, answer, after, err := in.roundTrip(rctx, req)
		cancel()
		if err != nil {
			detail["error"] = cut(redact(err.Error(), secrets), 256)
			return Result{}, &Error{Retry: !errors.Is(err, errNetwork), Detail: detail, Err: fmt.Errorf("%s: %s", in.spec.ID, detail["error"])}
		}
		detail["status"] = strconv.Itoa(status)
		detail["answer"] = cut(redact(string(answer), secrets), 256)
		e.Status, e.Body = status, nil
		if len(answer) > 0 {
			// Not JSON: the body is the text.
			if json.Unmarshal(answer, &e.Body) != nil {
				e.Body = string(answer)
			}
		}
		if slices.Contains(r.Already, status) {
			detail["already"] = "true"
			continue
		}
		if err := r.verdict(e, detail, after); err != nil {
			return Result{}, err
		}
	}
	res := Result{Detail: detail, Data: map[string]any{"status": e.Status}}
	if op.result != nil {
		v, err := op.result.Render(e)
		if err != nil {
			return Result{}, permanent("result: %w", err)
		}
		res.Data, _ = v.(map[string]any)
	}
	return res, nil
}

// build makes the request from data: path segments and query values are
// escaped, the body is encoded as a whole, headers are checked.
func (in *instance) build(r *Request, e env, secrets map[string]string, now time.Time) (*http.Request, []byte, error) {
	u := *in.base
	path, raw := strings.TrimRight(u.Path, "/"), strings.TrimRight(u.EscapedPath(), "/")
	for _, seg := range r.segments {
		s, err := seg.String(e)
		if err != nil {
			return nil, nil, fmt.Errorf("path: %w", err)
		}
		if _, static := seg.Static(); !static && (s == "" || s == "." || s == ".." || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })) {
			return nil, nil, fmt.Errorf("path: segment %q is not allowed", cut(s, 80))
		}
		path, raw = path+"/"+s, raw+"/"+url.PathEscape(s)
	}
	u.Path, u.RawPath = path, raw
	q := u.Query()
	for k, t := range r.query {
		s, err := t.String(e)
		if err != nil {
			return nil, nil, fmt.Errorf("query %s: %w", k, err)
		}
		q.Set(k, s)
	}
	u.RawQuery = q.Encode()
	var body []byte
	if r.body != nil {
		v, err := r.body.Render(e)
		if err != nil {
			return nil, nil, fmt.Errorf("body: %w", err)
		}
		if body, err = json.Marshal(v); err != nil {
			return nil, nil, fmt.Errorf("body: %w", err)
		}
	}
	req, err := http.NewRequest(r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	set := func(k, v string) error {
		if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return fmt.Errorf("header %s: line break or control character in its value", k)
		}
		req.Header.Set(k, v)
		return nil
	}
	for k, t := range r.headers {
		s, err := t.String(e)
		if err != nil {
			return nil, nil, fmt.Errorf("header %s: %w", k, err)
		}
		if err := set(k, s); err != nil {
			return nil, nil, err
		}
	}
	req.Header.Set("User-Agent", "vagus")
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", r.ContentType)
	}
	if err := set(r.Idempotency, e.Key); err != nil {
		return nil, nil, err
	}
	return req, body, in.authenticate(req, body, secrets, now, set)
}

func (in *instance) authenticate(req *http.Request, body []byte, secrets map[string]string, now time.Time, set func(k, v string) error) error {
	a := in.spec.Auth
	value := func(k string) string {
		if v, ok := secrets[k]; ok {
			return v
		}
		return in.plain[k]
	}
	switch a.Type {
	case "bearer":
		if t := value(a.Token); t != "" {
			return set("Authorization", "Bearer "+t)
		}
	case "header":
		return set(a.Header, value(a.Token))
	case "basic":
		req.SetBasicAuth(value(a.User), value(a.Token))
	case "hmac":
		ts := strconv.FormatInt(now.Unix(), 10)
		req.Header.Set("X-Vagus-Timestamp", ts)
		if s := value(a.Secret); s != "" {
			req.Header.Set("X-Vagus-Signature", "v1="+Sign(s, ts, body))
		}
	}
	return nil
}

// Sign is the hex HMAC-SHA256 of "timestamp.body".
func Sign(secret, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(timestamp))
	m.Write([]byte{'.'})
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

func (in *instance) roundTrip(ctx context.Context, req *http.Request) (status int, body []byte, after time.Duration, err error) {
	// RoundTrip, not Client.Do: a redirect is an answer like any other.
	resp, err := in.http.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return 0, nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		return 0, nil, 0, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > MaxResponse {
		body = body[:MaxResponse]
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		after = min(time.Duration(s)*time.Second, 15*time.Minute)
	}
	return resp.StatusCode, body, after, nil
}

// verdict tells success from failure.
func (r *Request) verdict(e env, detail map[string]string, after time.Duration) error {
	ok := e.Status >= 200 && e.Status < 300
	if len(r.Success.Status) > 0 {
		ok = slices.Contains(r.Success.Status, e.Status)
	}
	if !ok {
		retry := slices.Contains(r.Retry, e.Status) || slices.Contains([]int{408, 425, 429, 500, 502, 503, 504}, e.Status)
		return &Error{Retry: retry, After: after, Detail: detail, Err: fmt.Errorf("answered %d: %s", e.Status, cut(detail["answer"], 160))}
	}
	if r.when != nil {
		if done, err := r.when.Bool(e); err != nil || !done {
			return &Error{Detail: detail, Err: fmt.Errorf("answered %d, but %q does not hold (%v)", e.Status, r.Success.When, err)}
		}
	}
	return nil
}

func redact(s string, secrets map[string]string) string {
	for _, v := range secrets {
		if len(v) >= 4 {
			s = strings.ReplaceAll(s, v, "***")
		}
	}
	return s
}
