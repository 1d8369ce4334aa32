//go:build linux || darwin

package chhttp

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chdb"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/sqltext"
)

// run sends the statement to the engine and its result to the client.
func (q *request) run() error {
	switch q.st.Kind {
	case sqltext.Insert:
		return q.insert()
	case sqltext.Select, sqltext.Inspect:
		if piecewise[strings.ToLower(first(q.st.OutFormat, q.args.format))] {
			return q.stream()
		}
	}
	return q.whole()
}

// piecewise are the formats without a head, a foot and separators: the engine
// ends the document with every piece of a streamed result. Results in other
// formats are made whole in memory, which the engine's limits bound.
var piecewise = map[string]bool{
	"native": true, "rowbinary": true, "tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "raw": true,
	"csv": true, "jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsoncompacteachrow": true, "jsonstringseachrow": true,
	"jsoncompactstringseachrow": true, "lineasstring": true, "rawblob": true, "msgpack": true, "tskv": true,
}

// whole runs a statement whose result is small.
func (q *request) whole() error {
	b, stats, err := q.conn.Query(q.st.SQL, q.args.format, q.args.params...)
	if err != nil {
		return err
	}
	return q.reply.finish(b, stats)
}

// stream runs a SELECT and passes its result on as it comes.
func (q *request) stream() error {
	s, err := q.conn.Stream(q.st.SQL, q.args.format, q.args.params...)
	if err != nil {
		if strings.Contains(err.Error(), "Streaming query is not supported") {
			return q.whole()
		}
		return err
	}
	defer s.Close()
	for {
		b, err := s.Next()
		if errors.Is(err, io.EOF) {
			return q.reply.finish(nil, s.Stats())
		}
		if err != nil {
			return q.reply.broken(err)
		}
		if err := q.reply.write(b, s.Stats()); err != nil {
			return gone{err}
		}
	}
}

// copyBuffers hold what is on the way from the body to the engine.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

// insert feeds the data to the engine as it arrives.
func (q *request) insert() error {
	format := q.st.Format
	if format == "" {
		format = "Values"
	}
	ins, err := q.conn.Insert(q.st.SQL, format, q.args.params...)
	if err != nil {
		return err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, rerr := fill(q.data, *buf)
		if n > 0 {
			if _, err := ins.Write((*buf)[:n]); err != nil {
				ins.Cancel()
				return err
			}
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			ins.Cancel()
			return bodyError(rerr)
		}
	}
	stats, err := ins.Done()
	if err != nil {
		return err
	}
	return q.reply.finish(nil, stats)
}

// fill reads until the buffer is full or the source ends or fails.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) {
		var m int
		m, err = r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// gone marks a client that no longer reads: nobody is left to tell.
type gone struct{ error }

// fail tells the client of an error that came before any of the result.
func (q *request) fail(err error) {
	var g gone
	if errors.As(err, &g) || q.r.Context().Err() != nil {
		return
	}
	if q.reply != nil && q.reply.started {
		_ = q.reply.broken(err)
		return
	}
	ex := asException(err)
	hd := q.w.Header()
	hd.Del("Content-Encoding")
	hd.Set("Content-Type", "text/plain; charset=UTF-8")
	hd.Set("X-ClickHouse-Exception-Code", ex.codeText())
	status := ex.status()
	if status == http.StatusUnauthorized {
		hd.Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	q.w.WriteHeader(status)
	_, _ = io.WriteString(q.w, ex.text(q.h.version)+"\n")
}

var _ http.Handler = (*Handler)(nil)
var _ io.Writer = (*chdb.Insert)(nil)
