// Package body reads a request's body whole, undoing gzip and zstd, within
// limits on what arrives, what it unpacks to, and the ratio of the two.
package body

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	// ErrTooLarge says the body is over a limit; the text says which.
	ErrTooLarge = errors.New("body too large")
	// ErrEncoding says Content-Encoding names something unknown.
	ErrEncoding = errors.New("unsupported content encoding")
	// ErrCorrupt says the compressed data is damaged or cut short.
	ErrCorrupt = errors.New("damaged compressed body")
)

// Limits bounds a body; all are required.
type Limits struct {
	Wire  int64 // bytes as they arrive
	Size  int64 // bytes unpacked
	Ratio int64 // unpacked to arrived, looked at beyond 4 MiB
}

// ratioFrom is where the ratio begins to count: small bodies of much
// repetition are common, and harmless.
const ratioFrom = 4 << 20

// Reader unpacks bodies; it keeps its decoders for the next one. Not safe for
// concurrent use; see Pool.
type Reader struct {
	gz *gzip.Reader
	zs *zstd.Decoder
}

// Pool hands out Readers.
type Pool struct{ p sync.Pool }

// Get takes a Reader.
func (p *Pool) Get() *Reader {
	if r, ok := p.p.Get().(*Reader); ok {
		return r
	}
	return &Reader{}
}

// Put gives it back.
func (p *Pool) Put(r *Reader) { p.p.Put(r) }

// counter counts what arrives and stops at the limit.
type counter struct {
	r     io.Reader
	n     int64
	limit int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.n > c.limit {
		return 0, fmt.Errorf("%w: more than %d bytes sent", ErrTooLarge, c.limit)
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Read appends the unpacked body to dst. hint is its expected size, or 0. The
// encoding is Content-Encoding; without one, compressed data is known by its
// first bytes. grow is asked before memory beyond cap(dst) is taken, with the
// number of bytes more; its error ends the reading. The returned slice is dst,
// grown, whatever the error.
func (r *Reader) Read(dst []byte, src io.Reader, encoding string, hint int64, lim Limits, grow func(int) error) ([]byte, error) {
	in := &counter{r: src, limit: lim.Wire}
	var head [4]byte
	n, err := io.ReadFull(in, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return dst, err
	}
	var from io.Reader = io.MultiReader(bytes.NewReader(head[:n]), in)
	packed := ""
	switch {
	case n >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		packed = "gzip"
	case n == 4 && head == [4]byte{0x28, 0xb5, 0x2f, 0xfd}:
		packed = "zstd"
	}
	switch e := strings.ToLower(strings.TrimSpace(encoding)); e {
	case "", "identity", packed:
	case "x-gzip":
		if packed != "gzip" {
			return dst, fmt.Errorf("%w: Content-Encoding says gzip, the body is not", ErrCorrupt)
		}
	case "gzip", "zstd":
		if n > 0 {
			return dst, fmt.Errorf("%w: Content-Encoding says %s, the body is not", ErrCorrupt, e)
		}
	default:
		return dst, fmt.Errorf("%w %q (gzip and zstd are understood)", ErrEncoding, e)
	}
	switch packed {
	case "gzip":
		if r.gz == nil {
			r.gz = new(gzip.Reader)
		}
		if err := r.gz.Reset(from); err != nil {
			return dst, damaged(err)
		}
		from = r.gz
	case "zstd":
		if r.zs == nil {
			// One goroutine fewer per request; the window bounds the memory.
			r.zs, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(32<<20))
			if err != nil {
				return dst, fmt.Errorf("zstd: %w", err)
			}
		}
		if err := r.zs.Reset(from); err != nil {
			return dst, damaged(err)
		}
		defer func() { _ = r.zs.Reset(nil) }() // lets go of the request
		from = r.zs
	}
	if packed != "" || hint <= 0 {
		hint = 256 << 10
	}
	if dst, err = enlarge(dst, int(min(hint+1, lim.Size+1, 1<<20)), grow); err != nil {
		return dst, err
	}
	for {
		if len(dst) == cap(dst) {
			if dst, err = enlarge(dst, int(min(2*int64(cap(dst)), max(lim.Size+1, int64(cap(dst))+1))), grow); err != nil {
				return dst, err
			}
		}
		n, err := from.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		size := int64(len(dst))
		switch {
		case size > lim.Size:
			return dst, fmt.Errorf("%w: more than %d bytes after unpacking (send smaller batches)", ErrTooLarge, lim.Size)
		case packed != "" && size > ratioFrom && size > lim.Ratio*max(in.n, 1):
			return dst, fmt.Errorf("%w: it unpacks to more than %d times its size", ErrTooLarge, lim.Ratio)
		case err == io.EOF:
			return dst, nil
		case err != nil && packed != "":
			return dst, damaged(err)
		case err != nil:
			return dst, err
		}
	}
}

// damaged tells errors of the format from those of the connection.
func damaged(err error) error {
	var fe flate.CorruptInputError
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.As(err, &fe), strings.Contains(err.Error(), "flate"), isZstd(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

func isZstd(err error) bool {
	for _, e := range []error{
		zstd.ErrMagicMismatch, zstd.ErrCRCMismatch, zstd.ErrReservedBlockType, zstd.ErrCompressedSizeTooBig, zstd.ErrBlockTooSmall,
		zstd.ErrUnexpectedBlockSize, zstd.ErrWindowSizeTooSmall, zstd.ErrFrameSizeExceeded, zstd.ErrFrameSizeMismatch, zstd.ErrUnknownDictionary,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return !errors.Is(err, ErrTooLarge) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// enlarge makes room for want bytes in all.
func enlarge(dst []byte, want int, grow func(int) error) ([]byte, error) {
	if cap(dst) >= want {
		return dst, nil
	}
	if err := grow(want - cap(dst)); err != nil {
		return dst, err
	}
	out := make([]byte, len(dst), want)
	copy(out, dst)
	return out, nil
}
