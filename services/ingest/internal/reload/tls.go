package reload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// TLS is where certificates are, as PEM files. They are read again when they
// change; a change that cannot be used is reported, and the old ones stay.
type TLS struct {
	Cert string `yaml:"cert"` // certificate, with the chain
	Key  string `yaml:"key"`
	// ClientCA verifies client certificates; ClientAuth says whether they are
	// required (the default with ClientCA) or optional.
	ClientCA   string `yaml:"client_ca"`
	ClientAuth string `yaml:"client_auth"`
}

// Enabled reports whether TLS is configured at all.
func (t TLS) Enabled() bool { return t != TLS{} }

// Check finds what cannot be meant, without reading the files.
func (t TLS) Check() error {
	switch {
	case !t.Enabled():
		return nil
	case t.Cert == "" || t.Key == "":
		return errors.New("tls: cert and key are both needed")
	case t.ClientAuth != "" && t.ClientAuth != "require" && t.ClientAuth != "optional":
		return fmt.Errorf("tls: client_auth: %q is neither require nor optional", t.ClientAuth)
	case t.ClientAuth != "" && t.ClientCA == "":
		return errors.New("tls: client_auth needs client_ca, the certificates that verify clients")
	}
	return nil
}

func (t TLS) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if t.ClientCA == "" {
		return cfg, nil
	}
	data, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls: client_ca: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("tls: client_ca %s holds no PEM certificate", t.ClientCA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if t.ClientAuth == "optional" {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

// Certs serves TLS with certificates that follow their files.
type Certs struct {
	from    TLS
	log     *slog.Logger
	now     atomic.Pointer[tls.Config]
	watcher *Watcher
}

// LoadCerts reads the files a first time; Run looks at them every two seconds.
func LoadCerts(t TLS, log *slog.Logger) (*Certs, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	c := &Certs{from: t, log: log, watcher: New(2*time.Second, t.Cert, t.Key, t.ClientCA)}
	cfg, err := t.load()
	if err != nil {
		return nil, err
	}
	c.now.Store(cfg)
	return c, nil
}

// LookEvery changes how often Run looks; call it before Run.
func (c *Certs) LookEvery(d time.Duration) { c.watcher.every = d }

// Config is for a server; each handshake gets the certificates of the moment.
func (c *Certs) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil },
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.now.Load().Certificates[0], nil
		},
	}
}

// Run follows the files until ctx ends.
func (c *Certs) Run(ctx context.Context) error {
	return c.watcher.Run(ctx, func() {
		cfg, err := c.from.load()
		if err != nil {
			c.log.Error("the changed certificates cannot be used, the old ones stay", "error", err)
			return
		}
		c.now.Store(cfg)
		c.log.Info("certificates read again", "cert", c.from.Cert)
	})
}
