package correlate

import (
	"maps"
	"math"
	"math/bits"
)

// values counts different hashes: exactly up to maxExact, then by a HyperLogLog
// sketch (Flajolet et al., 2007) of 4096 registers, whose standard error is
// 1.04/sqrt(4096) = 1.6 %. Neither depends on the order.
type values struct {
	exact    map[uint64]struct{}
	register []uint8 // nil as long as it is exact
}

const (
	maxExact = 4096
	hllBits  = 12
)

func (v *values) add(h uint64) {
	if v.register != nil {
		v.sketch(h)
		return
	}
	if v.exact == nil {
		v.exact = map[uint64]struct{}{}
	}
	if v.exact[h] = struct{}{}; len(v.exact) <= maxExact {
		return
	}
	v.register = make([]uint8, 1<<hllBits)
	for h := range v.exact {
		v.sketch(h)
	}
	v.exact = nil
}

func (v *values) sketch(h uint64) {
	i := h >> (64 - hllBits)
	rank := uint8(bits.LeadingZeros64(h<<hllBits|1<<(hllBits-1)) + 1)
	v.register[i] = max(v.register[i], rank)
}

// estimated says that the count is not exact.
func (v *values) estimated() bool { return v != nil && v.register != nil }

func (v *values) count() int64 {
	if v == nil {
		return 0
	}
	if v.register == nil {
		return int64(len(v.exact))
	}
	const m = 1 << hllBits
	sum, zero := 0.0, 0
	for _, r := range v.register {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zero++
		}
	}
	e := 0.7213 / (1 + 1.079/m) * m * m / sum
	if e <= 2.5*m && zero > 0 {
		e = m * math.Log(m/float64(zero))
	}
	return int64(math.Round(e))
}

func (v *values) clone() *values {
	if v == nil {
		return nil
	}
	out := &values{exact: maps.Clone(v.exact)}
	if v.register != nil {
		out.register = append([]uint8(nil), v.register...)
	}
	return out
}
