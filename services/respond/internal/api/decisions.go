package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// auth answers NGINX's auth_request and the like: 200 go on, 403 refuse. It
// never waits and reads nothing but memory.
func (h *server) auth(w http.ResponseWriter, r *http.Request) {
	if !h.mayAsk(r) {
		h.checks.Add(1, "unauthorized")
		fail(w, http.StatusUnauthorized, "not from an allowed network, and no token")
		return
	}
	if !h.Feed.Synced() {
		// The gateway decides whether to fail open.
		h.checks.Add(1, "not_ready")
		fail(w, http.StatusServiceUnavailable, "decisions are not loaded yet")
		return
	}
	var q feed.Query
	if ip := r.Header.Get("X-Vagus-Client"); ip != "" {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			h.checks.Add(1, "bad_request")
			fail(w, http.StatusBadRequest, "X-Vagus-Client is not an address")
			return
		}
		q.Client = a
	}
	q.KeyID, q.User = r.Header.Get("X-Vagus-Key-Id"), r.Header.Get("X-Vagus-User")
	v := h.Feed.Check(q, h.Now())
	if d := v.Decision; d != nil {
		hd := w.Header()
		hd.Set("X-Vagus-Decision", string(d.Kind)+" "+d.ID)
		hd.Set("X-Vagus-Reason", headerText(d.Reason))
		if !d.ExpiresAt.IsZero() {
			hd.Set("X-Vagus-Until", d.ExpiresAt.UTC().Format(time.RFC3339))
		}
		if v.Limited {
			hd.Set("X-Vagus-Limit", strconv.Itoa(d.Rate))
			hd.Set("Retry-After", strconv.Itoa(max(60/max(d.Rate, 1), 1)))
		}
	}
	w.Header().Set("Content-Length", "0")
	switch {
	case v.Limited:
		h.checks.Add(1, "limit")
		w.WriteHeader(http.StatusForbidden)
	case v.Deny:
		h.checks.Add(1, "block")
		w.WriteHeader(http.StatusForbidden)
	default:
		h.checks.Add(1, "pass")
		w.WriteHeader(http.StatusOK)
	}
}

func (h *server) mayAsk(r *http.Request) bool {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		a := ap.Addr().Unmap().WithZone("")
		for _, p := range h.networks {
			if p.Contains(a) {
				return true
			}
		}
	}
	return h.authorized(r)
}

// headerText keeps what a header may carry: reasons quote alerts, and alerts
// quote attackers.
func headerText(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// decisionList is the answer of GET /v1/decisions.
type decisionList struct {
	Revision  uint64              `json:"revision"`
	Decisions []decision.Decision `json:"decisions"`
}

// listDecisions lists what stands; with wait and since it answers when there
// is something newer, at the latest after wait.
func (h *server) listDecisions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !h.Feed.Synced() {
		fail(w, http.StatusServiceUnavailable, "decisions are not loaded yet")
		return
	}
	if q.Has("wait") {
		wait, err := spec.ParseDuration(q.Get("wait"))
		since, err2 := strconv.ParseUint(q.Get("since"), 10, 64)
		if err != nil || err2 != nil {
			fail(w, http.StatusBadRequest, "want wait=30s&since=<revision>")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), min(wait, time.Minute))
		h.Feed.Wait(ctx, since)
		cancel()
	}
	list, rev := h.Feed.List(h.Now())
	out := decisionList{Revision: rev, Decisions: list[:0]}
	for _, d := range list {
		match := func(k, v string) bool { return q.Get(k) == "" || q.Get(k) == v }
		if match("kind", string(d.Kind)) && match("scope", string(d.Scope)) && match("value", d.Value) && match("run", d.Run) {
			out.Decisions = append(out.Decisions, d)
		}
	}
	// Decisions also end by the clock, so the tag counts them too.
	tag := fmt.Sprintf(`"%d-%d"`, rev, len(out.Decisions))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	reply(w, http.StatusOK, out)
}

// newDecision is the body of POST /v1/decisions.
type newDecision struct {
	Kind   decision.Kind  `json:"kind"`
	Scope  decision.Scope `json:"scope"`
	Value  string         `json:"value"`
	Reason string         `json:"reason"`
	TTL    string         `json:"ttl"`  // 15m, 2h, 7d; empty: until taken back
	Rate   int            `json:"rate"` // requests per minute, for limit
	By     string         `json:"by"`
}

// postDecision sets a decision by hand.
func (h *server) postDecision(w http.ResponseWriter, r *http.Request) {
	var in newDecision
	if !body(w, r, &in) {
		return
	}
	ttl, err := spec.ParseDuration(in.TTL)
	if in.TTL == "" {
		ttl, err = 0, nil
	}
	value, ok := decision.Normal(in.Scope, in.Value)
	bad := ""
	switch {
	case in.Kind != decision.Block && in.Kind != decision.Limit && in.Kind != decision.Allow:
		bad = "kind: want block, limit or allow"
	case in.Scope != decision.IP && in.Scope != decision.APIKey && in.Scope != decision.User && in.Scope != decision.Model &&
		in.Scope != decision.Agent && in.Scope != decision.Tool:
		bad = "scope: want ip, api_key, user, model, agent or tool"
	case !ok || len(value) > 1024:
		bad = "value: empty, too long or, for ip, not an address or range"
	case in.By == "" || len(in.By) > 128:
		bad = "by: who decides is missing or too long"
	case in.Reason == "" || len(in.Reason) > 1024:
		bad = "reason: missing or too long"
	case err != nil:
		bad = "ttl: " + err.Error()
	case in.Kind == decision.Limit && (in.Rate < 1 || in.Rate > 1_000_000):
		bad = "rate: want requests per minute, 1 to 1000000"
	}
	if bad != "" {
		fail(w, http.StatusBadRequest, bad)
		return
	}
	if in.Kind != decision.Allow {
		if why := h.Engine.Envelope.Refuse(string(in.Scope), value); why != "" {
			fail(w, http.StatusConflict, why)
			return
		}
	}
	now := h.Now()
	d := decision.Decision{Kind: in.Kind, Scope: in.Scope, Value: value, Reason: in.Reason, Rate: in.Rate, By: in.By, CreatedAt: now}
	if ttl > 0 {
		d.ExpiresAt = now.Add(ttl)
	}
	d, remark, err := h.Writer.Put(r.Context(), d)
	if err == nil {
		err = h.audit(r.Context(), d, run.Succeeded, in.By, in.Reason, remark)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	reply(w, http.StatusCreated, d)
}

// deleteDecision takes a decision back by hand.
func (h *server) deleteDecision(w http.ResponseWriter, r *http.Request) {
	by, reason := r.URL.Query().Get("by"), r.URL.Query().Get("reason")
	if by == "" || len(by) > 128 || len(reason) > 1024 {
		fail(w, http.StatusBadRequest, "want ?by=<who>&reason=<why>")
		return
	}
	id := r.PathValue("id")
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		fail(w, http.StatusNotFound, "no such decision")
		return
	}
	d, err := h.Writer.Delete(r.Context(), id)
	if err == nil {
		err = h.audit(r.Context(), d, run.Undone, by, reason, "")
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	reply(w, http.StatusOK, d)
}

// audit writes what a person decided to the audit log.
func (h *server) audit(ctx context.Context, d decision.Decision, state run.State, by, reason, remark string) error {
	now := h.Now()
	t := run.Transition{
		Run: finding.UID("manual", d.ID, string(state), now.UTC().Format(time.RFC3339Nano)), Seq: 1, At: now, Playbook: "_manual",
		Alert: d.Alert, Entity: string(d.Scope) + ":" + d.Value, Kind: "action", Action: "vagus." + string(d.Kind), State: state,
		Reason: reason, By: by, Detail: map[string]string{"decision": d.ID},
	}
	if remark != "" {
		t.Detail["remark"] = remark
	}
	if !d.ExpiresAt.IsZero() {
		t.DueAt = &d.ExpiresAt
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = h.Publisher.Publish(ctx, bus.Msg{Subject: subjects.Runs(t.Playbook), ID: t.Run + ":1", Data: data})
	return err
}
