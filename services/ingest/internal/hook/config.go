// Package hook takes webhooks apart: it verifies their signatures, finds what
// makes a repeated delivery count once, and puts the telling headers and the
// body into one record.
package hook

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// Secret refers to a secret: env:NAME, file:PATH, or the secret itself. It
// never prints.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

func (s Secret) value() (string, error) {
	v := string(s)
	switch {
	case strings.HasPrefix(v, "env:"):
		v = os.Getenv(v[len("env:"):])
	case strings.HasPrefix(v, "file:"):
		data, err := os.ReadFile(v[len("file:"):])
		if err != nil {
			return "", err
		}
		v = strings.TrimSpace(string(data))
	}
	if v == "" {
		return "", fmt.Errorf("%s is empty or not set", string(s))
	}
	return v, nil
}

// Config is one webhook, POST /v1/hook/NAME.
type Config struct {
	// Source of its records; default: the name of the hook.
	Source string `yaml:"source"`
	// Verify says how the sender proves itself: github, gitlab, huggingface,
	// slack, hmac or header (both by the fields below). Empty: by a token of
	// ingest, as everywhere.
	Verify string `yaml:"verify"`
	// Secret is what sender and hub share; Previous is taken too, while a
	// sender is moved from one to the other.
	Secret   Secret `yaml:"secret"`
	Previous Secret `yaml:"previous"`

	// Header holds the signature (hmac) or the secret itself (header).
	Header string `yaml:"header"`
	// Algorithm is sha256, sha1 or sha512; Encoding hex or base64; Prefix what
	// comes before the signature, such as "sha256=".
	Algorithm string `yaml:"algorithm"`
	Encoding  string `yaml:"encoding"`
	Prefix    string `yaml:"prefix"`
	// Timestamp is a header with Unix seconds, at most Tolerance (5m) off.
	// Signed says what is signed, by default {body}, or {timestamp}.{body}.
	Timestamp string        `yaml:"timestamp"`
	Tolerance time.Duration `yaml:"tolerance"`
	Signed    string        `yaml:"signed"`

	// Key is a header that is the same if a delivery is repeated.
	Key string `yaml:"key"`
	// Headers to keep besides the usual ones.
	Headers []string `yaml:"headers"`
}

// presets are the products whose way of signing is known.
var presets = map[string]Config{
	"github":      {Verify: "hmac", Header: "X-Hub-Signature-256", Algorithm: "sha256", Prefix: "sha256="},
	"gitlab":      {Verify: "header", Header: "X-Gitlab-Token"},
	"huggingface": {Verify: "header", Header: "X-Webhook-Secret"},
	"slack": {Verify: "hmac", Header: "X-Slack-Signature", Algorithm: "sha256", Prefix: "v0=",
		Timestamp: "X-Slack-Request-Timestamp", Signed: "v0:{timestamp}:{body}"},
}

// complete fills in the preset and the defaults.
func (c Config) complete() (Config, error) {
	if p, ok := presets[c.Verify]; ok {
		if c.Header != "" || c.Algorithm != "" || c.Encoding != "" || c.Prefix != "" || c.Timestamp != "" || c.Signed != "" {
			return c, fmt.Errorf("verify: %s says by itself what header, algorithm, encoding, prefix, timestamp and signed are", c.Verify)
		}
		c.Verify, c.Header, c.Algorithm, c.Prefix, c.Timestamp, c.Signed = p.Verify, p.Header, p.Algorithm, p.Prefix, p.Timestamp, p.Signed
	}
	if c.Tolerance == 0 {
		c.Tolerance = 5 * time.Minute
	}
	if c.Algorithm == "" {
		c.Algorithm = "sha256"
	}
	if c.Encoding == "" {
		c.Encoding = "hex"
	}
	if c.Signed == "" {
		c.Signed = "{body}"
		if c.Timestamp != "" {
			c.Signed = "{timestamp}.{body}"
		}
	}
	switch {
	case c.Verify == "" && (c.Secret != "" || c.Header != ""):
		return c, errors.New("secret and header need verify: github, gitlab, huggingface, slack, hmac or header")
	case !slices.Contains([]string{"", "hmac", "header"}, c.Verify):
		return c, fmt.Errorf("verify: %q is none of github, gitlab, huggingface, slack, hmac, header", c.Verify)
	case c.Verify != "" && c.Secret == "":
		return c, errors.New("secret is needed: env:NAME or file:PATH")
	case c.Verify != "" && c.Header == "":
		return c, errors.New("header is needed: where the sender puts the signature")
	case !slices.Contains([]string{"sha256", "sha1", "sha512"}, c.Algorithm):
		return c, fmt.Errorf("algorithm: %q is none of sha256, sha1, sha512", c.Algorithm)
	case !slices.Contains([]string{"hex", "base64"}, c.Encoding):
		return c, fmt.Errorf("encoding: %q is neither hex nor base64", c.Encoding)
	case strings.Count(c.Signed, "{body}") != 1:
		return c, fmt.Errorf("signed: %q must have {body} once", c.Signed)
	case c.Timestamp != "" && c.Verify == "hmac" && !strings.Contains(c.Signed, "{timestamp}"):
		return c, fmt.Errorf("signed: %q has no {timestamp}, so that anybody could set it", c.Signed)
	case c.Tolerance < 0 || c.Tolerance > 24*time.Hour:
		return c, fmt.Errorf("tolerance: %s; want at most 24h", c.Tolerance)
	}
	for _, h := range append([]string{c.Key}, c.Headers...) {
		if h != "" && secretive(h) {
			return c, fmt.Errorf("header %s may hold a secret and is never kept", h)
		}
	}
	return c, nil
}

// Check finds mistakes; it does not look whether secrets can be read.
func (c Config) Check() error {
	_, err := c.complete()
	return err
}

// secretive reports headers that never go into a record.
func secretive(header string) bool {
	h := strings.ToLower(header)
	for _, part := range []string{"authorization", "cookie", "signature", "token", "secret", "password", "api-key", "apikey"} {
		if strings.Contains(h, part) {
			return true
		}
	}
	return false
}

// usual are the headers that tell what a webhook is about.
var usual = []string{
	"Content-Type", "User-Agent", "X-Github-Event", "X-Github-Delivery", "X-Github-Hook-Id", "X-Github-Hook-Installation-Target-Type",
	"X-Gitlab-Event", "X-Gitlab-Event-Uuid", "X-Gitlab-Instance", "X-Gitea-Event", "X-Event-Key", "X-Event-Type", "X-Event-Id",
}

// keys are the headers that stay the same if a delivery is repeated.
var keys = []string{"X-Github-Delivery", "X-Gitlab-Event-Uuid", "X-Gitea-Delivery", "X-Event-Id", "Webhook-Id"}

func canonical(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = http.CanonicalHeaderKey(n)
	}
	return out
}
