package envelope

import (
	"bytes"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// Container runtimes cut long lines into parts, each with an envelope of its
// own. A record holds all parts of one line, with line ends between them.

// cri reads "2026-11-22T18:21:42.123456789Z stdout F text". The tag F ends a
// line, P goes on in the next.
func (p *Peeler) cri(record []byte, c *Content) {
	line, rest, several := bytes.Cut(record, []byte("\n"))
	at, text, ok := criLine(line)
	if !ok {
		return
	}
	c.Known.Time = stamp(at)
	if !several {
		c.add(text)
		return
	}
	buf := append(p.room(len(record)), bytes.TrimSuffix(text, []byte("\r"))...)
	for more := true; more; {
		line, rest, more = bytes.Cut(rest, []byte("\n"))
		if _, text, ok = criLine(line); !ok { // a line of another kind: as it stands
			buf = append(buf, '\n')
			text = line
		}
		buf = append(buf, bytes.TrimSuffix(text, []byte("\r"))...)
	}
	p.buf = buf
	c.add(buf)
}

func criLine(line []byte) (at, text []byte, ok bool) {
	at, rest, _ := bytes.Cut(line, []byte(" "))
	stream, rest, _ := bytes.Cut(rest, []byte(" "))
	_, text, ok = bytes.Cut(rest, []byte(" "))
	ok = ok && (string(stream) == "stdout" || string(stream) == "stderr")
	return at, text, ok
}

// docker reads {"log":"text\n","stream":"stdout","time":"…"}. A line ends where
// the text does with a line end.
func (p *Peeler) docker(record []byte, c *Content) {
	line, rest, several := bytes.Cut(record, []byte("\n"))
	text, at, ok := p.dockerLine(line)
	if !ok {
		return
	}
	c.Known.Time = stamp(at)
	if !several {
		c.add(bytes.TrimRight(text, "\r\n"))
		return
	}
	joined := append([]byte(nil), text...) // rare: p.buf is for the parts
	for more := true; more; {
		line, rest, more = bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if text, _, ok = p.dockerLine(line); !ok {
			*c = Content{}
			return
		}
		joined = append(joined, text...)
	}
	c.add(bytes.TrimRight(joined, "\r\n"))
}

func (p *Peeler) dockerLine(line []byte) (text, at []byte, ok bool) {
	p.scan.Reset(line)
	if p.scan.Next() != json.Object {
		return nil, nil, false
	}
	p.scan.Enter()
	for first := true; ; first = false {
		key, _, more := p.scan.Key(first)
		if !more {
			break
		}
		switch v := p.scan.Value(); string(key) {
		case "log":
			text = p.plain(v)
		case "time":
			at = p.plain(v)
		}
	}
	p.scan.End()
	return text, at, !p.scan.Failed()
}

// room is an empty buffer for n bytes; texts that lie in the old memory stay.
func (p *Peeler) room(n int) []byte {
	if cap(p.buf)-len(p.buf) < n {
		p.buf = make([]byte, 0, n+4096)
	}
	return p.buf[len(p.buf):]
}
