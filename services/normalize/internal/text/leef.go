package text

import (
	"bytes"
	"strconv"
)

// LEEF reads QRadar's Log Event Extended Format 1.0 and 2.0, with or without a
// syslog header: the head goes under leef (version, vendor, product,
// product_version, event_id), the attributes are keys of the record.
type LEEF struct{ header Syslog }

var (
	keyLEEF   = []byte("leef")
	leefBegin = []byte("LEEF:")
	leefHead  = [...][]byte{[]byte("version"), []byte("vendor"), []byte("product"), []byte("product_version"), []byte("event_id")}
)

// Parse reads one record.
func (p *LEEF) Parse(data []byte, f Fields) error {
	at := bytes.Index(data[:min(len(data), 1024)], leefBegin)
	if at < 0 {
		return errLEEF
	}
	if at > 0 {
		if _, err := p.header.strip(data[:at], f); err != nil {
			return err
		}
	}
	rest := data[at+len(leefBegin):]
	second := bytes.HasPrefix(rest, []byte("2"))
	f.Open(keyLEEF, -1)
	for _, name := range leefHead {
		value, after := cut(rest, '|')
		if after == nil {
			f.Close()
			return errLEEF
		}
		f.Set(name, value)
		rest = after
	}
	f.Close()
	sep := byte('\t')
	if second {
		if value, after := cut(rest, '|'); after != nil && len(value) <= 6 {
			sep, rest = delimiter(value), after
		}
	}
	for count := 0; len(rest) > 0 && count < MaxFields; count++ {
		var pair []byte
		pair, rest = cut(rest, sep)
		if key, value := cut(pair, '='); value != nil && len(trim(key)) > 0 {
			f.Set(trim(key), value)
		}
	}
	return nil
}

// delimiter reads LEEF 2.0's: a character, or its code as x09 or 0x09.
func delimiter(b []byte) byte {
	b = trim(b)
	switch {
	case len(b) == 1:
		return b[0]
	case len(b) > 1 && len(b) <= 4:
		if n, err := strconv.ParseUint(string(bytes.TrimLeft(b, "0xX")), 16, 8); err == nil && n != 0 {
			return byte(n)
		}
	}
	return '\t'
}
