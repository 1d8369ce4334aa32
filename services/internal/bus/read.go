package bus

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Record is a message read outside of any durable; there is nothing to
// acknowledge.
type Record struct {
	Subject string
	Header  Header
	Data    []byte
	Stream  string
	Seq     uint64
	Time    time.Time
}

// How long a read waits for a message before it begins again behind the last.
// What it still expects may be gone, or lost on the way to it with nothing behind
// to reveal that; the server says neither.
const (
	readIdle   = 2 * time.Second  // with an end: something is expected
	followIdle = 30 * time.Second // without
)

// ReadFrom yields the messages of a stream that match the filters (none means
// all) from sequence first to sequence last, both included, in order; last 0
// means the stream's end at the time of the call. Messages that are gone
// (expired, trimmed) are left out, so a caller that needs all of them compares
// sequences. It ends after the first error.
func (b *Bus) ReadFrom(ctx context.Context, stream string, filters []string, first, last uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		st, err := b.js.Stream(ctx, stream)
		if err != nil {
			yield(Record{}, classify("read "+stream, err))
			return
		}
		end := st.CachedInfo().State.LastSeq
		if last == 0 || last > end {
			last = end
		}
		for next, more := max(first, 1), true; more; {
			next, more = b.read(ctx, stream, filters, next, last, readIdle, yield)
		}
	}
}

// Follow is ReadFrom without an end: it waits for new messages until ctx ends,
// which ends it without an error, and survives reconnects.
func (b *Bus) Follow(ctx context.Context, stream string, filters []string, first uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		next, stopped := max(first, 1), false
		for ctx.Err() == nil && !stopped {
			var failure error
			b.read(ctx, stream, filters, next, ^uint64(0), followIdle, func(r Record, err error) bool {
				if err != nil {
					failure = err
					return false
				}
				next = r.Seq + 1
				stopped = !yield(r, nil)
				return !stopped
			})
			if failure == nil || ctx.Err() != nil {
				continue
			}
			if !IsBusy(failure) {
				yield(Record{}, failure)
				return
			}
			b.log.Warn("follow again", "stream", stream, "from", next, "error", failure)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// read yields messages until the last, or until none has come for the time idle,
// and then reports from where to go on.
func (b *Bus) read(ctx context.Context, stream string, filters []string, first, last uint64, idle time.Duration, yield func(Record, error) bool) (next uint64, more bool) {
	next = first
	if first > last {
		return next, false
	}
	fail := func(err error) (uint64, bool) {
		yield(Record{}, classify(fmt.Sprintf("read %s from %d", stream, next), err))
		return next, false
	}
	cons, err := b.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first,
		InactiveThreshold: time.Minute, MaxResetAttempts: 3,
	})
	if err != nil {
		return fail(err)
	}
	defer b.dropReader(stream, cons)
	endless := last == ^uint64(0)
	if info := cons.CachedInfo(); !endless && info != nil && info.NumPending == 0 {
		return next, false
	}
	// A message must fit into one pull, so the limit is above the largest.
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(512, pullBytes),
		jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second))
	if err != nil {
		return fail(err)
	}
	defer it.Stop()
	wait := patience{ctx: ctx, idle: idle}
	defer wait.stop()
	for {
		m, err := it.Next(jetstream.NextContext(wait.next()))
		if err != nil && wait.over() {
			if !b.nc.IsConnected() {
				continue // the library begins again when it is back
			}
			return next, true
		}
		if err != nil {
			return fail(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fail(err)
		}
		seq := meta.Sequence.Stream
		if seq > last {
			return next, false
		}
		r := Record{Subject: m.Subject(), Header: m.Headers(), Data: m.Data(), Stream: stream, Seq: seq, Time: meta.Timestamp}
		next = seq + 1
		if !yield(r, nil) || seq == last || !endless && meta.NumPending == 0 {
			return next, false
		}
	}
}

// patience bounds the time for which a read waits: one context for many messages,
// renewed when half of it has passed.
type patience struct {
	ctx    context.Context
	idle   time.Duration
	wait   context.Context
	cancel context.CancelFunc
	renew  time.Time
}

func (p *patience) next() context.Context {
	if now := time.Now(); now.After(p.renew) {
		p.stop()
		p.wait, p.cancel = context.WithTimeout(p.ctx, p.idle)
		p.renew = now.Add(p.idle / 2)
	}
	return p.wait
}

// over says that the time is up, and not that the read was cancelled.
func (p *patience) over() bool { return p.wait.Err() != nil && p.ctx.Err() == nil }

func (p *patience) stop() {
	if p.cancel != nil {
		p.cancel()
	}
}

// dropReader deletes the consumer of a read that has ended. The server would do so
// after a minute, but many short reads need more consumers than a stream may have.
func (b *Bus) dropReader(stream string, cons jetstream.Consumer) {
	info := cons.CachedInfo()
	if info == nil || !b.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := b.js.DeleteConsumer(ctx, stream, info.Name); err != nil {
		b.log.Debug("the consumer of a read stays for a minute", "stream", stream, "error", err)
	}
}

// Get returns the message with the sequence; ErrNotFound when it is gone.
func (b *Bus) Get(ctx context.Context, stream string, seq uint64) (Record, error) {
	st, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Record{}, classify("get from "+stream, err)
	}
	m, err := st.GetMsg(ctx, seq)
	if err != nil {
		return Record{}, classify(fmt.Sprintf("get %s %d", stream, seq), err)
	}
	return Record{Subject: m.Subject, Header: m.Header, Data: m.Data, Stream: stream, Seq: m.Sequence, Time: m.Time}, nil
}

// Last returns the newest message of a subject of the stream; ErrNotFound when
// there is none.
func (b *Bus) Last(ctx context.Context, stream, subject string) (Record, error) {
	st, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Record{}, classify("get from "+stream, err)
	}
	m, err := st.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return Record{}, classify("get last of "+subject, err)
	}
	return Record{Subject: m.Subject, Header: m.Header, Data: m.Data, Stream: stream, Seq: m.Sequence, Time: m.Time}, nil
}
