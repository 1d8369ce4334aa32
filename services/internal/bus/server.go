package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerOptions configures the embedded server. Only StoreDir is required.
type ServerOptions struct {
	// StoreDir holds the streams; one process at a time may use it.
	StoreDir string
	// Addr is host:port to listen on; empty means 127.0.0.1 and a free port.
	Addr string
	// InProcessOnly opens no port: only Connect with Server set reaches it.
	InProcessOnly bool
	// Token is what clients must present; empty means a random one, see
	// Server.Token.
	Token string
	// User and Password replace Token when User is set.
	User, Password string
	// MaxPayload bounds one message, headers included, in bytes; default 8 MiB.
	MaxPayload int
	// MaxStore bounds all streams together, in bytes; default three quarters
	// of what the store already uses plus the free disk space.
	MaxStore int64
	// NoSync leaves fsync to the operating system's timer. A power cut may
	// then lose acknowledged messages; only for tests and benchmarks.
	NoSync bool
	// Logger receives the server's log; default none.
	Logger *slog.Logger
}

// Server is a running embedded NATS server. Safe for concurrent use.
type Server struct {
	opts     ServerOptions
	maxStore int64
	log      *slog.Logger
	lock     *os.File
	stop     chan struct{}
	wg       sync.WaitGroup
	once     sync.Once
	ns       *server.Server
}

// StartServer starts a server and returns once it accepts connections and its
// streams are recovered. Errors wrap ErrInUse when the address or the folder
// belongs to another process.
func StartServer(opts ServerOptions) (_ *Server, err error) {
	if opts.StoreDir == "" {
		return nil, errors.New("start bus: no store folder given")
	}
	if opts.MaxPayload == 0 {
		opts.MaxPayload = 8 << 20
	}
	if opts.Token == "" && opts.User == "" {
		opts.Token = rand.Text()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if err := os.MkdirAll(opts.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	lock, err := lockDir(opts.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	s := &Server{opts: opts, log: opts.Logger, lock: lock, stop: make(chan struct{})}
	defer func() {
		if err != nil {
			s.Shutdown()
		}
	}()
	if s.maxStore, err = storeBudget(opts); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	no, err := s.natsOptions()
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	ns, err := server.NewServer(no)
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	s.ns = ns
	logger := &serverLog{log: opts.Logger}
	ns.SetLoggerV2(logger, false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(time.Minute) {
		return nil, fmt.Errorf("start bus: not ready after a minute (recovering %s?): %s", opts.StoreDir, logger.lastError())
	}
	if !ns.JetStreamEnabled() {
		return nil, fmt.Errorf("start bus: JetStream did not start in %s: %s", opts.StoreDir, logger.lastError())
	}
	s.wg.Go(s.guard)
	return s, nil
}

func (s *Server) natsOptions() (*server.Options, error) {
	o := &server.Options{
		ServerName: "vagus", NoSigs: true, DontListen: s.opts.InProcessOnly,
		Authorization: s.opts.Token, Username: s.opts.User, Password: s.opts.Password,
		MaxPayload: int32(s.opts.MaxPayload), MaxPending: 256 << 20, WriteDeadline: 30 * time.Second,
		JetStream: true, StoreDir: s.opts.StoreDir, SyncAlways: !s.opts.NoSync,
		JetStreamMaxStore: s.maxStore, JetStreamMaxMemory: 64 << 20,
		DisableJetStreamBanner: true, NoSystemAccount: true,
	}
	if s.opts.User != "" {
		o.Authorization = ""
	}
	if s.opts.InProcessOnly {
		return o, nil
	}
	host, port, err := net.SplitHostPort(s.opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w (want host:port)", s.opts.Addr, err)
	}
	o.Host = host
	if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("address %q: port %q is not a number from 0 to 65535", s.opts.Addr, port)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
		return o, nil
	}
	// The server would exit the process on a taken port, so try it first.
	l, err := net.Listen("tcp", s.opts.Addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("address %s: %w by another process (choose another bus address)", s.opts.Addr, ErrInUse)
		}
		return nil, fmt.Errorf("address %s: %w", s.opts.Addr, err)
	}
	return o, l.Close()
}

// storeBudget is MaxStore or its default.
func storeBudget(opts ServerOptions) (int64, error) {
	if opts.MaxStore > 0 {
		return opts.MaxStore, nil
	}
	free, err := freeBytes(opts.StoreDir)
	if err != nil {
		return 0, err
	}
	var used int64
	err = filepath.WalkDir(opts.StoreDir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if fi, err := d.Info(); err == nil {
			used += fi.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", opts.StoreDir, err)
	}
	return max((free+used)/4*3, 64<<20), nil
}

// guard brings JetStream back after the server switched it off, which it does
// when the disk is full. Publishers see ErrBusy meanwhile.
func (s *Server) guard() {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if s.ns.JetStreamEnabled() {
			continue
		}
		free, err := freeBytes(s.opts.StoreDir)
		if err != nil || free < 4*int64(s.opts.MaxPayload) {
			s.log.Error("bus stopped: no disk space", "dir", s.opts.StoreDir, "free_bytes", free,
				"hint", "free some space; the bus resumes by itself")
			continue
		}
		err = s.ns.EnableJetStream(&server.JetStreamConfig{
			StoreDir: s.opts.StoreDir, MaxStore: s.maxStore, MaxMemory: 64 << 20, SyncAlways: !s.opts.NoSync,
		})
		if err != nil {
			s.log.Error("bus could not resume", "error", err)
			continue
		}
		s.log.Info("bus resumed", "free_bytes", free)
	}
}

// URL is what a client passes to Connect, without the token; empty with
// InProcessOnly.
func (s *Server) URL() string {
	if s.opts.InProcessOnly {
		return ""
	}
	return s.ns.ClientURL()
}

// Token is the token clients must present; empty when User is set.
func (s *Server) Token() string { return s.opts.Token }

// MaxStore is the bytes all streams together may take.
func (s *Server) MaxStore() int64 { return s.maxStore }

// Ready reports whether the server takes connections and its streams work.
func (s *Server) Ready() error {
	if !s.ns.Running() {
		return fmt.Errorf("bus server: %w", ErrClosed)
	}
	if !s.ns.JetStreamEnabled() {
		return fmt.Errorf("bus server: %w: JetStream is off (disk full?)", ErrBusy)
	}
	return nil
}

// InProcessConn lets the NATS client reach the server without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Shutdown closes connections, flushes the streams and frees the folder. It
// may be called twice. Close every Bus first, so that acks still arrive.
func (s *Server) Shutdown() {
	s.once.Do(func() {
		close(s.stop)
		s.wg.Wait()
		if s.ns != nil {
			s.ns.Shutdown()
			s.ns.WaitForShutdown()
		}
		s.lock.Close()
	})
}

// serverLog adapts the server's logger to slog and keeps the last error for
// the message of a failed start.
type serverLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last string
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if !l.log.Enabled(context.Background(), level) && level < slog.LevelError {
		return
	}
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	if level >= slog.LevelError {
		l.mu.Lock()
		l.last = text
		l.mu.Unlock()
	}
	l.log.Log(context.Background(), level, text, "component", "nats")
}

func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "no error logged"
	}
	return l.last
}

// Noticef logs at debug level: the server's notices are chatter to operators.
func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.write(slog.LevelWarn, format, v) }

// Fatalf logs an error; StartServer reports it.
func (l *serverLog) Fatalf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Debugf logs at debug level.
func (l *serverLog) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Tracef logs nothing: traces hold message content.
func (l *serverLog) Tracef(string, ...any) {}

var (
	_ server.Logger = (*serverLog)(nil)
	_ io.Closer     = (*os.File)(nil)
)
