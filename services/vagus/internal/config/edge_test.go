package config

import (
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/ingest"
)

func TestEdgeConfig(t *testing.T) {
	hash := ingest.HashToken("secret")
	for name, tc := range map[string]struct{ text, problem string }{
		"leaf":                {"bus:\n  leaf:\n    addr: 127.0.0.1:7422\n    edges: [{name: plant-3, token_sha256: " + hash + ", sources: [nginx.*]}]\n", ""},
		"edges, no address":   {"bus: {leaf: {edges: [{name: a, token_sha256: " + hash + "}]}}", "addr is empty"},
		"half of TLS":         {"bus: {leaf: {addr: '127.0.0.1:1', tls: {cert: a}}}", "cert and key"},
		"name":                {"bus: {leaf: {addr: '127.0.0.1:1', edges: [{name: a.b, token_sha256: " + hash + "}]}}", "edge name"},
		"hash":                {"bus: {leaf: {addr: '127.0.0.1:1', edges: [{name: a, token_sha256: secret}]}}", "64 hex digits"},
		"outside server":      {"bus: {url: 'nats://h:4222', leaf: {addr: '127.0.0.1:1'}}", "embedded server"},
		"producer":            {"bus: {producers: [{name: gw, token_sha256: " + hash + ", sources: [nginx.access, 'litellm.*', '*', auto], raw: true}]}", ""},
		"producer's source":   {"bus: {producers: [{name: gw, token_sha256: " + hash + ", sources: ['raw.>']}]}", "byte '>'"},
		"producer's wildcard": {"bus: {producers: [{name: gw, token_sha256: " + hash + ", sources: ['a.*.b']}]}", "byte '*'"},
		"edge":                {"edge: {hub: 'tls://hub.example.com:7422', name: plant-3, token: 'env:T', max_age: 72h}", ""},
		"unknown key":         {"edge: {hubs: x}", "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			err := Parse("test.yml", []byte(tc.text), &c)
			if (err == nil) != (tc.problem == "") || err != nil && !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("got %v, want %q", err, tc.problem)
			}
		})
	}
	c := Default()
	if err := Parse("test.yml", []byte("bus: {producers: [{name: gw, token_sha256: "+hash+", sources: [nginx.access, 'litellm.*'], raw: true}]}"), &c); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Bus.Users()[0].Publish, " "); got != "in.nginx.access raw.nginx.access in.litellm.> raw.litellm.>" {
		t.Errorf("may publish to %s", got)
	}
}
