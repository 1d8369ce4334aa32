// Package lifecycle starts and stops a process's parts in order: services run
// side by side, the first failure ends all of them, and what was opened is
// closed in reverse, each step named and bounded in time.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

// Options configures a Group; the zero value is usable.
type Options struct {
	// StopTimeout bounds the services' end after ctx ended; default 20 s.
	StopTimeout time.Duration
	// CleanupTimeout bounds each cleanup; default 10 s.
	CleanupTimeout time.Duration
	// Logger receives starts, stops and slow steps; default none.
	Logger *slog.Logger
}

// Group runs services and cleanups. Use it from one goroutine, once.
type Group struct {
	opts     Options
	ctx      context.Context
	cancel   context.CancelCauseFunc
	wg       sync.WaitGroup
	cleanups []cleanup

	mu      sync.Mutex
	running map[string]int
	err     error
}

type cleanup struct {
	name string
	f    func(context.Context) error
}

// New returns a Group whose services end when ctx does.
func New(ctx context.Context, opts Options) *Group {
	if opts.StopTimeout <= 0 {
		opts.StopTimeout = 20 * time.Second
	}
	if opts.CleanupTimeout <= 0 {
		opts.CleanupTimeout = 10 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Group{opts: opts, running: map[string]int{}}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Context ends when the Group is to stop; context.Cause says why.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs a service. It is to return nil soon after its context ended; an
// error, a panic, or a return before that stops the whole Group.
func (g *Group) Go(name string, run func(context.Context) error) {
	g.mu.Lock()
	g.running[name]++
	g.mu.Unlock()
	g.opts.Logger.Debug("service started", "service", name)
	g.wg.Go(func() {
		err := guard(func() error { return run(g.ctx) })
		if err == nil && g.ctx.Err() == nil {
			err = errors.New("ended although nobody asked it to")
		}
		g.mu.Lock()
		if g.running[name]--; g.running[name] == 0 {
			delete(g.running, name)
		}
		if err != nil && !(g.ctx.Err() != nil && errors.Is(err, context.Canceled)) {
			err = fmt.Errorf("service %s: %w", name, err)
			g.err = errors.Join(g.err, err)
			g.mu.Unlock()
			g.cancel(err)
			return
		}
		g.mu.Unlock()
		g.opts.Logger.Debug("service stopped", "service", name)
	})
}

// Cleanup registers f to run in Wait after all services ended, last registered
// first. Its context carries the time limit.
func (g *Group) Cleanup(name string, f func(context.Context) error) {
	g.cleanups = append(g.cleanups, cleanup{name, f})
}

// Stop asks the services to end; nil is the normal end.
func (g *Group) Stop(cause error) { g.cancel(cause) }

// Wait blocks until the Group is to stop, then until all services ended and
// all cleanups ran (or ran out of time), and returns what failed.
func (g *Group) Wait() error {
	<-g.ctx.Done()
	if within(g.opts.StopTimeout, g.wg.Wait) {
		g.opts.Logger.Debug("all services stopped")
	} else {
		g.mu.Lock()
		late := make([]string, 0, len(g.running))
		for name := range g.running {
			late = append(late, name)
		}
		g.err = errors.Join(g.err, fmt.Errorf("services still running after %s: %v", g.opts.StopTimeout, late))
		g.mu.Unlock()
	}
	g.mu.Lock()
	err := g.err
	g.mu.Unlock()
	return errors.Join(err, g.clean())
}

// Close stops everything without waiting for a reason; for error paths while
// still starting.
func (g *Group) Close() error {
	g.cancel(nil)
	return g.Wait()
}

func (g *Group) clean() (all error) {
	for i := len(g.cleanups) - 1; i >= 0; i-- {
		c := g.cleanups[i]
		ctx, cancel := context.WithTimeout(context.Background(), g.opts.CleanupTimeout)
		done := make(chan error, 1)
		go func() { done <- guard(func() error { return c.f(ctx) }) }()
		select {
		case err := <-done:
			if err != nil {
				all = errors.Join(all, fmt.Errorf("cleanup %s: %w", c.name, err))
			}
		case <-ctx.Done():
			all = errors.Join(all, fmt.Errorf("cleanup %s: not done after %s", c.name, g.opts.CleanupTimeout))
		}
		cancel()
		g.opts.Logger.Debug("cleaned up", "step", c.name)
	}
	g.cleanups = nil
	return all
}

func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// Signals returns a context that ends at the first SIGINT or SIGTERM; a second
// one ends the process the default way, so that a stuck stop can be broken.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-ch:
			cancel()
		case <-ctx.Done():
		}
		signal.Stop(ch)
	}()
	return ctx, cancel
}
