package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Leaf is where the embedded bus takes connections of edges, and which.
type Leaf struct {
	Addr     string     `yaml:"addr"` // host:port; empty: no edges
	TLS      LinkTLS    `yaml:"tls"`
	Insecure bool       `yaml:"insecure"` // no TLS although addr is not loopback
	Edges    []LeafEdge `yaml:"edges"`
}

// LeafEdge is one edge that may connect.
type LeafEdge struct {
	Name        string `yaml:"name"`
	TokenSHA256 string `yaml:"token_sha256"` // hash of its token, 64 hex digits
	// Sources are those that it may hand over: ids and vendor.*; default all.
	Sources []string `yaml:"sources"`
}

// LinkTLS is TLS of the connection between edge and hub.
type LinkTLS struct {
	Cert string `yaml:"cert"` // PEM files of this side's certificate
	Key  string `yaml:"key"`
	CA   string `yaml:"ca"` // who signs the other side's; at the hub: edges need one, too
}

// Edge is a Vagus that only receives, and hands on to a hub.
type Edge struct {
	Hub      string   `yaml:"hub"`  // tls://host:port, or nats-leaf://host:port in the clear
	Name     string   `yaml:"name"` // as the hub has it
	Token    Secret   `yaml:"token"`
	TLS      LinkTLS  `yaml:"tls"`
	Insecure bool     `yaml:"insecure"`  // in the clear although the hub is not on this machine
	MaxBytes int64    `yaml:"max_bytes"` // of what waits for the hub; default 20 GiB or what the disk allows
	MaxAge   Duration `yaml:"max_age"`   // of what waits longest, before senders are refused; default for ever
}

// Producer may publish to the bus itself.
type Producer struct {
	Name        string   `yaml:"name"`
	TokenSHA256 string   `yaml:"token_sha256"`
	Sources     []string `yaml:"sources"` // ids, vendor.*, auto or "*"
	Raw         bool     `yaml:"raw"`     // may also publish finished RAW blocks
}

func (p *Producer) check() error {
	if err := subjects.Check(p.Name); err != nil || strings.Contains(p.Name, ".") || len(p.Sources) == 0 {
		return fmt.Errorf("name and sources are needed; a name is letters, digits, '_' and '-'")
	}
	for _, s := range p.Sources {
		if err := subjects.Check(strings.TrimSuffix(s, ".*")); s != "*" && err != nil {
			return err
		}
	}
	return checkHash(p.Name, p.TokenSHA256)
}

// User is what a producer may do on the bus: publish to its sources, no more.
func (p *Producer) User() bus.User {
	u := bus.User{Name: p.Name, SHA256: p.TokenSHA256}
	for _, s := range p.Sources {
		if base, ok := strings.CutSuffix(s, "*"); ok {
			s = base + ">"
		}
		u.Publish = append(u.Publish, subjects.InboxAll[:len(subjects.InboxAll)-1]+s)
		if p.Raw {
			u.Publish = append(u.Publish, subjects.RawAll[:len(subjects.RawAll)-1]+s)
		}
	}
	return u
}

// Users are the producers.
func (b *Bus) Users() (users []bus.User) {
	for i := range b.Producers {
		users = append(users, b.Producers[i].User())
	}
	return users
}

func checkHash(name, sum string) error {
	if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 {
		return fmt.Errorf("token_sha256 of %q: want 64 hex digits; `printf %%s SECRET | sha256sum` makes them", name)
	}
	return nil
}

func (l *Leaf) check() error {
	if l.Addr == "" && len(l.Edges) > 0 {
		return fmt.Errorf("edges are named, but addr is empty")
	}
	if (l.TLS.Cert == "") != (l.TLS.Key == "") || l.TLS.CA != "" && l.TLS.Cert == "" {
		return fmt.Errorf("tls needs cert and key")
	}
	for _, e := range l.Edges {
		if err := bus.CheckEdgeName(e.Name); err != nil {
			return err
		}
		if err := checkHash(e.Name, e.TokenSHA256); err != nil {
			return err
		}
	}
	return nil
}

// Listen gives what the bus takes; nil without an address.
func (l *Leaf) Listen() (*bus.LeafListen, error) {
	if l.Addr == "" {
		return nil, nil
	}
	out := &bus.LeafListen{Addr: l.Addr, Insecure: l.Insecure}
	for _, e := range l.Edges {
		out.Edges = append(out.Edges, bus.Edge{Name: e.Name, SHA256: e.TokenSHA256})
	}
	if l.TLS.Cert == "" {
		return out, nil
	}
	var err error
	if out.TLS, err = l.TLS.config(); err != nil {
		return nil, fmt.Errorf("bus.leaf.tls: %w", err)
	}
	if l.TLS.CA != "" {
		out.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, nil
}

// Remote gives what the bus takes.
func (e *Edge) Remote() (*bus.LeafRemote, error) {
	token, err := e.Token.Value()
	if err != nil {
		return nil, err
	}
	out := &bus.LeafRemote{URL: e.Hub, Name: e.Name, Token: token, Insecure: e.Insecure}
	if e.TLS != (LinkTLS{}) {
		if out.TLS, err = e.TLS.config(); err != nil {
			return nil, fmt.Errorf("edge.tls: %w", err)
		}
	}
	return out, nil
}

func (t *LinkTLS) config() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", t.CA)
		}
		out.RootCAs, out.ClientCAs = pool, pool
	}
	return out, nil
}
