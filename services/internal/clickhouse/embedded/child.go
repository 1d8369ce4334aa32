//go:build linux || darwin

package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chdb"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chhttp"
)

// childConfig is what the parent writes to the child's standard input, one
// line of JSON. The pipe then stays open: its end tells the child to stop.
type childConfig struct {
	Library   string
	DataDir   string
	Users     []User
	MaxMemory int64
	LockWait  time.Duration
	Verbose   bool
}

// childReady is the one line the child writes to its standard output.
type childReady struct {
	Version string `json:",omitempty"`
	Error   string `json:",omitempty"`
}

// listenerFD is where the child finds the listening socket of its parent. The
// parent owns it, so that the address survives the child.
const listenerFD = 3

// shutdownGrace bounds how long running statements may go on after the stop.
const shutdownGrace = 5 * time.Second

// RunChild is the engine process: it reads its configuration from stdin, opens
// the data directory and serves ClickHouse's HTTP interface on the listening
// socket it inherited, until ctx is done or stdin ends. It must be the whole
// purpose of its process (see Options.Command): the engine cannot be unloaded
// and its memory is the process's. It returns nil after a clean stop.
func RunChild(ctx context.Context, stdin io.Reader) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read engine configuration: %w (this command is started by vagus itself, not by hand)", err)
	}
	var cfg childConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return fmt.Errorf("read engine configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent never writes again: anything that ends the read means
		// that it is gone.
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	if err := serveChild(ctx, cfg, log); err != nil {
		ready(childReady{Error: err.Error()})
		return err
	}
	return nil
}

func ready(r childReady) {
	b, _ := json.Marshal(r)
	_, _ = os.Stdout.Write(append(b, '\n'))
}

func serveChild(ctx context.Context, cfg childConfig, log *slog.Logger) error {
	raiseFileLimit(log)
	// The Go side only moves buffers: keep its heap small beside the engine's.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(128 << 20)

	unlock, err := lockDir(cfg.DataDir, cfg.LockWait)
	if err != nil {
		return err
	}
	defer unlock()
	file := os.NewFile(listenerFD, "engine listener")
	ln, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("open engine listener: %w", err)
	}
	_ = file.Close()
	defer func() { _ = ln.Close() }()

	configFile, err := writeConfig(cfg)
	if err != nil {
		return err
	}
	lib, err := chdb.Load(cfg.Library)
	if err != nil {
		return err
	}
	// This session does nothing but keep the engine running between requests.
	keeper, err := lib.Connect("--path="+cfg.DataDir+"/store", "--config-file="+configFile)
	if err != nil {
		return fmt.Errorf("start clickhouse engine on %s: %w", cfg.DataDir, err)
	}
	defer keeper.Close()

	users := make([]chhttp.User, len(cfg.Users))
	for i, u := range cfg.Users {
		users[i] = chhttp.User(u)
	}
	handler, err := chhttp.New(chhttp.Options{
		Connect: func(args ...string) (*chdb.Conn, error) {
			return lib.Connect(append([]string{"--path=" + cfg.DataDir + "/store"}, args...)...)
		},
		Users:  users,
		Logger: log,
	})
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20, // settings and parameters travel in the URL
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	trim := startTrimmer(ctx, handler, log)
	defer trim()
	ready(childReady{Version: handler.Version()})
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(ln) }()
	select {
	case err = <-stopped:
	case <-ctx.Done():
		shut, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		err = srv.Shutdown(shut)
		cancel()
		if err != nil {
			handler.KillAll()
			_ = srv.Close()
		}
	}
	handler.Close()
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("serve clickhouse http: %w", err)
	}
	return nil
}

// raiseFileLimit lifts the soft limit on open files to the hard one: merges
// open every column file of several parts.
func raiseFileLimit(log *slog.Logger) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return
	}
	if lim.Cur < lim.Max {
		lim.Cur = min(lim.Max, 1<<20)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			log.Warn("cannot raise the limit on open files", "err", err)
		}
	}
	if lim.Cur < 4096 {
		log.Warn("the limit on open files is low for the ClickHouse engine", "limit", lim.Cur, "hint", "raise it with ulimit -n or LimitNOFILE")
	}
}
