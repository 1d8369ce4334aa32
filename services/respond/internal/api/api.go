// Package api is the HTTP side of respond: the decisions feed that gateways
// ask, and the API through which people see and steer runs.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/incident"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// authPath is asked on every request of a gateway.
const authPath = "/v1/decisions/auth"

// Settings wires the handler. All are required.
type Settings struct {
	Engine    *engine.Engine
	Feed      *feed.Feed
	Writer    *feed.Writer
	Incidents *incident.Book
	Approvals kv.Store[run.Approval]
	Publisher engine.Publisher
	Token     string
	// AuthNetworks may ask authPath without the token.
	AuthNetworks []string
	Now          func() time.Time
	Logger       *slog.Logger
	Health       http.Handler // /healthz, /readyz, /metrics
	Metrics      *telemetry.Registry
}

type server struct {
	Settings
	token    [32]byte
	networks []netip.Prefix
	checks   telemetry.Counter
	mux      *http.ServeMux
}

// New returns the handler.
func New(s Settings) http.Handler {
	h := &server{Settings: s, token: sha256.Sum256([]byte(s.Token)), mux: http.NewServeMux()}
	h.checks = s.Metrics.Counter("vagus_respond_checks_total", "Questions of enforcement points by answer.", "answer")
	for _, n := range s.AuthNetworks {
		if p, err := netip.ParsePrefix(n); err == nil {
			h.networks = append(h.networks, p.Masked())
		} else {
			s.Logger.Error("network left out", "network", n, "error", err)
		}
	}
	h.mux.HandleFunc("GET /v1/decisions", h.listDecisions)
	h.mux.HandleFunc("POST /v1/decisions", h.postDecision)
	h.mux.HandleFunc("DELETE /v1/decisions/{id}", h.deleteDecision)
	h.mux.HandleFunc("GET /v1/approvals", h.listApprovals)
	h.mux.HandleFunc("POST /v1/approvals/{run}/{step}", h.answer)
	h.mux.HandleFunc("GET /v1/runs", h.listRuns)
	h.mux.HandleFunc("GET /v1/runs/{id}", h.getRun)
	h.mux.HandleFunc("POST /v1/runs/{id}/undo/{step}", h.undo)
	h.mux.HandleFunc("GET /v1/incidents", h.listIncidents)
	h.mux.HandleFunc("GET /v1/playbooks", h.listPlaybooks)
	return h
}

// ServeHTTP sends the gateways' question its short way and checks the token of
// everything else but health.
func (h *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case authPath:
		h.auth(w, r)
		return
	case "/healthz", "/readyz":
		h.Health.ServeHTTP(w, r)
		return
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		fail(w, http.StatusUnauthorized, "token is missing or wrong")
		return
	}
	if r.URL.Path == "/metrics" {
		h.Health.ServeHTTP(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h.mux.ServeHTTP(w, r)
}

// authorized compares hashes, so that time says nothing about the token.
func (h *server) authorized(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(token))
	return ok && subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, text string) {
	reply(w, code, map[string]string{"error": text})
}

// problem turns an error into an answer.
func (h *server) problem(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, feed.ErrNotFound):
		fail(w, http.StatusNotFound, err.Error())
	case errors.Is(err, engine.ErrState):
		fail(w, http.StatusConflict, err.Error())
	case errors.Is(err, bus.ErrBusy), errors.Is(err, bus.ErrConflict):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, context.Canceled):
		fail(w, http.StatusServiceUnavailable, "the service is stopping")
	default:
		h.Logger.Error("api", "method", r.Method, "path", r.URL.Path, "error", err)
		fail(w, http.StatusInternalServerError, err.Error())
	}
}

// body reads a strict JSON object.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "body: "+err.Error())
		return false
	}
	return true
}

// limit reads ?limit=, at most top.
func limit(r *http.Request, top int) int {
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n <= 0 || n > top {
		return top
	}
	return n
}
