//go:build !linux

package syslog

import "net"

// enlarge asks for a receive buffer; 0: the size in use is unknown.
func enlarge(c *net.UDPConn, n int) int {
	_ = c.SetReadBuffer(n) // as much as the system gives
	return 0
}

// overflow is known on Linux only.
func overflow([]byte) (uint32, bool) { return 0, false }

// unread is known on Linux only.
func unread(net.Conn) bool { return false }
