package otlp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	logscol "go.opentelemetry.io/proto/otlp/collector/logs/v1"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
)

// issuer is a certificate authority of a test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{}
	pair := i.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	i.cert, i.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return i
}

// issue signs c; the first certificate signs itself.
func (i *issuer) issue(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = c, key
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must[*x509.Certificate](t)(x509.ParseCertificate(der))}
}

func (i *issuer) client(t *testing.T, cn, uri string) []tls.Certificate {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if uri != "" {
		c.URIs = []*url.URL{must[*url.URL](t)(url.Parse(uri))}
	}
	return []tls.Certificate{i.issue(t, c)}
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startTLS runs a receiver whose ports speak TLS and know two senders by their
// certificates: the gateway may write to all sources, the robot to vLLM's.
func startTLS(t *testing.T, h *hub, i *issuer, clientAuth string) *Receiver {
	t.Helper()
	dir := t.TempDir()
	server := i.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "hub"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	key := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(server.PrivateKey))
	clients := must[*auth.Clients](t)(auth.NewClients([]auth.Client{
		{Name: "gateway", Sources: []string{"*"}},
		{Name: "spiffe://example.com/robot", Sources: []string{"vllm.server"}},
	}))
	r := must[*Receiver](t)(New(Config{GRPC: "127.0.0.1:0", TLS: reload.TLS{
		Cert:       writePEM(t, filepath.Join(dir, "hub.pem"), "CERTIFICATE", server.Certificate[0]),
		Key:        writePEM(t, filepath.Join(dir, "hub.key"), "PRIVATE KEY", key),
		ClientCA:   writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", i.cert.Raw),
		ClientAuth: clientAuth,
	}}, h, clients, slog.New(slog.DiscardHandler)))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestGRPCTLS(t *testing.T) {
	ca, other := newIssuer(t), newIssuer(t)
	trusted, strangers := x509.NewCertPool(), x509.NewCertPool()
	trusted.AddCert(ca.cert)
	strangers.AddCert(other.cert)
	with := func(certs []tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: trusted, Certificates: certs})
	}
	for name, tc := range map[string]struct {
		clientAuth string
		creds      credentials.TransportCredentials
		token      string
		code       codes.Code
		auth       string
	}{
		"certificate":             {creds: with(ca.client(t, "gateway", "")), auth: "gateway"},
		"certificate, required":   {clientAuth: "require", creds: with(ca.client(t, "gateway", "")), auth: "gateway"},
		"token, no certificate":   {creds: with(nil), token: "secret", auth: "all"},
		"a token comes first":     {creds: with(ca.client(t, "gateway", "")), token: "secret", auth: "all"},
		"a wrong token counts":    {creds: with(ca.client(t, "gateway", "")), token: "other", code: codes.Unauthenticated},
		"by URI, not this source": {creds: with(ca.client(t, "x", "spiffe://example.com/robot")), code: codes.PermissionDenied},
		"not listed":              {creds: with(ca.client(t, "guest", "")), code: codes.Unauthenticated},
		"nothing":                 {creds: with(nil), code: codes.Unauthenticated},
		"none, required":          {clientAuth: "require", creds: with(nil), token: "secret", code: codes.Unavailable},
		"of another authority":    {creds: credentials.NewTLS(&tls.Config{RootCAs: trusted, GetClientCertificate: always(other.client(t, "gateway", ""))}), code: codes.Unavailable},
		"the hub is not trusted":  {creds: credentials.NewTLS(&tls.Config{RootCAs: strangers}), token: "secret", code: codes.Unavailable},
		"no TLS":                  {creds: insecure.NewCredentials(), token: "secret", code: codes.Unavailable},
		"old protocol":            {creds: credentials.NewTLS(&tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), token: "secret", code: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			if tc.clientAuth == "" {
				tc.clientAuth = "optional"
			}
			conn := client(t, startTLS(t, h, ca, tc.clientAuth), grpc.WithTransportCredentials(tc.creds))
			ctx := t.Context()
			if tc.token != "" {
				ctx = withToken(t, tc.token)
			}
			_, err := logscol.NewLogsServiceClient(conn).Export(ctx, logsOf(1, "web"))
			if status.Code(err) != tc.code {
				t.Fatalf("%v, want %s", err, tc.code)
			}
			batches, records := h.take()
			if tc.code != codes.OK {
				if len(records) > 0 {
					t.Errorf("refused, yet %d records", len(records))
				}
				return
			}
			if len(batches) != 1 || len(records) != 1 || batches[0].Auth != tc.auth {
				t.Errorf("%d records, batches %+v", len(records), batches)
			}
		})
	}
}

// always sends a certificate whether the server's authorities fit or not.
func always(certs []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
}
