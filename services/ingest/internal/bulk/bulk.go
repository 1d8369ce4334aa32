package bulk

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Prefix is where all paths are besides the root: for shippers that can be told
// one, and for products behind one address with others.
const Prefix = "/v1/elastic"

// Handler answers as Elasticsearch. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	hub     intake.Hub
	next    http.Handler
	bodies  *httpin.Reader
	replays *httpin.Replays
	dataset bool
	batches sync.Pool // *batch
	answers sync.Pool // *[]byte
}

// Patterns are where the handler belongs, for http.ServeMux: everywhere, because
// index names stand at the root. What is none of Elasticsearch's paths goes on
// to the handler given to New.
func Patterns() []string { return []string{"/{$}", "/{index}", "/{index}/{rest...}"} }

// apis are the first parts of the paths that are answered.
var apis = []string{
	"_bulk", "_license", "_xpack", "_cluster", "_nodes", "_ilm", "_alias", "_index_template", "_template", "_component_template",
	"_ingest", "_data_stream", "_cat", "_security", "_search", "_count", "_mget", "_msearch", "_doc", "_aliases",
}

// owns reports whether a request is one for Elasticsearch. Of single names only
// those are that ask for an index or make one.
func owns(r *http.Request) bool {
	path, prefixed := strings.CutPrefix(r.URL.Path, Prefix)
	first, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch {
	case prefixed && (path == "" || path[0] == '/'), strings.HasPrefix(first, "_") && slices.Contains(apis, first):
		return true
	case strings.HasPrefix(rest, "_"):
		return !strings.HasPrefix(first, "_")
	case rest != "":
		return false
	case first == "":
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return r.Method == http.MethodHead || r.Method == http.MethodPut
}

// New makes a handler; the sources that the configuration names must be known
// to the hub. Requests for anything but Elasticsearch go to next.
func New(cfg Config, hub intake.Hub, next http.Handler) (*Handler, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.fill()
	for _, r := range append([]Route{{Source: cfg.Source}}, cfg.Routes...) {
		if _, known := hub.Known(r.Source); !known {
			return nil, fmt.Errorf("bulk: unknown source %q (see: vagus sources list)", r.Source)
		}
	}
	h := &Handler{
		cfg: cfg, hub: hub, next: next, bodies: httpin.NewReader(hub, cfg.MaxBody), replays: httpin.NewReplays(), dataset: cfg.looksAtDataset(),
	}
	h.batches.New = func() any { return new(batch) }
	h.answers.New = func() any { return new([]byte) }
	return h, nil
}

// ServeHTTP answers as Elasticsearch.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !owns(r) {
		h.next.ServeHTTP(w, r)
		return
	}
	head := w.Header()
	// Elastic's clients talk to nothing that does not say this.
	head.Set("X-Elastic-Product", "Elasticsearch")
	head.Set("Content-Type", contentType(r))
	id, ok := auth.Request(r, h.hub.Identify)
	if !ok {
		head.Set("WWW-Authenticate", `Basic realm="security", charset="UTF-8"`)
		refuse(w, http.StatusUnauthorized, "security_exception", "missing or wrong token (send it as API key, as bearer token, or as password of any user)")
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, Prefix), "/")
	index, last, several := strings.Cut(path, "/")
	switch {
	case path == "_bulk":
		h.bulk(w, r, id, "")
	case several && last == "_bulk" && !strings.HasPrefix(index, "_"):
		h.bulk(w, r, id, index)
	default:
		h.other(w, r, path)
	}
}

// contentType is the compatible type that version 8 clients ask for and check.
func contentType(r *http.Request) string {
	if a := r.Header.Get("Accept"); strings.HasPrefix(a, "application/vnd.elasticsearch+json") && len(a) < 80 && !strings.ContainsAny(a, ",\r\n") {
		return a
	}
	return "application/json"
}

// bulk takes the documents of a request.
func (h *Handler) bulk(w http.ResponseWriter, r *http.Request, id auth.Identity, index string) {
	began := time.Now()
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Allow", "POST, PUT")
		refuse(w, http.StatusMethodNotAllowed, "method_not_allowed_exception", "Incorrect HTTP method for _bulk, allowed: [POST, PUT]")
		return
	}
	body, err := h.bodies.Read(w, r)
	if err != nil {
		refuseBusyOr(w, r, err)
		return
	}
	defer body.Close()
	b := h.batches.Get().(*batch)
	defer h.batches.Put(b)
	b.reset()
	query := r.URL.Query()
	// What an item and its answer take, so that tiny documents do not take more
	// memory than was asked for.
	n := min(countLines(body.Bytes)/2+1, h.cfg.MaxItems)
	if err := body.Reserve(r.Context(), int64(n)*int64(unsafe.Sizeof(item{})+unsafe.Sizeof(frame.Bad{})+200)); err != nil {
		refuseBusyOr(w, r, err)
		return
	}
	lim := limits{Limits: h.hub.Limits(), items: h.cfg.MaxItems, dataset: h.dataset}
	if err := b.parse(body.Bytes, index, lim, func(index, dataset []byte) (string, verdict) { return h.route(id, index, dataset) }); err != nil {
		refuseShape(w, err)
		return
	}
	if len(b.items) == 0 {
		refuse(w, http.StatusBadRequest, "parse_exception", "request body is required")
		return
	}
	all, some := h.submit(r, id, index, body.Bytes, b)
	if some && nameless(r) {
		panic(http.ErrAbortHandler) // see nameless
	}
	want := newWants(query.Get("filter_path"))
	buf := h.answers.Get().(*[]byte)
	*buf = append((*buf)[:0], '{')
	if all {
		// Some shippers look at the status, others only at the items.
		*buf = append(*buf, `"status":429,"error":{"type":"es_rejected_execution_exception","reason":"the hub is busy"}`...)
	}
	*buf = appendAnswer(*buf, b, &want, time.Since(began), strconv.FormatInt(began.UnixNano(), 36))
	w.Header().Set("Content-Length", strconv.Itoa(len(*buf)))
	if all {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	_, _ = w.Write(*buf) // the client went away
	if cap(*buf) <= 1<<20 {
		h.answers.Put(buf)
	}
}

func countLines(b []byte) int {
	return strings.Count(unsafe.String(unsafe.SliceData(b), len(b)), "\n")
}

// route gives a document its source, if the sender may write to it.
func (h *Handler) route(id auth.Identity, index, dataset []byte) (string, verdict) {
	source := h.cfg.Source
	for i := range h.cfg.Routes {
		r := &h.cfg.Routes[i]
		if (r.Index == "" || httpin.Match(r.Index, index)) && (r.Dataset == "" || httpin.Match(r.Dataset, dataset)) {
			source = r.Source
			break
		}
	}
	if !id.May(source) {
		return source, forbidden
	}
	return source, stored
}

// submit stores the groups and notes for each item what became of it. all says
// that nothing was stored because the hub is busy, some that a part was not.
func (h *Handler) submit(r *http.Request, id auth.Identity, index string, body []byte, b *batch) (all, some bool) {
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	attempt := h.replays.Begin(id.Name, body)
	key := attempt.Key
	if b.ids {
		// Ids name the documents, so the same body is the same documents.
		key = "bulk-ids-" + strconv.FormatUint(xxh3.HashString(index), 36)
	}
	sent, refused, bad := 0, 0, 0
	for i := range b.groups {
		g := &b.groups[i]
		if len(g.frames.Records)+len(g.frames.Bad) == 0 {
			continue
		}
		sent++
		_, err := h.hub.Submit(r.Context(), &intake.Batch{
			Source: g.source, Envelope: intake.Bulk, Auth: id.Name, Remote: remote, Key: key, Body: body, Frames: g.frames,
		})
		if err == nil {
			continue
		}
		bad++
		v := failed
		if errors.Is(err, intake.ErrBusy) {
			v = busy
			refused++
		}
		for n := range b.items {
			if it := &b.items[n]; it.group == int32(i) {
				it.verdict = v
			}
		}
	}
	attempt.Done(r.Context(), bad == 0)
	return sent > 0 && refused == sent, refused > 0
}
