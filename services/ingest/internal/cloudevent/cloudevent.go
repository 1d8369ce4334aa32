// Package cloudevent makes CloudEvents that came in HTTP headers (binary mode)
// into the JSON format, so that every CloudEvent is one kind of record.
package cloudevent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of an event in headers.
const (
	maxAttributes = 64
	maxAttribute  = 8 << 10 // bytes of a value
)

// ErrMissing says that a request in binary mode is no CloudEvent.
var ErrMissing = errors.New("no CloudEvent: the headers ce-specversion, ce-id, ce-source and ce-type are needed, or Content-Type application/cloudevents+json")

// Mode is how a request carries events.
type Mode int

// The modes of the HTTP binding.
const (
	BinaryMode     Mode = iota // attributes in headers, data in the body
	StructuredMode             // one event as JSON
	BatchMode                  // an array of events
)

// ModeOf tells by the content type.
func ModeOf(h http.Header) Mode {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case strings.HasPrefix(media, "application/cloudevents-batch"):
		return BatchMode
	case strings.HasPrefix(media, "application/cloudevents"):
		return StructuredMode
	}
	return BinaryMode
}

// Key makes deliveries of the same event count once: source and id are unique
// to an event. Empty without them.
func Key(h http.Header) string {
	if h.Get("Ce-Id") == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(h.Get("Ce-Source") + "\x00" + h.Get("Ce-Id")))
	return "ce-" + hex.EncodeToString(sum[:16])
}

// Binary appends the event in JSON format to dst: the attributes sorted by
// name, then data as JSON or text, or data_base64.
func Binary(dst []byte, h http.Header, body []byte) ([]byte, error) {
	attributes := map[string]string{}
	for name, values := range h {
		attr, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok || attr == "" || len(values) == 0 || attr == "data" || attr == "data_base64" || attr == "datacontenttype" {
			continue
		}
		v := values[0]
		if len(attributes) >= maxAttributes || len(v) > maxAttribute {
			return dst, fmt.Errorf("CloudEvent: more than %d attributes or one of more than %d bytes", maxAttributes, maxAttribute)
		}
		// The binding escapes what headers cannot hold; a stray % is itself.
		if plain, err := url.PathUnescape(v); err == nil {
			v = plain
		}
		attributes[attr] = strings.ToValidUTF8(v, "\ufffd")
	}
	for _, need := range []string{"specversion", "id", "source", "type"} {
		if attributes[need] == "" {
			return dst, ErrMissing
		}
	}
	content := h.Get("Content-Type")
	if content != "" {
		attributes["datacontenttype"] = strings.ToValidUTF8(content, "\ufffd")
	}
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		dst = append(text(append(dst, sep), name), ':')
		dst = text(dst, attributes[name])
	}
	return append(appendData(dst, content, body), '}'), nil
}

// appendData takes the body for what its content type says, if it is that.
func appendData(dst []byte, content string, body []byte) []byte {
	media, _, _ := mime.ParseMediaType(content)
	trimmed := bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return dst
	case (media == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")) && json.Valid(trimmed):
		return append(append(dst, `,"data":`...), trimmed...)
	case strings.HasPrefix(media, "text/") && utf8.Valid(body):
		return text(append(dst, `,"data":`...), string(body))
	}
	dst = append(dst, `,"data_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, body)
	return append(dst, '"')
}

// Size bounds what Binary appends, in bytes.
func Size(h http.Header, body []byte) int {
	n := 2*len(body) + 64
	if strings.HasPrefix(h.Get("Content-Type"), "text/") {
		n = 6*len(body) + 64 // a byte may become \u0001
	}
	for name, values := range h {
		if len(values) > 0 {
			n += len(name) + 6*len(values[0]) + 8
		}
	}
	return n
}

func text(dst []byte, s string) []byte {
	out, err := json.Marshal(s)
	if err != nil { // texts have JSON, always
		return append(dst, `""`...)
	}
	return append(dst, out...)
}
