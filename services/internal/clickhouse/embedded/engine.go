//go:build linux || darwin

package embedded

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The pauses before a restart double from the first to the last; a child that
// ran longer than the last starts over.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Engine is a running, supervised engine. Its address stays the same when the
// child is restarted; requests that arrive meanwhile wait.
type Engine struct {
	opts    Options
	ln      *net.TCPListener
	lnFile  *os.File
	library string
	version string
	stop    context.CancelFunc
	done    chan struct{}
	pid     atomic.Int64
	starts  atomic.Int64
}

// Start fetches the engine if need be, starts its process and waits until it
// answers. Cancelling ctx aborts the start only; the engine runs until Close.
func Start(ctx context.Context, opts Options) (*Engine, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	library := opts.Library
	if library == "" {
		var err error
		if library, err = Fetch(ctx, FetchOptions{CacheDir: opts.CacheDir, OnProgress: opts.OnProgress}); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return nil, fmt.Errorf("start clickhouse engine: %w", err)
	}
	opts.DataDir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start clickhouse engine: %w", err)
	}
	ln, err := listen(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start clickhouse engine: %w", err)
	}
	tcp := ln.(*net.TCPListener) // "tcp" always gives one
	file, err := tcp.File()
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("start clickhouse engine: %w", err)
	}
	life, stop := context.WithCancel(context.Background())
	e := &Engine{opts: opts, ln: tcp, lnFile: file, library: library, stop: stop, done: make(chan struct{})}
	first := make(chan error, 1)
	go e.supervise(life, first)
	select {
	case err = <-first:
	case <-ctx.Done():
		err = fmt.Errorf("start clickhouse engine: %w", context.Cause(ctx))
	}
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// afterLock is how long an address may stay taken after its holder gave up the
// lock on the data.
const afterLock = 3 * time.Second

// listen takes the address. The engine of a predecessor that was killed holds
// it a little longer, as long as its data directory: that is waited for.
func listen(ctx context.Context, opts Options) (net.Listener, error) {
	deadline := time.Now().Add(opts.LockWait)
	for last := false; ; {
		ln, err := net.Listen("tcp", opts.Addr)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return ln, err
		}
		if f, err := tryLock(filepath.Join(opts.DataDir, lockName)); err == nil && !last {
			_ = f.Close()
			// It is going: the kernel may close its lock before its socket, and
			// one that was only starting has no lock yet. Or the address is
			// somebody else's.
			last = true
			if soon := time.Now().Add(afterLock); soon.Before(deadline) {
				deadline = soon
			}
		} else if err == nil {
			_ = f.Close()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Addr is the host and port the engine listens on.
func (e *Engine) Addr() string { return e.ln.Addr().String() }

// Version is the engine's version, such as 26.7.2.1.
func (e *Engine) Version() string { return e.version }

// PID is the process id of the running child, zero between two of them.
func (e *Engine) PID() int { return int(e.pid.Load()) }

// Starts counts how often a child has come up.
func (e *Engine) Starts() int { return int(e.starts.Load()) }

// DSN is the address with the credentials of a user, for clickhouse.Open and
// clickhouse-go alike; empty when there is no such user.
func (e *Engine) DSN(user string) string {
	for _, u := range e.opts.Users {
		if u.Name == user {
			return (&url.URL{Scheme: "http", User: url.UserPassword(u.Name, u.Password), Host: e.Addr(), Path: "/default"}).String()
		}
	}
	return ""
}

// Close stops the engine and waits for its end. It may be called twice.
func (e *Engine) Close() error {
	e.stop()
	<-e.done
	return nil
}

// supervise keeps a child running. The outcome of the first start goes to first.
func (e *Engine) supervise(ctx context.Context, first chan<- error) {
	defer close(e.done)
	defer func() {
		_ = e.lnFile.Close()
		_ = e.ln.Close()
	}()
	pause := firstPause
	for {
		began := time.Now()
		up, err := e.runChild(ctx, first)
		if ctx.Err() != nil {
			return
		}
		if first != nil {
			if !up {
				first <- err
				return
			}
			first = nil
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		e.opts.Logger.Error("clickhouse engine stopped, restarting it", "err", err, "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// allocatorConf makes the engine's allocator keep what it frees for a while:
// inserts free and take tens of megabytes several times a second, and with the
// engine's own setting a fifth of their CPU time went into the kernel clearing
// pages. The trimmer gives the memory back when the engine has nothing to do.
const allocatorConf = "JE_MALLOC_CONF=oversize_threshold:0,dirty_decay_ms:15000,muzzy_decay_ms:15000,percpu_arena:disabled,narenas:2"

// runChild runs one child to its end. up reports whether it came to serve.
func (e *Engine) runChild(ctx context.Context, first chan<- error) (up bool, err error) {
	// The death signal of Linux follows the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(e.opts.Command[0], e.opts.Command[1:]...)
	cmd.ExtraFiles = []*os.File{e.lnFile}
	cmd.SysProcAttr = childAttributes()
	// Of two equal variables the last one counts: the user's, if there is one.
	cmd.Env = append([]string{allocatorConf}, os.Environ()...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return false, fmt.Errorf("start clickhouse engine: %w", err)
	}
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		return false, fmt.Errorf("start clickhouse engine: %w", err)
	}
	defer func() { _ = stdout.Close() }()
	tail := &tailLog{log: e.opts.Logger}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = childStdout, tail, time.Second
	err = cmd.Start()
	_ = childStdout.Close()
	if err != nil {
		return false, fmt.Errorf("start clickhouse engine: %w", err)
	}
	answer := make(chan childReady, 1)
	go readReady(stdout, answer)
	exited := make(chan struct{})
	var supervision sync.WaitGroup
	supervision.Go(func() {
		defer func() { _ = stdin.Close() }()
		if err := e.configure(stdin); err != nil {
			e.opts.Logger.Warn("cannot configure the clickhouse engine", "err", err)
		}
		timer := time.NewTimer(e.opts.StartTimeout)
		defer timer.Stop()
		select {
		case r, ok := <-answer:
			if ok && r.Error == "" {
				up = true
				e.version = r.Version
				e.pid.Store(int64(cmd.Process.Pid))
				e.starts.Add(1)
				if first != nil {
					first <- nil
				}
			} else if r.Error != "" {
				err = errors.New(r.Error)
			}
		case <-timer.C:
			err = fmt.Errorf("start clickhouse engine: no answer within %v", e.opts.StartTimeout)
			_ = cmd.Process.Kill()
			return
		case <-ctx.Done():
		case <-exited:
			// It may have said why before it ended.
			if r, ok := <-answer; ok && r.Error != "" {
				err = errors.New(r.Error)
			}
			return
		}
		select {
		case <-ctx.Done(): // closing stdin asks the child to stop
			_ = stdin.Close()
			select {
			case <-exited:
			case <-time.After(shutdownGrace + 10*time.Second):
				_ = cmd.Process.Kill()
			}
		case <-exited:
		}
	})
	waitErr := cmd.Wait()
	close(exited)
	supervision.Wait()
	e.pid.Store(0)
	if err == nil {
		err = fmt.Errorf("the process ended: %w: %s", cmp.Or(waitErr, errors.New("without an error")), tail.last())
	}
	if !up {
		err = fmt.Errorf("start clickhouse engine: %w", err)
	}
	return up, err
}

func (e *Engine) configure(w io.Writer) error {
	b, err := json.Marshal(childConfig{
		Library: e.library, DataDir: e.opts.DataDir, Users: e.opts.Users, MaxMemory: e.opts.MaxMemory, LockWait: e.opts.LockWait,
		Verbose: e.opts.Logger.Enabled(context.Background(), -4),
	})
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// readReady takes the child's one line and drains the rest.
func readReady(r io.Reader, answer chan<- childReady) {
	defer close(answer)
	br := bufio.NewReader(r)
	line, err := br.ReadBytes('\n')
	var msg childReady
	if err == nil && json.Unmarshal(line, &msg) == nil {
		answer <- msg
	}
	_, _ = io.Copy(io.Discard, br)
}
