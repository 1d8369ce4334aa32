package api

import (
	"net/http"

	"github.com/vagus-hub/vagus/schemas/run"
)

// listRuns lists runs, the newest first: ?limit=, state=, playbook=, alert=,
// entity=, active=true.
func (h *server) listRuns(w http.ResponseWriter, r *http.Request) {
	all, err := h.Engine.Views(r.Context())
	if err != nil {
		h.problem(w, r, err)
		return
	}
	q := r.URL.Query()
	out, top := []run.Run{}, limit(r, 1000)
	for _, v := range all {
		match := func(k, val string) bool { return q.Get(k) == "" || q.Get(k) == val }
		if len(out) < top && match("state", string(v.State)) && match("playbook", v.Playbook) && match("alert", v.Alert) &&
			match("entity", v.Entity) && (q.Get("active") != "true" || !v.State.Finished()) {
			out = append(out, v)
		}
	}
	reply(w, http.StatusOK, map[string]any{"runs": out})
}

func (h *server) getRun(w http.ResponseWriter, r *http.Request) {
	v, err := h.Engine.View(r.Context(), r.PathValue("id"))
	if err != nil {
		h.problem(w, r, err)
		return
	}
	reply(w, http.StatusOK, v)
}

// person is the body of requests that a person answers for.
type person struct {
	Approve *bool  `json:"approve,omitempty"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
}

// undo asks for a step to be taken back now.
func (h *server) undo(w http.ResponseWriter, r *http.Request) {
	var in person
	if !body(w, r, &in) {
		return
	}
	if in.By == "" || len(in.By) > 128 || len(in.Reason) > 1024 {
		fail(w, http.StatusBadRequest, "by: who asks is missing or too long")
		return
	}
	if err := h.Engine.Undo(r.Context(), r.PathValue("id"), r.PathValue("step"), in.By, in.Reason); err != nil {
		h.problem(w, r, err)
		return
	}
	reply(w, http.StatusAccepted, map[string]string{"status": "asked"})
}

func (h *server) listApprovals(w http.ResponseWriter, r *http.Request) {
	entries, err := h.Approvals.List(r.Context())
	if err != nil {
		h.problem(w, r, err)
		return
	}
	out := []run.Approval{}
	for _, e := range entries {
		if h.Now().Before(e.Value.Deadline) {
			out = append(out, e.Value)
		}
	}
	reply(w, http.StatusOK, map[string]any{"approvals": out})
}

// answer records a person's yes or no.
func (h *server) answer(w http.ResponseWriter, r *http.Request) {
	var in person
	if !body(w, r, &in) {
		return
	}
	if in.Approve == nil {
		fail(w, http.StatusBadRequest, "approve: want true or false")
		return
	}
	uid, step := r.PathValue("run"), r.PathValue("step")
	err := h.Engine.Answer(r.Context(), uid, step, run.Answer{By: in.By, Approve: *in.Approve, Reason: in.Reason})
	if err != nil {
		h.problem(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "recorded"})
}

func (h *server) listIncidents(w http.ResponseWriter, r *http.Request) {
	list, err := h.Incidents.List(r.Context())
	if err != nil {
		h.problem(w, r, err)
		return
	}
	q := r.URL.Query()
	out, top := []run.Incident{}, limit(r, 1000)
	for _, in := range list {
		if len(out) < top && (q.Get("entity") == "" || q.Get("entity") == in.Entity) && (q.Get("level") == "" || q.Get("level") == in.Level) {
			out = append(out, in)
		}
	}
	reply(w, http.StatusOK, map[string]any{"incidents": out})
}

func (h *server) listPlaybooks(w http.ResponseWriter, _ *http.Request) {
	type item struct {
		ID      string   `json:"id"`
		Title   string   `json:"title"`
		Status  string   `json:"status"`
		Version string   `json:"version"`
		Lanes   []string `json:"lanes"`
		Path    string   `json:"path"`
	}
	out := []item{}
	for _, p := range h.Engine.Playbooks {
		out = append(out, item{p.ID, p.Title, string(p.Status), p.Version, p.Lanes, p.Path})
	}
	reply(w, http.StatusOK, map[string]any{"playbooks": out})
}
