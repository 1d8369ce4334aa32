package writer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/ledger"
)

// badData says that ClickHouse read the rows and found them wrong: trying
// again is of no use.
type badData struct{ err error }

func (e *badData) Error() string { return e.err.Error() }
func (e *badData) Unwrap() error { return e.err }

// stateCodes are ClickHouse's errors about its own state or the operator's
// work (no such table, no rights, unknown setting): waiting may help, and no
// message is to blame. Any other code that is not retryable is held against
// the data, because errors of reading come with a hundred codes.
var stateCodes = map[int]bool{
	48: true, 60: true, 62: true, 81: true, 115: true, 164: true, 192: true, 193: true, 194: true, 195: true, 218: true, 219: true,
	290: true, 344: true, 392: true, 473: true, 497: true, 516: true,
}

// insert writes all of a batch: tables side by side, the dead letters, and the
// ledger last, because a dead letter changes it.
func (w *Writer) insert(ctx context.Context, b *batch, redo bool) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // of the ledger's rows and of first
		first error
		slots = make(chan struct{}, max(w.o.Parallel, 1))
	)
	for _, p := range b.sorted() {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := w.insertPart(ctx, b, p, redo, &mu); err != nil {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if first != nil {
		return first
	}
	for _, x := range b.broken {
		if err := w.bury(ctx, x); err != nil {
			return err
		}
	}
	if err := w.hook("before_ledger"); err != nil {
		return err
	}
	p, err := b.ledgerPart()
	if err != nil || p == nil {
		return err
	}
	return w.send(ctx, p.table, w.token(b, p.table), p.items, redo)
}

// insertPart writes one table's rows; messages that ClickHouse cannot read go
// to the dead letters and the rest goes on.
func (w *Writer) insertPart(ctx context.Context, b *batch, p *part, redo bool, mu *sync.Mutex) error {
	token := w.token(b, p.table)
	err := w.send(ctx, p.table, token, p.items, redo)
	var bad *badData
	if !errors.As(err, &bad) {
		return err
	}
	w.log.Warn("insert with bad data, looking for the message", "table", p.table, "messages", len(p.items), "error", err)
	drop := func(it item, err error) error {
		mu.Lock()
		b.died(it)
		mu.Unlock()
		return w.bury(ctx, broken{it.seq, it.source, it.payload, "corrupt_block", err})
	}
	var good []item
	for _, it := range p.items {
		if err := check(it); err != nil {
			if err := drop(it, err); err != nil {
				return err
			}
			continue
		}
		good = append(good, it)
	}
	if len(good) == 0 {
		return nil
	}
	// Nothing of the first attempt was stored, so its token is free for the
	// sound messages, which are the same ones in every repetition.
	return w.bisect(ctx, p.table, token, good, redo || len(good) == len(p.items), drop)
}

// check reads a block as strictly as detect does.
func check(it item) error {
	h, _, err := block.Split(it.payload)
	if err != nil {
		return nil // no block: alerts and transitions are encoded here
	}
	if h.Kind == block.KindEvents {
		return block.Decode(it.payload, &block.Block{})
	}
	return block.DecodeRaw(it.payload, &block.Raw{})
}

// bisect inserts halves until the bad messages are found. Tokens depend on the
// messages alone, so a repetition finds them in place.
func (w *Writer) bisect(ctx context.Context, table, token string, items []item, redo bool, drop func(item, error) error) error {
	err := w.send(ctx, table, token, items, redo)
	var bad *badData
	if !errors.As(err, &bad) {
		return err
	}
	if len(items) == 1 {
		// Does the table take inserts at all? If not, the message is not to blame.
		if perr := w.o.DB.Exec(ctx, "INSERT INTO "+table+" SELECT * FROM "+table+" LIMIT 0"); perr != nil {
			return perr
		}
		return drop(items[0], err)
	}
	for _, half := range [][]item{items[:len(items)/2], items[len(items)/2:]} {
		t := token + "/" + strconv.FormatUint(half[0].seq, 10) + "-" + strconv.FormatUint(half[len(half)-1].seq, 10)
		if err := w.bisect(ctx, table, t, half, redo, drop); err != nil {
			return err
		}
	}
	return nil
}

// died corrects the account of a message whose rows are not stored.
func (b *batch) died(it item) {
	for i := range b.ledger {
		if r := &b.ledger[i]; r.Stage == ledger.Store && r.Seq == it.seq {
			r.Dead, r.Out = r.Out, 0
		}
	}
}

// send inserts items under a token, again and again while ClickHouse is away.
// It returns badData when the rows are wrong. If an attempt ended without an
// answer, or the plan is being redone, it makes sure that the rows are there.
func (w *Writer) send(ctx context.Context, table, token string, items []item, unsure bool) error {
	settings := map[string]any{
		// One block, one part for each day: whole or not at all.
		"min_insert_block_size_rows": 1 << 20, "min_insert_block_size_bytes": 512 << 20, "max_insert_threads": 1,
	}
	maps.Copy(settings, w.o.Settings)
	rows := 0
	for _, it := range items {
		rows += it.rows
	}
	for attempt := 0; ; attempt++ {
		if err := w.hook("insert_" + table); err != nil {
			return err
		}
		began := time.Now()
		in := &reader{items: items}
		err := w.o.DB.InsertNative(ctx, clickhouse.Insert{Table: table, Token: token, Settings: settings}, in)
		if in.err != nil {
			return &badData{in.err}
		}
		if err == nil && unsure {
			err = w.verify(ctx, table, items)
		}
		if err == nil {
			w.o.Metrics.Insert.Observe(time.Since(began), table)
			w.o.Metrics.Rows.Add(float64(rows), table)
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrHook) {
			return err
		}
		code := clickhouse.Code(err)
		// A damaged block can also look like a lack of memory.
		if code != 0 && (!stateCodes[code] && !clickhouse.IsRetryable(err) || attempt >= 3 && !sound(items)) {
			return &badData{err}
		}
		// Without a code nobody knows what became of it.
		unsure = unsure || code == 0
		w.o.Metrics.Retries.Add(1, table)
		wait := min(50*time.Millisecond<<min(attempt, 7), 5*time.Second)
		w.log.Warn("insert failed, trying again", "table", table, "rows", rows, "attempt", attempt+1, "after", wait, "error", err)
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// sound reports whether all blocks can be read.
func sound(items []item) bool {
	for _, it := range items {
		if check(it) != nil {
			return false
		}
	}
	return true
}

// bury writes a dead letter, as often as it takes.
func (w *Writer) bury(ctx context.Context, x broken) error {
	w.o.Metrics.Dead.Add(1, x.reason)
	w.log.Error("message cannot be stored", "seq", x.seq, "source", x.source, "reason", x.reason, "error", x.err)
	if w.o.Stream == subjects.StreamDead {
		return nil // it is where it would go; another copy would come back here
	}
	h := bus.Header{}
	h.Set(subjects.HeaderStage, stage)
	h.Set(subjects.HeaderSource, x.source)
	h.Set(subjects.HeaderReason, x.reason)
	h.Set(subjects.HeaderError, oneLine(x.err.Error(), 2048))
	h.Set(subjects.HeaderOrigin, w.o.Stream)
	h.Set(subjects.HeaderOriginSeq, strconv.FormatUint(x.seq, 10))
	m := bus.Msg{Subject: subjects.Dead(stage, x.source), ID: subjects.DeadID(stage, w.o.Stream, x.seq), Header: h, Data: x.payload}
	for attempt := 0; ; attempt++ {
		_, err := w.o.Bus.Publish(ctx, m)
		if err == nil {
			return nil
		}
		if errors.Is(err, bus.ErrRefused) && len(m.Data) > 0 {
			m.Data = nil // too large with its headers, which say where the payload still is
			continue
		}
		if !sleep(ctx, min(100*time.Millisecond<<min(attempt, 6), 5*time.Second)) {
			return fmt.Errorf("dead letter of %s %d: %w", w.o.Stream, x.seq, err)
		}
	}
}

func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}
