package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/body"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// problem is an answer other than 200.
type problem struct {
	status  int
	retry   int      // Retry-After in seconds; 0: no use to try again
	Code    string   `json:"code"`
	Message string   `json:"error"`
	Offset  *int     `json:"offset,omitempty"` // byte of the unpacked body
	Batch   string   `json:"batch,omitempty"`  // repeat with this Idempotency-Key
	Near    []string `json:"near,omitempty"`   // sources that may have been meant
}

func (p *problem) Error() string { return p.Message }

// receipt is the answer 200.
type receipt struct {
	Accepted  int    `json:"accepted"`
	Dead      int    `json:"dead"`
	Batch     string `json:"batch"`
	Duplicate bool   `json:"duplicate"`
}

// answering makes a handler of what receives requests.
func (s *Service) answering(receive func(http.ResponseWriter, *http.Request) (*receipt, *problem)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec, p := receive(w, r)
		s.metrics.seconds.Observe(time.Since(began))
		if p != nil {
			s.refuse(w, r, p)
			return
		}
		s.metrics.requests.Add(1, "200")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(rec) // the client went away
	})
}

func (s *Service) refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	s.metrics.requests.Add(1, strconv.Itoa(p.status))
	s.opts.Logger.Debug("request refused", "status", p.status, "code", p.Code, "error", p.Message, "remote", r.RemoteAddr, "path", r.URL.Path)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="vagus"`)
	}
	if p.status == http.StatusRequestEntityTooLarge || p.status == http.StatusRequestTimeout {
		// The rest of the body is not worth reading.
		h.Set("Connection", "close")
	}
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}

// receive does the whole of a request but for the answer.
func (s *Service) receive(w http.ResponseWriter, r *http.Request) (*receipt, *problem) {
	source := r.PathValue("source")
	id, p := s.admit(r, source)
	if p != nil {
		return nil, p
	}
	return s.take(w, r, intake.Batch{Source: source, Auth: id.Name}, func(ws *workspace, b *intake.Batch) *problem {
		return s.cut(source, ws)
	})
}

// take reads the body into a workspace, lets split frame it, and submits it.
// split may change source, key and envelope of the batch.
func (s *Service) take(w http.ResponseWriter, r *http.Request, b intake.Batch, split func(ws *workspace, b *intake.Batch) *problem) (*receipt, *problem) {
	b.Key = r.Header.Get("Idempotency-Key")
	if p := checkKey(b.Key); p != nil {
		return nil, p
	}
	ws := s.work.Get().(*workspace)
	defer s.recycle(ws)
	if p := s.read(w, r, ws); p != nil {
		return nil, p
	}
	if p := split(ws, &b); p != nil {
		return nil, p
	}
	b.Remote, _, _ = net.SplitHostPort(r.RemoteAddr)
	b.Body, b.Frames = ws.body[ws.from:], ws.frames
	rec, err := s.Submit(r.Context(), &b)
	if err != nil {
		return nil, busProblem(err, rec.Key)
	}
	return &receipt{Accepted: rec.Accepted, Dead: rec.Dead, Batch: rec.Key, Duplicate: rec.Duplicate}, nil
}

// cut frames the body as the source wants it.
func (s *Service) cut(source string, ws *workspace) *problem {
	if source == intake.Auto {
		return frameProblem(frame.Any(ws.body, s.Limits(), &ws.frames))
	}
	framing := s.Framing(source)
	if framing.Header != "" { // may repeat the header: up to 1.25 times as much again
		if p := s.room(ws, len(ws.body)/4*9+1024); p != nil {
			return p
		}
	}
	body, err := framing.Frame(ws.body, s.Limits(), &ws.frames)
	ws.body = body
	return frameProblem(err)
}

// room gives the body a capacity of n bytes, charged.
func (s *Service) room(ws *workspace, n int) *problem {
	more := n - cap(ws.body)
	if more <= 0 {
		return nil
	}
	if !s.memory.try(int64(more)) {
		return busy()
	}
	ws.charged += int64(more)
	grown := make([]byte, len(ws.body), n)
	copy(grown, ws.body)
	ws.body = grown
	return nil
}

func busy() *problem {
	return &problem{status: http.StatusTooManyRequests, retry: 1, Code: "busy", Message: "too many bytes in flight, send again later"}
}

// admit checks token and source; an unknown sender learns nothing of sources.
func (s *Service) admit(r *http.Request, source string) (auth.Identity, *problem) {
	id, ok := auth.Request(r, s.Identify)
	if !ok {
		return id, &problem{status: http.StatusUnauthorized, Code: "unauthorized", Message: "missing or wrong token (send Authorization: Bearer TOKEN)"}
	}
	_, known := s.Known(source)
	switch {
	case known && id.May(source):
		return id, nil
	case known:
		return id, &problem{status: http.StatusForbidden, Code: "forbidden", Message: fmt.Sprintf("token %s may not write to source %s", id.Name, source)}
	}
	var may []string
	for _, name := range s.opts.Sources() {
		if id.May(name) {
			may = append(may, name)
		}
	}
	p := &problem{status: http.StatusNotFound, Code: "unknown_source", Message: fmt.Sprintf("unknown source %.128q", source), Near: alike(source, may)}
	if len(p.Near) > 0 {
		p.Message += ", did you mean " + strings.Join(p.Near, " or ") + "?"
	}
	return id, p
}

// checkKey keeps what goes into message ids short and printable.
func checkKey(key string) *problem {
	bad := len(key) > 128
	for i := 0; i < len(key); i++ {
		bad = bad || key[i] <= ' ' || key[i] > '~'
	}
	if bad {
		return &problem{status: http.StatusBadRequest, Code: "bad_idempotency_key", Message: "Idempotency-Key must be 1 to 128 printable ASCII characters without spaces"}
	}
	return nil
}

var errMemory = errors.New("too much in flight")

// read fills ws.body, charging its memory to the budget.
func (s *Service) read(w http.ResponseWriter, r *http.Request, ws *workspace) *problem {
	if r.ContentLength > s.opts.MaxWire {
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
			Message: fmt.Sprintf("body of %d bytes, at most %d are taken (send smaller batches)", r.ContentLength, s.opts.MaxWire)}
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.opts.QueueTimeout)
	defer cancel()
	if s.memory.acquire(ctx, int64(cap(ws.body))) != nil {
		return busy()
	}
	ws.charged = int64(cap(ws.body))
	src := &patient{r: r.Body, rc: http.NewResponseController(w), idle: s.opts.IdleTimeout, end: time.Now().Add(s.opts.ReadTimeout)}
	reader := s.readers.Get()
	var err error
	ws.body, err = reader.Read(ws.body[:0], src, r.Header.Get("Content-Encoding"), r.ContentLength,
		body.Limits{Wire: s.opts.MaxWire, Size: s.opts.MaxBody, Ratio: s.opts.MaxRatio}, func(n int) error {
			if !s.memory.try(int64(n)) {
				return errMemory
			}
			ws.charged += int64(n)
			return nil
		})
	s.readers.Put(reader)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		src.reset()
		return nil
	case errors.Is(err, errMemory):
		return busy()
	case errors.As(err, &tooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("more than %d bytes sent", tooLarge.Limit)}
	case errors.Is(err, body.ErrTooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: err.Error()}
	case errors.Is(err, body.ErrEncoding):
		return &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Message: err.Error()}
	case errors.Is(err, body.ErrCorrupt):
		return &problem{status: http.StatusBadRequest, Code: "damaged_body", Message: err.Error()}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{status: http.StatusRequestTimeout, Code: "too_slow", Message: "the body did not arrive in time"}
	}
	return &problem{status: http.StatusBadRequest, Code: "broken_body", Message: "the body broke off: " + err.Error()}
}

// patient reads a body with a limit on silence and on the whole.
type patient struct {
	r    io.Reader
	rc   *http.ResponseController
	idle time.Duration
	end  time.Time
	set  time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > p.idle/8 {
		p.set = now
		t := now.Add(p.idle)
		if t.After(p.end) {
			t = p.end
		}
		_ = p.rc.SetReadDeadline(t) // not every connection has deadlines
	}
	return p.r.Read(b)
}

func (p *patient) reset() { _ = p.rc.SetReadDeadline(time.Time{}) }

func frameProblem(err error) *problem {
	if err == nil {
		return nil
	}
	var fe *frame.Error
	if errors.As(err, &fe) {
		return &problem{status: http.StatusBadRequest, Code: "malformed_json", Message: err.Error() + "; nothing was taken", Offset: &fe.Offset}
	}
	return &problem{status: http.StatusRequestEntityTooLarge, Code: "too_many_records", Message: err.Error()}
}

func busProblem(err error, key string) *problem {
	if !errors.Is(err, intake.ErrBusy) {
		return &problem{status: http.StatusInternalServerError, Code: "refused", Message: err.Error(), Batch: key}
	}
	return &problem{status: http.StatusServiceUnavailable, retry: 2, Code: "busy", Batch: key,
		Message: "the bus cannot take the batch now; send it again with the same Idempotency-Key: " + err.Error()}
}
