package auth

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
)

// Request finds the sender of an HTTP request: by the secret that it carries,
// see Secret, else by the client certificate that ingest verified. identify is
// Hub.Identify. Every HTTP receiver authenticates with this function.
func Request(r *http.Request, identify func(secret string) (Identity, bool)) (Identity, bool) {
	if secret := Secret(r); secret != "" {
		return identify(secret)
	}
	id, ok := r.Context().Value(certificate{}).(Identity)
	return id, ok
}

// Secret is the token of a request, in any way that shippers know to send one:
// Authorization as understood by Parse, or X-Vagus-Token. Never the URL, which
// ends in the logs of proxies. "" means none.
func Secret(r *http.Request) string {
	if v := r.Header.Get("Authorization"); v != "" {
		return Parse(v)
	}
	return r.Header.Get("X-Vagus-Token")
}

// Parse takes the token out of the value of an Authorization header: Bearer
// TOKEN, Splunk TOKEN, ApiKey TOKEN or base64(id:TOKEN), Basic with the token
// as password. "" means none.
func Parse(authorization string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer", "splunk", "token":
		return rest
	case "apikey":
		// Elasticsearch's clients send base64 of id:key; others the key.
		if _, key, ok := pair(rest); ok {
			return key
		}
		return rest
	case "basic":
		_, password, _ := pair(rest)
		return password
	}
	return ""
}

func pair(encoded string) (user, password string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

type certificate struct{}

// WithCertificate returns ctx with the identity that a verified client
// certificate stands for.
func WithCertificate(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, certificate{}, id)
}
