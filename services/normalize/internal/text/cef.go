package text

import "bytes"

// CEF reads ArcSight's Common Event Format, with or without a syslog header:
// the head goes under cef (version, device_vendor, device_product,
// device_version, signature_id, name, severity), the extensions are keys of
// the record, a header goes under syslog.
type CEF struct {
	scratch Scratch
	header  Syslog
}

var (
	keyCEF   = []byte("cef")
	cefBegin = []byte("CEF:")
	cefHead  = [...][]byte{[]byte("version"), []byte("device_vendor"), []byte("device_product"), []byte("device_version"), []byte("signature_id"), []byte("name"), []byte("severity")}
)

// Parse reads one record.
func (p *CEF) Parse(data []byte, f Fields) error {
	p.scratch.Reset()
	at := bytes.Index(data[:min(len(data), 1024)], cefBegin)
	if at < 0 {
		return errCEF
	}
	if at > 0 {
		if _, err := p.header.strip(data[:at], f); err != nil {
			return err
		}
	}
	rest := data[at+len(cefBegin):]
	f.Open(keyCEF, -1)
	for i, name := range cefHead {
		value, after, escaped := untilBar(rest)
		if after == nil && i < len(cefHead)-1 {
			f.Close()
			return errCEF
		}
		if escaped {
			value = p.unescape(value)
		}
		f.Set(name, value)
		rest = after
	}
	f.Close()
	p.extensions(rest, f)
	return nil
}

// untilBar cuts at the next bar that is not escaped.
func untilBar(b []byte) (value, rest []byte, escaped bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '|':
			return b[:i], b[i+1:], escaped
		}
	}
	return b, nil, escaped
}

// extensions are key=value with unquoted values that hold spaces: a value ends
// before the last word in front of the next "=".
func (p *CEF) extensions(b []byte, f Fields) {
	key, b := nextKey(b)
	for count := 0; key != nil && count < MaxFields; count++ {
		end, next, rest := len(b), []byte(nil), []byte(nil)
		escaped := false
		for i := 0; i < len(b); i++ {
			if b[i] == '\\' {
				escaped = true
				i++
				continue
			}
			if b[i] != '=' {
				continue
			}
			from := max(0, i-maxKey-1)
			word := bytes.LastIndexByte(b[from:i], ' ')
			if word < 0 || !isKey(b[from+word+1:i]) { // an equals sign in a value
				continue
			}
			word += from
			end, next, rest = word, b[word+1:i], b[i+1:]
			break
		}
		value := trim(b[:end])
		if escaped {
			value = p.unescape(value)
		}
		f.Set(key, value)
		key, b = next, rest
	}
}

// nextKey reads the first key.
func nextKey(b []byte) (key, rest []byte) {
	b = trim(b)
	i := bytes.IndexByte(b, '=')
	if i <= 0 || !isKey(b[:i]) {
		return nil, nil
	}
	return b[:i], b[i+1:]
}

// maxKey bounds a key, in bytes.
const maxKey = 256

func isKey(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == '\\' || c == '=' || c == '"' || c == '/' || c == '?' || c == '&' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxKey
}

func (p *CEF) unescape(b []byte) []byte {
	out := p.scratch.open(len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			switch b[i+1] {
			case '\\', '|', '=':
				c = b[i+1]
				i++
			case 'n':
				c = '\n'
				i++
			case 'r':
				c = '\r'
				i++
			}
		}
		out = append(out, c)
	}
	return p.scratch.keep(out)
}
