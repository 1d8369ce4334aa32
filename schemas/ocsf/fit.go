package ocsf

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// set puts a value into doc if it fits the attribute.
func set(a attribute, doc map[string]any, name string, v any) bool {
	got, ok := fit(a, v)
	if ok {
		doc[name] = got
	}
	return ok
}

// fit turns a column's value into one of an attribute.
func fit(a attribute, v any) (any, bool) {
	if a.kind == "fingerprint" {
		text, _ := v.(string)
		list := fingerprints(text)
		if len(list) == 0 || !a.array {
			return nil, false
		}
		return list, true
	}
	if !a.array {
		if list, ok := v.([]any); ok {
			if len(list) != 1 {
				return nil, false
			}
			v = list[0]
		}
		return fitOne(a, v)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
		if text, ok := v.(string); ok && a.kind == "ip_t" { // as in X-Forwarded-For
			list = list[:0]
			for part := range strings.SplitSeq(text, ",") {
				list = append(list, strings.TrimSpace(part))
			}
		}
	}
	out := make([]any, 0, len(list))
	for _, one := range list {
		got, ok := fitOne(a, one)
		if !ok {
			return nil, false
		}
		out = append(out, got)
	}
	return out, len(out) > 0
}

func fitOne(a attribute, v any) (any, bool) {
	text, isText := v.(string)
	switch a.base {
	case "string_t":
		switch x := v.(type) {
		case json.Number:
			v = x.String()
		case bool:
			v = strconv.FormatBool(x)
		case string:
			if up := strings.ToUpper(x); a.enum[up] {
				v = up
			}
			if a.kind == "ip_t" {
				if addr, err := netip.ParseAddr(x); err == nil {
					v = addr.Unmap().String()
				}
			}
		default:
			return nil, false
		}
	case "integer_t", "long_t":
		if a.kind == "timestamp_t" {
			ms, ok := millis(v)
			if !ok {
				return nil, false
			}
			v = ms
		} else if n, err := strconv.ParseInt(text, 10, 64); isText && err == nil {
			v = n
		} else if n, ok := integer(v); ok {
			v = n
		}
	case "json_t":
		return v, true
	}
	return v, a.wrong(v) == ""
}

// algorithms are the values of fingerprint.algorithm_id, and those of hashes
// without a name by their length in hex digits.
var (
	algorithms = map[string]int64{"MD5": 1, "SHA1": 2, "SHA256": 3, "SHA512": 4, "CTPH": 5, "SSDEEP": 5, "TLSH": 6, "QUICKXORHASH": 7}
	byLength   = map[int]int64{32: 1, 40: 2, 64: 3, 128: 4}
)

// fingerprints reads hashes as sources write them: SHA256=…,MD5=… or sha256:… or
// bare hex digits.
func fingerprints(text string) []any {
	var out []any
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
		name, value := "", part
		if i := strings.IndexAny(part, "=:"); i >= 0 {
			name, value = strings.ToUpper(strings.ReplaceAll(part[:i], "-", "")), part[i+1:]
		}
		if value == "" {
			continue
		}
		id, ok := algorithms[name]
		if !ok && name == "" {
			id, ok = byLength[len(value)]
		}
		one := map[string]any{"algorithm_id": id, "value": value}
		if !ok {
			one["algorithm_id"] = int64(99)
			if name != "" {
				one["algorithm"] = name
			}
		}
		out = append(out, one)
	}
	return out
}

// sample is the one of names that can say Unknown, else a plain text: what an object
// that needs one of them gets when nothing is known.
func (e *entity) sample(names []string) string {
	for _, n := range names {
		if e.Attributes[n].enum["0"] {
			return n
		}
	}
	for _, want := range []string{"name", "uid", "path", "url_string", "app_name"} {
		if slices.Contains(names, want) {
			return want
		}
	}
	for _, n := range names {
		if a := e.Attributes[n]; a.base == "string_t" && len(a.enum) == 0 {
			return n
		}
	}
	return names[0]
}
