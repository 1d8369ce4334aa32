package bulk

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// uuid of the cluster that shippers are told; it never changes.
const uuid = "dmFndXMtaHViLWNsdXN0ZXI"

type object = map[string]any

// other answers what shippers ask besides _bulk. Templates, policies, aliases,
// pipelines, data streams and indices are all there, so that nobody sets them
// up; setting them up anyway is taken and has no effect.
func (h *Handler) other(w http.ResponseWriter, r *http.Request, path string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if answer := h.look(path, r.Host); answer != nil {
			reply(w, r, http.StatusOK, answer)
			return
		}
	case http.MethodPut, http.MethodPost:
		if changes(path) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20) // the connection goes on
			reply(w, r, http.StatusOK, object{"acknowledged": true, "shards_acknowledged": true, "index": name(path)})
			return
		}
	}
	if (r.Method == http.MethodGet || r.Method == http.MethodPost) && (path == "_search" || strings.HasSuffix(path, "/_search") || strings.HasSuffix(path, "/_count")) {
		refuse(w, http.StatusBadRequest, "illegal_argument_exception", "this is no database and cannot be searched here: use vagus sql")
		return
	}
	refuse(w, http.StatusNotFound, "invalid_request_exception",
		"no handler found for uri ["+clip(r.URL.Path)+"] and method ["+clip(r.Method)+"]: only _bulk and what shippers ask before it is answered")
}

func name(path string) string {
	return clip(path[strings.LastIndexByte(path, '/')+1:])
}

func clip(s string) string { return s[:min(len(s), 256)] }

// changes reports whether a path sets something up.
func changes(path string) bool {
	first, rest, several := strings.Cut(path, "/")
	switch first {
	case "_index_template", "_template", "_component_template", "_data_stream":
		return several && rest != ""
	case "_ilm":
		return strings.HasPrefix(rest, "policy/")
	case "_ingest":
		return strings.HasPrefix(rest, "pipeline/")
	}
	if first == "" || strings.HasPrefix(first, "_") {
		return false
	}
	return !several || rest == "_alias" || strings.HasPrefix(rest, "_alias/") || rest == "_mapping" || rest == "_settings" || rest == "_rollover"
}

// look is the answer to a question; nil: not known.
func (h *Handler) look(path, host string) any {
	first, rest, _ := strings.Cut(path, "/")
	switch first {
	case "":
		return object{
			"name": "vagus", "cluster_name": "vagus", "cluster_uuid": uuid, "tagline": "You Know, for Search",
			"version": object{
				"number": h.cfg.Version, "build_flavor": "default", "build_type": "docker", "build_hash": "0000000", "build_date": "2025-01-01T00:00:00.000000000Z",
				"build_snapshot": false, "lucene_version": "9.12.1", "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
			},
		}
	case "_license":
		return object{"license": license()}
	case "_xpack":
		return object{"build": object{"hash": "0000000"}, "license": license(), "features": object{
			"ilm": object{"available": true, "enabled": true}, "security": object{"available": true, "enabled": true},
			"data_streams": object{"available": true, "enabled": true}, "monitoring": object{"available": false, "enabled": false},
		}, "tagline": "You know, for X"}
	case "_cluster":
		switch {
		case rest == "health" || strings.HasPrefix(rest, "health/"):
			return object{
				"cluster_name": "vagus", "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
				"active_primary_shards": 1, "active_shards": 1, "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": 0,
				"delayed_unassigned_shards": 0, "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0,
				"task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0,
			}
		case rest == "settings":
			return object{"persistent": object{}, "transient": object{}, "defaults": object{}}
		}
	case "_nodes":
		// Shippers that look for more nodes find this one, by the name they used.
		return object{
			"_nodes": object{"total": 1, "successful": 1, "failed": 0}, "cluster_name": "vagus",
			"nodes": object{"vagus": object{
				"name": "vagus", "version": h.cfg.Version, "roles": []string{"data", "ingest", "master"},
				"http": object{"bound_address": []string{host}, "publish_address": host, "max_content_length_in_bytes": h.cfg.MaxBody},
			}},
		}
	case "_security":
		if rest == "_authenticate" {
			return object{"username": "vagus", "roles": []string{"ingest"}, "enabled": true, "authentication_type": "token"}
		}
	case "_cat":
		return []any{}
	}
	return h.exists(first, rest)
}

// exists is the answer to whether something is there.
func (h *Handler) exists(first, rest string) any {
	what := name(rest)
	switch first {
	case "_ilm":
		switch {
		case rest == "status":
			return object{"operation_mode": "RUNNING"}
		case strings.HasPrefix(rest, "policy"):
			return object{what: object{"version": 1, "policy": object{"phases": object{}}}}
		}
	case "_index_template":
		return object{"index_templates": []object{{"name": what, "index_template": object{"index_patterns": []string{what + "*"}, "data_stream": object{}}}}}
	case "_component_template":
		return object{"component_templates": []object{{"name": what, "component_template": object{"template": object{}}}}}
	case "_template":
		return object{what: object{"order": 1, "index_patterns": []string{what + "*"}, "settings": object{}, "mappings": object{}, "aliases": object{}}}
	case "_ingest":
		if strings.HasPrefix(rest, "pipeline/") {
			return object{what: object{"description": "no effect here", "processors": []any{}}}
		}
	case "_data_stream":
		return object{"data_streams": []object{{"name": what, "timestamp_field": object{"name": "@timestamp"}, "indices": []any{}, "generation": 1, "status": "GREEN"}}}
	case "_alias":
		return object{what: object{"aliases": object{what: object{"is_write_index": true}}}}
	default:
		if first != "" && !strings.HasPrefix(first, "_") && (rest == "" || rest == "_alias" || rest == "_mapping" || rest == "_settings") {
			return object{clip(first): object{"aliases": object{}, "mappings": object{}, "settings": object{}}}
		}
	}
	return nil
}

func license() object {
	return object{"uid": "00000000-0000-0000-0000-000000000000", "status": "active", "type": "basic", "mode": "basic", "issued_to": "vagus", "issuer": "vagus"}
}

func reply(w http.ResponseWriter, r *http.Request, status int, answer any) {
	data, err := json.Marshal(answer)
	if err != nil { // cannot be: strings, numbers and maps
		status, data = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client went away
	}
}

// refuse writes an error as Elasticsearch does.
func refuse(w http.ResponseWriter, status int, typ, reason string) {
	cause := object{"type": typ, "reason": reason}
	data, err := json.Marshal(object{"status": status, "error": object{"type": typ, "reason": reason, "root_cause": []object{cause}}})
	if err != nil { // cannot be
		data = []byte("{}")
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client went away
}

// nameless reports whether the sender does not say what it is, as rsyslog. Those
// take every answer as the end of the matter, and lose what was refused; so a
// busy hub ends the connection instead, upon which they repeat the request.
func nameless(r *http.Request) bool { return r.UserAgent() == "" }

// refuseBusyOr is refuseBody, but ends the connection of a nameless sender if
// the hub is busy.
func refuseBusyOr(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, intake.ErrBusy) && nameless(r) {
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	}
	refuseBody(w, err)
}

// refuseBody answers a body that could not be read or stored. 429 is what
// shippers send again.
func refuseBody(w http.ResponseWriter, err error) {
	switch status := httpin.Status(err); {
	case errors.Is(err, intake.ErrBusy):
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusTooManyRequests, "es_rejected_execution_exception", faults[busy].reason)
	case status == http.StatusRequestEntityTooLarge || status == http.StatusRequestTimeout:
		w.Header().Set("Connection", "close") // the rest is not worth reading
		refuse(w, status, "content_too_long_exception", err.Error())
	default:
		refuse(w, status, "illegal_argument_exception", err.Error())
	}
}

// refuseShape answers a body that is no sequence of actions.
func refuseShape(w http.ResponseWriter, err error) {
	var many *frame.TooMany
	if errors.As(err, &many) {
		refuse(w, http.StatusRequestEntityTooLarge, "content_too_long_exception", err.Error())
		return
	}
	refuse(w, http.StatusBadRequest, "illegal_argument_exception", err.Error()+"; nothing was taken")
}
