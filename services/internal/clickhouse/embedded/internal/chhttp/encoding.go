//go:build linux || darwin

package chhttp

import (
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxWindow bounds the memory a zstd body may ask for, in bytes.
const maxWindow = 64 << 20

// decodeBody undoes the Content-Encoding of the body and, with native set,
// ClickHouse's own compressed frames.
func decodeBody(r *http.Request, native bool) (io.Reader, error) {
	var body io.Reader = r.Body
	var err error
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		body, err = gzip.NewReader(body)
	case "deflate":
		body, err = zlib.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	case "lz4":
		body = lz4.NewReader(body)
	case "br":
		body = brotli.NewReader(body)
	default:
		return nil, exceptionf(48, "NOT_IMPLEMENTED", "Unknown compression method %s of the request body", printable(enc))
	}
	if err != nil {
		return nil, bodyError(err)
	}
	if native {
		body = &nativeFrames{r: compress.NewReader(body)}
	}
	return body, nil
}

// nativeFrames makes the end between two frames a plain io.EOF.
type nativeFrames struct{ r *compress.Reader }

// Read takes decompressed bytes.
func (n *nativeFrames) Read(p []byte) (int, error) {
	c, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return c, err
}

// encodeBody prepares the way the result takes to the client.
func encodeBody(q *request) (io.Writer, func() error, error) {
	var out io.Writer = q.w
	var closers []func() error
	if q.args.flag("enable_http_compression") {
		hd := q.w.Header()
		switch enc := pick(q.r.Header.Get("Accept-Encoding")); enc {
		case "gzip":
			w, _ := gzip.NewWriterLevel(out, gzip.BestSpeed)
			out, closers = w, append(closers, w.Close)
			hd.Set("Content-Encoding", enc)
		case "deflate":
			w, _ := zlib.NewWriterLevel(out, zlib.BestSpeed)
			out, closers = w, append(closers, w.Close)
			hd.Set("Content-Encoding", enc)
		case "zstd":
			w, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
			if err != nil {
				return nil, nil, err
			}
			out, closers = w, append(closers, w.Close)
			hd.Set("Content-Encoding", enc)
		case "lz4":
			w := lz4.NewWriter(out)
			out, closers = w, append(closers, w.Close)
			hd.Set("Content-Encoding", enc)
		case "br":
			w := brotli.NewWriterLevel(out, 1)
			out, closers = w, append(closers, w.Close)
			hd.Set("Content-Encoding", enc)
		}
	}
	if q.args.flag("compress") {
		method := compress.LZ4
		if strings.EqualFold(q.args.raw["network_compression_method"], "zstd") {
			method = compress.ZSTD
		}
		w := &frameWriter{out: out, w: compress.NewWriter(0, method)}
		out, closers = w, append([]func() error{w.Close}, closers...)
	}
	return out, func() error {
		for _, c := range closers {
			if err := c(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// pick chooses among the encodings a client accepts.
func pick(accept string) string {
	for _, want := range []string{"zstd", "lz4", "gzip", "br", "deflate"} {
		for part := range strings.SplitSeq(accept, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(name), want) && strings.ReplaceAll(weight, " ", "") != "q=0" {
				return want
			}
		}
	}
	return ""
}

// frameSize is how much goes into one of ClickHouse's compressed frames, in bytes.
const frameSize = 1 << 20

// frameWriter writes ClickHouse's compressed frames.
type frameWriter struct {
	out io.Writer
	w   *compress.Writer
	buf []byte
}

// Write takes uncompressed bytes.
func (f *frameWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), frameSize-len(f.buf))
		f.buf = append(f.buf, p[:k]...)
		p = p[k:]
		if len(f.buf) == frameSize {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (f *frameWriter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	if err := f.w.Compress(f.buf); err != nil {
		return err
	}
	f.buf = f.buf[:0]
	_, err := f.out.Write(f.w.Data)
	return err
}

// Close writes what is left.
func (f *frameWriter) Close() error { return f.flush() }
