package puller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

const (
	firstPause = time.Second
	lastPause  = 5 * time.Minute
)

// Job is a feed and when it runs.
type Job struct {
	Name   string // of the checkpoint: letters, digits, . _ -
	Kind   string
	Source string
	Every  time.Duration
	Feed   Feed
}

// Options are what the runner needs beside its jobs.
type Options struct {
	Hub     intake.Hub          // required
	Dir     string              // required: folder of the checkpoints
	Disk    Disk                // default OSDisk
	Metrics *telemetry.Registry // may be nil
	Logger  *slog.Logger        // may be nil
	Grace   time.Duration       // for the last batches when Run stops; default 10s
}

// Runner runs jobs.
type Runner struct {
	opts Options
	jobs []*job
	m    struct{ records, dead, errs, refused telemetry.Counter }
}

// job is a Job at work.
type job struct {
	Job
	r    *Runner
	keep *keeper
	plan *plan // of an earlier run
	log  *slog.Logger

	mu      sync.Mutex // of what metrics read
	newest  time.Time
	success time.Time
	failing string
	classes map[string]bool // of errors so far
}

// New reads the checkpoints.
func New(jobs []Job, opts Options) (*Runner, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = telemetry.NewRegistry()
	}
	if opts.Disk == nil {
		opts.Disk = OSDisk{}
	}
	if opts.Grace == 0 {
		opts.Grace = 10 * time.Second
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep checkpoints of what is pulled: %w", err)
	}
	r := &Runner{opts: opts}
	m := opts.Metrics
	r.m.records = m.Counter("vagus_pull_records_total", "Records that were pulled and stored, by name.", "name")
	r.m.dead = m.Counter("vagus_pull_dead_total", "What was pulled and became a dead letter, by name.", "name")
	r.m.errs = m.Counter("vagus_pull_errors_total", "Pulls that failed, by name and class of the error.", "name", "class")
	r.m.refused = m.Counter("vagus_pull_refused_total", "Batches that the bus refused for good, by name.", "name")
	for _, j := range jobs {
		k, p, err := open(opts.Disk, opts.Dir, j.Name, j.Kind)
		if err != nil {
			return nil, fmt.Errorf("pull %s: %w", j.Name, err)
		}
		r.jobs = append(r.jobs, &job{Job: j, r: r, keep: k, plan: p, log: opts.Logger.With("pull", j.Name, "kind", j.Kind)})
	}
	m.OnCollect(r.collect)
	return r, nil
}

func (r *Runner) collect(snap *telemetry.Snapshot) {
	for _, j := range r.jobs {
		j.mu.Lock()
		newest, success, failing := j.newest, j.success, j.failing
		for c := range j.classes { // series do not go away, so each is 1 or 0
			v := 0.0
			if c == failing {
				v = 1
			}
			snap.Set("vagus_pull_error", "1 for the class of error with which a source fails now.", v, "name", j.Name, "class", c)
		}
		j.mu.Unlock()
		lag, ok := 0.0, 1.0
		if !newest.IsZero() {
			lag = max(time.Since(newest).Seconds(), 0)
		}
		if failing != "" {
			ok = 0
		}
		last := 0.0
		if !success.IsZero() {
			last = float64(success.UnixMilli()) / 1000
		}
		snap.Set("vagus_pull_last_success_seconds", "Unix time of the last pull without an error; 0: none yet.", last, "name", j.Name, "kind", j.Kind)
		snap.Set("vagus_pull_lag_seconds", "Age of the newest that was taken while more waits; 0: nothing waits.", lag, "name", j.Name, "kind", j.Kind)
		snap.Set("vagus_pull_up", "1 if the last pull was without an error, else 0.", ok, "name", j.Name, "kind", j.Kind)
	}
}

// Run pulls until ctx ends, and returns nil when what was taken is stored.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, j := range r.jobs {
		wg.Go(func() { j.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Once runs every job once, in order; for tests and measurements.
func (r *Runner) Once(ctx context.Context) error {
	var errs []error
	for _, j := range r.jobs {
		errs = append(errs, j.once(ctx))
	}
	return errors.Join(errs...)
}

func (j *job) run(ctx context.Context) {
	// Many sources that start together must not ask together ever after.
	pause, failures := time.Duration(rand.Int64N(int64(min(j.Every, 5*time.Second)))), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := j.once(ctx)
		if ctx.Err() != nil {
			return
		}
		j.note(err)
		if err == nil {
			failures = 0
			pause = jitter(j.Every)
			continue
		}
		pause = jitter(min(firstPause<<min(failures, 10), lastPause))
		failures++
		var f *Failure
		if errors.As(err, &f) && f.After > pause {
			pause = f.After + time.Duration(rand.Int64N(int64(time.Second)))
		}
	}
}

// jitter is d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d/5)+1))
}

// note counts, and logs what changed: a source that fails is told of once.
func (j *job) note(err error) {
	now := class(err)
	j.mu.Lock()
	was := j.failing
	j.failing = now
	if j.classes == nil {
		j.classes = map[string]bool{}
	}
	if now != "" {
		j.classes[now] = true
	}
	if err == nil {
		j.success = time.Now()
	}
	j.mu.Unlock()
	switch {
	case err != nil:
		j.r.m.errs.Add(1, j.Name, now)
		if was != now {
			j.log.Warn("pull fails; it is tried again", "class", now, "error", err)
		}
	case was != "":
		j.log.Info("pull works again")
	}
}

// once finishes what an earlier run began, and pulls.
func (j *job) once(ctx context.Context) error {
	if p := j.plan; p != nil {
		b := &Batch{Envelope: p.Envelope, Remote: p.Remote, body: p.body, frames: p.Frames}
		if err := j.submit(ctx, b, p.Source, p.Key); err != nil {
			return err
		}
		if err := j.keep.save(p.State); err != nil {
			return err
		}
		j.plan = nil
	}
	return j.Feed.Pull(ctx, j.keep.State, j)
}

// Store implements Out.
func (j *job) Store(ctx context.Context, b *Batch, state any) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	if b.Len() > 0 {
		if b.Key == "" {
			return errors.New("a batch has no key")
		}
		p := &plan{Key: batchKey(b.Key), Source: j.Source, Remote: b.Remote, Envelope: b.Envelope, Frames: b.frames, State: text, body: b.body}
		if !b.Again {
			if err := j.keep.plan(p); err != nil {
				return err
			}
			j.plan = p // until its state is on disk: a later try repeats it as it was
		}
		if err := j.submit(ctx, b, j.Source, p.Key); err != nil {
			return err
		}
	}
	if err := j.keep.save(text); err != nil {
		return err
	}
	j.plan = nil
	return nil
}

// batchKey makes of any text what intake takes as a key.
func batchKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:20])
}

// Behind implements Out.
func (j *job) Behind(newest time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.newest = newest
}

// Limits implements Out.
func (j *job) Limits() frame.Limits { return j.r.opts.Hub.Limits() }

var errStopped = errors.New("stopped before the batch was stored")

// submit repeats until the batch is stored, or until the time of grace after
// ctx ended.
func (j *job) submit(ctx context.Context, b *Batch, source, key string) error {
	var end time.Time
	in := b.intake(source, "pull."+j.Name, key)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := j.offer(ctx, in)
		switch {
		case err == nil:
			j.r.m.records.Add(float64(len(in.Frames.Records)), j.Name)
			j.r.m.dead.Add(float64(len(in.Frames.Bad)), j.Name)
			return nil
		case !errors.Is(err, intake.ErrBusy):
			// No repeat mends it, and the rest of the source must not wait for it.
			j.r.m.refused.Add(1, j.Name)
			j.log.Error("the hub refuses a batch", "from", b.Remote, "bytes", len(in.Body), "error", err)
			return nil
		}
		if ctx.Err() != nil {
			if end.IsZero() {
				end = time.Now().Add(j.r.opts.Grace)
			}
			if time.Now().After(end) {
				return errStopped
			}
			time.Sleep(min(wait, 100*time.Millisecond))
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (j *job) offer(ctx context.Context, in *intake.Batch) error {
	release, err := j.r.opts.Hub.Reserve(context.WithoutCancel(ctx), int64(len(in.Body)))
	if err != nil {
		return err
	}
	defer release()
	_, err = j.r.opts.Hub.Submit(ctx, in)
	return err
}
