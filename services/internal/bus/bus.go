package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options says which server to talk to: Server in the same process, or URL.
type Options struct {
	// URL of a server or, comma-separated, of a cluster. Unused with Server.
	URL string
	// Token authenticates; with Server it is taken from there.
	Token string
	// User and Password authenticate when User is set.
	User, Password string
	// Server connects in-process.
	Server *Server
	// Edge, with Server, reaches the streams of that edge, and nothing of the
	// Server itself: PublishAsync then has no stream to go to.
	Edge string
	// Name shows in the server's connection list; use the service's name.
	Name string
	// MaxPending bounds unacknowledged publishes in bytes; default 32 MiB.
	MaxPending int
	// AckTimeout is how long a publish waits for its ack before ErrBusy;
	// default 10 s.
	AckTimeout time.Duration
	// Logger receives connection changes and delivery problems; default none.
	Logger *slog.Logger
}

// Bus is one client of the bus. Safe for concurrent use.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	pub    *publisher
	log    *slog.Logger
	server *Server
	gone   chan struct{} // closed when the connection is closed for good

	mu    sync.Mutex
	stats map[string]*consumerStats
}

// Connect returns a Bus, trying until ctx ends; wrong credentials end it at
// once. Afterwards the Bus reconnects by itself for ever. Close it.
func Connect(ctx context.Context, opts Options) (*Bus, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.MaxPending <= 0 {
		opts.MaxPending = 32 << 20
	}
	if opts.AckTimeout <= 0 {
		opts.AckTimeout = 10 * time.Second
	}
	b := &Bus{log: opts.Logger, server: opts.Server, gone: make(chan struct{}), stats: map[string]*consumerStats{}}
	no := []nats.Option{
		nats.Name(opts.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		// No buffering while away: a publish must fail, not wait in memory
		// where a crash would lose it after the caller moved on.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2), nats.DrainTimeout(10 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("bus connection lost", "error", err)
			}
			b.pub.disconnected()
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("bus connected again") }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("bus connection problem", "error", err, "subject", subject)
		}),
	}
	token, user, password, url := opts.Token, opts.User, opts.Password, opts.URL
	if s := opts.Server; s != nil {
		token, user, password, url = s.opts.Token, s.opts.User, s.opts.Password, "nats://in-process"
		no = append(no, nats.InProcessServer(s))
	}
	if opts.Edge != "" {
		if opts.Server == nil || opts.Server.access == nil {
			return nil, errors.New("connect bus: an edge is reached through the server that it connects to")
		}
		user, password = opts.Edge, opts.Server.access.local
		no = append(no, nats.CustomInboxPrefix(inboxPrefix(opts.Edge)))
	}
	if url == "" {
		return nil, errors.New("connect bus: neither a server nor a URL given")
	}
	if user != "" {
		no = append(no, nats.UserInfo(user, password))
	} else if token != "" {
		no = append(no, nats.Token(token))
	}
	b.pub = newPublisher(opts.MaxPending, opts.AckTimeout)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		nc, err := nats.Connect(url, no...)
		if err == nil {
			b.nc = nc
			break
		}
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, fmt.Errorf("connect bus %s: %w: %w (check the bus token)", opts.URL, ErrRefused, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect bus %s: %w: %w", opts.URL, ErrBusy, err)
		case <-time.After(wait):
		}
	}
	var err error
	if opts.Edge != "" {
		b.js, err = jetstream.NewWithDomain(b.nc, opts.Edge)
	} else {
		b.js, err = jetstream.New(b.nc)
	}
	if err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	if err = b.pub.start(b.nc); err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("connect bus: %w", err)
	}
	return b, nil
}

// JetStream gives the client library's view, for what this package lacks.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Conn gives the underlying connection.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// MaxPayload is the largest message the server takes, in bytes.
func (b *Bus) MaxPayload() int { return int(b.nc.MaxPayload()) }

// Ready reports whether the bus answers now; for health checks.
func (b *Bus) Ready(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("bus: %w: %s", ErrBusy, b.nc.Status())
	}
	_, err := b.js.AccountInfo(ctx)
	return classify("bus", err)
}

// Close flushes acks, fails what is still pending with ErrClosed and closes
// the connection. End every Consume first, by cancelling its context.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		// Acks are plain publishes: without a flush they would be lost, which
		// is safe but repeats work.
		_ = b.nc.FlushTimeout(2 * time.Second)
	}
	b.pub.close()
	b.nc.Close()
	<-b.gone
}
