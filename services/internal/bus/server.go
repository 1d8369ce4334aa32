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
	"sync/atomic"
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
	// Users may connect besides the holder of the token.
	Users []User
	// Leaf takes connections of edges, Remote makes this an edge. Both may be
	// nil.
	Leaf   *LeafListen
	Remote *LeafRemote
	// Logger receives the server's log; default none.
	Logger *slog.Logger
}

// Server is a running embedded NATS server. Safe for concurrent use.
type Server struct {
	opts     ServerOptions
	access   *access // nil: nobody but the holder of the token
	maxStore int64
	reserved int64 // by earlier streams, if that was more than maxStore; else 0
	reserve  int64 // free bytes below which publishes are refused
	low      atomic.Bool
	log      *slog.Logger
	logger   *serverLog
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
	space, err := storeSpace(opts.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	s.reserve = min(512<<20, space/20)
	if s.maxStore = opts.MaxStore; s.maxStore <= 0 {
		s.maxStore = max(space/4*3, 64<<20)
	}
	if err := mendChecksums(opts.StoreDir, s.log); err != nil {
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
	s.logger = logger
	ns.SetLoggerV2(logger, false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(time.Minute) {
		return nil, fmt.Errorf("start bus: not ready after a minute (recovering %s?): %s", opts.StoreDir, logger.lastError())
	}
	if !ns.JetStreamEnabled() {
		return nil, fmt.Errorf("start bus: JetStream did not start in %s: %s", opts.StoreDir, logger.lastError())
	}
	if err := s.admitReserved(); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	if s.access != nil {
		s.access.ready(ns)
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
	if err := s.others(o); err != nil {
		return nil, err
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

// others configures who may connect besides the holder of the token.
func (s *Server) others(o *server.Options) (err error) {
	if s.opts.Remote != nil {
		if err := s.opts.Remote.connect(o); err != nil {
			return err
		}
	}
	if s.opts.Leaf != nil {
		leaf := *s.opts.Leaf
		s.opts.Leaf = &leaf
		if err := leaf.listen(o); err != nil {
			return err
		}
	}
	if s.opts.Leaf == nil && len(s.opts.Users) == 0 {
		return nil
	}
	s.access, err = newAccess(s.opts)
	o.Authorization, o.Username, o.Password = "", "", ""
	o.CustomClientAuthentication = s.access
	return err
}

// storeSpace is what the store in dir uses plus what it could still use.
func storeSpace(dir string) (int64, error) {
	free, err := freeBytes(dir)
	if err != nil {
		return 0, err
	}
	var used int64
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if fi, err := d.Info(); err == nil {
			used += fi.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return free + used, nil
}

// guard watches the disk. Near its end it refuses publishes of this process at
// once (Bus asks low). When a write failed all the same, the server keeps that
// stream, or all of JetStream, switched off for good; guard then starts
// JetStream anew as soon as there is space. Clients see ErrBusy meanwhile.
func (s *Server) guard() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	warned := false
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		free, err := freeBytes(s.opts.StoreDir)
		if err != nil {
			s.log.Warn("cannot watch the disk", "error", err)
			continue
		}
		low := free < s.reserve
		s.low.Store(low)
		if low != warned {
			warned = low
			s.log.Warn("bus disk space", "dir", s.opts.StoreDir, "low", low, "free_bytes", free, "reserve_bytes", s.reserve,
				"hint", "while it is low new messages are refused; free some space and the bus resumes by itself")
		}
		if low || s.ns.JetStreamEnabled() && !s.logger.writeFailed.Load() {
			continue
		}
		s.logger.writeFailed.Store(false)
		if err := s.restart(); err != nil {
			s.logger.writeFailed.Store(true)
			s.log.Error("bus could not resume", "error", err)
			continue
		}
		s.log.Info("bus resumed after a failed write", "free_bytes", free)
	}
}

// admitReserved lets streams that were made when the disk had more room be
// changed. While they reserve more than the server may use, it refuses every
// change, a lower limit too; EnsureStreams then shares out MaxStore anew.
func (s *Server) admitReserved() error {
	_, reserved, err := s.ns.JetStreamReservedResources()
	if err != nil || reserved <= s.maxStore {
		return err
	}
	s.log.Warn("bus streams reserve more than the disk has now", "reserved_bytes", reserved, "max_bytes", s.maxStore)
	s.reserved = reserved
	return s.restart()
}

// restart shuts JetStream down and recovers its streams.
func (s *Server) restart() error {
	s.ns.ShutdownJetStream()
	if err := mendChecksums(s.opts.StoreDir, s.log); err != nil {
		return err
	}
	return s.ns.EnableJetStream(&server.JetStreamConfig{
		StoreDir: s.opts.StoreDir, MaxStore: s.maxStore + s.reserved, MaxMemory: 64 << 20,
		SyncAlways: !s.opts.NoSync, SyncInterval: 2 * time.Minute,
	})
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
	if s.low.Load() || s.logger.writeFailed.Load() || !s.ns.JetStreamEnabled() {
		return fmt.Errorf("bus server: %w: no disk space in %s (free some; it resumes by itself)", ErrBusy, s.opts.StoreDir)
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
	// writeFailed says the server gave up on a stream; only the log tells.
	writeFailed atomic.Bool
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if !l.log.Enabled(context.Background(), level) && level < slog.LevelError {
		return
	}
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	if level >= slog.LevelError {
		if strings.Contains(text, "no space left on device") || strings.Contains(text, "ritical write error") {
			l.writeFailed.Store(true)
		}
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
