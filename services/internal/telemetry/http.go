package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Health answers /healthz, /readyz and /metrics. Safe for concurrent use.
type Health struct {
	reg     *Registry
	timeout time.Duration
	mu      sync.Mutex
	checks  []check
}

type check struct {
	name string
	f    func(context.Context) error
}

// NewHealth returns a Health over the metrics of reg, which may be nil.
func NewHealth(reg *Registry) *Health { return &Health{reg: reg, timeout: 2 * time.Second} }

// Check adds a readiness check; f returns what keeps the process from working.
func (h *Health) Check(name string, f func(context.Context) error) {
	h.mu.Lock()
	h.checks = append(h.checks, check{name, f})
	h.mu.Unlock()
}

// Ready runs all checks side by side, each within two seconds, and returns the
// failures by name.
func (h *Health) Ready(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	h.mu.Lock()
	checks := append([]check(nil), h.checks...)
	h.mu.Unlock()
	failed := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range checks {
		wg.Go(func() {
			if err := c.f(ctx); err != nil {
				mu.Lock()
				failed[c.name] = err.Error()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// Handler serves GET /healthz (the process lives: always 200), GET /readyz
// (200, or 503 and the failed checks as JSON) and GET /metrics. It has no
// authentication: serve it on loopback or behind the caller's own check.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if failed := h.Ready(r.Context()); len(failed) > 0 {
			answer(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "failed": failed})
			return
		}
		answer(w, http.StatusOK, map[string]any{"status": "ready"})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if h.reg != nil {
			_ = h.reg.Write(w) // the client went away
		}
	})
	return mux
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
