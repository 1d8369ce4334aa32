package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// socketBuffer is what the kernel is asked to hold of datagrams.
	socketBuffer = 8 << 20
	maxDatagram  = 64 << 10
	// drainUDP bounds the reading of what the kernel holds at the end.
	drainUDP = time.Second
	// complain is how often drops are logged at most.
	complain = 10 * time.Second
)

func (l *listener) bindUDP(addr string) error {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return fmt.Errorf("syslog listen %s: %w", l.name, err)
	}
	if l.packet, err = net.ListenUDP("udp", at); err != nil {
		return fmt.Errorf("syslog listen %s: %w (choose another address)", l.name, err)
	}
	if size := enlarge(l.packet, socketBuffer); size > 0 && size < socketBuffer {
		l.logger.Info("the kernel gives the syslog socket a small buffer; with bursts of datagrams raise sysctl net.core.rmem_max",
			"bytes", size, "wanted", socketBuffer)
	}
	return nil
}

// queue is what was received and is not yet on its way.
type queue struct {
	mu     sync.Mutex
	batch  *collector
	held   int // bytes, with those on their way
	wake   chan struct{}
	queue  int // drops of the queue
	kernel int // drops of the kernel
}

func (l *listener) runUDP(ctx context.Context) error {
	q := &queue{batch: newCollector(&l.pool), wake: make(chan struct{}, 1)}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { l.submitUDP(ctx, q, ended) })
	stop := context.AfterFunc(ctx, func() { _ = l.packet.SetReadDeadline(time.Now()) })
	err := l.readUDP(ctx, q)
	stop()
	close(ended)
	wg.Wait()
	return errors.Join(err, l.packet.Close())
}

// readUDP queues datagrams until ctx ends, and then what the kernel holds.
func (l *listener) readUDP(ctx context.Context, q *queue) error {
	buf, oob := make([]byte, maxDatagram), make([]byte, 64)
	var end time.Time
	var drops uint32
	for {
		if ctx.Err() != nil {
			if end.IsZero() {
				end = time.Now().Add(drainUDP)
			}
			if time.Now().After(end) {
				return nil
			}
			_ = l.packet.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // a closed socket says so on reading
		}
		n, extra, _, from, err := l.packet.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !end.IsZero() {
				return nil
			}
			continue
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // of another datagram, such as an ICMP answer
			l.logger.Debug("syslog read", "error", err)
			continue
		}
		if now, ok := overflow(oob[:extra]); ok && now != drops {
			q.mu.Lock()
			q.kernel += int(now - drops)
			q.mu.Unlock()
			l.lost(int(now-drops), "kernel")
			drops = now
		}
		l.datagram(q, trim(buf[:n]), from.Addr().Unmap().WithZone(""))
	}
}

func (l *listener) datagram(q *queue, msg []byte, from netip.Addr) {
	switch {
	case len(msg) == 0:
		return
	case !contains(l.allow, from):
		l.refuse("network", from, nil)
		return
	}
	source := l.source(msg, from)
	q.mu.Lock()
	if q.held+len(msg) > l.QueueBytes {
		q.queue++
		q.mu.Unlock()
		l.lost(1, "queue")
		return
	}
	q.held += len(msg)
	q.batch.add(source, from, msg)
	ring := q.batch.count == 1 || q.batch.full()
	q.mu.Unlock()
	if ring {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// submitUDP submits what is queued until ended is closed and all is submitted.
func (l *listener) submitUDP(ctx context.Context, q *queue, ended <-chan struct{}) {
	spare := newCollector(&l.pool)
	var said time.Time
	for last := false; !last; {
		select {
		case <-q.wake:
			l.fill(q, ended)
		case <-ended:
			last = true
		}
		q.mu.Lock()
		q.batch, spare = spare, q.batch
		queueDrops, kernelDrops := q.queue, q.kernel
		if now := time.Now(); queueDrops+kernelDrops > 0 && now.Sub(said) > complain {
			said, q.queue, q.kernel = now, 0, 0
		} else {
			queueDrops, kernelDrops = 0, 0
		}
		q.mu.Unlock()
		if queueDrops+kernelDrops > 0 {
			l.logger.Warn("syslog datagrams lost: more came than could be stored; senders that must not lose any use TCP",
				"queue", queueDrops, "kernel", kernelDrops)
		}
		bytes := spare.bytes
		l.flush(ctx, spare)
		q.mu.Lock()
		q.held -= bytes
		q.mu.Unlock()
	}
}

// fill waits until the batch is full or old enough.
func (l *listener) fill(q *queue, ended <-chan struct{}) {
	timer := time.NewTimer(batchAge)
	defer timer.Stop()
	for {
		q.mu.Lock()
		full := q.batch.full()
		q.mu.Unlock()
		if full {
			return
		}
		select {
		case <-q.wake:
		case <-timer.C:
			return
		case <-ended:
			return
		}
	}
}
