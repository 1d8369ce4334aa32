package syslog

import (
	"bytes"
	"fmt"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

// Reasons of dead letters.
const (
	reasonCut = "incomplete_message"
)

// mode is how a connection tells its messages apart (RFC 6587).
type mode uint8

const (
	unknown mode = iota
	counted      // MSG-LEN SP MSG
	byLF         // MSG LF
	byNUL        // MSG NUL
)

// keepOfLong is how much of a message beyond the limit is kept.
const keepOfLong = 64 << 10

// deframer cuts the bytes of one connection into messages. How the first one
// is told apart holds for the connection: else a message could smuggle in a
// count. After a broken count the rest of the line is a message of its own.
type deframer struct {
	mode  mode
	limit int  // bytes of a message
	skip  int  // bytes of a message with a count that are thrown away
	until bool // throw away up to the delimiter
}

// sink takes messages; the bytes are valid during the call.
type sink interface {
	message(msg []byte) error
	bad(msg []byte, reason, text string) error
}

// next handles as much of b as makes whole messages, and returns how much that
// was. What is left must come again with more bytes after it; it is never
// longer than limit plus a count.
func (d *deframer) next(b []byte, out sink) (used int, err error) {
	for used < len(b) {
		n, err := d.one(b[used:], out)
		used += n
		if err != nil || n == 0 {
			return used, err
		}
	}
	return used, nil
}

// one handles one message or what is thrown away; 0: more bytes are needed.
func (d *deframer) one(b []byte, out sink) (int, error) {
	if d.skip > 0 {
		n := min(d.skip, len(b))
		d.skip -= n
		return n, nil
	}
	if d.until {
		i := bytes.IndexByte(b, d.delimiter())
		if i < 0 {
			return len(b), nil
		}
		d.until = false
		return i + 1, nil
	}
	if d.mode == unknown {
		if len(b) > 0 && (b[0] == '\n' || b[0] == 0) {
			return 1, nil
		}
		n, at, state := count(b)
		switch {
		case state == partial || state == whole && len(b) == at:
			return 0, nil
		case state == whole && n > 0 && b[at] == '<':
			d.mode = counted
		default:
			i := bytes.IndexAny(b[:min(len(b), d.limit+1)], "\n\x00")
			if i < 0 && len(b) <= d.limit {
				return 0, nil
			}
			d.mode = byLF
			if i >= 0 && b[i] == 0 {
				d.mode = byNUL
			}
		}
	}
	if d.mode == counted {
		return d.counted(b, out)
	}
	return d.line(b, d.delimiter(), out)
}

func (d *deframer) delimiter() byte {
	if d.mode == byNUL {
		return 0
	}
	return '\n'
}

func (d *deframer) counted(b []byte, out sink) (int, error) {
	if b[0] == '\n' { // some senders end counted messages with a line end, too
		return 1, nil
	}
	n, at, state := count(b)
	switch {
	case state == partial:
		return 0, nil
	case state == broken:
		return d.line(b, '\n', out)
	case n > d.limit:
		have := min(len(b)-at, n)
		if have < min(n, keepOfLong) {
			return 0, nil
		}
		err := out.bad(b[at:at+min(n, keepOfLong)], frame.ReasonTooLong, fmt.Sprintf("message of %d bytes, at most %d are taken", n, d.limit))
		d.skip = n - have
		return at + have, err
	case len(b) < at+n:
		return 0, nil
	}
	return at + n, give(b[at:at+n], out)
}

func (d *deframer) line(b []byte, delimiter byte, out sink) (int, error) {
	i := bytes.IndexByte(b[:min(len(b), d.limit+1)], delimiter)
	switch {
	case i >= 0:
		return i + 1, give(b[:i], out)
	case len(b) <= d.limit:
		return 0, nil
	}
	d.until = true
	return d.limit, out.bad(b[:min(len(b), keepOfLong)], frame.ReasonTooLong, fmt.Sprintf("message without an end, at most %d bytes are taken", d.limit))
}

// finish handles what is left at the end of a connection. A line that a clean
// end leaves without its delimiter is a message; of a count more was promised.
func (d *deframer) finish(b []byte, clean bool, out sink) error {
	b = trim(b)
	if len(b) == 0 || d.skip > 0 || d.until {
		return nil
	}
	if _, _, state := count(b); clean && d.mode != counted && (d.mode != unknown || state == broken) {
		return give(b, out)
	}
	return out.bad(b[:min(len(b), keepOfLong)], reasonCut, "the connection ended within the message")
}

func give(msg []byte, out sink) error {
	if msg = trim(msg); len(msg) == 0 {
		return nil
	}
	return out.message(msg)
}

// trim takes line ends and NULs from the end of a message.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	return b
}

type countState uint8

const (
	whole   countState = iota
	partial            // more bytes are needed
	broken             // no count
)

// count reads MSG-LEN SP: at most nine digits, no leading zero.
func count(b []byte) (n, at int, state countState) {
	for at < len(b) {
		c := b[at]
		switch {
		case c == ' ' && at > 0:
			return n, at + 1, whole
		case c < '0' || c > '9' || c == '0' && at == 0 || at == 9:
			return 0, 0, broken
		}
		n = n*10 + int(c-'0')
		at++
	}
	return 0, 0, partial
}
