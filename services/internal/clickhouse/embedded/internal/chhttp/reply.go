//go:build linux || darwin

package chhttp

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chdb"
)

// reply sends a result. Its beginning is held back, so that a statement that
// fails early is answered with a proper status.
type reply struct {
	q       *request
	held    []byte
	hold    int
	out     io.Writer
	close   func() error
	started bool
	tag     string
}

func newReply(q *request) *reply {
	r := &reply{q: q, hold: replyBuffer, tag: strings.ReplaceAll(newID(), "-", "")[:16]}
	if q.args.flag("wait_end_of_query") {
		r.hold = maxHeldBack
	}
	return r
}

// write adds a piece of the result.
func (r *reply) write(b []byte, stats chdb.Stats) error {
	if !r.started {
		if len(r.held)+len(b) <= r.hold {
			r.held = append(r.held, b...)
			return nil
		}
		if err := r.start(stats); err != nil {
			return err
		}
	}
	_, err := r.out.Write(b)
	return err
}

// finish adds the last piece and ends the answer.
func (r *reply) finish(b []byte, stats chdb.Stats) error {
	if !r.started {
		r.held = append(r.held, b...)
		b = nil
		if err := r.start(stats); err != nil {
			return gone{err}
		}
	}
	if len(b) > 0 {
		if _, err := r.out.Write(b); err != nil {
			return gone{err}
		}
	}
	if err := r.close(); err != nil {
		return gone{err}
	}
	return nil
}

// start sends the headers and what was held back.
func (r *reply) start(stats chdb.Stats) error {
	r.started = true
	q := r.q
	hd := q.w.Header()
	format := first(q.st.OutFormat, q.args.format)
	hd.Set("Content-Type", contentType(format))
	hd.Set("X-ClickHouse-Format", format)
	hd.Set("X-ClickHouse-Exception-Tag", r.tag)
	hd.Set("X-ClickHouse-Summary", summary(stats, time.Since(q.began)))
	var err error
	if r.out, r.close, err = encodeBody(q); err != nil {
		return err
	}
	if len(r.held) == 0 {
		return nil
	}
	_, err = r.out.Write(r.held)
	r.held = nil
	return err
}

// broken ends a result that failed under way. A part of it is out already, so
// the error follows in the body, framed as a server frames it, and the
// connection is cut: a client that ignores the frame still sees a failure.
func (r *reply) broken(err error) error {
	if !r.started {
		return err
	}
	text := asException(err).text(r.q.h.version)
	if len(text) > 16<<10 {
		text = text[:16<<10]
	}
	_, _ = fmt.Fprintf(r.out, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", r.tag, text, len(text)+1, r.tag)
	_ = r.close()
	_ = http.NewResponseController(r.q.w).Flush()
	panic(http.ErrAbortHandler)
}

func summary(s chdb.Stats, elapsed time.Duration) string {
	n := func(v uint64) string { return `"` + strconv.FormatUint(v, 10) + `"` }
	return `{"read_rows":` + n(s.ReadRows) + `,"read_bytes":` + n(s.ReadBytes) +
		`,"written_rows":` + n(s.WrittenRows) + `,"written_bytes":` + n(s.WrittenBytes) +
		`,"total_rows_to_read":` + n(s.ReadRows) + `,"result_rows":` + n(s.WrittenRows) + `,"result_bytes":` + n(s.WrittenBytes) +
		`,"elapsed_ns":` + n(uint64(max(elapsed, 0))) + `}`
}

// contentType is the media type of a format.
func contentType(format string) string {
	f := strings.ToLower(format)
	switch {
	case strings.Contains(f, "eachrow") && strings.HasPrefix(f, "json"), f == "jsonlines", f == "ndjson":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		return "text/csv; charset=UTF-8; header=" + map[bool]string{true: "present", false: "absent"}[strings.Contains(f, "names")]
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	case f == "native", f == "parquet", f == "orc", f == "avro", f == "msgpack", strings.HasPrefix(f, "rowbinary"), strings.HasPrefix(f, "arrow"):
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}
