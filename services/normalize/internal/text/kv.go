package text

import "bytes"

// Pairs reads logfmt and its relatives: k=v k="v w" k='v w'. Text before the
// first pair becomes the value of _text. A syslog header in front of the pairs
// goes under syslog.
type Pairs struct {
	// Separator stands between pairs; 0 means space.
	Separator byte
	Scratch   Scratch
	header    Syslog
	unclosed  bool // a quote has no end: do not look for the end of each
}

var keyText = []byte("_text")

// Parse reads one record.
func (p *Pairs) Parse(data []byte, f Fields) error {
	p.Scratch.Reset()
	p.unclosed = false
	data, err := p.header.strip(data, f)
	if err != nil {
		return err
	}
	if p.pairs(data, f) == 0 {
		return errPairs
	}
	return nil
}

// pairs hands over the pairs of b and returns their number.
func (p *Pairs) pairs(b []byte, f Fields) int {
	sep := p.Separator
	if sep == 0 {
		sep = ' '
	}
	count, free := 0, b[:0]
	start := b
	for len(b) > 0 && count < MaxFields {
		if isSpace(b[0]) || b[0] == sep {
			b = b[1:]
			continue
		}
		n := keyLength(b, sep)
		if n >= len(b) || b[n] != '=' || n == 0 {
			// A word without a value.
			b = b[max(n, 1):]
			if count == 0 {
				free = start[:len(start)-len(b)]
			}
			continue
		}
		key := trim(b[:n])
		var value []byte
		value, b = p.value(b[n+1:], sep)
		if count == 0 && len(trim(free)) > 0 {
			f.Set(keyText, trim(free))
		}
		f.Set(key, value)
		count++
	}
	return count
}

// keyLength is the length of the word at the beginning of b: up to "=", a
// separator or a quote.
func keyLength(b []byte, sep byte) int {
	for i, c := range b {
		if c == '=' || c == sep || c == '"' || sep == ' ' && isSpace(c) {
			return i
		}
	}
	return len(b)
}

// value reads a value, quoted or not.
func (p *Pairs) value(b []byte, sep byte) (value, rest []byte) {
	if len(b) > 0 && (b[0] == '"' || b[0] == '\'') && !p.unclosed {
		if v, rest, ok := quoted(b, &p.Scratch); ok {
			return v, rest
		}
		p.unclosed = len(b) > 64<<10
	}
	for i, c := range b {
		if c == sep || sep == ' ' && isSpace(c) {
			return b[:i], b[i:]
		}
	}
	if sep != ' ' {
		return trim(b), nil
	}
	return b, nil
}

// quoted reads "…" or '…' with backslash escapes; false if it is not closed.
func quoted(b []byte, s *Scratch) (value, rest []byte, ok bool) {
	quote := b[0]
	b = b[1:]
	end := bytes.IndexByte(b, quote)
	if end < 0 {
		return nil, nil, false
	}
	if bytes.IndexByte(b[:end], '\\') < 0 {
		return b[:end], b[end+1:], true
	}
	end = -1
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
		} else if b[i] == quote {
			end = i
			break
		}
	}
	if end < 0 {
		return nil, nil, false
	}
	return unescape(b[:end], quote, s), b[end+1:], true
}

// unescape resolves \n, \r, \t and an escaped quote or backslash; other
// backslashes stay, as in paths of Windows.
func unescape(b []byte, quote byte, s *Scratch) []byte {
	out := s.open(len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			switch next := b[i+1]; {
			case next == quote || next == '\\':
				c = next
				i++
			case next == 'n' && quote != 0:
				c = '\n'
				i++
			case next == 'r' && quote != 0:
				c = '\r'
				i++
			case next == 't' && quote != 0:
				c = '\t'
				i++
			}
		}
		out = append(out, c)
	}
	return s.keep(out)
}
