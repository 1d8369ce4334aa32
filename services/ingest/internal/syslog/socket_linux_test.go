package syslog

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// lateConn is read by somebody who is not given the processor, once, until the
// deadline has passed.
type lateConn struct {
	*net.TCPConn
	late bool
}

func (c *lateConn) SetReadDeadline(t time.Time) error {
	err := c.TCPConn.SetReadDeadline(t)
	if d := time.Until(t); d > 0 && !c.late {
		c.late = true
		time.Sleep(d + time.Millisecond)
	}
	return err
}

// What came while the reader stood still is not taken for silence.
func TestStopOfAReaderThatStandsStill(t *testing.T) {
	hub := &fakeHub{}
	r := run(t, hub, Config{Listen: "tcp://127.0.0.1:0"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sender := dial(t, "tcp", l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, sender, "<13>1 - web1 nginx - - - one\n<13>1 - web1 nginx - - - two\n")
	testkit.Eventually(t, "it has come", func() bool { return unread(c) })
	ctx, stop := context.WithCancel(t.Context())
	stop()
	conn := &lateConn{TCPConn: c.(*net.TCPConn)}
	r.listeners[0].serve(ctx, conn, netip.MustParseAddr("127.0.0.1"))
	if n := hub.len(); n != 2 || !conn.late {
		t.Errorf("%d messages of 2, late %v", n, conn.late)
	}
}
