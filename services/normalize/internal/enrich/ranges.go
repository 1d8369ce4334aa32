package enrich

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// ranges maps addresses to values by networks that may lie in one another; the
// narrowest counts. It is flat and sorted: 12 bytes a range of IPv4, 40 of IPv6.
type ranges struct {
	v4 []range4
	v6 []range6
}

type range4 struct{ from, to, value uint32 }

type range6 struct {
	from, to [16]byte
	value    uint32
}

// network is a network on its way into ranges.
type network struct {
	from, to netip.Addr
	value    uint32
}

func newNetwork(p netip.Prefix, value uint32) network {
	last := p.Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	to := netip.AddrFrom16(last)
	if p.Addr().Is4() {
		to = to.Unmap()
	}
	return network{p.Addr(), to, value}
}

// newRanges flattens networks. Networks of prefixes either lie in one another
// or are apart.
func newRanges(nets []network) *ranges {
	slices.SortFunc(nets, func(a, b network) int {
		return cmp.Or(a.from.Compare(b.from), b.to.Compare(a.to))
	})
	r := &ranges{}
	var open []network // each in the one before
	var at netip.Addr  // where the flat ranges have come to
	closeUntil := func(limit netip.Addr, all bool) {
		for len(open) > 0 {
			top := open[len(open)-1]
			if !all && top.to.Compare(limit) >= 0 && top.to.BitLen() == limit.BitLen() {
				break
			}
			if at.IsValid() && at.Compare(top.to) <= 0 {
				r.add(at, top.to, top.value)
			}
			at = top.to.Next() // invalid after the last address: nothing follows
			open = open[:len(open)-1]
		}
	}
	for i, n := range nets {
		if i > 0 && n.from == nets[i-1].from && n.to == nets[i-1].to {
			continue // twice the same: the first counts
		}
		closeUntil(n.from, false)
		if len(open) > 0 && at.IsValid() && at.Compare(n.from) < 0 {
			r.add(at, n.from.Prev(), open[len(open)-1].value)
		}
		at = n.from
		open = append(open, n)
	}
	closeUntil(netip.Addr{}, true)
	r.v4, r.v6 = slices.Clip(r.v4), slices.Clip(r.v6)
	return r
}

func (r *ranges) add(from, to netip.Addr, value uint32) {
	if from.Is4() {
		a, b := from.As4(), to.As4()
		r.v4 = append(r.v4, range4{binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(b[:]), value})
		return
	}
	r.v6 = append(r.v6, range6{from.As16(), to.As16(), value})
}

// find returns the value of an address in 16 bytes, IPv4 mapped.
func (r *ranges) find(a *[16]byte) (uint32, bool) {
	if isMapped(a) {
		v := binary.BigEndian.Uint32(a[12:])
		i := sort.Search(len(r.v4), func(i int) bool { return r.v4[i].to >= v })
		if i < len(r.v4) && r.v4[i].from <= v {
			return r.v4[i].value, true
		}
		return 0, false
	}
	i := sort.Search(len(r.v6), func(i int) bool { return slices.Compare(r.v6[i].to[:], a[:]) >= 0 })
	if i < len(r.v6) && slices.Compare(r.v6[i].from[:], a[:]) <= 0 {
		return r.v6[i].value, true
	}
	return 0, false
}

// bytes is the memory it takes.
func (r *ranges) bytes() int { return len(r.v4)*12 + len(r.v6)*36 }

func isMapped(a *[16]byte) bool {
	return binary.BigEndian.Uint64(a[:8]) == 0 && a[8] == 0 && a[9] == 0 && a[10] == 0xff && a[11] == 0xff
}
