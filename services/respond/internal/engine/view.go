package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/vagus-hub/vagus/schemas/run"
)

// View returns one run.
func (e *Engine) View(ctx context.Context, uid string) (run.Run, error) {
	s, err := e.open(ctx, uid)
	if err != nil {
		return run.Run{}, err
	}
	return s.d.View(s.pb), nil
}

// Views returns all runs, the newest first.
func (e *Engine) Views(ctx context.Context) ([]run.Run, error) {
	entries, err := e.Runs.List(ctx, "run.*")
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	out := make([]run.Run, 0, len(entries))
	for i := range entries {
		d := &entries[i].Value
		pb, err := e.book(ctx, d)
		if err != nil {
			pb = nil
		}
		out = append(out, d.View(pb))
	}
	slices.SortStableFunc(out, func(a, b run.Run) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, nil
}
