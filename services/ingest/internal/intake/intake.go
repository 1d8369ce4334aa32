// Package intake is what receivers see of the rest of ingest: they cut what
// arrives into records, name source and envelope, and submit a Batch. What is
// acknowledged to a sender is on disk, because Submit returns only then.
package intake

import (
	"context"
	"errors"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// Auto is the source of records whose source normalize finds from what is in
// them.
const Auto = "auto"

// The envelopes: what a receiver got around a record. The record is stored as
// received, envelope and all; normalize takes it off.
const (
	Bare        = ""            // the record itself
	Syslog      = "syslog"      // a message of RFC 5424 or RFC 3164
	HEC         = "hec"         // {"time":…, "host":…, "sourcetype":…, "event":…}
	Bulk        = "bulk"        // a document of Elasticsearch's _bulk
	OTLPLog     = "otlp.log"    // {"resourceLogs":[…]} with one log record
	OTLPSpan    = "otlp.span"   // {"resourceSpans":[…]} with one span
	OTLPMetric  = "otlp.metric" // {"resourceMetrics":[…]} with one metric
	CloudEvents = "cloudevents" // a CloudEvent in its JSON format
	CRI         = "cri"         // a line of a Kubernetes container log
	Docker      = "docker"      // a line of Docker's json-file log
	Webhook     = "webhook"     // {"headers":{…}, "body":…}
)

// ErrBusy says that the batch may be stored in part: the sender should repeat
// it with the same Key after a moment. Errors of Submit that are not ErrBusy
// are permanent for the batch.
var ErrBusy = errors.New("the hub cannot take more at the moment")

// Batch is what one request, connection read or file chunk holds. Records and
// dead letters are spans of Body, which Submit neither keeps nor changes.
type Batch struct {
	Source   string // a known source, or Auto
	Envelope string // one of the envelopes; the same for all records
	Auth     string // name of the credential; of the receiver if it has none
	Remote   string // address of the sender
	// Key makes a repeated batch count once: the same key, body and source
	// give the same message ids. Empty means random. At most 128 printable
	// ASCII characters.
	Key    string
	Body   []byte
	Frames frame.Frames
}

// Receipt says what became of a batch.
type Receipt struct {
	Accepted  int
	Dead      int
	Key       string
	Duplicate bool // all of it was stored before
}

// Hub is what a receiver may ask of ingest.
type Hub interface {
	// Submit returns after every record is on disk in the bus. It waits at most
	// Options.AckTimeout, also when ctx has ended, because what was sent is
	// better stored whole.
	Submit(ctx context.Context, b *Batch) (Receipt, error)
	// Identify finds the credential of a secret.
	Identify(secret string) (auth.Identity, bool)
	// Known reports whether there is such a source (Auto is one), and whether
	// its records are lines of text.
	Known(source string) (lines, known bool)
	// Reserve charges n bytes to the memory that all senders share, waiting a
	// little; ErrBusy if there is none. release must be called once.
	Reserve(ctx context.Context, n int64) (release func(), err error)
	// Limits of records, for framing.
	Limits() frame.Limits
}

// Framer is what a receiver of streams of text may ask besides: the Hub that
// ingest gives is one too.
type Framer interface {
	// Framing tells how the records of a source are told apart; see
	// frame.NewAssembler. Of a source that is not known, the zero value.
	Framing(source string) frame.Framing
}
