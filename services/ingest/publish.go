package ingest

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

const (
	stage = "ingest"
	// keepOfLong is how much of a record that is too long is kept.
	keepOfLong = 64 << 10
	// keepBuffer is the largest buffer that waits for the next request.
	keepBuffer = 4 << 20
)

// workspace is the memory of one request, used again for later ones.
type workspace struct {
	body    []byte
	charged int64 // bytes taken from the budget
	frames  frame.Frames
	raw     *block.RawBuilder
	dead    *block.RawBuilder
}

func newWorkspace() *workspace {
	return &workspace{raw: block.NewRawBuilder(), dead: block.NewDeadBuilder()}
}

func (s *Service) recycle(ws *workspace) {
	s.memory.release(ws.charged)
	ws.charged = 0
	if cap(ws.body) > keepBuffer || cap(ws.frames.Records) > keepBuffer/8 {
		return
	}
	ws.frames.Reset()
	s.work.Put(ws)
}

// batch publishes the frames of one request.
type batch struct {
	s            *Service
	ctx          context.Context
	ws           *workspace
	source, auth string
	remote       string
	key          string
	received     int64

	wg    sync.WaitGroup
	mu    sync.Mutex
	sent  int
	again int // of them stored before
	err   error
}

// publish sends all blocks and waits until each is stored or has failed.
//
// The message id holds the sender's key and a hash of the body: a batch that
// is repeated is stored once, while another body under a used key is not lost.
func (b *batch) publish() error {
	id := b.auth + "/" + b.key + "/" + strconv.FormatUint(xxh3.Hash(b.ws.body), 36)
	b.publishRecords(id)
	b.publishDead(id)
	b.wg.Wait()
	return b.err
}

func (b *batch) publishRecords(id string) {
	raw := b.ws.raw
	raw.Reset()
	chunk := 0
	msgID := subjects.RawID(b.source, id, chunk)
	uid := block.UID(msgID, 0)
	subject := subjects.Raw(b.source)
	for _, r := range b.ws.frames.Records {
		rec := b.ws.body[r.Off:r.End]
		if raw.Rows() > 0 && raw.Size()+len(rec) > b.s.opts.BlockBytes {
			if !b.send(subject, msgID, raw) {
				return
			}
			chunk++
			msgID = subjects.RawID(b.source, id, chunk)
			uid = block.UID(msgID, 0)
		}
		// What block.UID(msgID, row) gives, without hashing the id again.
		binary.BigEndian.PutUint32(uid[12:], uint32(raw.Rows()))
		raw.Append(uid, b.received, rec)
	}
	if raw.Rows() > 0 {
		b.send(subject, msgID, raw)
	}
}

func (b *batch) publishDead(id string) {
	dead := b.ws.dead
	dead.Reset()
	chunk := 0
	subject := subjects.Dead(stage, b.source)
	msgID := subjects.DeadID(stage, subjects.RawID(b.source, id, chunk), 0)
	for _, bad := range b.ws.frames.Bad {
		rec := b.ws.body[bad.Off:bad.End]
		if bad.Reason == frame.ReasonTooLong {
			rec = rec[:min(len(rec), keepOfLong)]
		} else {
			rec = rec[:min(len(rec), b.s.opts.MaxRecord)]
		}
		if dead.Rows() > 0 && dead.Size()+len(rec) > b.s.opts.BlockBytes {
			if !b.send(subject, msgID, dead) {
				return
			}
			chunk++
			msgID = subjects.DeadID(stage, subjects.RawID(b.source, id, chunk), 0)
		}
		dead.AppendDead(block.UID(msgID, uint32(dead.Rows())), b.received, rec, bad.Reason, bad.Error)
	}
	if dead.Rows() > 0 {
		b.send(subject, msgID, dead)
	}
}

// send publishes what the builder holds and empties it; false: give up.
func (b *batch) send(subject, id string, rb *block.RawBuilder) bool {
	buf := b.s.payloads.Get().(*[]byte)
	*buf = rb.AppendTo((*buf)[:0], block.Header{Source: b.source, Auth: b.auth, Remote: b.remote, Received: b.received})
	rb.Reset()
	b.wg.Add(1)
	err := b.s.opts.Bus.PublishAsync(b.ctx, bus.Msg{Subject: subject, ID: id, Data: *buf}, func(a bus.Ack, err error) {
		b.done(a, err)
		if cap(*buf) <= keepBuffer {
			b.s.payloads.Put(buf)
		}
		b.wg.Done()
	})
	if err != nil {
		b.done(bus.Ack{}, err)
		b.wg.Done()
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil
}

func (b *batch) done(a bus.Ack, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil && b.err == nil:
		b.err = err
	case err == nil:
		b.sent++
		if a.Duplicate {
			b.again++
		}
	}
}

// duplicate reports whether the whole batch was stored before.
func (b *batch) duplicate() bool { return b.sent > 0 && b.again == b.sent }
