package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/bulk"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/hec"
	"github.com/vagus-hub/vagus/services/ingest/internal/otlp"
	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Framing says how the records of a source are told apart. The zero value takes
// JSON: one value a line, arrays, values over several lines.
type Framing = frame.Framing

// TextFraming makes the Framing of lines of text; if one of the three is given,
// of records of several lines: start matches the first line of a record, group
// captures what the lines of a record share, header begins lines that explain
// those after them.
func TextFraming(start, group, header string) (Framing, error) {
	return frame.Compile(start, group, header)
}

// Bus is what ingest needs of the bus.
type Bus interface {
	PublishAsync(ctx context.Context, m bus.Msg, done func(bus.Ack, error)) error
	Ready(ctx context.Context) error
}

// Token is one sender's credential: a name, the SHA-256 hash of the secret as
// 64 hex digits, and the sources it may write to (ids, "vendor.*" or "*").
type Token = auth.Token

// Client says which sources the holder of a client certificate may write to.
type Client = auth.Client

// TLS is where certificates are; see its fields.
type TLS = reload.TLS

// HEC configures the Splunk HTTP Event Collector; see its fields.
type HEC = hec.Config

// Bulk configures Elasticsearch's _bulk; see its fields.
type Bulk = bulk.Config

// OTLP configures OpenTelemetry's receiver; see its fields. The zero value
// receives on the one HTTP port only.
type OTLP = otlp.Config

// HashToken gives what Token.SHA256 holds.
func HashToken(secret string) string { return auth.Hash(secret) }

// Options configures the service. Bus, Framing and Tokens are required.
type Options struct {
	// Addr to listen on; "127.0.0.1:0" takes a free port, see Service.Addr.
	Addr string
	// TLS makes it HTTPS, with client certificates if so configured. Without it
	// only a loopback address is listened on, unless Insecure says that others
	// take care of encryption.
	TLS      TLS
	Insecure bool
	// Clients are what holders of client certificates may write.
	Clients []Client
	// Bus takes the blocks.
	Bus Bus
	// Framing tells how a source's records are framed, and whether the source
	// is known at all.
	Framing func(source string) (f Framing, known bool)
	// Sources lists the known sources, for hints; may be nil.
	Sources func() []string
	// Tokens of the senders. TokensFile, if given, holds more of them and is
	// read again when it changes; see LoadTokens.
	Tokens     []Token
	TokensFile string
	// Hooks are the signed webhooks, by name.
	Hooks map[string]Hook
	// HEC is for what ships to Splunk, Bulk for what ships to Elasticsearch.
	HEC  HEC
	Bulk Bulk
	// OTLP is for OpenTelemetry's logs, traces and metrics.
	OTLP OTLP
	// Syslog lists listeners, Tail files to follow, Pull what is fetched. Dir,
	// needed with Tail and Pull, keeps their positions.
	Syslog []Syslog
	Tail   []Tail
	Pull   []Pull
	Dir    string

	// NATS is for producers that publish to the bus themselves.
	NATS NATS

	// MaxWire and MaxBody bound a request in bytes, as sent and unpacked;
	// MaxRatio bounds unpacked to sent (looked at beyond 4 MiB).
	MaxWire, MaxBody, MaxRatio int64
	// MaxRecord bounds a record in bytes: a longer one becomes a dead letter
	// with its first 64 KiB. MaxRecords bounds the records of a request.
	MaxRecord, MaxRecords int
	// MaxInFlight bounds the memory of all requests at work, in bytes.
	MaxInFlight int64
	// BlockBytes is the size at which a block is published.
	BlockBytes int

	// HeaderTimeout and ReadTimeout bound how long a request may take to
	// arrive, IdleTimeout the silence within a body.
	HeaderTimeout, ReadTimeout, IdleTimeout time.Duration
	// QueueTimeout bounds the wait for memory before 429; AckTimeout the wait
	// for the bus before 503.
	QueueTimeout, AckTimeout time.Duration
	// ReloadEvery is how often the files of tokens and certificates are looked at.
	ReloadEvery time.Duration
	// Grace is how long requests at work may take to end when Run stops.
	Grace time.Duration

	// Metrics may be nil, Logger too.
	Metrics *telemetry.Registry
	Logger  *slog.Logger
}

// DefaultOptions returns limits that suit one node.
func DefaultOptions() Options {
	return Options{
		Addr: "127.0.0.1:4318", MaxWire: 64 << 20, MaxBody: 64 << 20, MaxRatio: 200,
		MaxRecord: 1 << 20, MaxRecords: 1_000_000, MaxInFlight: 192 << 20, BlockBytes: 900 << 10,
		HeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 15 * time.Second,
		QueueTimeout: 2 * time.Second, AckTimeout: 20 * time.Second, Grace: 15 * time.Second,
		ReloadEvery: 2 * time.Second,
	}
}

func (o *Options) check() error {
	if o.Bus == nil || o.Framing == nil {
		return errors.New("ingest options: Bus and Framing are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = telemetry.NewRegistry()
	}
	if o.Sources == nil {
		o.Sources = func() []string { return nil }
	}
	for name, v := range map[string]int64{
		"MaxWire": o.MaxWire, "MaxBody": o.MaxBody, "MaxRatio": o.MaxRatio, "MaxRecord": int64(o.MaxRecord),
		"MaxRecords": int64(o.MaxRecords), "BlockBytes": int64(o.BlockBytes),
	} {
		if v <= 0 {
			return fmt.Errorf("ingest options: %s is %d, must be positive (start from DefaultOptions)", name, v)
		}
	}
	if o.MaxBody > 1<<31 {
		return fmt.Errorf("ingest options: MaxBody is %d, at most 2 GiB", o.MaxBody)
	}
	if o.ReloadEvery <= 0 {
		return fmt.Errorf("ingest options: ReloadEvery is %s, must be positive", o.ReloadEvery)
	}
	if o.MaxInFlight < 4<<20 {
		return fmt.Errorf("ingest options: MaxInFlight is %d, at least 4 MiB", o.MaxInFlight)
	}
	return nil
}
