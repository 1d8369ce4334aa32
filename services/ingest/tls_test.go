package ingest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign("ca", template)
	return a
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	fail := func(err error) {
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(err)
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	fail(err)
	cert, err := x509.ParseCertificate(der)
	fail(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	fail(err)
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		fail(os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}

func (a *authority) server(name string) {
	a.sign(name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

func (a *authority) client(name, cn, uri string) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		c.URIs = []*url.URL{u}
	}
	a.sign(name, c)
}

// TestTLS is curl against a service with certificates of its own.
func TestTLS(t *testing.T) {
	curl := testkit.Program(t, "curl")
	ca, other := newAuthority(t, "hub"), newAuthority(t, "other")
	ca.server("server")
	ca.client("edge", "edge", "")
	ca.client("robot", "x", "spiffe://example.com/robot")
	ca.client("guest", "guest", "")
	other.client("edge", "edge", "")

	b := testkit.Bus(t)
	o := options(b)
	o.TLS = TLS{Cert: ca.path("server.pem"), Key: ca.path("server.key"), ClientCA: ca.path("ca.pem"), ClientAuth: "optional"}
	o.ReloadEvery = 20 * time.Millisecond
	o.Clients = []Client{{Name: "edge", Sources: []string{"nginx.*"}}, {Name: "spiffe://example.com/robot", Sources: []string{"litellm.proxy"}}}
	s := start(t, o)
	run := func(source string, args ...string) string {
		args = append([]string{"-sS", "--cacert", ca.path("ca.pem"), "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--data-binary", "{}", s.URL() + "/v1/ingest/" + source}, args...)
		out, err := exec.CommandContext(t.Context(), curl, args...).Output()
		if err != nil {
			return "failed"
		}
		return string(out)
	}
	with := func(a *authority, name string) []string {
		return []string{"--cert", a.path(name + ".pem"), "--key", a.path(name + ".key")}
	}
	for name, tc := range map[string]struct {
		source string
		args   []string
		want   string
	}{
		"token, no certificate":   {"nginx.access", []string{"-H", "Authorization: Bearer all-secret"}, "200 2"},
		"http 1":                  {"nginx.access", []string{"-H", "Authorization: Bearer all-secret", "--http1.1"}, "200 1.1"},
		"nothing":                 {"nginx.access", nil, "401 2"},
		"certificate":             {"nginx.access", with(ca, "edge"), "200 2"},
		"certificate, by URI":     {"litellm.proxy", with(ca, "robot"), "200 2"},
		"certificate, its source": {"litellm.proxy", with(ca, "edge"), "403 2"},
		"certificate, not listed": {"nginx.access", with(ca, "guest"), "401 2"},
		"certificate of another":  {"nginx.access", with(other, "edge"), "failed"},
		"old protocol":            {"nginx.access", []string{"--tls-max", "1.1"}, "failed"},
		"authority unknown":       {"nginx.access", []string{"--cacert", other.path("ca.pem")}, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(tc.source, tc.args...); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	if _, raws := stored(t, b, subjects.StreamRaw); len(raws) != 4 {
		t.Errorf("%d batches", len(raws))
	}

	// The certificate changes while the service runs; a broken one does not.
	serial := func() string {
		out, err := exec.CommandContext(t.Context(), curl, "-sSv", "--cacert", ca.path("ca.pem"), s.URL()+"/healthz").CombinedOutput()
		if err != nil {
			return "failed"
		}
		_, after, _ := strings.Cut(string(out), "subject: CN=")
		cn, _, _ := strings.Cut(after, "\n")
		return cn
	}
	if got := serial(); got != "server" {
		t.Fatalf("certificate of %s", got)
	}
	if err := os.WriteFile(ca.path("server.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca.server("renewed")
	for _, ext := range []string{".key", ".pem"} {
		if err := os.Rename(ca.path("renewed"+ext), ca.path("server"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the new certificate is served", func() bool { return serial() == "renewed" })
}

func TestTLSRefuses(t *testing.T) {
	ca := newAuthority(t, "hub")
	ca.server("server")
	for name, tc := range map[string]struct {
		tls  TLS
		want string
	}{
		"no key":       {TLS{Cert: "a"}, "both needed"},
		"no such file": {TLS{Cert: "a", Key: "b"}, "no such file"},
		"no authority": {TLS{Cert: ca.path("server.pem"), Key: ca.path("server.key"), ClientAuth: "require"}, "client_ca"},
		"auth":         {TLS{Cert: "a", Key: "b", ClientCA: "c", ClientAuth: "maybe"}, "neither require nor optional"},
		"no PEM":       {TLS{Cert: ca.path("server.pem"), Key: ca.path("server.key"), ClientCA: "tls_test.go"}, "no PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(testkit.Bus(t))
			o.TLS = tc.tls
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
