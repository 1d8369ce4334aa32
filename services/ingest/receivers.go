package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/vagus-hub/vagus/services/ingest/internal/bulk"
	"github.com/vagus-hub/vagus/services/ingest/internal/hec"
	"github.com/vagus-hub/vagus/services/ingest/internal/otlp"
)

// receivers is every way in: handlers on the one HTTP port, and runners with
// sockets or files of their own.
type receivers struct {
	s    *Service
	mux  *http.ServeMux
	runs []runner
}

// runner is a receiver that is no HTTP handler. run returns nil after ctx
// ended and what it had accepted is submitted, or why it cannot go on.
type runner struct {
	name string
	run  func(ctx context.Context) error
}

// add lists the receivers. To add one: a package with Config and New, a field
// in Options, and a line here. Sockets are bound in New, so that an address in
// use is an error of the start.
func (r *receivers) add() error {
	r.http("ingest", r.s.answering(r.s.receive), "POST /v1/ingest/{source}")
	r.http("hook", r.s.answering(r.s.hook), "POST /v1/hook/{name}")
	r.http("cloudevents", r.s.answering(r.s.cloudEvents), "POST /v1/cloudevents", "POST /v1/cloudevents/{source}")
	r.http("kubernetes_audit", r.s.answering(r.s.kubernetesAudit), "POST /v1/kubernetes/audit")
	return errors.Join(r.splunk(), r.elastic(), r.openTelemetry(), r.sockets(), r.files(), r.pulls(), r.inbox())
}

func (r *receivers) splunk() error {
	if r.s.opts.HEC.Disabled {
		return nil
	}
	h, err := hec.New(r.s.opts.HEC, r.s)
	if err != nil {
		return err
	}
	r.http("hec", h, hec.Patterns()...)
	return nil
}

func (r *receivers) elastic() error {
	if r.s.opts.Bulk.Disabled {
		return nil
	}
	h, err := bulk.New(r.s.opts.Bulk, r.s, http.HandlerFunc(r.s.noSuchPath))
	if err != nil {
		return err
	}
	r.http("bulk", h, bulk.Patterns()...)
	return nil
}

// openTelemetry also has ports of its own, if configured.
func (r *receivers) openTelemetry() error {
	o, err := otlp.New(r.s.opts.OTLP, r.s, r.s.clients, r.s.opts.Logger)
	if err != nil {
		return err
	}
	r.s.otlp = o
	r.http("otlp", o.Handler(), o.Patterns()...)
	r.run("otlp", o.Run)
	return nil
}

// http mounts a handler; patterns are those of http.ServeMux.
func (r *receivers) http(name string, h http.Handler, patterns ...string) {
	counted := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		cw := &codeWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() { r.s.metrics.received.Add(1, name, strconv.Itoa(cw.code)) }()
		h.ServeHTTP(cw, req)
	})
	for _, p := range patterns {
		r.mux.Handle(p, counted)
	}
}

// run starts f with the service and drains it with the service.
func (r *receivers) run(name string, f func(ctx context.Context) error) {
	r.runs = append(r.runs, runner{name, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return fmt.Errorf("receiver %s: %w", name, err)
		}
		return nil
	}})
}

// codeWriter remembers the status of an answer.
type codeWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
}

// WriteHeader notes the status of the final answer.
func (w *codeWriter) WriteHeader(code int) {
	if !w.wrote && code >= 200 {
		w.code, w.wrote = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
