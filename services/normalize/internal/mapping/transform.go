package mapping

import (
	"bytes"
	"sort"
	"strconv"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// transform changes a value on its way to a column. It may append to and
// return scratch; returning nil means the column stays empty.
type transform func(v *value, scratch []byte) []byte

// transforms lists what `as:` accepts; docs/mappings.md explains each.
var transforms = map[string]transform{
	"lower":           onText(func(b, scratch []byte) []byte { return append(scratch[:0], bytes.ToLower(b)...) }),
	"upper":           onText(func(b, scratch []byte) []byte { return append(scratch[:0], bytes.ToUpper(b)...) }),
	"trim":            onText(func(b, _ []byte) []byte { return bytes.TrimSpace(b) }),
	"sha256_of":       onText(func(b, _ []byte) []byte { return hashOf(b, "SHA256") }),
	"basename":        onText(func(b, _ []byte) []byte { return b[bytes.LastIndexAny(b, `/\`)+1:] }),
	"last":            onText(func(b, _ []byte) []byte { return bytes.TrimSpace(b[bytes.LastIndexByte(b, ',')+1:]) }),
	"host":            onText(func(b, _ []byte) []byte { return host(b) }),
	"port":            onText(func(b, _ []byte) []byte { return port(b) }),
	"url_path":        onText(func(b, _ []byte) []byte { return before(b, '?') }),
	"url_query":       onText(func(b, _ []byte) []byte { return after(b, '?') }),
	"request_method":  onText(func(b, _ []byte) []byte { return word(b, 0) }),
	"request_path":    onText(func(b, _ []byte) []byte { return before(word(b, 1), '?') }),
	"request_query":   onText(func(b, _ []byte) []byte { return after(word(b, 1), '?') }),
	"request_version": onText(func(b, _ []byte) []byte { return word(b, 2) }),
	"domain":          onText(func(b, _ []byte) []byte { return domain(b) }),
	"account":         onText(func(b, _ []byte) []byte { return b[bytes.LastIndexByte(b, '\\')+1:] }),
	"base64":          onText(fromBase64),
	"unescape":        onText(fromEscapes),
	"length":          onText(func(b, scratch []byte) []byte { return strconv.AppendInt(scratch[:0], int64(len(b)), 10) }),
	"ms":              onText(milliseconds),
	"ns_to_ms":        onText(nanoseconds),
	"json": func(v *value, scratch []byte) []byte {
		if v.json.Kind == json.Absent {
			return v.text
		}
		return v.json.AppendCompact(scratch[:0])
	},
	"count": func(v *value, scratch []byte) []byte {
		if v.json.Kind != json.Array {
			return nil
		}
		var s json.Scanner
		s.Reset(v.json.Raw)
		s.Enter()
		n := 0
		for s.Element(n == 0) {
			s.Value()
			n++
		}
		return strconv.AppendInt(scratch[:0], int64(n), 10)
	},
	"chat_user":     chats["chat_user"].onItem,
	"chat_system":   chats["chat_system"].onItem,
	"chat_response": chats["chat_response"].onItem,
	"chat_length":   chats["chat_length"].onItem,
	"reply_length":  chats["reply_length"].onItem,
}

func transformNames() []string {
	names := make([]string, 0, len(transforms))
	for n := range transforms {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// onText makes a transform of a function on text.
func onText(f func(b, scratch []byte) []byte) transform {
	return func(v *value, scratch []byte) []byte {
		b := v.text
		if b == nil && v.json.Kind != json.Absent {
			b = textOf(v.json, scratch)
			if v.json.Escaped || v.json.Spaced {
				scratch = scratch[min(len(b), cap(scratch)):cap(scratch)] // b lies in scratch: do not write over it
			}
		}
		if len(b) == 0 {
			return nil
		}
		return f(b, scratch)
	}
}

func word(b []byte, n int) []byte {
	for ; n > 0; n-- {
		b = after(b, ' ')
	}
	return before(b, ' ')
}

func before(b []byte, sep byte) []byte {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i]
	}
	return b
}

func after(b []byte, sep byte) []byte {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[i+1:]
	}
	return nil
}

// host cuts scheme, path and port off: http://vllm.ml.svc:8000/v1 → vllm.ml.svc.
func host(b []byte) []byte {
	if i := bytes.Index(b, []byte("://")); i >= 0 {
		b = b[i+3:]
	}
	b = before(before(b, '/'), ',')
	if i := bytes.LastIndexByte(b, ':'); i >= 0 && bytes.IndexByte(b, ':') == i {
		b = b[:i]
	}
	return b
}

// port is the digits behind the last colon: [2001:db8::1]:8000 → 8000.
func port(b []byte) []byte {
	i := bytes.LastIndexByte(b, ':')
	if i < 0 {
		return nil
	}
	b = b[i+1:]
	for _, c := range b {
		if c < '0' || c > '9' {
			return nil
		}
	}
	return b
}

// domain is what stands before the backslash of DOMAIN\user.
func domain(b []byte) []byte {
	i := bytes.LastIndexByte(b, '\\')
	if i < 0 {
		return nil
	}
	return b[:i]
}

func milliseconds(b, scratch []byte) []byte {
	n, ok := parseNumber(b)
	if !ok || n <= 0 {
		return nil
	}
	return strconv.AppendInt(scratch[:0], int64(n*1000+0.5), 10)
}

func nanoseconds(b, scratch []byte) []byte {
	n, ok := parseNumber(b)
	if !ok || n <= 0 {
		return nil
	}
	return strconv.AppendInt(scratch[:0], int64(n/1e6+0.5), 10)
}

// hashOf finds one hash among several: SHA1=…,SHA256=… or a JSON object of
// them.
func hashOf(b []byte, name string) []byte {
	for len(b) > 0 {
		var part []byte
		part, b = before(b, ','), after(b, ',')
		part = bytes.Trim(part, "{}\" ")
		at := bytes.IndexAny(part, "=:")
		if at < 0 {
			continue
		}
		if bytes.EqualFold(bytes.Trim(part[:at], "\" "), []byte(name)) {
			return bytes.Trim(part[at+1:], "\" ")
		}
	}
	return nil
}
