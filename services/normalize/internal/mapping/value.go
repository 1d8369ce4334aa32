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
