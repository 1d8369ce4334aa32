package syslog

import (
	"encoding/binary"
	"net"
	"syscall"
)

// enlarge asks for a receive buffer, past the system's limit where that is
// allowed, and for the count of drops with each datagram. It returns the size
// in use, 0 if that is unknown.
func enlarge(c *net.UDPConn, n int) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	size := 0
	err = raw.Control(func(fd uintptr) {
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, n) != nil {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n) // as much as the system gives
		}
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1) // without it drops are not seen
		size, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	})
	if err != nil {
		return 0
	}
	return size / 2 // the kernel doubles it for its own bookkeeping
}

// overflow reads the number of datagrams that the socket has dropped so far.
func overflow(oob []byte) (uint32, bool) {
	const word = 4 << (^uintptr(0) >> 63) // size of a length in a control message
	if len(oob) < word+8+4 {
		return 0, false
	}
	level, kind := binary.NativeEndian.Uint32(oob[word:]), binary.NativeEndian.Uint32(oob[word+4:])
	if level != syscall.SOL_SOCKET || kind != syscall.SO_RXQ_OVFL {
		return 0, false
	}
	return binary.NativeEndian.Uint32(oob[word+8:]), true
}

// unread says whether something has come that nobody has read yet, whatever the
// connection's deadline.
func unread(c net.Conn) (is bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		is = err == nil && n > 0
	})
	return is && err == nil
}
