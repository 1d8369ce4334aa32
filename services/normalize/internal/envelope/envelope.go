// Package envelope takes off what a receiver got around a record: a syslog
// header, an event of Splunk's collector, a CloudEvent, a line of a container's
// log. What the envelope knows of the record is kept for the columns that the
// mapping leaves empty.
package envelope

import (
	"bytes"
	"encoding/base64"
	"time"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
	"github.com/vagus-hub/vagus/services/normalize/internal/text"
)

// The envelopes, as block headers name them.
const (
	Syslog      = "syslog"
	HEC         = "hec"
	Bulk        = "bulk"
	OTLPLog     = "otlp.log"
	OTLPSpan    = "otlp.span"
	OTLPMetric  = "otlp.metric"
	CloudEvents = "cloudevents"
	CRI         = "cri"
	Docker      = "docker"
	Webhook     = "webhook"
)

// Content is what an envelope held. Its parts are valid until the next Peel.
type Content struct {
	Inner [][]byte // the record, or what may be it, the likelier first; none if the whole is the record
	Known mapping.Known
}

// Peeler takes envelopes off. It reuses its buffers: one for each goroutine.
type Peeler struct {
	scan  json.Scanner
	buf   []byte
	inner [2][]byte
}

// Peel takes one record out of its envelope. What does not look like the
// envelope has no inner record.
func (p *Peeler) Peel(kind string, record []byte) Content {
	p.buf = p.buf[:0]
	c := Content{Inner: p.inner[:0]}
	switch kind {
	case Syslog:
		p.syslog(record, &c)
	case CRI:
		p.cri(record, &c)
	case Docker:
		p.docker(record, &c)
	case OTLPLog, OTLPSpan, OTLPMetric:
		p.otlp(kind, record, &c)
	default:
		p.object(kind, record, &c)
	}
	return c
}

// Fallback is the source of a record that no mapping recognises; "" for none.
func Fallback(kind string, record []byte) string {
	switch kind {
	case Syslog:
		return "syslog.message"
	case HEC:
		return "splunk.hec"
	case Bulk:
		return "elastic.ecs"
	case OTLPLog:
		return "opentelemetry.logs"
	case OTLPSpan:
		for _, prefix := range [...]string{`"gen_ai.`, `"llm.`, `"traceloop.`, `"mcp.`} {
			if bytes.Contains(record, []byte(prefix)) {
				return "opentelemetry.genai"
			}
		}
		return "opentelemetry.traces"
	case OTLPMetric:
		return "opentelemetry.metrics"
	case CloudEvents:
		return "cloudevents.event"
	}
	return ""
}

func (c *Content) add(inner []byte) {
	if len(bytes.TrimSpace(inner)) > 0 && len(c.Inner) < cap(c.Inner) {
		c.Inner = append(c.Inner, inner)
	}
}

func (p *Peeler) syslog(record []byte, c *Content) {
	h := text.ParseHeader(record)
	c.Known.Host, c.Known.App = h.Hostname, h.Appname
	c.Known.Time = stamp(h.Timestamp)
	if h.Priority >= 0 || h.Timestamp != nil {
		c.add(h.Message)
	}
}

// object reads the envelopes that are JSON objects.
func (p *Peeler) object(kind string, record []byte, c *Content) {
	p.scan.Reset(record)
	if p.scan.Next() != json.Object {
		return
	}
	var second json.Value // of a bulk document: message
	p.scan.Enter()
	for first := true; ; first = false {
		key, _, ok := p.scan.Key(first)
		if !ok {
			break
		}
		v := p.scan.Value()
		switch kind {
		case HEC:
			p.hec(key, v, c)
		case CloudEvents:
			p.cloudEvent(key, v, c)
		case Webhook:
			if string(key) == "body" {
				c.add(p.plain(v))
			}
		case Bulk:
			switch string(key) {
			case "message":
				second = v
			case "@timestamp":
				c.Known.Time = stamp(p.plain(v))
			case "event":
				if v.Kind == json.Object {
					c.add(p.member(v, "original"))
				}
			case "host":
				if v.Kind == json.Object {
					c.Known.Host = p.member(v, "name")
				} else if v.Kind == json.String {
					c.Known.Host = p.plain(v)
				}
			}
		}
	}
	if second.Kind == json.String {
		c.add(p.plain(second))
	}
	if p.scan.Failed() {
		*c = Content{}
	}
}

func (p *Peeler) hec(key []byte, v json.Value, c *Content) {
	switch string(key) {
	case "event":
		c.add(p.plain(v))
	case "host":
		c.Known.Host = p.plain(v)
	case "time":
		c.Known.Time = seconds(p.plain(v))
	}
}

func (p *Peeler) cloudEvent(key []byte, v json.Value, c *Content) {
	switch string(key) {
	case "data":
		c.add(p.plain(v))
	case "data_base64":
		in := p.plain(v)
		out := make([]byte, base64.StdEncoding.DecodedLen(len(in)))
		if n, err := base64.StdEncoding.Decode(out, in); err == nil {
			c.add(out[:n])
		}
	case "time":
		c.Known.Time = stamp(p.plain(v))
	}
}

// member is the text of a key of an object.
func (p *Peeler) member(object json.Value, name string) []byte {
	var s json.Scanner
	s.Reset(object.Raw)
	s.Next()
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			return nil
		}
		if v := s.Value(); string(key) == name && v.Kind == json.String {
			return p.plain(v)
		}
	}
}

// plain is a value's text: strings without quotes and escapes, others as they
// stand.
func (p *Peeler) plain(v json.Value) []byte {
	switch {
	case v.Kind == json.Null || len(v.Raw) == 0:
		return nil
	case v.Kind == json.String && !v.Escaped:
		return v.Raw[1 : len(v.Raw)-1]
	case v.Kind == json.String:
		if cap(p.buf)-len(p.buf) < len(v.Raw) {
			p.buf = make([]byte, 0, len(v.Raw)+4096) // texts in the old memory stay
		}
		mark := len(p.buf)
		p.buf = v.AppendText(p.buf)
		return p.buf[mark:len(p.buf):len(p.buf)]
	}
	return v.Raw
}

func stamp(b []byte) int64 {
	if len(b) == 0 || len(b) > 64 {
		return 0
	}
	if t, err := time.Parse(time.RFC3339Nano, string(b)); err == nil {
		return t.UnixMilli()
	}
	return 0
}
