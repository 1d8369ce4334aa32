package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	handshakeTimeout = 10 * time.Second
	// At the end a connection is read until it is silent for drainQuiet, for
	// at most drainMost: what the sender had already sent is not lost. Silent is
	// a connection that has nothing to read, and not one whose reader was not
	// given the processor until the deadline had passed.
	drainQuiet = 200 * time.Millisecond
	drainMost  = 2 * time.Second

	firstBuffer = 4 << 10
	usualBuffer = 256 << 10
	// countRoom is more than a count needs.
	countRoom = 16
)

func (l *listener) runStream(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.stream.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for wait := 5 * time.Millisecond; ; {
		conn, err := l.stream.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors: it passes
			l.logger.Warn("syslog accept", "error", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		from := remote(conn.RemoteAddr())
		switch {
		case !contains(l.allow, from):
			l.refuse("network", from, nil)
			conn.Close()
		case l.open.Load() >= int64(l.MaxConnections):
			l.refuse("connections", from, nil)
			conn.Close()
		default:
			l.open.Add(1)
			wg.Go(func() {
				defer l.open.Add(-1)
				defer conn.Close()
				l.serve(ctx, conn, from)
			})
		}
	}
}

func (l *listener) refuse(reason string, from netip.Addr, err error) {
	l.metrics.refused.Add(1, l.name, reason)
	l.logger.Debug("syslog sender refused", "reason", reason, "remote", from.String(), "error", err)
}

func remote(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// session is one connection.
type session struct {
	l       *listener
	sub     submitter
	conn    net.Conn
	raw     net.Conn // conn without TLS
	from    netip.Addr
	frames  deframer
	batch   *collector
	release func() // memory of the batch
	ctx     context.Context
	drain   time.Time // set when ctx has ended: read until then
	alarm   alarm
	buf     []byte
	start   int // buf[start:end] is not yet framed
	end     int
}

// alarm is what the read deadline was set for.
type alarm uint8

const (
	none alarm = iota
	idle
	age
)

func (l *listener) serve(ctx context.Context, conn net.Conn, from netip.Addr) {
	s := &session{l: l, sub: l.submitter, conn: conn, raw: conn, from: from, ctx: ctx, batch: newCollector(&l.pool), buf: make([]byte, firstBuffer)}
	s.frames.limit = l.hub.Limits().MaxRecord
	if l.tls != nil {
		secure := tls.Server(conn, l.tls.config())
		hello, cancel := context.WithTimeout(ctx, handshakeTimeout)
		err := secure.HandshakeContext(hello)
		cancel()
		if err != nil {
			l.refuse("tls", from, err)
			return
		}
		name, err := l.tls.client(secure.ConnectionState())
		if err != nil {
			l.refuse("certificate", from, err)
			return
		}
		if s.conn = secure; name != "" {
			s.sub.auth += ":" + name
		}
	}
	wake := context.AfterFunc(ctx, func() {
		// A sender that sees the end of the stream sends no more to it.
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite() // gone already: fine
		}
		_ = conn.SetReadDeadline(time.Now())
	})
	defer wake()
	err := s.read()
	clean := errors.Is(err, io.EOF)
	if ferr := s.frames.finish(s.buf[s.start:s.end], clean, s); ferr != nil {
		l.logger.Debug("syslog", "error", ferr)
	}
	s.flush()
	if !clean && err != nil {
		l.metrics.broken.Add(1, l.name)
		l.logger.Debug("syslog connection ended", "remote", from.String(), "error", err)
	}
}

// read frames what arrives until the connection ends; nil: it was silent for
// too long, or the receiver stops.
func (s *session) read() error {
	for {
		s.room()
		if err := s.deadline(); err != nil {
			return err
		}
		n, err := s.conn.Read(s.buf[s.end:])
		s.end += n
		if n > 0 {
			used, ferr := s.frames.next(s.buf[s.start:s.end], s)
			s.start += used
			if s.start == s.end {
				s.start, s.end = 0, 0
			}
			if ferr != nil {
				return ferr
			}
		}
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if s.batch.full() || s.batch.count > 0 && (late || time.Since(s.batch.first) >= batchAge) {
			s.flush()
		} else if late && s.ctx.Err() == nil && s.alarm == idle {
			return nil
		}
		if late {
			if !s.drain.IsZero() && (n == 0 && !unread(s.raw) || time.Now().After(s.drain)) {
				return nil
			}
			s.alarm = none
			continue
		}
		if err != nil {
			return err
		}
	}
}

// deadline sets the read deadline: the batch's age, the idle timeout, or the
// end of draining.
func (s *session) deadline() error {
	if s.ctx.Err() == nil {
		switch {
		case s.batch.count > 0 && s.alarm != age:
			s.alarm = age
			_ = s.conn.SetReadDeadline(s.batch.first.Add(batchAge)) // a closed connection says so on Read
		case s.batch.count == 0 && (s.alarm != idle || s.l.IdleTimeout < time.Minute):
			s.alarm = idle
			_ = s.conn.SetReadDeadline(time.Now().Add(s.l.IdleTimeout))
		case s.batch.count == 0:
			return nil
		}
	}
	// Looked at after setting: whoever ends ctx sets a deadline afterwards.
	if s.ctx.Err() != nil {
		now := time.Now()
		if s.drain.IsZero() {
			s.drain = now.Add(drainMost)
		}
		if now.After(s.drain) {
			return fmt.Errorf("still sending %s after the receiver's end", drainMost)
		}
		_ = s.conn.SetReadDeadline(now.Add(drainQuiet))
	}
	return nil
}

// room makes room for the next read: the buffer grows with what arrives, up to
// what a message may have, and shrinks when it is empty.
func (s *session) room() {
	most := max(usualBuffer, s.frames.limit+countRoom+1)
	switch {
	case s.start == s.end && len(s.buf) > usualBuffer:
		s.buf = make([]byte, usualBuffer)
	case s.end < len(s.buf):
		return
	case s.start >= len(s.buf)/2:
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	default:
		bigger := make([]byte, min(2*len(s.buf), most))
		s.end = copy(bigger, s.buf[s.start:s.end])
		s.buf, s.start = bigger, 0
	}
}

func (s *session) message(msg []byte) error {
	s.reserve()
	s.batch.add(s.l.source(msg, s.from), s.from, msg)
	if s.batch.full() {
		s.flush()
	}
	return nil
}

func (s *session) bad(msg []byte, reason, text string) error {
	s.reserve()
	s.batch.bad(s.l.source(msg, s.from), s.from, msg, reason, text)
	return nil
}

// reserve charges a batch to the memory that all senders share; while there is
// none, nothing is read.
func (s *session) reserve() {
	if s.release != nil {
		return
	}
	s.release = func() {}
	err := s.sub.again(s.ctx, func() (err error) {
		release, err := s.l.hub.Reserve(context.WithoutCancel(s.ctx), batchBytes)
		if err == nil {
			s.release = release
		}
		return err
	})
	if err != nil { // the receiver stops: this batch is the last
		s.l.logger.Debug("syslog memory", "error", err)
	}
}

func (s *session) flush() {
	s.sub.flush(s.ctx, s.batch)
	if s.release != nil {
		s.release()
		s.release = nil
	}
}
