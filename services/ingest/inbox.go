package ingest

import (
	"errors"

	"github.com/vagus-hub/vagus/services/ingest/internal/natsin"
)

// NATS configures producers that publish to the bus; see its fields.
type NATS = natsin.Config

// inbox is for producers that publish to the bus themselves.
func (r *receivers) inbox() error {
	if !r.s.opts.NATS.Enabled {
		return nil
	}
	b, ok := r.s.opts.Bus.(natsin.Bus)
	if !ok {
		return errors.New("ingest options: NATS needs a bus that can be read")
	}
	in, err := natsin.New(r.s.opts.NATS, r.s, b, r.s.opts.Logger)
	if err != nil {
		return err
	}
	r.run("nats", in.Run)
	return nil
}
