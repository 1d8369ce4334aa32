package hec

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Handler is a collector. It is safe for concurrent use.
type Handler struct {
	cfg      Config
	hub      intake.Hub
	bodies   *httpin.Reader
	replays  *httpin.Replays
	channels *channels
	batches  sync.Pool // *batch
}

// Patterns are where the handler belongs, for http.ServeMux.
func Patterns() []string { return []string{"/services/collector", "/services/collector/"} }

// New makes a collector; the sources that the configuration names must be
// known to the hub.
func New(cfg Config, hub intake.Hub) (*Handler, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.fill()
	for _, r := range append([]Route{{Source: cfg.Source}}, cfg.Routes...) {
		if _, known := hub.Known(r.Source); !known {
			return nil, fmt.Errorf("hec: unknown source %q (see: vagus sources list)", r.Source)
		}
	}
	h := &Handler{cfg: cfg, hub: hub, bodies: httpin.NewReader(hub, cfg.MaxBody), replays: httpin.NewReplays(), channels: newChannels()}
	h.batches.New = func() any { return new(batch) }
	return h, nil
}

// ServeHTTP answers as a collector.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/services/collector"), "/")
	path = strings.TrimSuffix(path, "/1.0")
	if path == "/health" {
		h.health(w, r)
		return
	}
	var serve func(http.ResponseWriter, *http.Request, auth.Identity, url.Values)
	switch path {
	case "", "/event":
		serve = h.event
	case "/raw":
		serve = h.raw
	case "/ack":
		serve = h.ack
	default:
		replyNotFound.write(w, none, none)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		replyMethod.write(w, none, none)
		return
	}
	query := r.URL.Query()
	id, refused := h.identify(r, query)
	if refused != nil {
		refused.write(w, none, none)
		return
	}
	serve(w, r, id, query)
}

// identify finds the sender.
func (h *Handler) identify(r *http.Request, query url.Values) (auth.Identity, *reply) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if id, ok := auth.Request(r, h.hub.Identify); ok {
			return id, nil
		}
		token := query.Get("token")
		switch {
		case token == "" && r.Header.Get("X-Vagus-Token") == "":
			return auth.Identity{}, replyNoToken
		case token != "" && !h.cfg.QueryToken:
			return auth.Identity{}, replyQuery
		}
		if id, ok := h.hub.Identify(token); ok && token != "" {
			return id, nil
		}
		return auth.Identity{}, replyToken
	}
	if auth.Parse(header) == "" {
		return auth.Identity{}, replyAuth
	}
	if id, ok := auth.Request(r, h.hub.Identify); ok {
		return id, nil
	}
	return auth.Identity{}, replyToken
}

// channel is the request's channel: "" if it has none.
func (h *Handler) channel(r *http.Request, query url.Values) (string, *reply) {
	c := r.Header.Get("X-Splunk-Request-Channel")
	if c == "" {
		c = query.Get("channel")
	}
	if c != "" && !isGUID(c) {
		return "", replyChannel
	}
	return strings.ToLower(c), nil
}

func (h *Handler) event(w http.ResponseWriter, r *http.Request, id auth.Identity, query url.Values) {
	base := event{sourcetype: []byte(query.Get("sourcetype")), from: []byte(query.Get("source")), index: []byte(query.Get("index"))}
	h.take(w, r, id, query, intake.HEC, func(body []byte, b *batch) error {
		return b.events(body, h.hub.Limits(), func(e *event) (string, *reply) { return h.route(id, e.over(&base)) }, h.cfg.Source)
	})
}

// over is e with the query's metadata where e has none.
func (e *event) over(base *event) *event {
	out := *e
	for _, p := range []struct{ to, from *[]byte }{{&out.sourcetype, &base.sourcetype}, {&out.from, &base.from}, {&out.index, &base.index}} {
		if *p.to == nil {
			*p.to = *p.from
		}
	}
	return &out
}

func (h *Handler) raw(w http.ResponseWriter, r *http.Request, id auth.Identity, query url.Values) {
	e := event{sourcetype: []byte(query.Get("sourcetype")), from: []byte(query.Get("source")), index: []byte(query.Get("index"))}
	h.take(w, r, id, query, intake.Bare, func(body []byte, b *batch) error {
		source, refused := h.route(id, &e)
		if refused != nil {
			b.invalid, b.refused = refused, true
			return nil
		}
		f := &b.groups[b.of(source)].frames
		if lines, _ := h.hub.Known(source); lines {
			return frame.Lines(body, h.hub.Limits(), f)
		}
		return frame.JSON(body, h.hub.Limits(), f)
	})
}

// route gives an event its source.
func (h *Handler) route(id auth.Identity, e *event) (string, *reply) {
	if len(h.cfg.Indexes) > 0 && len(e.index) > 0 && !anyOf(h.cfg.Indexes, e.index) {
		return "", replyIndex
	}
	source := h.source(e)
	if !id.May(source) {
		return "", replyIndex
	}
	return source, nil
}

func (h *Handler) source(e *event) string {
	for i := range h.cfg.Routes {
		if r := &h.cfg.Routes[i]; fits(r.Sourcetype, e.sourcetype) && fits(r.From, e.from) && fits(r.Index, e.index) {
			return r.Source
		}
	}
	// A sourcetype that is a source id needs no route.
	if bytes.IndexByte(e.sourcetype, '.') > 0 && len(e.sourcetype) <= 64 {
		if s := string(e.sourcetype); s != intake.Auto {
			if _, known := h.hub.Known(s); known {
				return s
			}
		}
	}
	return h.cfg.Source
}

func fits(pattern string, text []byte) bool { return pattern == "" || httpin.Match(pattern, text) }

func anyOf(patterns []string, text []byte) bool {
	for _, p := range patterns {
		if httpin.Match(p, text) {
			return true
		}
	}
	return false
}

// take reads, frames and stores a body, and answers.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, id auth.Identity, query url.Values, envelope string, cut func([]byte, *batch) error) {
	channel, refused := h.channel(r, query)
	if refused != nil {
		refused.write(w, none, none)
		return
	}
	body, err := h.bodies.Read(w, r)
	if err != nil {
		bodyReply(err).write(w, none, none)
		return
	}
	defer body.Close()
	b := h.batches.Get().(*batch)
	defer h.batches.Put(b)
	b.reset()
	number := none
	switch err := cut(body.Bytes, b); {
	case err != nil:
		replyTooMany(err).write(w, none, none)
		return
	case b.invalid != nil && envelope == intake.HEC:
		number = b.number
	}
	if b.refused { // nothing of the request may be taken
		b.invalid.write(w, number, none)
		return
	}
	if b.empty() {
		replyNoData.write(w, none, none)
		return
	}
	if err := h.submit(r.Context(), r, id, channel, envelope, body.Bytes, b); err != nil {
		if errors.Is(err, intake.ErrBusy) {
			replyBusy.write(w, none, none)
			return
		}
		replyInternal.write(w, none, none)
		return
	}
	switch {
	case b.invalid != nil:
		b.invalid.write(w, number, none)
	case channel != "" && !h.cfg.NoAck:
		replySuccess.write(w, none, int64(h.channels.next(id.Name+"/"+channel)))
	default:
		replySuccess.write(w, none, none)
	}
}

func replyTooMany(err error) *reply {
	var many *frame.TooMany
	if errors.As(err, &many) {
		return &reply{http.StatusRequestEntityTooLarge, replyFormat.code, replyFormat.text + ": " + err.Error()}
	}
	return replyFormat
}

func (b *batch) empty() bool {
	for i := range b.groups {
		if f := &b.groups[i].frames; len(f.Records)+len(f.Bad) > 0 {
			return false
		}
	}
	return true
}

func (h *Handler) submit(ctx context.Context, r *http.Request, id auth.Identity, channel, envelope string, body []byte, b *batch) error {
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	attempt := h.replays.Begin(id.Name, body)
	key := attempt.Key
	if b.invalid != nil {
		// The answer will not be 200, and some senders then send the same again.
		key = "hec-invalid"
	}
	if n := r.Header.Get("X-Request-Id"); n != "" && channel != "" {
		// The channel and the number of a request in it name it.
		key = "hec-" + channel + "-" + base64.RawURLEncoding.EncodeToString([]byte(n[:min(len(n), 48)]))
	}
	var errs error
	for i := range b.groups {
		g := &b.groups[i]
		if len(g.frames.Records)+len(g.frames.Bad) == 0 {
			continue
		}
		_, err := h.hub.Submit(ctx, &intake.Batch{
			Source: g.source, Envelope: envelope, Auth: id.Name, Remote: remote, Key: key, Body: body, Frames: g.frames,
		})
		if err != nil && (errs == nil || errors.Is(err, intake.ErrBusy)) {
			errs = err // that it may be repeated matters more than other errors
		}
	}
	attempt.Done(ctx, errs == nil)
	return errs
}

// ack answers which ids are stored: all that were given out.
func (h *Handler) ack(w http.ResponseWriter, r *http.Request, id auth.Identity, query url.Values) {
	if h.cfg.NoAck {
		replyNoAck.write(w, none, none)
		return
	}
	channel, refused := h.channel(r, query)
	if channel == "" {
		if refused == nil {
			refused = replyNoChannel
		}
		refused.write(w, none, none)
		return
	}
	body, err := h.bodies.Read(w, r)
	if err != nil {
		bodyReply(err).write(w, none, none)
		return
	}
	defer body.Close()
	var asked struct {
		Acks []uint64 `json:"acks"`
	}
	if len(bytes.TrimSpace(body.Bytes)) == 0 {
		replyNoData.write(w, none, none)
		return
	}
	if len(body.Bytes) > 32*maxAsked || json.Unmarshal(body.Bytes, &asked) != nil || len(asked.Acks) > maxAsked {
		replyFormat.write(w, none, none)
		return
	}
	given := h.channels.given(id.Name + "/" + channel)
	out := []byte(`{"acks":{`)
	for i, n := range asked.Acks {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(append(out, '"'), n, 10)
		out = strconv.AppendBool(append(out, `":`...), n < given)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(append(out, "}}"...)) // the client went away
}

// health answers whether events would be taken now.
func (h *Handler) health(w http.ResponseWriter, r *http.Request) {
	release, err := h.hub.Reserve(r.Context(), 1<<20)
	if err != nil {
		replyUnhealthy.write(w, none, none)
		return
	}
	release()
	replyHealthy.write(w, none, none)
}
