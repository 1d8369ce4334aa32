// Package writer moves one stream into ClickHouse so that every row is there
// once, whatever is killed when.
//
// The order of things, for each batch: the plan (first and last sequence) goes
// to the checkpoint; the rows of exactly these messages are inserted under
// tokens made of the plan; the plan is marked done and the floor moves. After
// a crash the last plan is redone from the stream with the same tokens, which
// ClickHouse recognises. One writer a stream, at any time.
package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// FloorName is the store's name among the readers of a stream.
const FloorName = "store"

// Database is what a writer needs of ClickHouse.
type Database interface {
	Exec(ctx context.Context, sql string, args ...any) error
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
	InsertNative(ctx context.Context, in clickhouse.Insert, r io.Reader) error
}

// Options configures a Writer; all but Hook is required.
type Options struct {
	Bus    *bus.Bus
	DB     Database
	Stream string
	// MaxRows and MaxBytes end a batch (rows of one table, bytes of all).
	MaxRows, MaxBytes int
	// Linger is how long a batch waits for more when there is little to do,
	// MaxWait when there is much: more than Busy rows within Linger.
	Linger, MaxWait time.Duration
	Busy            int
	// Parallel is the number of tables inserted into at once.
	Parallel int
	// Settings go with every insert.
	Settings map[string]any
	// Grace bounds the last batch when Run stops.
	Grace   time.Duration
	Metrics *Metrics
	Logger  *slog.Logger
	// Hook is called at named points (tests); an error ends Run as a crash would.
	Hook func(point string) error
}

// Metrics are shared by all writers.
type Metrics struct {
	Rows, Retries, Dead, Repairs, Missed telemetry.Counter
	Insert                               telemetry.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(r *telemetry.Registry) *Metrics {
	return &Metrics{
		Rows:    r.Counter("vagus_store_rows_total", "Rows inserted, by table.", "table"),
		Retries: r.Counter("vagus_store_retries_total", "Inserts that had to be tried again, by table.", "table"),
		Dead:    r.Counter("vagus_store_dead_total", "Messages that ClickHouse could not read, by reason.", "reason"),
		Repairs: r.Counter("vagus_store_repaired_rows_total", "Rows added after a crash of ClickHouse lost them, by table.", "table"),
		Missed:  r.Counter("vagus_store_missed_messages_total", "Messages that expired before they were stored, by stream.", "stream"),
		Insert:  r.Histogram("vagus_store_insert_seconds", "Time of an insert, by table.", "table"),
	}
}

// Writer moves one stream.
type Writer struct {
	o     Options
	log   *slog.Logger
	epoch int64
	kv    *bus.Bucket[checkpoint]
}

// checkpoint is a writer's position. A plan is open while Last > Done.
type checkpoint struct {
	// Epoch is when the stream was made: sequences of another stream of the
	// same name mean nothing.
	Epoch int64  `json:"epoch"`
	Done  uint64 `json:"done"` // everything up to here is in ClickHouse
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// New makes a Writer.
func New(o Options) *Writer {
	if o.Hook == nil {
		o.Hook = func(string) error { return nil }
	}
	return &Writer{o: o, log: o.Logger.With("stream", o.Stream)}
}

// ErrHook wraps what Options.Hook returned.
var ErrHook = errors.New("stopped by hook")

// Run moves messages until ctx ends, then what it has taken, and returns nil.
// While the bus or ClickHouse is away it waits.
func (w *Writer) Run(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; {
		began := time.Now()
		err := w.session(ctx)
		if errors.Is(err, ErrHook) || errors.Is(err, bus.ErrClosed) && ctx.Err() == nil {
			return fmt.Errorf("store %s: %w", w.o.Stream, err)
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > 10*time.Second {
			wait = 100 * time.Millisecond
		}
		w.log.Warn("store starts over", "error", err, "after", wait)
		if !sleep(ctx, wait) {
			return nil
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (w *Writer) key() string { return bus.Key("store", w.o.Stream) }

// position reads where the writer is, and where its stream begins.
func (w *Writer) position(ctx context.Context) (cp checkpoint, state jetstream.StreamState, err error) {
	st, err := w.o.Bus.JetStream().Stream(ctx, w.o.Stream)
	if err != nil {
		return cp, state, fmt.Errorf("stream %s: %w", w.o.Stream, err)
	}
	info := st.CachedInfo()
	w.epoch = info.Created.UnixMilli()
	if w.kv, err = bus.OpenBucket[checkpoint](ctx, w.o.Bus, subjects.BucketCheckpoints); err != nil {
		return cp, state, err
	}
	e, err := w.kv.Get(ctx, w.key())
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return cp, state, err
	}
	if cp = e.Value; cp.Epoch != w.epoch {
		cp = checkpoint{Epoch: w.epoch}
	}
	return cp, info.State, nil
}

// Announce makes the writer known as a reader of its stream, so that nothing
// is trimmed before it is stored. Call it before anything that may wait for
// ClickHouse.
func (w *Writer) Announce(ctx context.Context) error {
	cp, _, err := w.position(ctx)
	if err != nil {
		return err
	}
	return w.o.Bus.SetFloor(ctx, w.o.Stream, FloorName, cp.Done)
}

// open reads the position and redoes an open plan.
func (w *Writer) open(ctx context.Context) (next uint64, err error) {
	cp, state, err := w.position(ctx)
	if err != nil {
		return 0, err
	}
	if cp.Last > cp.Done {
		if err := w.redo(ctx, cp); err != nil {
			return 0, err
		}
		cp.Done = cp.Last
	}
	if first := state.FirstSeq; first > cp.Done+1 && state.LastSeq > cp.Done {
		w.o.Metrics.Missed.Add(float64(first-cp.Done-1), w.o.Stream)
		w.log.Error("messages expired before they were stored", "from", cp.Done+1, "to", first-1, "hint", "give the stream more time or space")
	}
	return cp.Done + 1, nil
}

func (w *Writer) redo(ctx context.Context, cp checkpoint) error {
	w.log.Info("redo the last plan", "first", cp.First, "last", cp.Last)
	b := newBatch()
	for r, err := range w.o.Bus.ReadFrom(ctx, w.o.Stream, nil, cp.First, cp.Last) {
		if err != nil {
			return err
		}
		b.add(w.o.Stream, r)
	}
	if b.messages == 0 || b.first != cp.First || b.last != cp.Last {
		w.log.Error("messages of the last plan expired", "first", cp.First, "last", cp.Last, "found", b.messages)
		b.first, b.last = cp.First, cp.Last
	}
	if err := w.insert(ctx, b, true); err != nil {
		return err
	}
	return w.finish(ctx, b)
}

func newBatch() *batch { return &batch{parts: map[string]*part{}} }

// session follows the stream until something breaks or ctx ends.
func (w *Writer) session(ctx context.Context) error {
	next, err := w.open(ctx)
	if err != nil {
		return err
	}
	fctx, stop := context.WithCancel(ctx)
	defer stop()
	in := make(chan bus.Record)
	failed := make(chan error, 1)
	go func() {
		defer close(in)
		for r, err := range w.o.Bus.Follow(fctx, w.o.Stream, nil, next) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case in <- r:
			case <-fctx.Done():
				return
			}
		}
	}()
	defer func() { // the follower ends before the next session begins
		stop()
		for range in {
		}
	}()
	return w.collect(ctx, in, failed)
}

// collect gathers one batch while the last one is being inserted.
func (w *Writer) collect(ctx context.Context, in <-chan bus.Record, failed <-chan error) error {
	// The work outlives ctx by Grace, so that what was taken is stored.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	cur := newBatch()
	var busy chan error // the insert at work, nil when there is none
	var due, waited bool
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	flush := func() {
		b := cur
		cur, due, waited = newBatch(), false, false
		busy = make(chan error, 1)
		done := busy
		go func() { done <- w.flush(work, b) }()
	}
	for {
		full := cur.largest() >= w.o.MaxRows || cur.bytes >= w.o.MaxBytes
		if busy == nil && cur.messages > 0 && (full || due) {
			flush()
			full = false
		}
		source := in
		if full {
			source = nil
		}
		select {
		case r, ok := <-source:
			if !ok {
				in = nil
				continue
			}
			if cur.messages == 0 {
				timer.Reset(w.o.Linger)
			}
			cur.add(w.o.Stream, r)
		case <-timer.C:
			if !waited && cur.rows > w.o.Busy && w.o.MaxWait > w.o.Linger {
				waited = true
				timer.Reset(w.o.MaxWait - w.o.Linger)
				continue
			}
			due = true
		case err := <-busy:
			if busy = nil; err != nil {
				return err
			}
		case err := <-failed:
			return settle(busy, err)
		case <-ctx.Done():
			time.AfterFunc(w.o.Grace, cancel)
			if err := settle(busy, nil); err != nil || cur.messages == 0 {
				return err
			}
			return w.flush(work, cur)
		}
	}
}

// settle waits for the insert at work.
func settle(busy chan error, err error) error {
	if busy != nil {
		err = errors.Join(err, <-busy)
	}
	return err
}

func (w *Writer) hook(point string) error {
	if err := w.o.Hook(w.o.Stream + ":" + point); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrHook, point, err)
	}
	return nil
}

// flush carries a batch out.
func (w *Writer) flush(ctx context.Context, b *batch) error {
	if err := w.hook("before_plan"); err != nil {
		return err
	}
	if _, err := w.kv.Put(ctx, w.key(), checkpoint{w.epoch, b.first - 1, b.first, b.last}); err != nil {
		return err
	}
	if err := w.hook("after_plan"); err != nil {
		return err
	}
	if err := w.insert(ctx, b, false); err != nil {
		return err
	}
	return w.finish(ctx, b)
}

// finish marks the plan done and moves the floor.
func (w *Writer) finish(ctx context.Context, b *batch) error {
	if err := w.hook("after_insert"); err != nil {
		return err
	}
	if _, err := w.kv.Put(ctx, w.key(), checkpoint{w.epoch, b.last, b.first, b.last}); err != nil {
		return err
	}
	if err := w.hook("before_ack"); err != nil {
		return err
	}
	return w.o.Bus.SetFloor(ctx, w.o.Stream, FloorName, b.last)
}

// token names the rows of a plan in a table for ever.
func (w *Writer) token(b *batch, table string) string {
	return w.o.Stream + "/" + strconv.FormatInt(w.epoch, 36) + "/" + strconv.FormatUint(b.first, 10) + "-" + strconv.FormatUint(b.last, 10) + "/" + table
}
