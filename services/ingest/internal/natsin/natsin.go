// Package natsin receives from producers that publish to the bus themselves:
// plain records on in.<source>, as an HTTP body would hold them. They lie in a
// stream of their own, INBOX, on disk before the producer gets its PubAck, and
// leave it when they are framed and stored as RAW blocks.
package natsin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Reasons of dead letters besides those of framing.
const (
	ReasonSource = "unknown_source"
	ReasonBatch  = "malformed_batch"
)

// Config of the receiver. The zero value receives nothing.
type Config struct {
	// Enabled makes the stream and reads it.
	Enabled bool `yaml:"enabled"`
	// MaxBytes bounds what waits to be framed; a full stream refuses, which
	// producers see in their PubAck. Default 256 MiB, or what there is.
	MaxBytes int64 `yaml:"max_bytes"`
}

// Check reports what is wrong.
func (c *Config) Check() error {
	if c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < 1<<20 {
		return fmt.Errorf("max_bytes is %d, at least 1 MiB", c.MaxBytes)
	}
	return nil
}

// Bus is what the receiver needs of the bus.
type Bus interface {
	JetStream() jetstream.JetStream
	Consume(ctx context.Context, c bus.Consumer, h bus.Handler) error
}

// Hub is what the receiver asks of ingest.
type Hub interface {
	intake.Hub
	intake.Framer
}

// Receiver reads INBOX.
type Receiver struct {
	cfg   Config
	hub   Hub
	bus   Bus
	log   *slog.Logger
	epoch string // of the stream
}

// New checks the configuration; nothing happens before Run.
func New(cfg Config, hub Hub, b Bus, log *slog.Logger) (*Receiver, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	return &Receiver{cfg: cfg, hub: hub, bus: b, log: log}, nil
}

// Run makes the stream and receives until ctx ends.
func (r *Receiver) Run(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.ensure(ctx)
		if err == nil {
			break
		}
		r.log.Warn("the stream for producers is not there yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
	return r.bus.Consume(ctx, bus.Consumer{Stream: subjects.StreamInbox, Durable: "ingest", Exclusive: true, Workers: 4, MaxInFlight: 64}, r.handle)
}

func (r *Receiver) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for size := r.cfg.MaxBytes; ; size /= 2 {
		st, err := r.bus.JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: subjects.StreamInbox, Description: "records of producers, to be framed", Subjects: []string{subjects.InboxAll},
			Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxBytes: size,
			// The server looks at the message id alone, so that one producer's could
			// hide another's message: the shortest window there is. RAW knows
			// batches by source, id and content.
			Duplicates: 100 * time.Millisecond,
		})
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == 10047 && size > 16<<20 {
			continue // less space than that is left
		}
		if err != nil {
			return err
		}
		r.epoch = strconv.FormatInt(st.CachedInfo().Created.UnixNano(), 36)
		return nil
	}
}

// handle frames one message. What cannot be framed is a dead letter; a hub that
// is busy has it again.
func (r *Receiver) handle(ctx context.Context, d *bus.Delivery) bus.Verdict {
	b := intake.Batch{Source: strings.TrimPrefix(d.Subject, subjects.Inbox("")), Auth: "nats", Key: r.key(d), Body: d.Data}
	if len(b.Body) == 0 {
		return bus.Done()
	}
	release, err := r.hub.Reserve(ctx, int64(2*len(b.Body)))
	if err != nil {
		return bus.Retry(err)
	}
	defer release()
	whole := func(reason string, err error) {
		b.Body = d.Data
		b.Frames = frame.Frames{Bad: []frame.Bad{{Span: frame.Span{End: uint32(len(d.Data))}, Reason: reason, Error: err.Error()}}}
	}
	if _, known := r.hub.Known(b.Source); !known {
		whole(ReasonSource, fmt.Errorf("unknown source %.128q", b.Source))
	} else if err := r.frame(&b); err != nil {
		whole(ReasonBatch, err)
	}
	if _, err := r.hub.Submit(ctx, &b); err != nil {
		return bus.Retry(err)
	}
	return bus.Done()
}

// frame cuts the body; it may become a longer copy.
func (r *Receiver) frame(b *intake.Batch) (err error) {
	if b.Source == intake.Auto {
		return frame.Any(b.Body, r.hub.Limits(), &b.Frames)
	}
	framing := r.hub.Framing(b.Source)
	body := b.Body
	if framing.Header != "" { // repeats the header behind the body
		body = append(make([]byte, 0, len(body)/4*9+1024), body...)
	}
	b.Body, err = framing.Frame(body, r.hub.Limits(), &b.Frames)
	return err
}

// key is the producer's id, or the message's place: the same for a message that
// is delivered again.
func (r *Receiver) key(d *bus.Delivery) string {
	id := d.Header.Get(subjects.HeaderMsgID)
	ok := id != "" && len(id) <= 128
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] > ' ' && id[i] < 0x7f
	}
	if ok {
		return id
	}
	return "inbox-" + r.epoch + "-" + strconv.FormatUint(d.Seq, 10)
}
