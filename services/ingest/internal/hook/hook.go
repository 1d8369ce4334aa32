package hook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some senders know nothing else; as HMAC it is still sound
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrSignature says that a delivery is not from whom it should be. The text
// says no more than the sender knows anyway.
var ErrSignature = errors.New("missing or wrong signature")

// Hook checks and wraps the deliveries of one Config. It is read-only and safe
// for concurrent use.
type Hook struct {
	cfg     Config
	secrets []string
	keep    []string
}

// New reads the secrets.
func New(name string, cfg Config) (*Hook, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", name, err)
	}
	if cfg.Source == "" {
		cfg.Source = name
	}
	h := &Hook{cfg: cfg, keep: append(slices.Clone(usual), canonical(cfg.Headers)...)}
	slices.Sort(h.keep)
	h.keep = slices.Compact(h.keep)
	for _, ref := range []Secret{cfg.Secret, cfg.Previous} {
		if ref == "" {
			continue
		}
		v, err := ref.value()
		if err != nil {
			return nil, fmt.Errorf("hook %s: secret: %w", name, err)
		}
		h.secrets = append(h.secrets, v)
	}
	return h, nil
}

// Source of the hook's records.
func (h *Hook) Source() string { return h.cfg.Source }

// Signed reports whether deliveries prove themselves; else a token must.
func (h *Hook) Signed() bool { return h.cfg.Verify != "" }

// Precheck refuses a delivery that cannot be right before its body is read.
func (h *Hook) Precheck(header http.Header, now time.Time) error {
	got := header.Get(h.cfg.Header)
	if got == "" || !strings.HasPrefix(got, h.cfg.Prefix) {
		return ErrSignature
	}
	if h.cfg.Timestamp == "" {
		if h.cfg.Verify == "header" && !h.known(got) {
			return ErrSignature
		}
		return nil
	}
	sec, err := strconv.ParseInt(header.Get(h.cfg.Timestamp), 10, 64)
	if err != nil || now.Sub(time.Unix(sec, 0)).Abs() > h.cfg.Tolerance {
		return fmt.Errorf("%w: its timestamp is more than %s off", ErrSignature, h.cfg.Tolerance)
	}
	return nil
}

func (h *Hook) known(secret string) bool {
	found := 0
	sum := sha256.Sum256([]byte(strings.TrimPrefix(secret, h.cfg.Prefix)))
	for _, s := range h.secrets {
		want := sha256.Sum256([]byte(s))
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}

// Verify checks the signature over the body as it was sent, in constant time,
// and what Precheck checks.
func (h *Hook) Verify(header http.Header, body []byte, now time.Time) error {
	if err := h.Precheck(header, now); err != nil {
		return err
	}
	text := header.Get(h.cfg.Header)
	if h.cfg.Verify == "header" {
		if !h.known(text) {
			return ErrSignature
		}
		return nil
	}
	var got []byte
	var err error
	if text = strings.TrimPrefix(text, h.cfg.Prefix); h.cfg.Encoding == "base64" {
		got, err = base64.StdEncoding.DecodeString(text)
	} else {
		got, err = hex.DecodeString(text)
	}
	if err != nil {
		return ErrSignature
	}
	before, after, _ := strings.Cut(h.cfg.Signed, "{body}")
	stamp := header.Get(h.cfg.Timestamp)
	found := false
	for _, secret := range h.secrets {
		mac := hmac.New(h.algorithm(), []byte(secret))
		mac.Write([]byte(strings.ReplaceAll(before, "{timestamp}", stamp)))
		mac.Write(body)
		mac.Write([]byte(strings.ReplaceAll(after, "{timestamp}", stamp)))
		found = hmac.Equal(got, mac.Sum(nil)) || found
	}
	if !found {
		return ErrSignature
	}
	return nil
}

func (h *Hook) algorithm() func() hash.Hash {
	switch h.cfg.Algorithm {
	case "sha1":
		return sha1.New
	case "sha512":
		return sha512.New
	}
	return sha256.New
}

// Key is what a repeated delivery has in common with the first; "" if the
// sender says nothing of the kind.
func (h *Hook) Key(header http.Header) string {
	for _, name := range append([]string{h.cfg.Key}, keys...) {
		if v := header.Get(name); v != "" && len(v) <= 128 && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return v
		}
	}
	return ""
}

// Wrap appends the record of a delivery to dst: {"headers":{…},"body":…}, the
// names of headers in lower case. A body that is no JSON becomes a text; of a
// form with a field "payload" (as GitHub and Slack may send) that field is the
// body.
func (h *Hook) Wrap(dst []byte, header http.Header, body []byte) []byte {
	dst = append(dst, `{"headers":{`...)
	first := true
	for _, name := range h.keep {
		v := header.Get(name)
		if v == "" {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendText(dst, strings.ToLower(name)), ':')
		dst = appendText(dst, v)
	}
	dst = append(dst, `},"body":`...)
	if strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("payload") != "" {
			body = []byte(form.Get("payload"))
		}
	}
	body = bytes.TrimSpace(body)
	if json.Valid(body) {
		dst = append(dst, body...)
	} else {
		dst = appendText(dst, string(body))
	}
	return append(dst, '}')
}

// Size bounds what Wrap appends, in bytes.
func Size(header http.Header, body []byte) int {
	n := len(body) + 64
	if !json.Valid(body) {
		n = 6*len(body) + 64 // a byte may become \u0001
	}
	for name, values := range header {
		for _, v := range values {
			n += len(name) + 6*len(v) + 8
		}
	}
	return n
}

func appendText(dst []byte, s string) []byte {
	out, err := json.Marshal(strings.ToValidUTF8(s, "\ufffd"))
	if err != nil { // texts have JSON, always
		return append(dst, `""`...)
	}
	return append(dst, out...)
}
