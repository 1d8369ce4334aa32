package syslog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// certificates makes TLS configurations from files, and again when a file has
// changed, so that certificates are renewed without a restart.
type certificates struct {
	TLS
	mu      sync.Mutex
	looked  time.Time
	stamps  [3]time.Time
	current *tls.Config
}

func newCertificates(c TLS) (*certificates, error) {
	if c.ClientAuth == "" && c.ClientCA != "" {
		c.ClientAuth = "required"
	}
	out := &certificates{TLS: c}
	var err error
	out.stamps = out.stat()
	out.current, err = out.load()
	return out, err
}

func (c *certificates) stat() (stamps [3]time.Time) {
	for i, name := range []string{c.Cert, c.Key, c.ClientCA} {
		if st, err := os.Stat(name); name != "" && err == nil {
			stamps[i] = st.ModTime()
		}
	}
	return stamps
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %s and key %s: %w", c.Cert, c.Key, err)
	}
	out := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.ClientCA != "" {
		text, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("tls client_ca: %w", err)
		}
		out.ClientCAs = x509.NewCertPool()
		if !out.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls client_ca %s: no certificate in it (want PEM)", c.ClientCA)
		}
	}
	switch c.ClientAuth {
	case "optional":
		out.ClientAuth = tls.VerifyClientCertIfGiven
	case "required":
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, nil
}

// config is the newest that could be read.
func (c *certificates) config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > time.Second {
		c.looked = now
		if stamps := c.stat(); stamps != c.stamps {
			// Half-written files fail, and are tried again a second later.
			if fresh, err := c.load(); err == nil {
				c.current, c.stamps = fresh, stamps
			}
		}
	}
	return c.current
}

// client names the verified certificate of a connection; empty: there is none.
func (c *certificates) client(state tls.ConnectionState) (string, error) {
	if len(state.VerifiedChains) == 0 {
		if len(c.Clients) > 0 {
			return "", errors.New("no client certificate, but tls.clients lists some")
		}
		return "", nil
	}
	cert := state.PeerCertificates[0]
	names := append(append([]string(nil), cert.DNSNames...), cert.Subject.CommonName)
	if len(c.Clients) == 0 {
		return printable(names), nil
	}
	for _, name := range names {
		for _, allowed := range c.Clients {
			suffix, wild := strings.CutPrefix(allowed, "*")
			if name != "" && (strings.EqualFold(name, allowed) || wild && len(name) > len(suffix) && strings.HasSuffix(strings.ToLower(name), strings.ToLower(suffix))) {
				return printable([]string{name}), nil
			}
		}
	}
	return "", fmt.Errorf("certificate of %q is not among tls.clients", names)
}

// printable makes the first name that is not empty fit for message ids.
func printable(names []string) string {
	for _, name := range names {
		out := strings.Map(func(r rune) rune {
			if r <= ' ' || r > '~' || r == '/' {
				return '_'
			}
			return r
		}, name)
		if out != "" {
			return out[:min(len(out), 64)]
		}
	}
	return ""
}
