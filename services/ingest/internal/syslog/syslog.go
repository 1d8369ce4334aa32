// Package syslog receives messages of RFC 5424 and RFC 3164 over UDP, TCP (both
// framings of RFC 6587) and TLS (RFC 5425). A message is stored as it came;
// only what routes look at is read here, and no message is refused for being
// odd.
//
// Syslog has no acknowledgement. Over TCP and TLS nothing further is read until
// what was read is stored, so a sender with a queue keeps what the hub cannot
// take. Datagrams that do not fit into the queue are lost, and counted.
package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

// Options are what the receiver needs beside its configuration.
type Options struct {
	Hub     intake.Hub          // required
	Metrics *telemetry.Registry // may be nil
	Logger  *slog.Logger        // may be nil
	// Grace is how long the last batches may take when Run stops; default 10s.
	Grace time.Duration
}

// Receiver is a set of listeners.
type Receiver struct {
	listeners []*listener
}

// listener is one address.
type listener struct {
	Config
	submitter
	network string
	rules   []rule
	allow   []netip.Prefix
	stream  net.Listener // tcp, tls
	packet  *net.UDPConn // udp
	tls     *certificates
	name    string // label of metrics: what was configured
	pool    sync.Pool
	open    atomic.Int64 // connections
	metrics metrics
}

type metrics struct {
	dropped, refused, broken telemetry.Counter
}

// New checks the configurations and binds their addresses. Call Run, or Close.
func New(configs []Config, opts Options) (*Receiver, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = telemetry.NewRegistry()
	}
	if opts.Grace == 0 {
		opts.Grace = 10 * time.Second
	}
	r := &Receiver{}
	for _, c := range configs {
		l, err := listen(c, opts)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.listeners = append(r.listeners, l)
	}
	if len(r.listeners) > 0 {
		opts.Metrics.OnCollect(func(snap *telemetry.Snapshot) {
			for _, l := range r.listeners {
				snap.Set("vagus_syslog_connections", "Open connections of a syslog listener.", float64(l.open.Load()), "listener", l.name)
			}
		})
	}
	return r, nil
}

func listen(c Config, opts Options) (*listener, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.fill()
	l := &listener{Config: c, name: c.Listen}
	l.allow, _ = prefixes(c.Allow) // checked above
	if _, known := opts.Hub.Known(c.Source); !known {
		return nil, fmt.Errorf("syslog listen %s: unknown source %q (see `vagus sources list`)", c.Listen, c.Source)
	}
	for i, route := range c.Routes {
		compiled, err := route.compile()
		if err != nil {
			return nil, err
		}
		if _, known := opts.Hub.Known(compiled.source); !known {
			return nil, fmt.Errorf("syslog listen %s: routes[%d]: unknown source %q (see `vagus sources list`)", c.Listen, i, compiled.source)
		}
		l.rules = append(l.rules, compiled)
	}
	m := opts.Metrics
	l.metrics = metrics{
		dropped: m.Counter("vagus_syslog_dropped_total", "Messages lost: datagrams that the kernel (kernel) or the queue (queue) had no room for, and what the bus refused (refused).", "listener", "where"),
		refused: m.Counter("vagus_syslog_refused_total", "Connections and datagrams not taken: of a network that is not allowed, beyond the connection limit, or without TLS or the certificate.", "listener", "reason"),
		broken:  m.Counter("vagus_syslog_broken_connections_total", "Connections that ended in an error.", "listener"),
	}
	l.submitter = submitter{hub: opts.Hub, auth: "syslog", logger: opts.Logger.With("listener", l.name), grace: opts.Grace,
		lost: func(n int, where string) { l.metrics.dropped.Add(float64(n), l.name, where) }}
	network, addr, err := c.address()
	if err != nil {
		return nil, err
	}
	l.network = network
	if network == "udp" {
		return l, l.bindUDP(addr)
	}
	if c.TLS != nil {
		if l.tls, err = newCertificates(*c.TLS); err != nil {
			return nil, fmt.Errorf("syslog listen %s: %w", c.Listen, err)
		}
	}
	if l.stream, err = net.Listen("tcp", addr); err != nil {
		return nil, fmt.Errorf("syslog listen %s: %w (choose another address)", c.Listen, err)
	}
	return l, nil
}

// source finds the source of a message.
func (l *listener) source(msg []byte, from netip.Addr) string {
	if len(l.rules) == 0 {
		return l.Source
	}
	h := parse(msg)
	for i := range l.rules {
		if l.rules[i].matches(&h, from) {
			return l.rules[i].source
		}
	}
	return l.Source
}

// Addrs are the addresses that are listened on, in the order of the
// configurations.
func (r *Receiver) Addrs() []string {
	var out []string
	for _, l := range r.listeners {
		if l.packet != nil {
			out = append(out, l.packet.LocalAddr().String())
		} else {
			out = append(out, l.stream.Addr().String())
		}
	}
	return out
}

// Run receives until ctx ends, submits all that was read, and returns nil.
func (r *Receiver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, len(r.listeners))
	for _, l := range r.listeners {
		l.logger.Info("syslog listens", "addr", l.addr())
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				failed <- fmt.Errorf("syslog %s: %w", l.name, err)
				cancel()
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

func (l *listener) addr() net.Addr {
	if l.packet != nil {
		return l.packet.LocalAddr()
	}
	return l.stream.Addr()
}

func (l *listener) run(ctx context.Context) error {
	if l.packet != nil {
		return l.runUDP(ctx)
	}
	return l.runStream(ctx)
}

// Close frees the addresses of a Receiver that never ran.
func (r *Receiver) Close() error {
	var errs []error
	for _, l := range r.listeners {
		var c io.Closer = l.stream
		if l.packet != nil {
			c = l.packet
		}
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
