package bus

import (
	"context"
	"errors"
	"time"
)

// Handler processes one message. It may run in several goroutines at once
// (Consumer.Workers). It must return soon after ctx ends. A panic becomes
// Permanent("panic", …) with the stack in the error.
type Handler func(ctx context.Context, d *Delivery) Verdict

// Consumer says what to consume and how. Stream and Durable are required.
type Consumer struct {
	// Stream to read.
	Stream string
	// Durable names the position in the stream; processes that share it share
	// the work.
	Durable string
	// Filters are subjects, with wildcards; none means all.
	Filters []string
	// NewOnly starts a durable that does not exist yet at the stream's end.
	NewOnly bool
	// Ordered calls the handler in stream order, one call at a time, with
	// several inputs awaiting acks. A Retry is repeated in place, so later
	// messages wait. After a restart or lost delivery it goes back to the
	// oldest unacknowledged message, so handlers see repeats, but never a gap.
	// Outputs that had to be tried again may be stored out of order.
	Ordered bool
	// Exclusive says no other process uses this durable now, so messages that
	// a dead predecessor left unacknowledged come again at once rather than
	// after AckWait. Ordered implies it.
	Exclusive bool
	// Workers is the number of concurrent handler calls; default 1.
	Workers int
	// MaxInFlight bounds messages that are delivered and not settled; default 256.
	MaxInFlight int
	// MaxBytesInFlight bounds their payload bytes; default 32 MiB. Up to 16 MiB
	// more wait in the client's buffer. One message is always let through.
	MaxBytesInFlight int
	// AckWait is how long the server waits before it thinks this process dead;
	// the bus extends it while a handler works. Default 30 s.
	AckWait time.Duration
	// MaxDeliver turns a Retry into a dead letter (reason "max_deliver") at
	// that many attempts, and also ends messages that crashed the process that
	// often. 0 means never: right for failures of the surroundings.
	MaxDeliver int
	// Stage names this stage in dead letters; default Durable.
	Stage string
	// DeadLetter builds the payload of a dead letter; subject, id and headers
	// are filled in when empty. Default: the payload as it was.
	DeadLetter func(d *Delivery, reason string, err error) (Msg, error)
	// Grace is how long handlers and outputs may take to end after ctx ended;
	// default 10 s. Then their inputs are left to be delivered again.
	Grace time.Duration
}

func (c *Consumer) defaults() error {
	if c.Stream == "" || c.Durable == "" {
		return errors.New("consume: no stream or no durable name given")
	}
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&c.Workers, 1)
	set(&c.MaxInFlight, 256)
	set(&c.MaxBytesInFlight, 32<<20)
	if c.Ordered {
		c.Workers, c.Exclusive = 1, true
	}
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Second
	}
	if c.Stage == "" {
		c.Stage = c.Durable
	}
	return nil
}
