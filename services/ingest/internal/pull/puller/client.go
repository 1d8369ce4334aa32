package puller

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what servers answer.
const (
	MaxAnswer = 64 << 20         // bytes of an answer that is read whole, unpacked
	patience  = 30 * time.Second // for the head of an answer, and for each silence within it
	total     = 5 * time.Minute  // for an answer that is read whole
	maxAfter  = time.Hour        // that a server may ask to wait
	keepText  = 300              // bytes of an error's answer that go into the log
)

// ErrTooLarge says that an answer is beyond the bounds.
var ErrTooLarge = errors.New("answer too large")

// Client talks to the hosts it was made for and to no other: redirections are
// not followed, and a link in an answer that leads elsewhere is an error. TLS
// is always verified.
type Client struct {
	http  *http.Client
	hosts []string
}

// CheckURL accepts https, and http to this machine.
func CheckURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("%q is no URL", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q must have neither user nor query", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%q must be https (http only to this machine)", text)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NewClient makes a client for the hosts of urls. ca names a file of
// certificates to trust instead of the system's; may be empty.
func NewClient(ca string, urls ...string) (*Client, error) {
	c := &Client{}
	for _, text := range urls {
		u, err := CheckURL(text)
		if err != nil {
			return nil, err
		}
		c.hosts = append(c.hosts, u.Scheme+"://"+u.Host)
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: patience, IdleConnTimeout: 60 * time.Second,
		MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate", ca)
		}
	}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Open sends a request and returns the body of a good answer, which the caller
// closes; reading ends with an error after a silence of 30 s. Other answers are
// a *Failure.
func (c *Client) Open(req *http.Request, op string) (*http.Response, error) {
	if !slices.Contains(c.hosts, req.URL.Scheme+"://"+req.URL.Host) {
		return nil, fmt.Errorf("%s: the server points to %s, which is not configured", op, req.URL.Host)
	}
	ctx, cancel := context.WithCancel(req.Context())
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		cancel()
		var ue *url.Error // its text holds the URL, query and all
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	body := &patient{ReadCloser: resp.Body, cancel: cancel}
	body.timer = time.AfterFunc(patience, cancel)
	resp.Body = body
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, keepText))
	return nil, &Failure{Op: op, Status: resp.StatusCode, After: retryAfter(resp.Header), Text: oneLine(text), Hint: hint(resp.StatusCode)}
}

// Do is Open for answers that are read whole, at most MaxAnswer bytes.
func (c *Client) Do(req *http.Request, op string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(req.Context(), total)
	defer cancel()
	resp, err := c.Open(req.WithContext(ctx), op)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if len(body) > MaxAnswer {
		return nil, fmt.Errorf("%s: %w: more than %d bytes (ask for smaller pages)", op, ErrTooLarge, MaxAnswer)
	}
	return body, nil
}

// JSON asks and decodes the answer. in is the body, nil for none.
func (c *Client) JSON(ctx context.Context, op, method, target string, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(req, op)
	if err != nil {
		return err
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%s: %w: %w", op, ErrMalformed, err)
		}
	}
	return nil
}

// patient ends a body that is silent for too long.
type patient struct {
	io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if n > 0 {
		p.timer.Reset(patience)
	}
	return n, err
}

func (p *patient) Close() error {
	p.timer.Stop()
	err := p.ReadCloser.Close()
	p.cancel()
	return err
}

func oneLine(text []byte) string {
	return strings.ToValidUTF8(strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return r < ' ' || r == 0x7f }), " "), "?")
}

func hint(status int) string {
	switch {
	case status == 401:
		return "check the credentials"
	case status == 403:
		return "check the credentials and their permissions"
	case status/100 == 3:
		return "redirections are not followed: configure where it leads"
	}
	return ""
}

// retryAfter reads Retry-After, in seconds or as a date, and CrowdStrike's
// header with a Unix time.
func retryAfter(h http.Header) time.Duration {
	d := time.Duration(0)
	if v := h.Get("Retry-After"); v != "" {
		if n, err := strconv.Atoi(v); err == nil {
			d = time.Duration(min(max(n, 0), 1<<20)) * time.Second
		} else if at, err := http.ParseTime(v); err == nil {
			d = time.Until(at)
		}
	} else if n, err := strconv.ParseInt(h.Get("X-Ratelimit-Retryafter"), 10, 64); err == nil {
		d = time.Until(time.Unix(n, 0))
	}
	return min(max(d, 0), maxAfter)
}

// Grant is OAuth 2.0's client credentials grant.
type Grant struct {
	URL      string
	ID       Secret
	Secret   Secret
	Scope    string
	Client   *Client
	mu       sync.Mutex
	token    string
	tokenEnd time.Time
}

// Header gives the header with a token, asking for a new one if the last ends
// within a minute.
func (g *Grant) Header(ctx context.Context) (http.Header, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token == "" || time.Now().After(g.tokenEnd) {
		if err := g.fetch(ctx); err != nil {
			return nil, err
		}
	}
	return http.Header{"Authorization": {"Bearer " + g.token}}, nil
}

// Forget drops the token, after a 401.
func (g *Grant) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = ""
}

func (g *Grant) fetch(ctx context.Context) error {
	const op = "ask for a token"
	id, err := g.ID.Value()
	if err != nil {
		return err
	}
	secret, err := g.Secret.Value()
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	if g.Scope != "" {
		form.Set("scope", g.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	answer, err := g.Client.Do(req, op)
	if err != nil {
		return err
	}
	var t struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(answer, &t); err != nil || t.AccessToken == "" {
		return fmt.Errorf("%s: %w: no access_token", op, ErrMalformed)
	}
	g.token = t.AccessToken
	g.tokenEnd = time.Now().Add(time.Duration(min(max(t.ExpiresIn-60, 30), 86400)) * time.Second)
	return nil
}

// Host is the host of the first URL.
func (c *Client) Host() string {
	return strings.TrimPrefix(strings.TrimPrefix(c.hosts[0], "https://"), "http://")
}
