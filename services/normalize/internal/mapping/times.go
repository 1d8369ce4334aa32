package mapping

import (
	"fmt"
	"time"
)

// timeParser reads a time in ms since 1970; false if it is none.
type timeParser func(text []byte) (int64, bool)

// newTimeParser knows unix_s (with fraction), unix_ms, unix_us, unix_ns,
// rfc3339, syslog (RFC 3339 or "Jan _2 15:04:05") and layouts of Go's time package, which are read as UTC if they name
// no zone.
func newTimeParser(format string) (timeParser, error) {
	switch format {
	case "unix_s":
		return unixTime(1000), nil
	case "unix_ms":
		return unixTime(1), nil
	case "unix_us":
		return unixTime(1e-3), nil
	case "unix_ns":
		return unixTime(1e-6), nil
	case "rfc3339", "":
		return parseRFC3339, nil
	case "syslog":
		return parseSyslogTime, nil
	}
	if time.Unix(0, 0).UTC().Format(format) == format {
		return nil, fmt.Errorf("time format %q is none of unix_s, unix_ms, unix_us, unix_ns, rfc3339, syslog or a layout such as 2006-01-02 15:04:05", format)
	}
	return func(text []byte) (int64, bool) {
		t, err := time.Parse(format, view(text))
		return t.UnixMilli(), err == nil
	}, nil
}

func unixTime(perUnit float64) timeParser {
	return func(text []byte) (int64, bool) {
		if len(text) >= 16 && perUnit < 1 { // too many digits for a float
			n, ok := parseInt(text)
			return n / int64(1/perUnit+0.5), ok && n > 0
		}
		n, ok := parseNumber(text)
		return int64(n*perUnit + 0.5), ok && n > 0
	}
}

// parseRFC3339 reads 2006-01-02T15:04:05[.fraction](Z|±hh:mm) by hand: it is
// on the path of every event.
func parseRFC3339(b []byte) (int64, bool) {
	if len(b) < 20 || b[4] != '-' || b[7] != '-' || b[10] != 'T' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	year, ok1 := digits(b[0:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:10])
	hour, ok4 := digits(b[11:13])
	minute, ok5 := digits(b[14:16])
	second, ok6 := digits(b[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	rest, ms := b[19:], 0
	if len(rest) > 0 && rest[0] == '.' {
		rest = rest[1:]
		for scale := 100; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; scale /= 10 {
			ms += int(rest[0]-'0') * scale
			rest = rest[1:]
		}
	}
	offset := 0
	switch {
	case len(rest) == 1 && (rest[0] == 'Z' || rest[0] == 'z'):
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, okH := digits(rest[1:3])
		m, okM := digits(rest[4:6])
		if !okH || !okM {
			return 0, false
		}
		if offset = h*60 + m; rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix()
	return (t-int64(offset)*60)*1000 + int64(ms), true
}

func digits(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// parseSyslogTime reads the time of RFC 5424, or of RFC 3164 with or without a
// year.
func parseSyslogTime(b []byte) (int64, bool) {
	if ms, ok := parseRFC3339(b); ok {
		return ms, true
	}
	for _, layout := range [...]string{"Jan _2 15:04:05", "Jan _2 2006 15:04:05", "Jan _2 15:04:05 MST"} {
		if t, err := time.Parse(layout, view(b)); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// withYear gives a time that named no year the one that brings it nearest to
// the time of receipt.
func (r *Runner) withYear(ms int64) int64 {
	const yearOne = -62135596800000 // 0001-01-01
	if ms >= yearOne {
		return ms
	}
	received := time.UnixMilli(r.rec.Received).UTC()
	t := time.UnixMilli(ms).UTC()
	for _, year := range [...]int{received.Year(), received.Year() - 1, received.Year() + 1} {
		at := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
		if d := at.Sub(received); d > -180*24*time.Hour && d < 180*24*time.Hour {
			return at.UnixMilli()
		}
	}
	return ms
}
