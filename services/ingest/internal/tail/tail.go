// Package tail follows log files: over rotation by renaming or copying, over
// truncation, over restarts and crashes of its own. Every line is stored once.
//
// Before a batch is submitted its place is written to a journal. After a crash
// the batch is submitted again exactly as it was and under the same key, so
// that the bus drops it if it was stored.
//
// Two things no reader of files can mend: what is written between the last look
// and a truncation (copytruncate), and what is deleted before it was looked at.
package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

const (
	poll       = 200 * time.Millisecond
	rescan     = time.Second      // of the patterns
	calm       = 30 * time.Second // files that did not change so long are looked at less often
	calmPoll   = 2 * time.Second
	drain      = 10 * time.Second // files without a name are read on so long
	workers    = 16
	chunkBytes = 512 << 10
	burst      = 16       // chunks of one file before others have their turn
	maxOpen    = 512      // descriptors of files where nothing happens
	maxFiles   = 100_000  // that are followed
	keepBuffer = 16 << 20 // never larger: records are at most 1 MiB by default
)

// Options are what the receiver needs beside its configuration.
type Options struct {
	Hub     intake.Hub          // required; an intake.Framer too for records of several lines
	Dir     string              // required: folder of the journal
	Metrics *telemetry.Registry // may be nil
	Logger  *slog.Logger        // may be nil
	Grace   time.Duration       // for the last batches when Run stops; default 10s
}

// Tailer follows the files of all its configurations.
type Tailer struct {
	opts    Options
	sets    []*set
	journal *journal
	files   map[inode]*file
	scanned time.Time
	first   bool // no journal was there: From decides
	lost    telemetry.Counter
	cut     telemetry.Counter

	mu  sync.Mutex // of what metrics read
	n   int
	lag int64
}

// set is one configuration at work.
type set struct {
	Config
	chunker chunker
}

// New checks the configurations, opens the journal and looks for the files: From
// "end" means their end now.
func New(configs []Config, opts Options) (*Tailer, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = telemetry.NewRegistry()
	}
	if opts.Grace == 0 {
		opts.Grace = 10 * time.Second
	}
	t := &Tailer{opts: opts, files: map[inode]*file{}}
	for _, c := range configs {
		if err := c.Check(); err != nil {
			return nil, err
		}
		if c.Source == "" {
			c.Source = intake.Auto
		}
		if _, known := opts.Hub.Known(c.Source); !known {
			return nil, fmt.Errorf("tail %s: unknown source %q (see `vagus sources list`)", c.Paths[0], c.Source)
		}
		s := &set{Config: c, chunker: chunker{framing: frame.Framing{Text: true}, envelope: c.Envelope, limits: opts.Hub.Limits()}}
		if f, ok := opts.Hub.(intake.Framer); ok {
			s.chunker.framing = f.Framing(c.Source)
		}
		t.sets = append(t.sets, s)
	}
	var err error
	if t.journal, err = openJournal(opts.Dir); err != nil {
		return nil, err
	}
	t.first = len(t.journal.live) == 0
	m := opts.Metrics
	t.lost = m.Counter("vagus_tail_lost_total", "Files that were gone before all of them was read, as far as that is known.")
	t.cut = m.Counter("vagus_tail_truncated_total", "Files that were truncated or replaced in place.")
	t.scan()
	t.resume()
	m.OnCollect(func(snap *telemetry.Snapshot) {
		t.mu.Lock()
		defer t.mu.Unlock()
		snap.Set("vagus_tail_files", "Files that are followed.", float64(t.n))
		snap.Set("vagus_tail_behind_bytes", "Bytes of followed files that are not yet stored.", float64(t.lag))
	})
	return t, nil
}

// Run follows the files until ctx ends, and returns nil when everything that
// was read is stored.
func (t *Tailer) Run(ctx context.Context) error {
	defer t.journal.close()
	defer func() {
		for _, f := range t.files {
			f.close()
		}
	}()
	for {
		wait := poll
		more, err := t.round(ctx)
		switch {
		case err != nil: // a full disk, say: it passes, and nothing is lost
			t.opts.Logger.Error("tail", "error", err)
			wait = time.Second
		case more:
			wait = 0
		}
		select {
		case <-ctx.Done():
			if err := t.save(); err != nil {
				t.opts.Logger.Error("tail", "error", err)
			}
			return nil
		case <-time.After(wait):
		}
	}
}

// round looks at every file that is due and submits what is new; more: there
// is more to read at once.
func (t *Tailer) round(ctx context.Context) (more bool, err error) {
	now := time.Now()
	if now.Sub(t.scanned) >= rescan {
		t.scan()
	}
	var work []*file
	lag := int64(0)
	for _, f := range t.files {
		if now.Before(f.next) {
			continue
		}
		f.next = now
		if now.Sub(f.changed) > calm {
			f.next = now.Add(calmPoll)
		}
		if f.ignored {
			if f.next = now.Add(calmPoll); !named(f) {
				t.forget(f)
			}
			continue
		}
		t.look(f, now)
		if f.End > f.Offset || f.size > f.Offset || !f.until.IsZero() {
			lag += max(f.size-f.Offset, 0)
			work = append(work, f)
		}
	}
	t.mu.Lock()
	t.n, t.lag = len(t.files), lag
	t.mu.Unlock()
	if len(work) == 0 {
		t.shed()
		return false, t.save()
	}
	more, err = t.work(ctx, work, now)
	t.shed()
	return more, err
}

// work reads the files side by side.
func (t *Tailer) work(ctx context.Context, files []*file, now time.Time) (more bool, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	queue := make(chan *file)
	for range min(workers, len(files)) {
		wg.Go(func() {
			buf := make([]byte, chunkBytes+guardBytes)
			for f := range queue {
				again, ferr := t.follow(ctx, f, &buf, now)
				mu.Lock()
				more = more || again
				err = errors.Join(err, ferr)
				mu.Unlock()
			}
		})
	}
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		queue <- f
	}
	close(queue)
	wg.Wait()
	if ctx.Err() == nil {
		for _, f := range files {
			if !f.until.IsZero() && now.After(f.until) && (f.fd == nil || f.Offset >= f.size) {
				t.forget(f)
			}
		}
	}
	return more, err
}

// look notices growth, truncation and the loss of the name.
func (t *Tailer) look(f *file, now time.Time) {
	info, err := os.Stat(f.Path)
	here := err == nil
	if here {
		id, ok := inodeOf(info)
		here = ok && id == f.inode()
	}
	switch {
	case here:
		f.until = time.Time{}
	case f.until.IsZero():
		if f.fd == nil && (!f.find() || f.open() != nil) { // gone while nothing happened
			f.size = f.Offset
		}
		f.until = now.Add(drain)
		f.next = now
	}
	if !here {
		if f.fd == nil {
			return
		}
		if info, err = f.fd.Stat(); err != nil {
			return
		}
	}
	size := info.Size()
	if size < f.Offset {
		t.cut.Add(1)
		t.replace(f)
	}
	if size != f.size {
		f.size, f.changed = size, now
	}
}

// replace begins a new generation of a file.
func (t *Tailer) replace(f *file) {
	old := f.entry
	old.Gone = true
	f.anew()
	f.dirty = true
	if err := t.journal.write(&old, &f.entry); err != nil {
		t.opts.Logger.Warn("tail", "file", f.Path, "error", err)
	}
}

func (t *Tailer) forget(f *file) {
	f.close()
	delete(t.files, f.inode())
	gone := f.entry
	gone.Gone = true
	if err := t.journal.write(&gone); err != nil {
		t.opts.Logger.Warn("tail", "file", f.Path, "error", err)
	}
}

// follow submits what is new in a file; more: its turn ended before its data.
func (t *Tailer) follow(ctx context.Context, f *file, buf *[]byte, now time.Time) (more bool, err error) {
	if err := f.open(); err != nil {
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errOther) {
			f.next = now.Add(calmPoll) // no permission, say
			t.opts.Logger.Warn("tail cannot open a file; it is tried again", "file", f.Path, "error", err)
		}
		return false, nil
	}
	if f.End > f.Offset {
		if err := t.repeat(ctx, f); err != nil {
			return false, err
		}
	}
	var c chunk
	for range burst {
		data, end, changed, err := f.read(*buf)
		if err != nil {
			t.opts.Logger.Warn("tail cannot read a file", "file", f.Path, "error", err)
			return false, nil
		}
		if changed {
			t.cut.Add(1)
			t.replace(f)
			return true, nil
		}
		if len(data) == 0 {
			return false, nil
		}
		if f.Offset == 0 && packed(data) {
			t.opts.Logger.Info("tail leaves out a compressed file; send it with `vagus send`", "file", f.Path)
			f.ignored = true
			f.close()
			return false, nil
		}
		last := end && !f.until.IsZero() && now.After(f.until)
		silent := end && now.Sub(f.changed) >= frame.Silence
		whole := last || silent && data[len(data)-1] == '\n'
		if err := f.set.chunker.cut(data, f.Skip, f.Header, whole, &c); err != nil {
			return false, err
		}
		if c.used == 0 {
			switch {
			case end:
				return false, nil
			case len(*buf) < min(f.set.chunker.limits.MaxRecord+chunkBytes, keepBuffer): // a long record
				*buf = make([]byte, min(f.set.chunker.limits.MaxRecord+chunkBytes, keepBuffer))
				continue
			}
			whole := data[:bytes.LastIndexByte(data, '\n')+1]
			if err := f.set.chunker.cut(whole, f.Skip, f.Header, true, &c); err != nil {
				return false, err
			}
		}
		if err := t.submit(ctx, f, data, &c); err != nil || ctx.Err() != nil {
			return false, err
		}
		if end && c.used == len(data) {
			return false, nil
		}
	}
	return true, nil
}

// submit stores a chunk: the plan to the journal, the batch to the hub.
func (t *Tailer) submit(ctx context.Context, f *file, data []byte, c *chunk) error {
	if len(c.frames.Records)+len(c.frames.Bad) > 0 {
		f.End = f.Offset + int64(c.used)
		if err := t.journal.write(&f.entry); err != nil {
			return err
		}
		if err := t.store(ctx, f, c); err != nil {
			return err
		}
	}
	f.advance(data, c)
	return nil
}

var errStopped = errors.New("stopped before the batch was stored")

// store submits until it is stored, or until the time of grace after ctx.
func (t *Tailer) store(ctx context.Context, f *file, c *chunk) error {
	b := intake.Batch{Source: f.set.Source, Envelope: f.set.Envelope, Auth: "tail", Key: f.key(), Remote: remote(f.Path), Body: c.body, Frames: c.frames}
	var end time.Time
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		_, err := t.opts.Hub.Submit(ctx, &b)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, intake.ErrBusy):
			// No repeat mends it, and the rest of the file must not wait for it.
			t.opts.Logger.Error("tail: the hub refuses a batch", "file", f.Path, "offset", f.Offset, "bytes", c.used, "error", err)
			return nil
		}
		if ctx.Err() != nil {
			if end.IsZero() {
				end = time.Now().Add(t.opts.Grace)
			}
			if time.Now().After(end) {
				return errStopped // the journal knows; the next start repeats it
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			time.Sleep(min(wait, 100*time.Millisecond))
		}
	}
}

// remote says where records came from.
func remote(path string) string {
	if len(path) > 500 {
		path = path[len(path)-500:]
	}
	return "file:" + path
}

// repeat submits a batch that was on its way when an earlier run ended.
func (t *Tailer) repeat(ctx context.Context, f *file) error {
	data := make([]byte, min(f.End-f.Offset, keepBuffer))
	if _, err := io.ReadFull(io.NewSectionReader(f.fd, f.Offset, int64(len(data))), data); err != nil {
		t.opts.Logger.Warn("tail: a batch that may be stored cannot be read again", "file", f.Path, "error", err)
		t.replace(f)
		return nil
	}
	var c chunk
	if err := f.set.chunker.cut(data, f.Skip, f.Header, true, &c); err != nil {
		return err
	}
	if err := t.store(ctx, f, &c); err != nil {
		return err
	}
	f.advance(data, &c)
	return nil
}

// save writes the positions that are newer than the journal.
func (t *Tailer) save() error {
	var dirty []*entry
	for _, f := range t.files {
		if f.dirty {
			dirty = append(dirty, &f.entry)
		}
	}
	err := t.journal.write(dirty...)
	for _, f := range t.files {
		f.dirty = f.dirty && err != nil
	}
	return err
}

// shed closes the files where nothing happened longest, beyond maxOpen.
func (t *Tailer) shed() {
	var open []*file
	for _, f := range t.files {
		if f.fd != nil && f.until.IsZero() {
			open = append(open, f)
		}
	}
	if len(open) <= maxOpen {
		return
	}
	slices.SortFunc(open, func(a, b *file) int { return a.changed.Compare(b.changed) })
	for _, f := range open[:len(open)-maxOpen] {
		f.close()
	}
}
