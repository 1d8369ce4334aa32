// Package ingest receives logs over HTTP, authenticates the sender, cuts the
// body into records and publishes them as RAW blocks. It knows nothing of what
// records mean.
//
// A request is answered with 200 only after the bus acknowledged every block,
// which means they are on disk. Any other answer says that the batch may be
// stored in part: the sender repeats it with the same Idempotency-Key, and
// what was stored already is not stored again.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/body"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/hook"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/ingest/internal/otlp"
	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Service is one listening ingest.
type Service struct {
	opts     Options
	tokens   atomic.Pointer[auth.Set]
	listener net.Listener
	server   *http.Server
	memory   *budget
	readers  body.Pool
	work     sync.Pool // *workspace
	builders sync.Pool // *builders
	payloads sync.Pool // *[]byte
	draining atomic.Bool
	metrics  metrics
	runs     []runner
	clients  *auth.Clients
	hooks    map[string]*hook.Hook
	otlp     *otlp.Receiver

	tokensFile *reload.Watcher
}

type metrics struct {
	requests, received, records, bytes, dead telemetry.Counter
	seconds                                  telemetry.Histogram
}

// New checks the options and binds the address. Call Run, or Close.
func New(opts Options) (*Service, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	s := &Service{opts: opts, memory: newBudget(opts.MaxInFlight)}
	if err := s.readAccess(); err != nil {
		return nil, fmt.Errorf("ingest options: %w", err)
	}
	s.work.New = func() any { return new(workspace) }
	s.builders.New = func() any { return &builders{block.NewRawBuilder(), block.NewDeadBuilder()} }
	s.payloads.New = func() any { return new([]byte) }
	m := opts.Metrics
	s.metrics = metrics{
		requests: m.Counter("vagus_ingest_requests_total", "Requests by status code.", "code"),
		received: m.Counter("vagus_ingest_receiver_requests_total", "HTTP requests, by receiver and status code.", "receiver", "code"),
		records:  m.Counter("vagus_ingest_records_total", "Records accepted, by source.", "source"),
		bytes:    m.Counter("vagus_ingest_bytes_total", "Bytes of accepted bodies after unpacking, by source.", "source"),
		dead:     m.Counter("vagus_ingest_dead_total", "Records that became dead letters, by source and reason.", "source", "reason"),
		seconds:  m.Histogram("vagus_ingest_request_seconds", "Time from the first byte of a request to its answer."),
	}
	m.OnCollect(func(snap *telemetry.Snapshot) {
		snap.Set("vagus_ingest_memory_bytes", "Memory held by requests at work.", float64(s.memory.used()))
	})
	health := telemetry.NewHealth(m)
	health.Check("bus", opts.Bus.Ready)
	health.Check("ingest", func(context.Context) error {
		if s.draining.Load() {
			return errors.New("stopping")
		}
		return nil
	})
	probe := health.Handler()
	mux := http.NewServeMux()
	ways := receivers{s: s, mux: mux}
	if err := ways.add(); err != nil {
		return nil, err
	}
	s.runs = ways.runs
	if opts.TokensFile != "" {
		s.runs = append(s.runs, runner{"tokens", s.watchTokens})
	}
	for _, p := range []string{"GET /healthz", "GET /readyz", "GET /metrics"} {
		mux.Handle(p, probe)
	}
	mux.HandleFunc("/", s.noSuchPath)
	s.server = &http.Server{
		Handler: s.certified(mux), ReadHeaderTimeout: opts.HeaderTimeout, IdleTimeout: 2 * opts.ReadTimeout, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug), // handshakes that fail, mostly
	}
	if err := s.bind(); err != nil {
		return nil, errors.Join(err, s.otlp.Close())
	}
	return s, nil
}

func (s *Service) noSuchPath(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, &problem{status: http.StatusNotFound, Code: "no_such_path", Message: "send logs with POST /v1/ingest/{source}"})
}

// URL is where the service is reached, without a slash at the end.
func (s *Service) URL() string {
	if s.opts.TLS.Enabled() {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// OTLPAddr is the address of OTLP's gRPC port; "" if there is none.
func (s *Service) OTLPAddr() string { return s.otlp.GRPCAddr() }

// Addr is the address that is listened on.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// SetTokens replaces the senders' credentials, for requests from now on.
func (s *Service) SetTokens(tokens []Token) error {
	set, err := auth.New(tokens)
	if err != nil {
		return err
	}
	s.tokens.Store(set)
	return nil
}

// Identify finds the credential of a secret.
func (s *Service) Identify(secret string) (auth.Identity, bool) { return s.tokens.Load().Check(secret) }

// Known reports whether there is such a source, and whether its records are
// lines of text.
func (s *Service) Known(source string) (lines, known bool) {
	if source == intake.Auto {
		return false, true
	}
	f, known := s.opts.Framing(source)
	return f.Text, known
}

// Framing tells how the records of a source are told apart.
func (s *Service) Framing(source string) frame.Framing {
	f, _ := s.opts.Framing(source)
	return f
}

// Limits of records, for framing.
func (s *Service) Limits() frame.Limits {
	return frame.Limits{MaxRecord: s.opts.MaxRecord, MaxRecords: s.opts.MaxRecords, MaxDepth: 64}
}

// Reserve charges n bytes to the memory that all senders share.
func (s *Service) Reserve(ctx context.Context, n int64) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.QueueTimeout)
	defer cancel()
	if n > s.opts.MaxInFlight || s.memory.acquire(ctx, n) != nil {
		return nil, fmt.Errorf("%w: too many bytes in flight", intake.ErrBusy)
	}
	return sync.OnceFunc(func() { s.memory.release(n) }), nil
}

var (
	_ intake.Hub    = (*Service)(nil)
	_ intake.Framer = (*Service)(nil)
)

// Run serves until ctx ends, lets requests and receivers at work finish (up to
// Grace) and returns nil. A receiver that cannot go on stops the service.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, len(s.runs)+1)
	for _, r := range s.runs {
		wg.Go(func() {
			if err := r.run(ctx); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	wg.Go(func() {
		if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve ingest on %s: %w", s.Addr(), err)
			cancel()
		}
	})
	s.opts.Logger.Info("ingest listens", "addr", s.Addr())
	<-ctx.Done()
	s.draining.Store(true)
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancelStop()
	if err := s.server.Shutdown(stop); err != nil {
		s.opts.Logger.Warn("ingest stops with requests at work", "error", err)
		_ = s.server.Close()
	}
	wg.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Service) serve() error {
	if s.opts.TLS.Enabled() {
		return s.server.ServeTLS(s.listener, "", "")
	}
	return s.server.Serve(s.listener)
}

// Close frees the address of a Service that never ran.
func (s *Service) Close() error {
	return errors.Join(s.server.Close(), s.listener.Close(), s.otlp.Close())
}
