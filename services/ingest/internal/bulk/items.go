package bulk

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

type op uint8

const (
	opIndex op = iota
	opCreate
	opUpdate
	opDelete
)

var opNames = [...]string{"index", "create", "update", "delete"}

// verdict is what becomes of an item.
type verdict uint8

const (
	stored verdict = iota
	busy
	malformed
	tooLong
	unsupported
	forbidden
	noIndex
	failed
)

// item is an action with its document; parts of the body.
type item struct {
	op        op
	verdict   verdict
	group     int32 // of batch.groups
	index, id []byte
}

// batch is a body on its way to records, one group a source.
type batch struct {
	items  []item
	groups []group
	ids    bool // every item has an id

	now                 action
	set, event, flatSet []byte // values of the document at work
	flatEvent           []byte

	// The group of the document before, for documents that are alike.
	lastIndex, lastDataset []byte
	last                   int32
	lastVerdict            verdict
}

type group struct {
	source string
	frames frame.Frames
}

func (b *batch) reset() {
	for i := range b.groups {
		b.groups[i].frames.Reset()
	}
	*b = batch{items: b.items[:0], groups: b.groups[:0], ids: true, last: -1}
}

func (b *batch) of(source string) int32 {
	for i := range b.groups {
		if b.groups[i].source == source {
			return int32(i)
		}
	}
	if len(b.groups) < cap(b.groups) { // memory of an earlier batch
		b.groups = b.groups[:len(b.groups)+1]
		b.groups[len(b.groups)-1].source = source
	} else {
		b.groups = append(b.groups, group{source: source})
	}
	return int32(len(b.groups) - 1)
}

// shape is an error of the body as a whole: nothing of it is taken.
type shape struct{ text string }

func (e *shape) Error() string { return e.text }

type action struct {
	name, value []byte
	count       int
	index, id   []byte
}

// top notes the action of an action line.
func (a *action) top(key, value []byte) {
	a.name, a.value = key, value
	a.count++
}

// member notes what an action says.
func (a *action) member(key, value []byte) {
	switch string(key) {
	case "_index":
		a.index, _ = frame.Text(value)
	case "_id":
		var ok bool
		if a.id, ok = frame.Text(value); !ok && !bytes.Equal(value, []byte("null")) {
			a.id = value // a number
		}
	}
}

// route gives a document its source.
type route func(index, dataset []byte) (source string, v verdict)

// limits bounds a body.
type limits struct {
	frame.Limits
	items   int
	dataset bool // routes want to know the dataset
}

// parse frames a body: pairs of lines, an action and its document. Nothing is
// submitted yet, so a body that is no sequence of actions is refused whole, as
// Elasticsearch does.
func (b *batch) parse(body []byte, index string, lim limits, to route) error {
	line := 0
	for pos := 0; pos < len(body); {
		start, end, next := cut(body, pos)
		pos = next
		line++
		if start == end {
			continue
		}
		if len(b.items) == lim.items {
			return &frame.TooMany{Limit: lim.items}
		}
		it, err := b.action(body[start:end], line, lim.MaxDepth)
		if err != nil {
			return err
		}
		if it.index == nil {
			it.index = []byte(index)
		}
		b.ids = b.ids && len(it.id) > 0
		if it.op != opDelete {
			if pos >= len(body) {
				return &shape{fmt.Sprintf("The bulk request ends after the action in line %d: its document is missing", line)}
			}
			start, end, next = cut(body, pos)
			pos = next
			line++
		}
		switch {
		case it.op == opDelete || it.op == opUpdate:
			it.verdict = unsupported
		case len(it.index) == 0:
			it.verdict = noIndex
		default:
			b.document(&it, body, start, end, lim, to)
		}
		b.items = append(b.items, it)
	}
	return nil
}

// cut finds the line at pos, without white space around it.
func cut(body []byte, pos int) (start, end, next int) {
	end, next = len(body), len(body)
	if n := bytes.IndexByte(body[pos:], '\n'); n >= 0 {
		end, next = pos+n, pos+n+1
	}
	start = frame.SkipSpace(body[:end], pos)
	for end > start && (body[end-1] == '\r' || body[end-1] == ' ' || body[end-1] == '\t') {
		end--
	}
	return start, end, next
}

func (b *batch) action(text []byte, line, maxDepth int) (item, error) {
	a := &b.now
	*a = action{}
	end, err := frame.Members(text, 0, maxDepth, a.top)
	if err != nil || end != len(text) || a.count != 1 || a.value[0] != '{' {
		return item{}, &shape{fmt.Sprintf("Malformed action/metadata line [%d], expected an object with one action", line)}
	}
	it := item{group: -1}
	switch string(a.name) {
	case "index":
		it.op = opIndex
	case "create":
		it.op = opCreate
	case "update":
		it.op = opUpdate
	case "delete":
		it.op = opDelete
	default:
		return item{}, &shape{fmt.Sprintf("Malformed action/metadata line [%d], expected field [create], [delete], [index] or [update] but found [%.64s]", line, a.name)}
	}
	if _, err := frame.Members(a.value, 0, maxDepth, a.member); err != nil {
		return item{}, &shape{fmt.Sprintf("Malformed action/metadata line [%d]: %v", line, err)}
	}
	it.index, it.id = a.index, a.id
	return it, nil
}

// document makes a record of body[start:end], or a dead letter.
func (b *batch) document(it *item, body []byte, start, end int, lim limits, to route) {
	var err error
	stop := start
	b.set, b.event, b.flatSet, b.flatEvent = nil, nil, nil, nil
	if start == end || body[start] != '{' {
		err = errors.New("the document is no JSON object")
	} else if lim.dataset {
		stop, err = frame.Members(body[:end], start, lim.MaxDepth, b.member)
	} else {
		stop, err = frame.Value(body[:end], start, lim.MaxDepth)
	}
	if err == nil && stop != end {
		err = &frame.Error{Offset: stop, Msg: "text after the document"}
	}
	dataset := b.dataset(lim.MaxDepth)
	if b.last < 0 || !bytes.Equal(b.lastIndex, it.index) || !bytes.Equal(b.lastDataset, dataset) {
		source, v := to(it.index, dataset)
		b.lastIndex, b.lastDataset, b.lastVerdict, b.last = it.index, dataset, v, 0
		if v == stored {
			b.last = b.of(source)
		}
	}
	if b.lastVerdict != stored {
		it.verdict = b.lastVerdict
		return
	}
	it.group = b.last
	f := &b.groups[b.last].frames
	span := frame.Span{Off: uint32(start), End: uint32(end)}
	reason := frame.ReasonMalformed
	switch {
	case end-start > lim.MaxRecord:
		it.verdict, reason = tooLong, frame.ReasonTooLong
		err = fmt.Errorf("document of %d bytes, at most %d are taken", end-start, lim.MaxRecord)
	case err == nil:
		f.Records = append(f.Records, span)
		return
	case errors.Is(err, frame.ErrDeep):
		it.verdict, reason = malformed, frame.ReasonTooDeep
	default:
		it.verdict = malformed
	}
	f.Bad = append(f.Bad, frame.Bad{Span: span, Reason: reason, Error: err.Error()})
}

// member notes what of a document tells its dataset.
func (b *batch) member(key, value []byte) {
	switch string(key) {
	case "data_stream":
		b.set = value
	case "event":
		b.event = value
	case "data_stream.dataset":
		b.flatSet, _ = frame.Text(value)
	case "event.dataset":
		b.flatEvent, _ = frame.Text(value)
	}
}

// dataset of the document at work; nil: none.
func (b *batch) dataset(maxDepth int) []byte {
	for _, from := range []struct{ object, flat []byte }{{b.set, b.flatSet}, {b.event, b.flatEvent}} {
		if len(from.flat) > 0 {
			return from.flat
		}
		if len(from.object) == 0 || from.object[0] != '{' {
			continue
		}
		var found []byte
		_, err := frame.Members(from.object, 0, maxDepth, func(key, value []byte) {
			if string(key) == "dataset" {
				found, _ = frame.Text(value)
			}
		})
		if err == nil && len(found) > 0 {
			return found
		}
	}
	return nil
}
