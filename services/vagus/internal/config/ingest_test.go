package config

import (
	"strings"
	"testing"
)

func TestIngest(t *testing.T) {
	c := Default()
	if err := Parse("good.yml", []byte(`
ingest:
  tls: {cert: hub.pem, key: hub.key, client_ca: ca.pem, client_auth: optional}
  tokens_file: tokens.yaml
  tokens: [{name: edge, sha256: 0917b13a9091915d54b6336f45909539cce452b3661b21f386418a257883b30a, sources: [auto], not_after: 2027-01-01T00:00:00Z}]
  clients: [{name: "spiffe://example.com/edge", sources: ["*"]}]
  hooks:
    github.webhook: {verify: github, secret: "env:GITHUB_SECRET"}
    own.hook: {verify: hmac, secret: "file:/run/secrets/hook", header: X-Signature, timestamp: X-Time, tolerance: 2m}
`), &c); err != nil {
		t.Fatal(err)
	}
	if c.Ingest.Tokens[0].NotAfter.Year() != 2027 || c.Ingest.Hooks["own.hook"].Tolerance.Minutes() != 2 || c.Tokens() != "tokens.yaml" {
		t.Errorf("%+v", c.Ingest)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"tls without key":    {"ingest:\n  tls: {cert: a}\n", "[2:"},
		"unknown key in tls": {"ingest:\n  tls: {certificate: a}\n", "[2:"},
		"clients alone":      {"ingest:\n  clients: [{name: a, sources: ['*']}]\n", "client_ca"},
		"hook":               {"ingest:\n  hooks:\n    a.b: {verify: github}\n", "[3:"},
		"hook, unknown key":  {"ingest:\n  hooks:\n    a.b: {verfy: github}\n", "[3:"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if err := Parse("bad.yml", []byte(tc.text), &c); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
