package otlp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fastjson"
	"github.com/zeebo/xxh3"
	"google.golang.org/grpc/codes"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// fault is an answer other than success.
type fault struct {
	code    codes.Code
	message string
	retry   time.Duration // 0: no use to try again
}

func (f *fault) Error() string { return f.message }

// retryAfter is what a sender should wait when the hub is busy.
const retryAfter = 2 * time.Second

func busy(err error) *fault { return &fault{codes.ResourceExhausted, err.Error(), retryAfter} }

// outputFactor and outputBase bound the JSON of a request: so many times its
// size, and some more. What is beyond is rejected.
const (
	outputFactor = 16
	outputBase   = 64 << 20
	keepBuffer   = 8 << 20
)

// request is what a session takes.
type request struct {
	sig    *signal
	id     auth.Identity
	remote string
	key    string // Idempotency-Key, or ""
	body   []byte
	json   bool
}

// session does one request at a time; its memory is used again.
type session struct {
	r *Receiver
	split
	request
	outs     map[string]*out
	chunks   int
	charged  int64
	releases []func()
	parser   fastjson.Parser
	attempt  *httpin.Attempt
}

func newSession(r *Receiver) *session {
	s := &session{r: r, outs: map[string]*out{}}
	s.messages, s.split.sink = r.tables, s
	return s
}

// take stores the records of a request. rejected of them are not stored as
// records, for the reason why.
func (r *Receiver) take(ctx context.Context, req request) (rejected int64, why string, err error) {
	s, _ := r.sessions.Get().(*session)
	defer r.recycle(s)
	s.request = req
	s.split.sig, s.lim = req.sig, r.hub.Limits()
	s.maxDepth, s.total = s.lim.MaxDepth, int64(len(req.body))*outputFactor+outputBase
	s.rejected, s.why, s.timed, s.chunks = 0, "", true, 0
	// The JSON is longer than the protobuf; what more it takes is charged
	// when it is known.
	if err := s.charge(ctx, int64(len(req.body))); err != nil {
		return 0, "", err
	}
	s.attempt = r.replays.Begin(req.id.Name, req.body)
	defer func() { s.attempt.Done(ctx, err == nil) }()
	if req.json {
		err = s.split.json(ctx, req.body)
	} else {
		err = s.split.protobuf(ctx, req.body)
	}
	for _, o := range s.outs {
		if err == nil {
			err = s.full(ctx, o)
		}
	}
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, errNotJSON):
		err = &fault{codes.InvalidArgument, err.Error(), 0}
	case err == nil && s.rejected > 0:
		r.log.Warn("OTLP records rejected", "count", s.rejected, "reason", s.why, "auth", req.id.Name, "remote", req.remote)
	}
	return s.rejected, s.why, err
}

func (r *Receiver) recycle(s *session) {
	for _, release := range s.releases {
		release()
	}
	s.releases, s.charged, s.request = s.releases[:0], 0, request{}
	size := cap(s.head) + cap(s.tail) + cap(s.end)
	for _, o := range s.outs {
		size += cap(o.body) + 8*cap(o.frames.Records)
		o.body = o.body[:0]
		o.frames.Reset()
	}
	if size <= keepBuffer && len(s.outs) <= 8 {
		s.dst = nil
		r.sessions.Put(s)
	}
}

// charge has at least n bytes of the shared memory.
func (s *session) charge(ctx context.Context, n int64) error {
	if n <= s.charged {
		return nil
	}
	release, err := s.r.hub.Reserve(ctx, n-s.charged)
	if err != nil {
		return busy(err)
	}
	s.charged = n
	s.releases = append(s.releases, release)
	return nil
}

// out finds the place for records of a resource.
func (s *session) out(resource []byte) *out {
	source := s.r.cfg.Source
	if len(s.r.cfg.Routes) > 0 && resource != nil {
		source = s.route(resource)
	}
	o := s.outs[source]
	if o == nil {
		o = &out{source: source}
		s.outs[source] = o
	}
	return o
}

// route compares the attributes of a resource with the routes.
func (s *session) route(resource []byte) string {
	v, err := s.parser.ParseBytes(resource)
	if err != nil {
		return s.r.cfg.Source
	}
	attributes := v.GetArray("attributes")
	for _, route := range s.r.cfg.Routes {
		for _, a := range attributes {
			if string(a.GetStringBytes("key")) == route.Attribute && httpin.Match(route.Value, plainValue(a.Get("value"))) {
				return route.Source
			}
		}
	}
	return s.r.cfg.Source
}

// plainValue is the text of a simple value.
func plainValue(v *fastjson.Value) []byte {
	for _, key := range []string{"stringValue", "intValue"} {
		if text := v.GetStringBytes(key); text != nil {
			return text
		}
	}
	if b := v.Get("boolValue"); b != nil {
		return strconv.AppendBool(nil, b.GetBool())
	}
	return nil
}

// full submits what o holds.
func (s *session) full(ctx context.Context, o *out) error {
	if len(o.frames.Records)+len(o.frames.Bad) == 0 {
		return nil
	}
	if !s.id.May(o.source) {
		return &fault{codes.PermissionDenied, fmt.Sprintf("token %s may not write to source %s", s.id.Name, o.source), 0}
	}
	held := int64(len(s.body))
	for _, p := range s.outs {
		held += int64(cap(p.body))
	}
	if err := s.charge(ctx, held); err != nil {
		return err
	}
	b := intake.Batch{Source: o.source, Envelope: s.split.sig.envelope, Auth: s.id.Name, Remote: s.remote, Key: s.batchKey(), Body: o.body, Frames: o.frames}
	_, err := s.r.hub.Submit(ctx, &b)
	switch {
	case errors.Is(err, intake.ErrBusy):
		return busy(err)
	case err != nil:
		return &fault{codes.Internal, err.Error(), 0}
	}
	o.body = o.body[:0]
	o.frames.Reset()
	return nil
}

// batchKey makes a repeated request count once. OTLP has no ids of requests;
// one that is equal byte for byte, and whose records have times of nanoseconds,
// is a repetition, even after a restart. Without times it might be another one:
// then it is one only if the sender got no good answer before.
func (s *session) batchKey() string {
	key := s.key
	switch {
	case key != "":
	case s.timed:
		sum := xxh3.Hash128(s.body).Bytes()
		key = hex.EncodeToString(sum[:])
	default:
		key = s.attempt.Key
	}
	if s.chunks++; s.chunks > 1 {
		key += "-" + strconv.Itoa(s.chunks)
	}
	return key
}
