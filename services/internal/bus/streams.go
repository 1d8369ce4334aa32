package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// StreamLimits bounds one stream. Zero values take the defaults of Limits.
type StreamLimits struct {
	// MaxAge is how long messages stay, consumed or not.
	MaxAge time.Duration
	// MaxBytes is the stream's size; a full stream gives publishers ErrBusy.
	MaxBytes int64
	// DropOldest makes a full stream forget its oldest messages instead.
	DropOldest bool
}

// Limits configures EnsureStreams.
type Limits struct {
	// Total is shared out to streams without MaxBytes of their own, in bytes;
	// default 20 GiB. It shrinks to what the server may use, with a warning.
	Total int64
	// Only, if given, names the streams to make; of the buckets there are then
	// the checkpoints alone.
	Only []string
	// Streams overrides single streams, by name.
	Streams map[string]StreamLimits
	// Replicas is the number of copies in a cluster; default 1.
	Replicas int
	// Duplicates is how long message ids are remembered; default 10 minutes.
	// The server keeps about 200 bytes of memory for each id in the window.
	Duplicates time.Duration
}

// spec is what a stream gets without overrides.
type spec struct {
	name, subject, about string
	share                int64 // per cent of Total
	age                  time.Duration
}

func specs() []spec {
	const day = 24 * time.Hour
	return []spec{
		{subjects.StreamRaw, subjects.RawAll, "records as received", 42, day},
		{subjects.StreamEvents, subjects.EventsAll, "blocks of events", 36, day},
		{subjects.StreamSignals, subjects.SignalsAll, "rule matches", 5, 7 * day},
		{subjects.StreamAlerts, subjects.AlertsAll, "findings", 3, 30 * day},
		{subjects.StreamRuns, subjects.RunsAll, "playbook runs", 3, 90 * day},
		{subjects.StreamDead, subjects.DeadAll, "dead letters", 5, 14 * day},
		{subjects.StreamLedger, subjects.LedgerAll, "counts by stage", 1, 7 * day},
	}
}

// Buckets and the object store get a fixed size: they hold state, not flow.
func buckets() []string {
	return []string{
		subjects.BucketDecisions, subjects.BucketRuns, subjects.BucketApprovals,
		subjects.BucketCheckpoints, subjects.BucketLists, subjects.BucketContent, subjects.BucketSilences, subjects.BucketAssets,
	}
}

// EnsureStreams creates the streams, KV buckets and the state store, or brings
// their limits up to date. It is safe to call from several processes, and from
// each at every start.
//
// Every stream refuses messages when it is full (unless DropOldest): what is
// stored stays until MaxAge, or until Trim finds it consumed.
func (b *Bus) EnsureStreams(ctx context.Context, l Limits) error {
	if l.Total <= 0 {
		l.Total = 20 << 30
	}
	if b.server != nil {
		l.Total = min(l.Total, b.server.MaxStore()/10*8)
	}
	if l.Replicas <= 0 {
		l.Replicas = 1
	}
	if l.Duplicates <= 0 {
		l.Duplicates = 10 * time.Minute
	}
	for err := b.ensureStreams(ctx, l); err != nil; err = b.ensureStreams(ctx, l) {
		if !errors.Is(err, errTooBig) || l.Total < 128<<20 {
			return err
		}
		// A remote server does not say what it has left.
		b.log.Warn("bus gets less space than asked for", "bytes", l.Total/2, "error", err)
		l.Total /= 2
	}
	size := max(l.Total/200, 4<<20)
	for _, name := range buckets() {
		if len(l.Only) > 0 && name != subjects.BucketCheckpoints {
			continue
		}
		_, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: l.Replicas, MaxBytes: size,
		})
		if err != nil {
			return classify("create bucket "+name, err)
		}
	}
	if len(l.Only) > 0 {
		return nil
	}
	_, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: subjects.StoreState, Storage: jetstream.FileStorage, Replicas: l.Replicas, MaxBytes: max(l.Total/50, 16<<20),
	})
	if err != nil {
		return classify("create object store "+subjects.StoreState, err)
	}
	return nil
}

// errTooBig says the server reserves less than the streams ask for.
var errTooBig = errors.New("more than the server has")

func (b *Bus) ensureStreams(ctx context.Context, l Limits) error {
	for _, s := range specs() {
		if len(l.Only) > 0 && !slices.Contains(l.Only, s.name) {
			continue
		}
		if err := b.ensureStream(ctx, s, l); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) ensureStream(ctx context.Context, s spec, l Limits) error {
	own := l.Streams[s.name]
	if own.MaxAge <= 0 {
		own.MaxAge = s.age
	}
	if own.MaxBytes <= 0 {
		own.MaxBytes = l.Total / 100 * s.share
	}
	cfg := jetstream.StreamConfig{
		Name: s.name, Description: s.about, Subjects: []string{s.subject},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: l.Replicas,
		MaxAge: own.MaxAge, MaxBytes: own.MaxBytes, Discard: jetstream.DiscardNew,
		Duplicates: min(l.Duplicates, own.MaxAge), AllowDirect: true,
		// Payloads are compressed columns already, or small.
		Compression: jetstream.NoCompression,
	}
	if own.DropOldest {
		cfg.Discard = jetstream.DiscardOld
	}
	_, err := b.js.CreateOrUpdateStream(ctx, cfg)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeStorageExceeded {
		return fmt.Errorf("create stream %s of %d bytes: %w: %w: %w (lower the bus size or raise its store limit)",
			s.name, own.MaxBytes, ErrRefused, errTooBig, err)
	}
	return classify("create stream "+s.name, err)
}
