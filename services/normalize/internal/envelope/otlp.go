package envelope

import (
	"bytes"
	"strconv"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// Bounds on the values of a log's body: depth and number in a list.
const (
	maxValue   = 20
	maxMembers = 1024
)

// levels are the lists of each signal, from the outside in.
var levels = map[string][3]string{
	OTLPLog:    {"resourceLogs", "scopeLogs", "logRecords"},
	OTLPSpan:   {"resourceSpans", "scopeSpans", "spans"},
	OTLPMetric: {"resourceMetrics", "scopeMetrics", "metrics"},
}

// otlp reads a request with one record in it. Only a log has an inner record:
// its body, a text or an object.
func (p *Peeler) otlp(kind string, record []byte, c *Content) {
	names := levels[kind]
	resource := p.first(json.Of(record), names[0])
	c.Known.Host, c.Known.App = p.attributes(p.get(p.get(resource, "resource"), "attributes"))
	if kind != OTLPLog {
		return
	}
	log := p.first(p.first(resource, names[1]), names[2])
	for _, name := range [...]string{"timeUnixNano", "observedTimeUnixNano"} {
		if n, err := strconv.ParseInt(string(p.plain(p.get(log, name))), 10, 64); err == nil && n > 0 {
			c.Known.Time = n / 1e6
			break
		}
	}
	body := p.get(log, "body")
	if text := p.get(body, "stringValue"); text.Kind == json.String {
		c.add(p.plain(text))
		return
	}
	if list := p.get(body, "kvlistValue"); list.Kind == json.Object {
		if cap(p.buf)-len(p.buf) < len(record) {
			p.buf = make([]byte, 0, len(record)+4096)
		}
		mark := len(p.buf)
		p.buf = p.appendList(p.buf, p.get(list, "values"), true, 0)
		c.add(p.buf[mark:len(p.buf):len(p.buf)])
	}
}

// get is a member of an object, Absent if there is none.
func (p *Peeler) get(object json.Value, name string) json.Value {
	if object.Kind != json.Object {
		return json.Value{}
	}
	var s json.Scanner
	s.Reset(object.Raw)
	s.Next()
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			return json.Value{}
		}
		if v := s.Value(); string(key) == name {
			return v
		}
	}
}

// first is the first element of the list under name.
func (p *Peeler) first(object json.Value, name string) json.Value {
	list := p.get(object, name)
	var out json.Value
	each(list, func(v json.Value) bool {
		out = v
		return false
	})
	return out
}

// each visits the elements of a list while f says so.
func each(list json.Value, f func(json.Value) bool) {
	if list.Kind != json.Array {
		return
	}
	var s json.Scanner
	s.Reset(list.Raw)
	s.Next()
	s.Enter()
	for first := true; s.Element(first); first = false {
		if v := s.Value(); v.Kind == json.Absent || !f(v) {
			return
		}
	}
}

// attributes finds the names of host and service.
func (p *Peeler) attributes(list json.Value) (host, app []byte) {
	each(list, func(v json.Value) bool {
		switch string(p.plain(p.get(v, "key"))) {
		case "host.name":
			host = p.plain(p.get(p.get(v, "value"), "stringValue"))
		case "service.name":
			app = p.plain(p.get(p.get(v, "value"), "stringValue"))
		}
		return true
	})
	return host, app
}

// appendList writes a list of OTLP values, or of keys and values, as JSON.
func (p *Peeler) appendList(dst []byte, list json.Value, object bool, depth int) []byte {
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	count := 0
	each(list, func(v json.Value) bool {
		if object {
			key := p.get(v, "key")
			if key.Kind != json.String {
				return true
			}
			if count > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(dst, key.Raw...), ':')
			v = p.get(v, "value")
		} else if count > 0 {
			dst = append(dst, ',')
		}
		count++
		dst = p.appendValue(dst, v, depth+1)
		return count < maxMembers
	})
	return append(dst, end)
}

// appendValue writes one AnyValue as JSON.
func (p *Peeler) appendValue(dst []byte, v json.Value, depth int) []byte {
	if v.Kind != json.Object || depth > maxValue {
		return append(dst, "null"...)
	}
	var s json.Scanner
	s.Reset(v.Raw)
	s.Next()
	s.Enter()
	key, _, ok := s.Key(true)
	if !ok {
		return append(dst, "null"...)
	}
	one := s.Value()
	switch string(key) {
	case "arrayValue":
		return p.appendList(dst, p.get(one, "values"), false, depth)
	case "kvlistValue":
		return p.appendList(dst, p.get(one, "values"), true, depth)
	case "intValue": // a number in a string
		n := bytes.Trim(one.Raw, `"`)
		if _, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return append(dst, n...)
		}
	}
	if one.Kind == json.Absent {
		return append(dst, "null"...)
	}
	return append(dst, one.Raw...)
}

// seconds reads seconds since 1970 with a fraction, as ms.
func seconds(b []byte) int64 {
	n, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(n > 0 && n < 1e12) {
		return 0
	}
	return int64(n*1000 + 0.5)
}
