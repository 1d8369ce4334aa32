package mapping

import (
	"strconv"
	"testing"
)

// FuzzParseDecimal: what parseDecimal reads, strconv reads as the same number.
func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{
		"0.155", "1795371702.348", "1795372048.999277", "-1.5", "1.76e-05", "3.9e-5", "1E+3", "0.1", "00.5",
		"1.", ".5", "-", "", "1e", "1e-", "1.2.3", "9007199254740993.0", "1e22", "1e23", "12345678901234567890.1", "0.0000000000000000000000001", "1e--1", "1e+-1", "1_0.5", "-0.0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDecimal([]byte(s))
		if !ok {
			return
		}
		if want, err := strconv.ParseFloat(s, 64); err != nil || got != want {
			t.Fatalf("%q is %v, want %v (%v)", s, got, want, err)
		}
	})
}

func TestPort(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:8000": "8000", "[2001:db8::1]:443": "443", "10.0.0.1:80, 10.0.0.2:81": "81", "unix:/run/x.sock": "", "host": "", "host:": "", "a:1b": "", "": "",
	} {
		if got := string(port([]byte(in))); got != want {
			t.Errorf("%q: port %q, want %q", in, got, want)
		}
	}
}
