package auth

import (
	"encoding/base64"
	"net/http/httptest"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	good := Token{Name: "edge", SHA256: Hash("secret"), Sources: []string{"*"}}
	for name, tokens := range map[string][]Token{
		"none":           nil,
		"no name":        {{Name: "", SHA256: good.SHA256, Sources: good.Sources}},
		"bad name":       {{Name: "a b", SHA256: good.SHA256, Sources: good.Sources}},
		"twice":          {good, good},
		"short hash":     {{Name: "edge", SHA256: "abcd", Sources: good.Sources}},
		"plain token":    {{Name: "edge", SHA256: "secret", Sources: good.Sources}},
		"no sources":     {{Name: "edge", SHA256: good.SHA256, Sources: nil}},
		"wrong wildcard": {{Name: "edge", SHA256: good.SHA256, Sources: []string{"ng*"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tokens); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	s, err := New([]Token{{Name: "edge", SHA256: Hash("one"), Sources: []string{"nginx.*", "litellm.proxy"}}, {Name: "all", SHA256: Hash("two"), Sources: []string{"*"}},
		{Name: "old", SHA256: Hash("past"), Sources: []string{"*"}, NotAfter: time.Now().Add(-time.Minute)},
		{Name: "leaving", SHA256: Hash("soon"), Sources: []string{"*"}, NotAfter: time.Now().Add(time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		token, source string
		known, may    bool
	}{
		"vendor":       {"one", "nginx.access", true, true},
		"exact":        {"one", "litellm.proxy", true, true},
		"other":        {"one", "kubernetes.audit", true, false},
		"vendor alone": {"one", "nginx", true, false},
		"prefix":       {"one", "nginxx.access", true, false},
		"all":          {"two", "kubernetes.audit", true, true},
		"wrong":        {"three", "nginx.access", false, false},
		"expired":      {"past", "nginx.access", false, false},
		"still taken":  {"soon", "nginx.access", true, true},
		"empty":        {"", "nginx.access", false, false},
		"the hash":     {Hash("one"), "nginx.access", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := s.Check(tc.token)
			if ok != tc.known || id.May(tc.source) != tc.may {
				t.Errorf("known %v, may %v", ok, id.May(tc.source))
			}
		})
	}
}

func TestRequest(t *testing.T) {
	s, err := New([]Token{{Name: "edge", SHA256: Hash("tok:en"), Sources: []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	base := base64.StdEncoding.EncodeToString
	for name, tc := range map[string]struct {
		header, value string
		want          bool
	}{
		"bearer":        {"Authorization", "Bearer tok:en", true},
		"bearer, case":  {"Authorization", "bearer  tok:en ", true},
		"splunk":        {"Authorization", "Splunk tok:en", true},
		"api key":       {"Authorization", "ApiKey tok:en", true},
		"elastic":       {"Authorization", "ApiKey " + base([]byte("id:tok:en")), true},
		"basic":         {"Authorization", "Basic " + base([]byte("any:tok:en")), true},
		"basic, user":   {"Authorization", "Basic " + base([]byte("tok:en")), false},
		"basic, broken": {"Authorization", "Basic tok:en", false},
		"own header":    {"X-Vagus-Token", "tok:en", true},
		"other scheme":  {"Authorization", "Digest tok:en", false},
		"bare":          {"Authorization", "tok:en", false},
		"none":          {"X-Other", "tok:en", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header.Set(tc.header, tc.value)
			if _, ok := Request(r, s.Check); ok != tc.want {
				t.Error(ok)
			}
		})
	}
	cert := httptest.NewRequest("POST", "/", nil)
	cert = cert.WithContext(WithCertificate(cert.Context(), Identity{Name: "robot"}))
	if id, ok := Request(cert, s.Check); !ok || id.Name != "robot" {
		t.Error("the certificate is not taken")
	}
	cert.Header.Set("Authorization", "Bearer wrong")
	if _, ok := Request(cert, s.Check); ok {
		t.Error("a wrong token is forgiven for a certificate")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"Bearer x", "Basic eDp5", "ApiKey aWQ6a2V5", "Splunk", " ", "apikey \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := Parse(s); len(got) > len(s) {
			t.Errorf("%q gives %q", s, got)
		}
	})
}
