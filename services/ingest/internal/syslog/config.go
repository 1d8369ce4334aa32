package syslog

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Config is one listener.
type Config struct {
	// Listen is udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT. Port 0
	// takes a free one.
	Listen string `yaml:"listen"`
	// TLS is required for tls:// and only for that.
	TLS *TLS `yaml:"tls"`
	// Routes name the source of a message; the first that fits decides.
	Routes []Route `yaml:"routes"`
	// Source of messages that no route fits; default "auto".
	Source string `yaml:"source"`
	// Allow lists the networks that may send; default loopback only.
	Allow []string `yaml:"allow"`
	// MaxConnections bounds the connections of a tcp:// or tls:// listener;
	// default 1024. Further ones are closed at once.
	MaxConnections int `yaml:"max_connections"`
	// IdleTimeout closes connections that are silent for so long; default 1h.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// QueueBytes bounds what a udp:// listener holds until it is stored;
	// default 16 MiB. Datagrams beyond it are dropped and counted.
	QueueBytes int `yaml:"queue_bytes"`
}

// TLS names the files of a tls:// listener. They are read again when they
// change, for connections from then on.
type TLS struct {
	Cert string `yaml:"cert"` // PEM file of the certificate and its chain
	Key  string `yaml:"key"`  // PEM file of its private key
	// ClientCA is a PEM file of the authorities of client certificates.
	ClientCA string `yaml:"client_ca"`
	// ClientAuth is none, optional or required; default required if there is
	// a ClientCA.
	ClientAuth string `yaml:"client_auth"`
	// Clients lists the names (DNS names or common name; *.example.com) of
	// certificates that may send; empty: all of the authorities'.
	Clients []string `yaml:"clients"`
}

// Route gives messages a source. All conditions that are set must hold; at
// least one is needed. App and Host may hold * for any text.
type Route struct {
	App      string `yaml:"app"`      // APP-NAME, or the tag without its process id
	Host     string `yaml:"host"`     // HOSTNAME, without regard to case
	Facility string `yaml:"facility"` // a name such as auth or local7, or its number
	Network  string `yaml:"network"`  // CIDR of the sender
	Source   string `yaml:"source"`   // source id, or auto
}

var facilities = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	network, _, err := c.address()
	if err != nil {
		return err
	}
	switch {
	case network == "tls" && c.TLS == nil:
		return fmt.Errorf("syslog listen %s: tls is missing (cert and key)", c.Listen)
	case network != "tls" && c.TLS != nil:
		return fmt.Errorf("syslog listen %s: tls is set, so listen must begin with tls://", c.Listen)
	case c.MaxConnections < 0 || c.IdleTimeout < 0 || c.QueueBytes < 0:
		return fmt.Errorf("syslog listen %s: max_connections, idle_timeout and queue_bytes must not be negative", c.Listen)
	}
	if c.TLS != nil {
		if err := c.TLS.check(); err != nil {
			return fmt.Errorf("syslog listen %s: %w", c.Listen, err)
		}
	}
	if _, err := prefixes(c.Allow); err != nil {
		return fmt.Errorf("syslog listen %s: allow: %w", c.Listen, err)
	}
	for i, r := range c.Routes {
		if _, err := r.compile(); err != nil {
			return fmt.Errorf("syslog listen %s: routes[%d]: %w", c.Listen, i, err)
		}
	}
	return nil
}

func (c *Config) address() (network, addr string, err error) {
	u, err := url.Parse(c.Listen)
	if err != nil || u.Port() == "" || !slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) || u.Path != "" || u.User != nil || u.RawQuery != "" {
		return "", "", fmt.Errorf("syslog listen %q: want udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT", c.Listen)
	}
	return u.Scheme, u.Host, nil
}

func (t *TLS) check() error {
	switch {
	case t.Cert == "" || t.Key == "":
		return errors.New("tls.cert and tls.key are needed")
	case !slices.Contains([]string{"", "none", "optional", "required"}, t.ClientAuth):
		return fmt.Errorf("tls.client_auth %q is none of none, optional, required", t.ClientAuth)
	case (t.ClientAuth == "optional" || t.ClientAuth == "required" || len(t.Clients) > 0) && t.ClientCA == "":
		return errors.New("tls.client_ca is needed to check client certificates")
	case t.ClientAuth == "none" && len(t.Clients) > 0:
		return errors.New("tls.clients has no use with client_auth: none")
	}
	return nil
}

func (c *Config) fill() {
	if c.Source == "" {
		c.Source = intake.Auto
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 1024
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Hour
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 16 << 20
	}
	if len(c.Allow) == 0 {
		c.Allow = []string{"127.0.0.0/8", "::1/128"}
	}
}

func prefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		p, err := prefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// prefix reads a CIDR or one address.
func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no network such as 192.0.2.0/24", s)
	}
	return p.Masked(), nil
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// rule is a compiled Route.
type rule struct {
	app, host pattern
	facility  int // -1: any
	network   netip.Prefix
	source    string
}

func (r Route) compile() (rule, error) {
	out := rule{app: newPattern(r.App, false), host: newPattern(r.Host, true), facility: -1, source: r.Source}
	if r.App == "" && r.Host == "" && r.Facility == "" && r.Network == "" {
		return out, errors.New("has no condition (app, host, facility or network)")
	}
	if r.Source == "" {
		return out, errors.New("source is missing")
	}
	for _, p := range []string{r.App, r.Host} {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, "?[\\") {
			return out, fmt.Errorf("%q: only * has a meaning of its own in app and host", p)
		}
	}
	if r.Facility != "" {
		out.facility = slices.Index(facilities, r.Facility)
		if n, err := strconv.Atoi(r.Facility); err == nil {
			out.facility = n
		}
		if out.facility < 0 || out.facility >= len(facilities) {
			return out, fmt.Errorf("facility %q is none of %s", r.Facility, strings.Join(facilities, ", "))
		}
	}
	if r.Network != "" {
		var err error
		if out.network, err = prefix(r.Network); err != nil {
			return out, fmt.Errorf("network: %w", err)
		}
	}
	return out, nil
}

func (r *rule) matches(h *header, from netip.Addr) bool {
	return (r.facility < 0 || h.pri >= 0 && h.pri>>3 == r.facility) &&
		(!r.network.IsValid() || r.network.Contains(from)) &&
		r.app.matches(h.app) && r.host.matches(h.host)
}
