package ingest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
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
	from    int   // where what is submitted begins
	charged int64 // bytes taken from the budget
	frames  frame.Frames
}

func (s *Service) recycle(ws *workspace) {
	s.memory.release(ws.charged)
	ws.charged, ws.from = 0, 0
	if cap(ws.body) > keepBuffer || cap(ws.frames.Records) > keepBuffer/8 {
		return
	}
	ws.frames.Reset()
	s.work.Put(ws)
}

// Submit publishes a batch and returns when it is stored; see intake.Hub.
func (s *Service) Submit(ctx context.Context, in *intake.Batch) (intake.Receipt, error) {
	// The sender may be gone by now; what it sent is better stored whole than
	// in part, so the publishing has a time limit of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.AckTimeout)
	defer cancel()
	if in.Key == "" {
		in.Key = rand.Text()
	}
	builders := s.builders.Get().(*builders)
	defer s.builders.Put(builders)
	b := &batch{Batch: in, s: s, ctx: ctx, builders: builders, received: time.Now().UnixMilli()}
	receipt := intake.Receipt{Accepted: len(in.Frames.Records), Dead: len(in.Frames.Bad), Key: in.Key}
	if err := b.publish(); err != nil {
		if errors.Is(err, bus.ErrRefused) {
			s.opts.Logger.Error("bus refused a block", "source", in.Source, "error", err)
			return receipt, fmt.Errorf("the bus refused the batch: %w", err)
		}
		s.opts.Logger.Warn("bus busy", "source", in.Source, "batch", in.Key, "error", err)
		return receipt, fmt.Errorf("%w: %w", intake.ErrBusy, err)
	}
	s.metrics.records.Add(float64(len(in.Frames.Records)), in.Source)
	s.metrics.bytes.Add(float64(len(in.Body)), in.Source)
	for _, bad := range in.Frames.Bad {
		s.metrics.dead.Add(1, in.Source, bad.Reason)
	}
	receipt.Duplicate = b.duplicate()
	return receipt, nil
}

// builders make the blocks of one batch; they are used again for later ones.
type builders struct{ raw, dead *block.RawBuilder }

// batch is a Batch on its way to the bus.
type batch struct {
	*intake.Batch
	*builders
	s        *Service
	ctx      context.Context
	received int64

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
	id := b.Auth + "/" + b.Key + "/" + strconv.FormatUint(xxh3.Hash(b.Body), 36)
	b.publishRecords(id)
	b.publishDead(id)
	b.wg.Wait()
	return b.err
}

func (b *batch) publishRecords(id string) {
	raw := b.raw
	raw.Reset()
	chunk := 0
	msgID := subjects.RawID(b.Source, id, chunk)
	uid := block.UID(msgID, 0)
	subject := subjects.Raw(b.Source)
	for _, r := range b.Frames.Records {
		rec := b.Body[r.Off:r.End]
		if raw.Rows() > 0 && raw.Size()+len(rec) > b.s.opts.BlockBytes {
			if !b.send(subject, msgID, raw) {
				return
			}
			chunk++
			msgID = subjects.RawID(b.Source, id, chunk)
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
	dead := b.dead
	dead.Reset()
	chunk := 0
	subject := subjects.Dead(stage, b.Source)
	msgID := subjects.DeadID(stage, subjects.RawID(b.Source, id, chunk), 0)
	for _, bad := range b.Frames.Bad {
		rec := b.Body[bad.Off:bad.End]
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
			msgID = subjects.DeadID(stage, subjects.RawID(b.Source, id, chunk), 0)
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
	*buf = rb.AppendTo((*buf)[:0], block.Header{Source: b.Source, Auth: b.Auth, Remote: b.Remote, Envelope: b.Envelope, Received: b.received})
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
