package normalize

import (
	"context"
	"fmt"
	"sync"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/normalize/internal/enrich"
	"github.com/vagus-hub/vagus/services/normalize/internal/envelope"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// worker maps one RAW message at a time. It is the mappings' sink.
type worker struct {
	set      *mapping.Set
	runners  map[string]*mapping.Runner
	builders [len(event.FamilyNames)]*block.Builder
	dead     *block.RawBuilder
	raw      block.Raw
	peeler   envelope.Peeler
	finder   *mapping.Finder
	known    mapping.Known // of the record at hand
	enrich   *enrich.Worker
	anyTime  bool      // event times are taken however old they are
	buffers  sync.Pool // payloads; they return when the input is acknowledged
}

func newWorker(set *mapping.Set) *worker {
	w := &worker{set: set, runners: map[string]*mapping.Runner{}, dead: block.NewDeadBuilder(), finder: set.NewFinder(), enrich: enrich.NewWorker(nil)}
	for f := range w.builders {
		w.builders[f] = block.NewBuilder(event.Family(f))
	}
	w.buffers.New = func() any { b := make([]byte, 0, 512<<10); return &b }
	return w
}

// Builder gives the builder of a family.
func (w *worker) Builder(f event.Family) *block.Builder { return w.builders[f] }

// handle publishes at most one block per family and one of dead letters, with
// ids that depend on the RAW sequence alone: a repeat publishes the same again.
func (w *worker) handle(_ context.Context, d *bus.Delivery) bus.Verdict {
	if err := block.DecodeRaw(d.Data, &w.raw); err != nil {
		return bus.Permanent("block", err)
	}
	account := w.mapAll()
	for _, b := range w.builders {
		w.enrich.Apply(b)
	}
	h := block.Header{
		Source: w.raw.Header.Source, RawSeq: d.Seq, Received: w.raw.Header.Received, Replay: w.raw.Header.Replay,
		In: account.In, Extra: account.Extra, Dead: account.Dead, Dropped: account.Dropped,
	}
	published := false
	send := func(subject, id string, appendTo func([]byte, block.Header) []byte) {
		buf := w.buffers.Get().(*[]byte)
		*buf = appendTo((*buf)[:0], h)
		h.In, h.Extra, h.Dead, h.Dropped = 0, 0, 0, nil // the first output has told it all
		published = true
		d.OnAck(func() { w.buffers.Put(buf) })
		header := bus.Header{}
		if t := d.Header.Get(subjects.HeaderTrace); t != "" {
			header.Set(subjects.HeaderTrace, t)
		}
		// An error is the bus's to report: it decides on the input.
		_ = d.Publish(bus.Msg{Subject: subject, ID: id, Header: header, Data: *buf})
	}
	for f, b := range w.builders {
		if b.Rows() > 0 {
			name := event.Family(f).String()
			send(subjects.Events(name), subjects.EventsID(d.Seq, name), b.AppendTo)
		}
	}
	if w.dead.Rows() > 0 {
		h.Envelope = w.raw.Header.Envelope // for a replay
		send(subjects.Dead("normalize", h.Source), fmt.Sprintf("nd:%d", d.Seq), w.dead.AppendTo)
	}
	if !published { // everything was dropped: the ledger must still hear of it
		name := event.FamilyAPI.String()
		send(subjects.Events(name), subjects.EventsID(d.Seq, name), w.builders[event.FamilyAPI].AppendTo)
	}
	return bus.Done()
}

// mapAll maps the records of w.raw into the builders and counts them.
func (w *worker) mapAll() block.Header {
	for _, b := range w.builders {
		b.Reset()
	}
	w.dead.Reset()
	var h block.Header
	for i := range w.raw.Len() {
		h.In++
		rec := mapping.Record{UID: w.raw.UID(i), Received: w.raw.Received(i), Data: w.raw.Record(i), AnyTime: w.anyTime}
		runner, reason, problem := w.choose(&rec)
		if runner == nil {
			h.Dead++
			w.dead.AppendDead(rec.UID, rec.Received, w.raw.Record(i), reason, problem)
			continue
		}
		r := runner.Map(rec)
		if r.Reason != "" {
			h.Dead++
			w.dead.AppendDead(rec.UID, rec.Received, w.raw.Record(i), r.Reason, r.Err.Error())
			continue
		}
		h.Extra += uint32(r.Events + r.Dropped - 1)
		if r.Dropped > 0 {
			h.Dropped = count(h.Dropped, r.Why, uint32(r.Dropped))
		}
	}
	return h
}

// count adds to the counter of a reason. The reasons are those of one mapping:
// few.
func count(list []block.Reason, name string, n uint32) []block.Reason {
	for i := range list {
		if list[i].Name == name {
			list[i].Count += n
			return list
		}
	}
	return append(list, block.Reason{Name: name, Count: n})
}
