package auth

import (
	"crypto/x509"
	"fmt"
)

// Client says what the holder of a client certificate may write.
type Client struct {
	// Name is the common name of the certificate, or one of its SANs: a URI
	// such as spiffe://example.com/edge, or a DNS name.
	Name string `yaml:"name"`
	// Sources it may write to: ids, "vendor.*", "auto" or "*".
	Sources []string `yaml:"sources"`
}

// Clients finds the identity of a certificate. It is read-only once made.
type Clients struct{ byName map[string]Identity }

// NewClients checks the clients.
func NewClients(clients []Client) (*Clients, error) {
	out := &Clients{byName: map[string]Identity{}}
	for i, c := range clients {
		if c.Name == "" {
			return nil, fmt.Errorf("client %d: no name (the CN or a SAN of its certificate)", i+1)
		}
		if _, twice := out.byName[c.Name]; twice {
			return nil, fmt.Errorf("client %s: the name is used twice", c.Name)
		}
		if len(c.Sources) == 0 {
			return nil, fmt.Errorf("client %s: no sources (use [\"*\"] for all)", c.Name)
		}
		if err := checkSources(c.Sources); err != nil {
			return nil, fmt.Errorf("client %s: %w", c.Name, err)
		}
		out.byName[c.Name] = Identity{Name: c.Name, sources: c.Sources}
	}
	return out, nil
}

// Find takes the certificate's SAN URIs, then its DNS names, then its common
// name. The certificate must have been verified.
func (c *Clients) Find(cert *x509.Certificate) (Identity, bool) {
	for _, u := range cert.URIs {
		if id, ok := c.byName[u.String()]; ok {
			return id, true
		}
	}
	for _, name := range append(cert.DNSNames[:len(cert.DNSNames):len(cert.DNSNames)], cert.Subject.CommonName) {
		if id, ok := c.byName[name]; ok {
			return id, true
		}
	}
	return Identity{}, false
}
