package s3

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

const (
	auto    = "auto"
	lines   = "lines"
	records = "records"

	peek     = 512       // bytes that decide what an object is
	keepLong = 64 << 10  // of a record beyond the limit
	window   = 128 << 20 // of zstd, at most
)

// errLarge ends objects beyond the limit.
var errLarge = errors.New("object beyond max_object")

// unpack undoes gzip or zstd, told by the first bytes. The result has at most
// limit bytes, then reading gives errLarge.
func unpack(r io.Reader, limit int64) (*bufio.Reader, func(), error) {
	from := &tracked{r: r}
	in := bufio.NewReaderSize(from, 64<<10)
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	done := func() {}
	var out io.Reader = in
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil && from.err != nil {
			return nil, nil, from.err
		}
		if err != nil {
			return nil, nil, &damage{err}
		}
		out = &packed{z, from}
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, nil, &damage{err}
		}
		out, done = &packed{z, from}, z.Close
	}
	return bufio.NewReaderSize(&limited{out, limit}, 64<<10), done, nil
}

// damage is an error of the object, not of the way to it.
type damage struct{ err error }

func (d *damage) Error() string { return "damaged compression: " + d.err.Error() }

// tracked remembers an error of reading.
type tracked struct {
	r   io.Reader
	err error
}

func (t *tracked) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

// packed tells damage from errors of the connection.
type packed struct {
	r    io.Reader
	from *tracked
}

func (p *packed) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	switch {
	case err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
	case p.from.err != nil:
		err = p.from.err
	default:
		err = &damage{err}
	}
	return n, err
}

// limited is io.LimitReader with an error of its own.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, errLarge
	}
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return n - 1, errLarge
	}
	return n, err
}

// sink takes what a splitter finds. bad has a reason of package frame.
type sink interface {
	record(rec []byte) error
	bad(rec []byte, reason, why string) error
}

// split cuts a stream into records. The error is of reading or of the sink.
func split(r *bufio.Reader, format string, lim frame.Limits, to sink) error {
	if format == auto {
		format = guess(r)
	}
	if format == records {
		s := splitter{r: r, lim: lim, to: to}
		return s.run()
	}
	return splitLines(r, lim, to)
}

// guess looks at what a stream begins with.
func guess(r *bufio.Reader) string {
	head, _ := r.Peek(peek) // shorter at the end
	head = bytes.TrimLeft(bytes.TrimPrefix(head, bom), " \t\r\n")
	if bytes.HasPrefix(head, []byte("[")) {
		return records
	}
	rest, ok := bytes.CutPrefix(head, []byte("{"))
	if !ok {
		return lines
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if len(rest) > 9 && bytes.EqualFold(rest[:9], []byte(`"Records"`)) {
		return records
	}
	return lines
}

var bom = []byte("\xef\xbb\xbf")

func splitLines(r *bufio.Reader, lim frame.Limits, to sink) error {
	if head, _ := r.Peek(3); bytes.Equal(head, bom) {
		_, _ = r.Discard(3)
	}
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		size := len(line) + len(part)
		if size <= lim.MaxRecord+2 {
			line = append(line, part...)
		} else if err = skipLine(r, err); len(line) < keepLong {
			line = append(line, part[:min(len(part), keepLong-len(line))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		rec := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		var serr error
		switch {
		case size > lim.MaxRecord+2 || len(rec) > lim.MaxRecord:
			serr = to.bad(rec[:min(len(rec), keepLong)], frame.ReasonTooLong, fmt.Sprintf("line of more than %d bytes", lim.MaxRecord))
		case len(rec) > 0:
			serr = to.record(rec)
		}
		if serr != nil || err != nil {
			if serr == nil && errors.Is(err, io.EOF) {
				return nil
			}
			return errors.Join(serr, ignoreEOF(err))
		}
		line = line[:0]
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// skipLine reads to the end of a line; err is that of the part before.
func skipLine(r *bufio.Reader, err error) error {
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return err
}
