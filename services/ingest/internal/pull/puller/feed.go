// Package puller fetches records from where they lie: it runs feeds on an
// interval, backs off as servers ask for, and keeps a checkpoint for each.
//
// A checkpoint is written only after the batch before it is on disk in the bus.
// A batch that cannot be fetched again as it was is written beside the
// checkpoint before it is submitted. So after a crash at any moment the same
// batch is submitted under the same key, and the bus drops it if it was stored.
package puller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Reasons of dead letters that feeds make besides those of package frame.
const (
	ReasonMalformed = "malformed_item"    // an item that is not what the API promises
	ReasonTooLarge  = "object_too_large"  // an object beyond the limit of bytes
	ReasonUnread    = "unreadable_object" // damaged compression
)

// keepOfLong is how much of a record beyond the limit is kept, in bytes.
const keepOfLong = 64 << 10

// Feed is one kind of what is pulled, made for one configuration.
type Feed interface {
	// Pull hands what is new since state to out, and returns when there is no
	// more. state is what was last given to out.Store or out.Save, nil at the
	// very first start. Pull is called by one goroutine at a time and returns
	// soon after ctx ends. After an error it is called again, with the latest
	// state, after a pause.
	Pull(ctx context.Context, state json.RawMessage, out Out) error
}

// Out takes what a feed found.
type Out interface {
	// Store submits the batch; when that is on disk in the bus it writes state,
	// from which the feed goes on. An error ends the Pull. An empty batch only
	// writes state.
	Store(ctx context.Context, b *Batch, state any) error
	// Behind tells the time of the newest that was taken, for the lag; the zero
	// time says that nothing waits.
	Behind(newest time.Time)
	// Limits of records.
	Limits() frame.Limits
}

// Batch is what is submitted at once: records of one source.
type Batch struct {
	// Key is the same whenever the same batch is made. Required.
	Key string
	// Remote says where the records came from, without secrets.
	Remote string
	// Envelope is one of package intake's, mostly intake.Bare.
	Envelope string
	// Again says that a later Pull makes exactly this batch again, so that it
	// need not be kept on disk meanwhile.
	Again bool

	body   []byte
	frames frame.Frames
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Key = ""
	b.body = b.body[:0]
	b.frames.Reset()
}

// Add appends a record. One beyond the limit becomes a dead letter.
func (b *Batch) Add(record []byte, lim frame.Limits) {
	if len(record) > lim.MaxRecord {
		b.Dead(record, frame.ReasonTooLong, fmt.Sprintf("record of %d bytes, at most %d are taken", len(record), lim.MaxRecord))
		return
	}
	b.frames.Records = append(b.frames.Records, b.append(record))
}

// Dead appends a dead letter, with at most 64 KiB of the record.
func (b *Batch) Dead(record []byte, reason, why string) {
	if len(why) > 500 {
		why = why[:500]
	}
	b.frames.Bad = append(b.frames.Bad, frame.Bad{Span: b.append(record[:min(len(record), keepOfLong)]), Reason: reason, Error: why})
}

func (b *Batch) append(record []byte) frame.Span {
	off := len(b.body)
	b.body = append(b.body, record...)
	b.body = append(b.body, '\n')
	return frame.Span{Off: uint32(off), End: uint32(off + len(record))}
}

// Len is the number of records and dead letters.
func (b *Batch) Len() int { return len(b.frames.Records) + len(b.frames.Bad) }

// Bytes is the size of the batch.
func (b *Batch) Bytes() int { return len(b.body) }

// intake is the batch as ingest takes it.
func (b *Batch) intake(source, auth, key string) *intake.Batch {
	return &intake.Batch{Source: source, Envelope: b.Envelope, Auth: auth, Remote: b.Remote, Key: key, Body: b.body, Frames: b.frames}
}

// Failure is an answer that is not what was asked for.
type Failure struct {
	Op     string        // what was tried, without secrets
	Status int           // of HTTP; 0 if there was no answer
	After  time.Duration // what the server asked to wait; 0: nothing
	Text   string        // the beginning of the answer
	Hint   string
}

// Error is one line.
func (f *Failure) Error() string {
	s := fmt.Sprintf("%s: HTTP %d", f.Op, f.Status)
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Status is the HTTP status of a Failure in err's chain; 0 if there is none.
func Status(err error) int {
	var f *Failure
	if errors.As(err, &f) {
		return f.Status
	}
	return 0
}

// class names an error for metrics and for telling whether it changed.
func class(err error) string {
	var f *Failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		switch {
		case f.Status == 429:
			return "throttled"
		case f.Status == 401 || f.Status == 403:
			return "denied"
		case f.Status >= 500:
			return "server"
		}
		return "refused"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, intake.ErrBusy), errors.Is(err, errStopped):
		return "busy"
	case errors.Is(err, errDisk):
		return "disk"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	}
	return "network"
}

// ErrMalformed says that an answer as a whole is not what the API promises.
var ErrMalformed = errors.New("malformed answer")
