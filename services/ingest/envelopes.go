package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/cloudevent"
	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/hook"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Hook is a webhook: who signs it how, and which source its records are of.
type Hook = hook.Config

// maxHook bounds the body of a signed webhook in bytes: it is read before the
// signature can be checked. GitHub sends at most 25 MB.
const maxHook = 26 << 20

// hook takes POST /v1/hook/{name}: the whole body is one record.
func (s *Service) hook(w http.ResponseWriter, r *http.Request) (*receipt, *problem) {
	name := r.PathValue("name")
	h, configured := s.hooks[name]
	if !configured {
		var err error
		if h, err = hook.New(name, hook.Config{}); err != nil {
			return nil, &problem{status: http.StatusInternalServerError, Code: "refused", Message: err.Error()}
		}
	}
	b := intake.Batch{Source: h.Source(), Envelope: intake.Webhook, Auth: "hook." + name}
	if h.Signed() {
		if p := s.precheck(r, h); p != nil {
			return nil, p
		}
		if _, known := s.Known(h.Source()); !known {
			return nil, &problem{status: http.StatusNotFound, Code: "unknown_source", Message: fmt.Sprintf("hook %s: unknown source %.128q", name, h.Source())}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxHook)
	} else {
		id, p := s.admit(r, h.Source())
		if p != nil {
			return nil, p
		}
		b.Auth = id.Name
	}
	return s.take(w, r, b, func(ws *workspace, b *intake.Batch) *problem {
		if h.Signed() {
			if err := h.Verify(r.Header, ws.body, time.Now()); err != nil {
				return &problem{status: http.StatusUnauthorized, Code: "bad_signature", Message: err.Error()}
			}
		}
		if b.Key == "" {
			b.Key = h.Key(r.Header)
		}
		n := len(ws.body)
		if n == 0 {
			return nil
		}
		if p := s.room(ws, n+hook.Size(r.Header, ws.body)); p != nil {
			return p
		}
		return s.behind(ws, h.Wrap(ws.body, r.Header, ws.body[:n:n]), n)
	})
}

// precheck refuses what cannot be signed right, before the body is read.
func (s *Service) precheck(r *http.Request, h *hook.Hook) *problem {
	if r.Header.Get("Content-Encoding") != "" {
		return &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Message: "a signed webhook must not be compressed"}
	}
	if r.ContentLength > maxHook {
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
			Message: fmt.Sprintf("body of %d bytes, at most %d are taken of a webhook", r.ContentLength, maxHook)}
	}
	if err := h.Precheck(r.Header, time.Now()); err != nil {
		return &problem{status: http.StatusUnauthorized, Code: "bad_signature", Message: err.Error()}
	}
	return nil
}

// behind makes the bytes of body from n on the one record of the workspace.
func (s *Service) behind(ws *workspace, body []byte, n int) *problem {
	ws.body, ws.from = body, n
	return frameProblem(frame.Whole(body[n:], s.Limits(), &ws.frames))
}

// cloudEvents takes CloudEvents in each mode of the HTTP binding.
func (s *Service) cloudEvents(w http.ResponseWriter, r *http.Request) (*receipt, *problem) {
	source := r.PathValue("source")
	if source == "" {
		source = intake.Auto
	}
	id, p := s.admit(r, source)
	if p != nil {
		return nil, p
	}
	b := intake.Batch{Source: source, Envelope: intake.CloudEvents, Auth: id.Name}
	return s.take(w, r, b, func(ws *workspace, b *intake.Batch) *problem {
		if cloudevent.ModeOf(r.Header) != cloudevent.BinaryMode {
			return frameProblem(frame.JSON(ws.body, s.Limits(), &ws.frames))
		}
		if b.Key == "" {
			b.Key = cloudevent.Key(r.Header)
		}
		n := len(ws.body)
		if p := s.room(ws, n+cloudevent.Size(r.Header, ws.body)); p != nil {
			return p
		}
		body, err := cloudevent.Binary(ws.body, r.Header, ws.body[:n:n])
		switch {
		case errors.Is(err, cloudevent.ErrMissing):
			return &problem{status: http.StatusBadRequest, Code: "no_cloudevent", Message: err.Error()}
		case err != nil:
			return &problem{status: http.StatusBadRequest, Code: "bad_cloudevent", Message: err.Error()}
		}
		return s.behind(ws, body, n)
	})
}

// kubernetesAudit takes what kube-apiserver's audit webhook backend sends: an
// EventList whose events become records. The server repeats a list that was not
// taken as it was; no two lists are alike, for each event has an id.
func (s *Service) kubernetesAudit(w http.ResponseWriter, r *http.Request) (*receipt, *problem) {
	const source = "kubernetes.audit"
	id, p := s.admit(r, source)
	if p != nil {
		return nil, p
	}
	return s.take(w, r, intake.Batch{Source: source, Auth: id.Name}, func(ws *workspace, b *intake.Batch) *problem {
		if b.Key == "" {
			sum := sha256.Sum256(ws.body)
			b.Key = hex.EncodeToString(sum[:16])
		}
		return frameProblem(frame.Items(ws.body, "items", s.Limits(), &ws.frames))
	})
}
