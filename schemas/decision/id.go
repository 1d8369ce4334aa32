package decision

import (
	"net/netip"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// ID is the id of a decision: kind, scope and value, so that deciding the same
// thing twice is deciding it once. value must be in Normal form.
func ID(kind Kind, scope Scope, value string) string {
	return finding.UID(string(kind), string(scope), value)
}

// Normal is the one spelling of a value: addresses without zone, IPv4 not
// mapped into IPv6, ranges with their host bits cleared, a range of one
// address as the address. Other scopes are kept as they are. ok is false when
// an ip is neither an address nor a range.
func Normal(scope Scope, value string) (normal string, ok bool) {
	if scope != IP {
		return value, value != ""
	}
	p, ok := Prefix(value)
	switch {
	case !ok:
		return "", false
	case p.IsSingleIP():
		return p.Addr().String(), true
	}
	return p.String(), true
}

// Prefix reads an address or a range in Normal form or not.
func Prefix(value string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(value); err == nil {
		a = a.WithZone("").Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
