package detect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
)

// pushed is a revision of rules that was put into the bucket at run time. Its
// rules win over those of the folder, which win over the built-in ones.
type pushed struct {
	manifest snapshot.Manifest
	files    fs.FS
}

func (p *pushed) prefix() string { return fmt.Sprintf("content@%d/", p.manifest.Revision) }

// errRefused says that a revision has rules with errors.
var errRefused = errors.New("has rules with errors")

// followContent keeps to the revision that is in force until ctx ends. known is
// called once the first one runs, or it is certain that there is none.
func (s *Service) followContent(ctx context.Context, name string, known func()) error {
	alive := make(chan struct{})
	go func() {
		defer close(alive)
		s.stayAlive(ctx)
	}()
	defer func() { <-alive }()
	for ctx.Err() == nil {
		store, err := snapshot.Open(ctx, s.opts.Bus)
		if err == nil {
			err = store.Watch(ctx, func(m snapshot.Manifest) {
				s.take(ctx, store, name, m)
				if known != nil && ctx.Err() == nil {
					known()
					known = nil
				}
			})
		}
		if err != nil && !bus.IsBusy(err) && ctx.Err() == nil {
			return fmt.Errorf("follow content: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if store, err := snapshot.Open(final, s.opts.Bus); err == nil {
		_ = store.Leave(final, name) // it only informs people
	}
	return nil
}

// stayAlive repeats what this instance runs, so that nobody waits for one that
// was killed.
func (s *Service) stayAlive(ctx context.Context) {
	tick := time.NewTicker(snapshot.Alive / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		report := s.applied
		s.mu.Unlock()
		store, err := snapshot.Open(ctx, s.opts.Bus)
		if err == nil && report.Instance != "" {
			err = store.Report(ctx, report)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Debug("which rules run cannot be reported", "error", err)
		}
	}
}

// take puts a revision in force. One with errors is refused: what runs goes on,
// or at the start the newest revision without errors.
func (s *Service) take(ctx context.Context, store *snapshot.Store, name string, m snapshot.Manifest) {
	report := snapshot.Applied{Instance: name, At: time.Now().UTC()}
	err := s.run(ctx, store, m)
	if err != nil && ctx.Err() == nil {
		report.Refused, report.Error = m.Revision, err.Error()
		s.log.Error("pushed rules are not taken; what runs goes on", "revision", m.Revision, "error", err)
		if s.running().Revision == 0 {
			s.fallBack(ctx, store, m)
		}
	}
	running := s.running()
	report.Revision, report.Hash = running.Revision, running.Hash
	s.mu.Lock()
	s.applied = report
	s.mu.Unlock()
	if err := store.Report(ctx, report); err != nil && ctx.Err() == nil {
		s.log.Warn("which rules run cannot be reported", "error", err)
	}
}

func (s *Service) fallBack(ctx context.Context, store *snapshot.Store, refused snapshot.Manifest) {
	log, err := store.Log(ctx)
	if err != nil {
		s.log.Error("earlier rules cannot be found", "error", err)
		return
	}
	for _, m := range log {
		if m.Revision >= refused.Revision {
			continue
		}
		if err := s.run(ctx, store, m); err == nil || errors.Is(err, snapshot.ErrPruned) || ctx.Err() != nil {
			return
		}
	}
}

func (s *Service) running() snapshot.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pushed == nil {
		return snapshot.Manifest{}
	}
	return s.pushed.manifest
}

// run loads a revision and reloads with it. The zero Manifest stands for none.
func (s *Service) run(ctx context.Context, store *snapshot.Store, m snapshot.Manifest) error {
	var p *pushed
	if m.Revision > 0 {
		files, err := store.Load(ctx, m)
		for err != nil && bus.IsBusy(err) && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
			files, err = store.Load(ctx, m)
		}
		if err != nil {
			return err
		}
		p = &pushed{manifest: m, files: snapshot.FS(files)}
		rules, problems, err := rule.LoadFS(p.files, ".", p.prefix(), formats()...)
		if err != nil {
			return err
		}
		s.mu.Lock()
		known := s.set.rules
		s.mu.Unlock()
		for _, problem := range append(problems, rule.Link(rules, known...)...) {
			if !problem.Warning {
				return fmt.Errorf("revision %d %w: %s", m.Revision, errRefused, problem)
			}
		}
	}
	s.mu.Lock()
	same := s.pushed == nil && p == nil || s.pushed != nil && p != nil && s.pushed.manifest.Hash == m.Hash
	was := s.pushed
	s.pushed = p
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := s.Reload(); err != nil {
		s.mu.Lock()
		s.pushed = was
		s.mu.Unlock()
		return err
	}
	s.log.Info("pushed rules run", "revision", m.Revision, "hash", m.Hash, "author", m.Author, "message", m.Message)
	return nil
}
