package detect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
)

// builtIn lists the built-in rules.
func (a *author) builtIn() ([]*rule.Rule, error) {
	rules, _, err := a.load(nil)
	return rules, err
}

// live returns what lists the rules that the hub runs: the built-in ones, those
// of its folder, and those that were pushed, where the later win. Without a bus
// it knows the built-in ones alone.
func (a *author) live(ctx context.Context) func() ([]*rule.Rule, error) {
	var rules []*rule.Rule
	return func() ([]*rule.Rule, error) {
		if rules != nil || a.Bus == nil {
			if rules == nil {
				return a.builtIn()
			}
			return rules, nil
		}
		b, err := a.Bus(ctx)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		more, err := inForce(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("read the rules that were pushed: %w", err)
		}
		dir := ""
		if a.RulesDir != nil {
			if dir, err = a.RulesDir(); err != nil {
				return nil, err
			}
		}
		set, err := loadSet(a.Content, dir, more, nil)
		if err != nil {
			return nil, fmt.Errorf("read the rules that the hub runs: %w", err)
		}
		rules = set.rules
		return rules, nil
	}
}

// inForce reads the pushed rules that run; nil if there are none. A revision that
// every instance refused does not run.
func inForce(ctx context.Context, b *bus.Bus) (*pushed, error) {
	store, err := snapshot.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	m, err := store.Current(ctx)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	list, err := store.Instances(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 && !slices.ContainsFunc(list, func(x snapshot.Applied) bool { return x.Revision == m.Revision }) {
		newest := slices.MaxFunc(list, func(x, y snapshot.Applied) int { return int(min(x.Revision, 1<<30)) - int(min(y.Revision, 1<<30)) })
		if m = (snapshot.Manifest{}); newest.Revision > 0 {
			if m, err = store.Get(ctx, newest.Revision); err != nil {
				return nil, err
			}
		}
	}
	if m.Revision == 0 {
		return nil, nil
	}
	files, err := store.Load(ctx, m)
	if err != nil {
		return nil, err
	}
	return &pushed{manifest: m, files: snapshot.FS(files)}, nil
}
