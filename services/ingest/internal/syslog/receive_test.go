package syslog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func dial(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestTCP(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub, Config{Listen: "tcp://127.0.0.1:0", Routes: []Route{{App: "nginx", Source: "nginx.access"}}})
	c := dial(t, "tcp", r.Addrs()[0])
	write(t, c, "<13>1 - web1 nginx - - - one\n<13>1 - web1 cron - - - tw")
	testkit.Eventually(t, "the first message is stored while the second is not there", func() bool { return hub.len() == 1 })
	write(t, c, "o\n<13>1 - web1 nginx - - - three") // ends without a line end
	c.Close()
	testkit.Eventually(t, "all messages", func() bool { return hub.len() == 3 })
	if diff := cmp.Diff([]stored{
		{"nginx.access", "syslog", "127.0.0.1", "<13>1 - web1 nginx - - - one", ""},
	}, hub.all()[:1]); diff != "" {
		t.Error(diff)
	}
	if hub.held != 0 {
		t.Errorf("%d bytes stay reserved", hub.held)
	}
}

// A busy hub stops the reading: what the sender has not got rid of stays with
// it, and when the hub is back everything arrives, in order.
func TestBackpressure(t *testing.T) {
	hub := &fakeHub{busy: true}
	r := run(t, hub, Config{Listen: "tcp://127.0.0.1:0"})
	c := dial(t, "tcp", r.Addrs()[0])
	const n = 100_000
	sent := make(chan error, 1)
	go func() {
		w := c
		for i := range n {
			if _, err := fmt.Fprintf(w, "<13>1 - h a - - - message %d %s\n", i, strings.Repeat("x", 200)); err != nil {
				sent <- err
				return
			}
		}
		sent <- w.Close()
	}()
	testkit.Eventually(t, "attempts", func() bool { hub.mu.Lock(); defer hub.mu.Unlock(); return hub.attempts > 2 })
	select {
	case err := <-sent:
		t.Fatalf("24 MB were taken by a busy hub: %v", err)
	default:
	}
	hub.set(false)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "all messages", func() bool { return hub.len() >= n })
	for i, m := range hub.all() {
		if want := fmt.Sprintf("<13>1 - h a - - - message %d ", i); !strings.HasPrefix(m.Text, want) {
			t.Fatalf("message %d is %.60q", i, m.Text)
		}
	}
}

// What was sent before the receiver stops is stored.
func TestStop(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub, Config{Listen: "tcp://127.0.0.1:0"}, Config{Listen: "udp://127.0.0.1:0"})
	c, u := dial(t, "tcp", r.Addrs()[0]), dial(t, "udp", r.Addrs()[1])
	write(t, c, "<13>1 first\n")
	testkit.Eventually(t, "the connection works", func() bool { return hub.len() == 1 })
	for i := range 1000 {
		write(t, c, fmt.Sprintf("<13>1 - - - %d\n", i))
	}
	for i := range 100 {
		write(t, u, fmt.Sprintf("<13>1 - - - %d", i))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := hub.len(); n != 1101 {
		t.Errorf("%d messages of 1101", n)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection stays open")
	}
}

func TestRefused(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub,
		Config{Listen: "tcp://127.0.0.1:0", Allow: []string{"192.0.2.0/24"}},
		Config{Listen: "udp://127.0.0.1:0", Allow: []string{"192.0.2.0/24"}},
		Config{Listen: "tcp://127.0.0.1:0", MaxConnections: 1, IdleTimeout: 50 * time.Millisecond})
	ended := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		return err != nil && !os.IsTimeout(err)
	}
	if !ended(dial(t, "tcp", r.Addrs()[0])) {
		t.Error("a network that is not allowed may connect")
	}
	write(t, dial(t, "udp", r.Addrs()[1]), "<1>x")
	if !ended(dial(t, "tcp", r.Addrs()[2])) {
		t.Error("a silent connection stays")
	}
	testkit.Eventually(t, "the datagram is counted", func() bool {
		var page strings.Builder
		_ = r.metrics.Write(&page)
		return strings.Contains(page.String(), `vagus_syslog_refused_total{listener="udp://127.0.0.1:0",reason="network"} 1`)
	})
	if hub.len() != 0 {
		t.Errorf("stored: %v", hub.all())
	}
}

func TestConnectionLimit(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub, Config{Listen: "tcp://127.0.0.1:0", MaxConnections: 1})
	first := dial(t, "tcp", r.Addrs()[0])
	write(t, first, "<13>1 first\n")
	testkit.Eventually(t, "the first connection is served", func() bool { return hub.len() == 1 })
	second := dial(t, "tcp", r.Addrs()[0])
	_ = second.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := second.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the second connection: %v", err)
	}
}

func TestUDP(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub, Config{Listen: "udp://127.0.0.1:0", QueueBytes: 4096})
	c := dial(t, "udp", r.Addrs()[0])
	write(t, c, "<13>Oct 11 22:14:15 web1 app: one\n")
	write(t, c, "\n")
	write(t, c, "two lines\nof no syslog")
	testkit.Eventually(t, "both", func() bool { return hub.len() == 2 })
	if diff := cmp.Diff([]stored{
		{"auto", "syslog", "127.0.0.1", "<13>Oct 11 22:14:15 web1 app: one", ""},
		{"auto", "syslog", "127.0.0.1", "two lines\nof no syslog", ""},
	}, hub.all()); diff != "" {
		t.Error(diff)
	}
	// A busy hub fills the queue; what does not fit is counted.
	hub.set(true)
	for range 10 {
		write(t, c, strings.Repeat("x", 1000))
	}
	testkit.Eventually(t, "drops are counted", func() bool {
		var page strings.Builder
		_ = r.metrics.Write(&page)
		return strings.Contains(page.String(), `vagus_syslog_dropped_total{listener="udp://127.0.0.1:0",where="queue"} 6`)
	})
	hub.set(false)
	testkit.Eventually(t, "the queued ones arrive", func() bool { return hub.len() == 6 })
}

// pki makes a CA, a server's and a client's certificate.
type pki struct{ ca, cert, key, clientCert, clientKey string }

func newPKI(t testing.TB) pki {
	t.Helper()
	dir := t.TempDir()
	save := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var parent *x509.Certificate
	var signer *ecdsa.PrivateKey
	issue := func(name string, serial int64) (cert, key string) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
		if parent == nil {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
			parent, signer = c, k
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &k.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		kd, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return save(name+".pem", "CERTIFICATE", der), save(name+".key", "PRIVATE KEY", kd)
	}
	var p pki
	p.ca, _ = issue("ca.example.com", 1)
	p.cert, p.key = issue("hub.example.com", 2)
	p.clientCert, p.clientKey = issue("web1.example.com", 3)
	return p
}

func TestTLS(t *testing.T) {
	p := newPKI(t)
	hub := &fakeHub{}
	r := run(t, hub,
		Config{Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: p.cert, Key: p.key, ClientCA: p.ca}},
		Config{Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: p.cert, Key: p.key, ClientCA: p.ca, Clients: []string{"db*.example.com", "*.example.org"}}},
		Config{Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: p.cert, Key: p.key}})
	pool := x509.NewCertPool()
	text, err := os.ReadFile(p.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(text)
	pair, err := tls.LoadX509KeyPair(p.clientCert, p.clientKey)
	if err != nil {
		t.Fatal(err)
	}
	send := func(addr string, certs ...tls.Certificate) {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "hub.example.com", Certificates: certs, MinVersion: tls.VersionTLS13})
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "20 <13>1 - - - - - text")
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = c.Read(make([]byte, 1)) // the end, or why the certificate is refused
	}
	send(r.Addrs()[0])
	send(r.Addrs()[1], pair)
	dial(t, "tcp", r.Addrs()[2]).Close()
	send(r.Addrs()[2])
	send(r.Addrs()[0], pair)
	testkit.Eventually(t, "two messages", func() bool { return hub.len() == 2 })
	if diff := cmp.Diff([]stored{
		{"auto", "syslog", "127.0.0.1", "<13>1 - - - - - text", ""},
		{"auto", "syslog:web1.example.com", "127.0.0.1", "<13>1 - - - - - text", ""},
	}, hub.all()); diff != "" {
		t.Error(diff)
	}
	for _, reason := range []string{`tls"} 2`, `certificate"} 1`} {
		testkit.Eventually(t, "a refusal for "+reason, func() bool { // each connection has its own time
			var page strings.Builder
			_ = r.metrics.Write(&page)
			return strings.Contains(page.String(), `reason="`+reason)
		})
	}
}
