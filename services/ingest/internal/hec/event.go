package hec

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// Reasons of events that become dead letters.
const (
	reasonNoEvent = "hec_no_event"
	reasonFields  = "hec_bad_fields"
)

const (
	// maxResync bounds how often a body with broken JSON is looked at again.
	maxResync = 16
	// maxBad bounds the dead letters of a body: what follows is one more.
	maxBad = 1000
)

// event is what the envelope of an event says; parts of the body.
type event struct {
	sourcetype, from, index []byte
	event, fields           []byte // values as they are; nil: absent
}

// batch is a body on its way to records, one group a source.
type batch struct {
	groups []group
	// invalid is the reply to the first event that cannot be taken, with its
	// number; nil: all are sound.
	invalid *reply
	number  int
	n       int  // events so far
	refused bool // the first event that may not be taken at all ends the batch

	now event // the event at work
	bad int   // dead letters so far

	// The group of the event before, for events that are alike.
	last  event
	group int
}

type group struct {
	source string
	frames frame.Frames
}

func (b *batch) reset() {
	for i := range b.groups {
		b.groups[i].frames.Reset()
	}
	*b = batch{groups: b.groups[:0], group: -1}
}

// of is the group of a source.
func (b *batch) of(source string) int {
	for i := range b.groups {
		if b.groups[i].source == source {
			return i
		}
	}
	if len(b.groups) < cap(b.groups) { // memory of an earlier batch
		b.groups = b.groups[:len(b.groups)+1]
		b.groups[len(b.groups)-1].source = source
	} else {
		b.groups = append(b.groups, group{source: source})
	}
	return len(b.groups) - 1
}

// wrong notes the first event that cannot be taken.
func (b *batch) wrong(r *reply) {
	if b.invalid == nil {
		b.invalid, b.number = r, b.n
	}
}

// router gives an event its source; nil: it may not be taken.
type router func(e *event) (source string, refused *reply)

// events frames the body of the event endpoint: objects one after the other,
// with or without anything but white space between, or arrays of them. Sound
// events make records; those that are not, dead letters of the source other.
func (b *batch) events(body []byte, lim frame.Limits, route router, other string) error {
	resyncs, inArray := 0, false
	for pos := 0; !b.refused; {
		pos = frame.SkipSpace(body, pos)
		if pos == len(body) {
			return nil
		}
		switch c := body[pos]; {
		case c == ',' || c == ']' && inArray:
			inArray = inArray && c != ']'
			pos++
			continue
		case c == '[' && !inArray:
			inArray = true
			pos++
			continue
		}
		if b.n >= lim.MaxRecords {
			return &frame.TooMany{Limit: lim.MaxRecords}
		}
		if b.bad == maxBad {
			b.dead(other, pos, len(body), frame.ReasonMalformed, fmt.Sprintf("event %d and all after it: there were %d bad ones before", b.n, maxBad))
			return nil
		}
		b.now = event{}
		end, err := frame.Members(body, pos, lim.MaxDepth, b.now.member)
		if err != nil {
			var more bool
			if end, more = b.broken(body, pos, end, err, other, resyncs); !more {
				return nil
			}
			resyncs++
		} else {
			b.add(&b.now, body, pos, end, lim, route, other)
		}
		b.n++
		pos = end
	}
	return nil
}

func (e *event) member(key, value []byte) {
	var to *[]byte
	switch string(key) {
	case "event":
		if e.event == nil {
			e.event = value
		}
		return
	case "fields":
		if e.fields == nil {
			e.fields = value
		}
		return
	case "sourcetype":
		to = &e.sourcetype
	case "source":
		to = &e.from
	case "index":
		to = &e.index
	default:
		return
	}
	if *to == nil {
		*to, _ = frame.Text(value)
	}
}

// broken makes a dead letter of an event that is no JSON, and finds the next
// one at the start of a line.
func (b *batch) broken(body []byte, pos, end int, err error, other string, resyncs int) (next int, more bool) {
	b.wrong(replyFormat)
	reason := frame.ReasonMalformed
	if errors.Is(err, frame.ErrDeep) {
		reason, next, more = frame.ReasonTooDeep, end, true
	} else {
		next = len(body)
		if i := bytes.Index(body[pos:], []byte("\n{")); i >= 0 && resyncs < maxResync {
			next, more = pos+i+1, true
		}
	}
	b.dead(other, pos, next, reason, fmt.Sprintf("event %d: %v", b.n, err))
	return next, more
}

func (b *batch) dead(source string, pos, end int, reason, text string) {
	b.bad++
	f := &b.groups[b.of(source)].frames
	f.Bad = append(f.Bad, frame.Bad{Span: frame.Span{Off: uint32(pos), End: uint32(end)}, Reason: reason, Error: text})
}

func (b *batch) add(e *event, body []byte, pos, end int, lim frame.Limits, route router, other string) {
	blank := bytes.Equal(e.event, []byte(`""`))
	switch {
	case e.event == nil || bytes.Equal(e.event, []byte("null")):
		b.wrong(replyNoEvent)
		b.dead(other, pos, end, reasonNoEvent, fmt.Sprintf(`event %d has no "event"`, b.n))
		return
	case blank:
		b.wrong(replyBlank)
		b.dead(other, pos, end, reasonNoEvent, fmt.Sprintf(`event %d has a blank "event"`, b.n))
		return
	case e.fields != nil && e.fields[0] != '{' && !bytes.Equal(e.fields, []byte("null")):
		b.wrong(replyFields)
		b.dead(other, pos, end, reasonFields, fmt.Sprintf(`event %d: "fields" is no object`, b.n))
		return
	}
	if b.group < 0 || !e.like(&b.last) {
		source, refused := route(e)
		if refused != nil {
			b.invalid, b.number, b.refused = refused, b.n, true
			return
		}
		b.group, b.last = b.of(source), *e
	}
	f := &b.groups[b.group].frames
	span := frame.Span{Off: uint32(pos), End: uint32(end)}
	if end-pos > lim.MaxRecord {
		f.Bad = append(f.Bad, frame.Bad{Span: span, Reason: frame.ReasonTooLong,
			Error: fmt.Sprintf("event %d has %d bytes, at most %d are taken", b.n, end-pos, lim.MaxRecord)})
		b.wrong(replyFormat)
		return
	}
	f.Records = append(f.Records, span)
}

// like reports whether the routes cannot tell the events apart.
func (e *event) like(o *event) bool {
	return bytes.Equal(e.sourcetype, o.sourcetype) && bytes.Equal(e.from, o.from) && bytes.Equal(e.index, o.index)
}
