// Package otlp receives OpenTelemetry's logs, traces and metrics over gRPC and
// HTTP, as protobuf and JSON. Each log record, span and metric becomes a record
// of its own: OTLP-JSON with one element, its resource and its scope. Nothing
// is answered before it is stored.
package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
)

// grace is how long requests at work may take to end when Run stops.
const grace = 10 * time.Second

// Receiver is a configured receiver; its ports are bound.
type Receiver struct {
	cfg      Config
	hub      intake.Hub
	log      *slog.Logger
	tables   *tables
	signals  []*signal
	reader   *httpin.Reader
	replays  *httpin.Replays
	sessions sync.Pool // *session
	clients  Clients
	certs    *reload.Certs // nil: no TLS

	grpc       *grpc.Server
	grpcListen net.Listener
	http       *http.Server
	httpListen net.Listener
}

// Clients finds the sender that a verified client certificate stands for.
type Clients interface {
	Find(cert *x509.Certificate) (auth.Identity, bool)
}

// New checks the configuration and binds its ports. Call Run, or Close. clients
// may be nil: then only tokens count.
func New(cfg Config, hub intake.Hub, clients Clients, log *slog.Logger) (*Receiver, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Source == "" {
		cfg.Source = intake.Auto
	}
	for _, addr := range []*string{&cfg.GRPC, &cfg.HTTP} {
		if *addr == off {
			*addr = ""
		}
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = defaultMessage
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultConnections
	}
	for _, source := range append([]Route{{Source: cfg.Source}}, cfg.Routes...) {
		if _, known := hub.Known(source.Source); !known {
			return nil, fmt.Errorf("otlp: there is no source %q", source.Source)
		}
	}
	r := &Receiver{cfg: cfg, hub: hub, log: log, clients: clients, tables: newTables(), reader: httpin.NewReader(hub, int64(cfg.MaxMessage)), replays: httpin.NewReplays()}
	r.signals = newSignals(r.tables)
	r.sessions.New = func() any { return newSession(r) }
	if err := r.bind(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Receiver) bind() error {
	if r.cfg.TLS.Enabled() && (r.cfg.GRPC != "" || r.cfg.HTTP != "") {
		var err error
		if r.certs, err = reload.LoadCerts(r.cfg.TLS, r.log); err != nil {
			return fmt.Errorf("otlp: %w", err)
		}
	}
	if r.cfg.GRPC != "" {
		if err := r.bindGRPC(); err != nil {
			return err
		}
	}
	if r.cfg.HTTP == "" {
		return nil
	}
	mux := http.NewServeMux()
	for _, p := range r.Patterns() {
		mux.Handle(p, r.Handler())
	}
	r.http = &http.Server{Handler: r.certified(mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 4 * time.Minute, MaxHeaderBytes: 32 << 10}
	if r.certs != nil {
		r.http.TLSConfig = r.certs.Config()
	}
	var err error
	r.httpListen, err = r.listen("http", r.cfg.HTTP)
	return err
}

func (r *Receiver) listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for OTLP on otlp.%s %s: %w (choose another address)", what, addr, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() && r.certs == nil && !r.cfg.Insecure {
		_ = l.Close()
		return nil, fmt.Errorf("listen for OTLP on otlp.%s %s: tokens and logs would cross the network in the clear (set otlp.tls, or otlp.insecure: true if something in front encrypts)", what, addr)
	}
	return l, nil
}

// certified puts the identity of a verified client certificate into requests.
func (r *Receiver) certified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if id, ok := r.client(req.TLS); ok {
			req = req.WithContext(auth.WithCertificate(req.Context(), id))
		}
		next.ServeHTTP(w, req)
	})
}

// client is the sender that a connection's certificate stands for.
func (r *Receiver) client(state *tls.ConnectionState) (auth.Identity, bool) {
	if r.clients == nil || state == nil || len(state.VerifiedChains) == 0 {
		return auth.Identity{}, false
	}
	return r.clients.Find(state.PeerCertificates[0])
}

// GRPCAddr is the address of the gRPC port; "" if there is none.
func (r *Receiver) GRPCAddr() string { return address(r.grpcListen) }

// HTTPAddr is the address of the HTTP port of its own; "" if there is none.
func (r *Receiver) HTTPAddr() string { return address(r.httpListen) }

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Run serves the ports until ctx ends, lets requests at work finish and
// returns nil, or why a port cannot go on.
func (r *Receiver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	serve := func(what string, l net.Listener, f func() error) {
		if l == nil {
			return
		}
		r.log.Info("OTLP listens", "port", what, "addr", address(l))
		wg.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve OTLP over %s on %s: %w", what, address(l), err))
			}
		})
	}
	serve("grpc", r.grpcListen, func() error { return r.grpc.Serve(limit(r.grpcListen, r.cfg.MaxConnections)) })
	serve("http", r.httpListen, func() error {
		if r.http.TLSConfig != nil {
			return r.http.ServeTLS(r.httpListen, "", "")
		}
		return r.http.Serve(r.httpListen)
	})
	if r.certs != nil {
		wg.Go(func() {
			if err := r.certs.Run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	r.stop(context.WithoutCancel(ctx))
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// stop lets requests at work finish, for a while.
func (r *Receiver) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	var wg sync.WaitGroup
	if r.grpc != nil {
		end := context.AfterFunc(ctx, r.grpc.Stop)
		wg.Go(func() { r.grpc.GracefulStop(); end() })
	}
	if r.http != nil {
		if err := r.http.Shutdown(ctx); err != nil {
			_ = r.http.Close()
		}
	}
	wg.Wait()
}

// Close frees the ports of a Receiver that never ran.
func (r *Receiver) Close() error {
	var err error
	if r.grpc != nil {
		r.grpc.Stop()
	}
	for _, l := range []net.Listener{r.grpcListen, r.httpListen} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}
