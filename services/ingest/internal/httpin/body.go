// Package httpin holds what the receivers of other products' HTTP protocols
// share: reading a body within limits and the memory of all senders, repeated
// requests counted once, and patterns in routes.
package httpin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/body"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// ErrSlow says that a body did not arrive in time.
var ErrSlow = errors.New("the body did not arrive in time")

// How long a body may be silent, and take in all.
const (
	idle  = 15 * time.Second
	whole = 2 * time.Minute
	// keep is the largest buffer that waits for the next request.
	keep = 4 << 20
)

// Reserver is what reading needs of intake.Hub.
type Reserver interface {
	Reserve(ctx context.Context, n int64) (release func(), err error)
}

// Reader reads bodies whole, unpacked. Safe for concurrent use.
type Reader struct {
	hub     Reserver
	limits  body.Limits
	readers body.Pool
	buffers sync.Pool // *Body
}

// NewReader makes a Reader for bodies of at most size bytes, packed and
// unpacked.
func NewReader(hub Reserver, size int64) *Reader {
	return &Reader{hub: hub, limits: body.Limits{Wire: size, Size: size, Ratio: 200}}
}

// Body is a request's body in memory that is charged to all senders.
type Body struct {
	Bytes    []byte
	releases []func()
	owner    *Reader
}

// Reserve charges n bytes more, until Close.
func (b *Body) Reserve(ctx context.Context, n int64) error {
	release, err := b.owner.hub.Reserve(ctx, n)
	if err == nil {
		b.releases = append(b.releases, release)
	}
	return err
}

// Close gives the memory back; Bytes must not be used after it.
func (b *Body) Close() {
	for i, release := range b.releases {
		release()
		b.releases[i] = nil
	}
	b.releases = b.releases[:0]
	if cap(b.Bytes) <= keep {
		b.owner.buffers.Put(b)
	}
}

// Read reads the body of a request. Close the Body unless there is an error,
// which is of package body, intake.ErrBusy, ErrSlow, or of the connection.
func (r *Reader) Read(w http.ResponseWriter, req *http.Request) (*Body, error) {
	if req.ContentLength > r.limits.Wire {
		return nil, body.ErrTooLarge
	}
	b, pooled := r.buffers.Get().(*Body)
	if !pooled {
		b = &Body{owner: r}
	}
	if n := int64(cap(b.Bytes)); n > 0 {
		if err := b.Reserve(req.Context(), n); err != nil {
			b.Close()
			return nil, err
		}
	}
	src := &patient{r: req.Body, rc: http.NewResponseController(w), end: time.Now().Add(whole)}
	reader := r.readers.Get()
	var err error
	b.Bytes, err = reader.Read(b.Bytes[:0], src, req.Header.Get("Content-Encoding"), req.ContentLength, r.limits,
		func(n int) error { return b.Reserve(req.Context(), int64(n)) })
	r.readers.Put(reader)
	if err != nil {
		b.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = ErrSlow
		}
		return nil, err
	}
	_ = src.rc.SetReadDeadline(time.Time{}) // not every connection has deadlines
	return b, nil
}

// Status is the HTTP status that an error of Read stands for.
func Status(err error) int {
	switch {
	case errors.Is(err, intake.ErrBusy):
		return http.StatusServiceUnavailable
	case errors.Is(err, body.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, body.ErrEncoding):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, ErrSlow):
		return http.StatusRequestTimeout
	}
	return http.StatusBadRequest
}

// patient reads with a limit on silence and on the whole.
type patient struct {
	r        io.Reader
	rc       *http.ResponseController
	end, set time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > idle/8 {
		p.set = now
		t := now.Add(idle)
		if t.After(p.end) {
			t = p.end
		}
		_ = p.rc.SetReadDeadline(t) // not every connection has deadlines
	}
	return p.r.Read(b)
}
