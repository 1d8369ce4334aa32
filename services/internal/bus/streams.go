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
	for err := b.ensureAll(ctx, l); err != nil; err = b.ensureAll(ctx, l) {
		if !errors.Is(err, errTooBig) || l.Total < 128<<20 {
			return err
		}
		// A remote server does not say what it has left.
		b.log.Warn("bus gets less space than asked for", "bytes", l.Total/2, "error", err)
		l.Total /= 2
	}
	return nil
}

// errTooBig says the server reserves less than the streams ask for.
var errTooBig = errors.New("more than the server has")

// ensureAll goes on after errTooBig: streams that exist get smaller and leave
// room for the others, next time.
func (b *Bus) ensureAll(ctx context.Context, l Limits) (tooBig error) {
	var steps []func() error
	for _, s := range specs() {
		if len(l.Only) == 0 || slices.Contains(l.Only, s.name) {
			steps = append(steps, func() error { return b.ensureStream(ctx, s, l) })
		}
	}
	for _, name := range buckets() {
		if len(l.Only) == 0 || name == subjects.BucketCheckpoints {
			steps = append(steps, func() error { return b.ensureBucket(ctx, name, l) })
		}
	}
	if len(l.Only) == 0 {
		steps = append(steps, func() error { return b.ensureState(ctx, l) })
	}
	for _, step := range steps {
		if err := step(); errors.Is(err, errTooBig) {
			tooBig = err
		} else if err != nil {
			return err
		}
	}
	return tooBig
}

func (b *Bus) ensureBucket(ctx context.Context, name string, l Limits) error {
	size := max(l.Total/200, 4<<20)
	_, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: l.Replicas, MaxBytes: size,
	})
	return classifySize("bucket "+name, size, err)
}

func (b *Bus) ensureState(ctx context.Context, l Limits) error {
	size := max(l.Total/50, 16<<20)
	_, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: subjects.StoreState, Storage: jetstream.FileStorage, Replicas: l.Replicas, MaxBytes: size,
	})
	return classifySize("object store "+subjects.StoreState, size, err)
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
	return classifySize("stream "+s.name, own.MaxBytes, err)
}

// classifySize is classify for the creation of something with a size in bytes.
func classifySize(what string, size int64, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeStorageExceeded {
		return fmt.Errorf("create %s of %d bytes: %w: %w: %w (lower the bus size or raise its store limit)",
			what, size, ErrRefused, errTooBig, err)
	}
	return classify("create "+what, err)
}
