// Package enrich adds what the hub knows to events after their mapping: the
// zone of an address, what the inventory says of a host, workload, key or
// model, and threat lists that know an address, a name, a hash or a package.
//
// It works on a block at a time and looks each distinct value up once, so what
// it costs depends on the variety of the events rather than on their number.
package enrich

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

// Config is what is added; keys of the configuration file. The zero value adds
// nothing and costs nothing.
type Config struct {
	// Assets reads the inventory in the bucket "assets".
	Assets bool `yaml:"assets"`
	// Zones names networks; of several the narrowest counts.
	Zones map[string][]string `yaml:"zones"`
	// Geo has files of MaxMind's format (.mmdb) with countries or autonomous
	// systems. A file is read again when it changes.
	Geo []string `yaml:"geo"`
	// Lists are threat lists.
	Lists []List `yaml:"lists"`
}

// List is a threat list: text with an entry a line, of which the first word
// counts; # and ; begin comments.
type List struct {
	Name string `yaml:"name"`
	// Kind is ip (addresses and networks), domain (names with all below them),
	// hash, or package (name, or name==version).
	Kind string `yaml:"kind"`
	File string `yaml:"file"`
	URL  string `yaml:"url"` // instead of a file; http or https
	// Refresh is how often it is looked at for changes; default 1h, at least 10s.
	Refresh time.Duration `yaml:"refresh"`
	// MaxBytes bounds its size; default 64 MiB. A larger list is not taken.
	MaxBytes int64 `yaml:"max_bytes"`
}

// The kinds of list.
const (
	kindIP      = "ip"
	kindDomain  = "domain"
	kindHash    = "hash"
	kindPackage = "package"
)

const maxLists = 32

var listName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Check reports values that make no sense.
func (c *Config) Check() error {
	for name, nets := range c.Zones {
		if !listName.MatchString(name) {
			return fmt.Errorf("zones: %q: want letters, digits, '_', '-', '.'", name)
		}
		for _, n := range nets {
			if _, err := prefix(n); err != nil {
				return fmt.Errorf("zones.%s: %q is no network such as 192.0.2.0/24", name, n)
			}
		}
	}
	if len(c.Lists) > maxLists {
		return fmt.Errorf("lists: %d, at most %d", len(c.Lists), maxLists)
	}
	if len(c.Geo) > 8 {
		return fmt.Errorf("geo: %d files, at most 8", len(c.Geo))
	}
	seen := map[string]bool{}
	for i, l := range c.Lists {
		if !listName.MatchString(l.Name) || seen[l.Name] {
			return fmt.Errorf("lists[%d]: the name %q is no name, or not the only one", i, l.Name)
		}
		seen[l.Name] = true
		switch l.Kind {
		case kindIP, kindDomain, kindHash, kindPackage:
		default:
			return fmt.Errorf("lists.%s: kind %q is none of ip, domain, hash, package", l.Name, l.Kind)
		}
		if (l.File == "") == (l.URL == "") {
			return fmt.Errorf("lists.%s: want either file or url", l.Name)
		}
		if l.URL != "" {
			if u, err := url.Parse(l.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
				return fmt.Errorf("lists.%s: url is no http or https URL", l.Name)
			}
		}
		if l.Refresh != 0 && l.Refresh < 10*time.Second || l.MaxBytes < 0 || l.MaxBytes > 1<<30 {
			return fmt.Errorf("lists.%s: refresh is at least 10s, max_bytes at most 1 GiB", l.Name)
		}
	}
	return nil
}

// Empty reports whether nothing is added.
func (c *Config) Empty() bool {
	return !c.Assets && len(c.Zones) == 0 && len(c.Lists) == 0 && len(c.Geo) == 0
}

// prefix reads a network, or an address as the network of itself.
func prefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return p, fmt.Errorf("prefix %q is too wide", text)
			}
			return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked(), nil
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}
