package mapping

import (
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// value is what a slot holds for the current record: a JSON value, or text cut
// from a line.
type value struct {
	json json.Value // Absent for text
	text []byte     // of a JSON string once it was asked for
}

// isText reports whether the value is text or a JSON string.
func (v *value) isText() bool { return v.json.Kind == json.Absent || v.json.Kind == json.String }

// view makes a string of bytes without copying; valid as long as they are.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// viewBytes is the opposite: the bytes must not be changed.
func viewBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// textOf renders a JSON value: strings as they are, numbers and booleans as
// written, objects and arrays as JSON, null as nothing. scratch is used where
// rendering is needed.
func textOf(v json.Value, scratch []byte) []byte {
	switch {
	case v.Kind == json.String && !v.Escaped:
		return v.Raw[1 : len(v.Raw)-1]
	case v.Kind == json.String:
		return v.AppendText(scratch[:0])
	case v.Kind == json.Null:
		return nil
	case v.Spaced:
		return v.AppendCompact(scratch[:0])
	}
	return v.Raw
}

// parseInt reads a decimal integer; false if there is anything else.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	neg := b[0] == '-'
	if neg {
		b = b[1:]
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, len(b) > 0 && (n >= 0) != neg || n == 0
}

// powers of ten that a float64 holds exactly.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// parseDecimal reads the numbers with a fraction that logs have: digits that a
// float64 holds exactly, times or by a power of ten that it holds exactly, are
// rounded once, as strconv would (Clinger, How to Read Floating Point Numbers
// Accurately, 1990). false for all others.
func parseDecimal(b []byte) (float64, bool) {
	i, neg := 0, len(b) > 0 && b[0] == '-'
	if neg {
		i = 1
	}
	from, point := i, -1
	var n uint64
	for ; i < len(b); i++ {
		if c := b[i] - '0'; c <= 9 {
			n = n*10 + uint64(c)
		} else if b[i] == '.' && point < 0 && i > from {
			point = i
		} else {
			break
		}
	}
	digits, exp := i-from, 0
	if point >= 0 {
		digits--
		exp = point + 1 - i
		if exp == 0 { // a point without digits behind it
			return 0, false
		}
	}
	if digits == 0 || digits > 18 || n > 1<<53 {
		return 0, false
	}
	if i < len(b) {
		if b[i]|0x20 != 'e' {
			return 0, false
		}
		e, ok := parseExponent(b[i+1:])
		if !ok {
			return 0, false
		}
		exp += e
	}
	f := float64(n)
	switch {
	case exp < -22 || exp > 22:
		return 0, false
	case exp < 0:
		f /= powers[-exp]
	default:
		f *= powers[exp]
	}
	if neg {
		f = -f
	}
	return f, true
}

// parseExponent reads one or two digits with or without a sign.
func parseExponent(b []byte) (int, bool) {
	sign := 1
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		if b[0] == '-' {
			sign = -1
		}
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 2 {
		return 0, false
	}
	n, ok := digits(b)
	return sign * n, ok
}

// parseNumber reads a decimal number, 0x hexadecimal or true/false.
func parseNumber(b []byte) (float64, bool) {
	if n, ok := parseInt(b); ok {
		return float64(n), true
	}
	switch view(b) {
	case "true", "True", "yes":
		return 1, true
	case "false", "False", "no":
		return 0, true
	}
	if len(b) > 2 && len(b) <= 18 && b[0] == '0' && (b[1] == 'x' || b[1] == 'X') {
		n, err := strconv.ParseUint(view(b[2:]), 16, 64)
		return float64(n), err == nil
	}
	if f, ok := parseDecimal(b); ok {
		return f, true
	}
	if len(b) == 0 || len(b) > 64 {
		return 0, false
	}
	f, err := strconv.ParseFloat(view(b), 64)
	return f, err == nil && f == f
}

// parseIP reads an address, also with a port or a zone.
func parseIP(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 64 {
		return netip.Addr{}, false
	}
	if b[0] >= '0' && b[0] <= '9' || b[0] == ':' || b[0] >= 'a' && b[0] <= 'f' || b[0] >= 'A' && b[0] <= 'F' {
		if a, err := netip.ParseAddr(view(b)); err == nil {
			return a.WithZone("").Unmap(), true
		}
	}
	if ap, err := netip.ParseAddrPort(view(b)); err == nil {
		return ap.Addr().WithZone("").Unmap(), true
	}
	return netip.Addr{}, false
}

// clip bounds a text: the first three quarters and the last quarter of limit
// stay, so that padding at either end does not push everything out. Cuts fall
// on character boundaries.
func clip(b []byte, limit int, scratch []byte) []byte {
	if limit <= 0 || len(b) <= limit {
		return b
	}
	head, tail := limit*3/4, len(b)-limit/4
	for head > 0 && b[head]&0xc0 == 0x80 {
		head--
	}
	for tail < len(b) && b[tail]&0xc0 == 0x80 {
		tail++
	}
	out := append(scratch[:0], b[:head]...)
	return append(out, b[tail:]...)
}
