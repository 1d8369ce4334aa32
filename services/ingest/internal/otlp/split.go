package otlp

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// Brackets that are open where resource, scope and record stand.
const (
	resourceDepth = 3
	scopeDepth    = 5
	recordDepth   = 6
)

// split cuts one request into records: each becomes an OTLP-JSON document of
// its own, with its resource and scope. Those two are written once and copied.
type split struct {
	writer
	messages *tables
	sig      *signal
	lim      frame.Limits
	total    int64 // bytes that may still be written
	sink     sink

	head   []byte // what stands before the records of the scope at work
	mark   int    // head up to the scope
	tail   []byte // what ends the resource
	end    []byte // what ends list of records, scope and resource
	broken string // why no record of this resource or scope can be whole

	rejected int64
	why      string
	timed    bool // every record has a time of its own
}

// sink takes the records of a request.
type sink interface {
	// out gives the place for records of a resource, whose JSON is given.
	out(resource []byte) *out
	// full submits what o holds and empties it.
	full(ctx context.Context, o *out) error
}

// out holds records of one source until they are submitted.
type out struct {
	source string
	body   []byte
	frames frame.Frames
}

// flushAt is the size in bytes at which an out is submitted, so that memory is
// bounded however much longer JSON with copied resources is than protobuf.
const flushAt = 4 << 20

// unknown is a message whose fields are looked at by number only.
var unknown = &message{}

// protobuf cuts an Export…ServiceRequest. errMalformed: it is none; what was
// submitted before stays.
func (s *split) protobuf(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		_, number, typ, v, rest, err := next(unknown, b)
		if err != nil {
			return err
		}
		b = rest
		if number == 1 && typ == protowire.BytesType {
			if err := s.resourceOf(ctx, v.b); err != nil {
				return err
			}
		}
	}
	return nil
}

// header is what a list of scopes or records begins with, wherever it stands.
type header struct{ object, schema []byte }

func readHeader(b []byte) (h header, err error) {
	pieces := false
	for len(b) > 0 {
		_, number, typ, v, rest, err := next(unknown, b)
		if err != nil {
			return h, err
		}
		b = rest
		switch {
		case typ != protowire.BytesType:
		case number == 1 && h.object == nil:
			h.object = v.b
		case number == 1: // in pieces
			if !pieces {
				h.object = append(make([]byte, 0, 2*len(h.object)+len(v.b)), h.object...)
			}
			pieces = true
			h.object = append(h.object, v.b...)
		case number == 3:
			h.schema = v.b
		}
	}
	return h, nil
}

// write puts an object under a key into head; a broken one is remembered, and
// the records that belong to it become dead letters.
func (s *split) write(key string, m *message, b []byte, depth int) error {
	if b == nil {
		return nil
	}
	if len(b) > s.lim.MaxRecord {
		s.broken = frame.ReasonTooLong
		return nil
	}
	saved := s.dst
	s.dst = append(s.head, key...)
	err := s.object(m, b, depth)
	s.head, s.dst = s.dst, saved
	if errors.Is(err, errDeep) {
		s.broken = frame.ReasonTooDeep
		return nil
	}
	if err == nil {
		s.head = append(s.head, ',')
	}
	return err
}

func appendSchema(dst, schema []byte) []byte {
	if len(schema) == 0 {
		return dst
	}
	return appendString(append(dst, `,"schemaUrl":`...), schema)
}

func (s *split) resourceOf(ctx context.Context, b []byte) error {
	h, err := readHeader(b)
	if err != nil {
		return err
	}
	s.openResource()
	from := len(s.head)
	if err := s.write(`"resource":`, s.messages.resource, h.object, resourceDepth); err != nil {
		return err
	}
	var resource []byte
	if len(s.head) > from && s.broken == "" {
		resource = s.head[from+len(`"resource":`) : len(s.head)-1]
	}
	o := s.sink.out(resource)
	s.closeResource(appendSchema(s.tail[:0], h.schema))
	broken := s.broken
	for len(b) > 0 {
		_, number, typ, v, rest, err := next(unknown, b)
		if err != nil {
			return err
		}
		b = rest
		if number != 2 || typ != protowire.BytesType {
			continue
		}
		s.broken = broken
		if err := s.scopeOf(ctx, o, v.b); err != nil {
			return err
		}
	}
	return nil
}

func (s *split) openResource() {
	s.broken = ""
	s.head = append(append(append(s.head[:0], `{"`...), s.sig.resources...), `":[{`...)
}

func (s *split) closeResource(schema []byte) {
	s.head = append(append(append(s.head, '"'), s.sig.scopes...), `":[{`...)
	s.mark = len(s.head)
	s.tail = append(schema, "}]}"...)
}

func (s *split) scopeOf(ctx context.Context, o *out, b []byte) error {
	h, err := readHeader(b)
	if err != nil {
		return err
	}
	s.head = s.head[:s.mark]
	if err := s.write(`"scope":`, s.messages.scope, h.object, scopeDepth); err != nil {
		return err
	}
	s.closeScope(appendSchema(append(s.end[:0], ']'), h.schema))
	for len(b) > 0 {
		_, number, typ, v, rest, err := next(unknown, b)
		if err != nil {
			return err
		}
		b = rest
		if number != 2 || typ != protowire.BytesType {
			continue
		}
		if err := s.record(ctx, o, v.b); err != nil {
			return err
		}
	}
	return nil
}

func (s *split) closeScope(end []byte) {
	s.head = append(append(append(s.head, '"'), s.sig.records...), `":[`...)
	s.end = append(append(end, "}]"...), s.tail...)
}

// record writes one record between head and tail.
func (s *split) record(ctx context.Context, o *out, b []byte) error {
	if !s.room(o, len(b)) {
		return nil
	}
	from := len(o.body)
	reason := s.broken
	s.dst = append(o.body, s.head[:min(len(s.head), s.lim.MaxRecord)]...)
	if len(b) > s.lim.MaxRecord {
		reason = frame.ReasonTooLong
	}
	if reason == "" {
		switch err := s.object(s.sig.message, b, recordDepth); {
		case errors.Is(err, errDeep):
			reason = frame.ReasonTooDeep
		case err != nil:
			s.dst = s.dst[:from]
			return err
		}
	}
	if s.timed && !s.hasTime(b) {
		s.timed = false
	}
	return s.finish(ctx, o, from, reason)
}

// room reports whether another record may be written; if not it is rejected.
func (s *split) room(o *out, size int) bool {
	switch {
	case len(o.frames.Records)+len(o.frames.Bad) >= s.lim.MaxRecords:
		s.reject(fmt.Sprintf("more than %d records in one request", s.lim.MaxRecords))
	case s.total < int64(len(s.head)+size):
		s.reject("the request's records with their resources are too long; send smaller batches or fewer resource attributes")
	default:
		return true
	}
	return false
}

func (s *split) reject(why string) {
	s.rejected++
	s.why = why
}

// finish ends the record that begins at from in s.dst and files it.
func (s *split) finish(ctx context.Context, o *out, from int, reason string) error {
	if reason == "" {
		s.dst = append(s.dst, s.end...)
	}
	o.body = s.dst
	n := len(o.body) - from
	if reason == "" && n > s.lim.MaxRecord {
		reason = frame.ReasonTooLong
	}
	if reason == frame.ReasonTooLong && n > keepOfLong {
		o.body = o.body[:from+keepOfLong] // that is all that a dead letter keeps
	}
	s.total -= int64(n)
	span := frame.Span{Off: uint32(from), End: uint32(len(o.body))}
	if reason == "" {
		o.frames.Records = append(o.frames.Records, span)
	} else {
		o.frames.Bad = append(o.frames.Bad, frame.Bad{Span: span, Reason: reason, Error: s.explain(reason)})
		s.reject("records that are too long or nested too deep are kept as dead letters")
	}
	if len(o.body) >= flushAt {
		return s.sink.full(ctx, o)
	}
	return nil
}

const keepOfLong = 64 << 10

func (s *split) explain(reason string) string {
	if reason == frame.ReasonTooLong {
		return fmt.Sprintf("over %d bytes as JSON with its resource and scope", s.lim.MaxRecord)
	}
	return fmt.Sprintf("brackets within brackets beyond %d", s.lim.MaxDepth)
}

// hasTime reports whether a record has a time stamp of its own.
func (s *split) hasTime(b []byte) bool {
	if len(s.sig.times) == 0 {
		return true
	}
	for len(b) > 0 {
		_, number, typ, v, rest, err := next(unknown, b)
		if err != nil {
			return false
		}
		b = rest
		if typ == protowire.Fixed64Type && v.n != 0 && (number == s.sig.times[0] || number == s.sig.times[1]) {
			return true
		}
	}
	return false
}
