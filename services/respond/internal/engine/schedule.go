package engine

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

type stats struct {
	runs, finished, transitions, actions, failures, undone atomic.Int64
}

// Stats are counters since the start.
type Stats struct{ Runs, Finished, Transitions, Actions, Failures, Undone int64 }

// Stats reads the counters.
func (e *Engine) Stats() Stats {
	s := &e.stats
	return Stats{s.runs.Load(), s.finished.Load(), s.transitions.Load(), s.actions.Load(), s.failures.Load(), s.undone.Load()}
}

type wakeUp struct {
	uid string
	at  time.Time
}

// poke asks for a run to be advanced at a time; it never blocks.
func (e *Engine) poke(uid string, at time.Time) {
	e.qmu.Lock()
	e.queue.add(wakeUp{uid, at})
	e.qmu.Unlock()
	select {
	case e.bell <- struct{}{}:
	default: // it rings already
	}
}

// queue orders wake-ups by time, at most one a run.
type queue struct {
	list []wakeUp
	pos  map[string]int
}

// Len is the number of wake-ups.
func (q *queue) Len() int { return len(q.list) }

// Less orders by time.
func (q *queue) Less(i, j int) bool { return q.list[i].at.Before(q.list[j].at) }

// Swap exchanges two wake-ups.
func (q *queue) Swap(i, j int) {
	q.list[i], q.list[j] = q.list[j], q.list[i]
	q.pos[q.list[i].uid], q.pos[q.list[j].uid] = i, j
}

// Push appends a wake-up.
func (q *queue) Push(x any) {
	w := x.(wakeUp)
	q.pos[w.uid] = len(q.list)
	q.list = append(q.list, w)
}

// Pop removes the last wake-up.
func (q *queue) Pop() any {
	w := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	delete(q.pos, w.uid)
	return w
}

func (q *queue) add(w wakeUp) {
	i, ok := q.pos[w.uid]
	if !ok {
		heap.Push(q, w)
		return
	}
	if w.at.Before(q.list[i].at) {
		q.list[i].at = w.at
		heap.Fix(q, i)
	}
}

// Resume loads every unfinished run and asks for it to be advanced.
func (e *Engine) Resume(ctx context.Context) (int, error) {
	entries, err := e.Runs.List(ctx, "run.*")
	if err != nil {
		return 0, fmt.Errorf("load runs: %w", err)
	}
	n := 0
	for _, en := range entries {
		if en.Value.over() && len(en.Value.Outbox) == 0 && !undoDue(&en.Value) {
			continue
		}
		n++
		e.poke(en.Value.UID, e.Now())
	}
	return n, nil
}

func undoDue(d *Doc) bool {
	for _, sd := range d.Steps {
		if sd.Undo != nil && (sd.Undo.State == run.Waiting || sd.Undo.State == run.Started) {
			return true
		}
	}
	return false
}

// Run advances runs when they are due until ctx ends; then it lets the ones at
// work finish their current store or give up their current action, and
// returns nil.
func (e *Engine) Run(ctx context.Context) error {
	done := make(chan wakeUp, e.Workers)
	busy, again := map[string]bool{}, map[string]bool{}
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := e.Now()
		for len(busy) < e.Workers {
			uid, ok := e.due(now)
			if !ok {
				break
			}
			if busy[uid] {
				again[uid] = true
				continue
			}
			busy[uid] = true
			wg.Go(func() { done <- wakeUp{uid, e.attempt(ctx, uid)} })
		}
		pause := time.Hour
		if at, ok := e.first(); ok && len(busy) < e.Workers {
			pause = max(at.Sub(now), 0)
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-e.bell:
		case w := <-done:
			delete(busy, w.uid)
			if again[w.uid] {
				delete(again, w.uid)
				w.at = e.Now()
			}
			if !w.at.IsZero() {
				e.poke(w.uid, w.at)
			}
		}
	}
}

// due takes the first wake-up whose time has come.
func (e *Engine) due(now time.Time) (string, bool) {
	e.qmu.Lock()
	defer e.qmu.Unlock()
	if e.queue.Len() == 0 || e.queue.list[0].at.After(now) {
		return "", false
	}
	return heap.Pop(&e.queue).(wakeUp).uid, true
}

func (e *Engine) first() (time.Time, bool) {
	e.qmu.Lock()
	defer e.qmu.Unlock()
	if e.queue.Len() == 0 {
		return time.Time{}, false
	}
	return e.queue.list[0].at, true
}

// attempt advances a run and says when to come back.
func (e *Engine) attempt(ctx context.Context, uid string) time.Time {
	next, err := e.Advance(ctx, uid)
	switch {
	case err == nil:
		return next
	case ctx.Err() != nil, errors.Is(err, ErrNotFound):
		return time.Time{}
	case errors.Is(err, bus.ErrConflict):
		// Another writer was faster: look at what it left.
		return e.Now().Add(50 * time.Millisecond)
	}
	e.Logger.Warn("run cannot go on now", "run", uid, "error", err)
	return e.Now().Add(time.Second)
}

// PruneQuestions deletes questions whose deadline was before the time; the
// runs that asked have long noticed.
func (e *Engine) PruneQuestions(ctx context.Context, before time.Time) error {
	entries, err := e.Approvals.List(ctx)
	if err != nil {
		return fmt.Errorf("prune questions: %w", err)
	}
	for _, en := range entries {
		if en.Value.Deadline.Before(before) {
			if err := e.Approvals.Delete(ctx, en.Key); err != nil {
				return fmt.Errorf("prune questions: %w", err)
			}
		}
	}
	return nil
}

// Prune deletes finished runs that ended before the time, and of the others
// the oldest beyond most; the RUNS stream and the store keep their history.
func (e *Engine) Prune(ctx context.Context, before time.Time, most int) (int, error) {
	entries, err := e.Runs.List(ctx, "run.*")
	if err != nil {
		return 0, fmt.Errorf("prune runs: %w", err)
	}
	n := 0
	for i, en := range entries { // the longest unchanged first
		d := &en.Value
		if !d.over() || undoDue(d) || len(d.Outbox) > 0 || !d.UpdatedAt.Before(before) && i >= len(entries)-most {
			continue
		}
		if err := e.Runs.Delete(ctx, en.Key); err != nil {
			return n, fmt.Errorf("prune runs: %w", err)
		}
		n++
	}
	return n, nil
}
