package crowdstrike

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/pulltest"
)

// fake is the alerts API: ids by filter, sort, limit and offset; entities by id.
type fake struct {
	mu     sync.Mutex
	start  time.Time
	alerts []alert
	n      int
}

type alert struct {
	id, text string
	at       time.Time
}

func (f *fake) put(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Several alerts share an instant.
	at := f.start.Add(time.Duration(len(f.alerts)/4) * time.Second)
	id := fmt.Sprintf("c0ffee:ind:%d", len(f.alerts))
	f.alerts = append(f.alerts, alert{id, strings.NewReplacer("ID", id, "AT", at.Format(time.RFC3339Nano)).Replace(text), at})
}

func (f *fake) Add(n int) {
	for range n {
		f.put(fmt.Sprintf(`{"composite_id":"ID","updated_timestamp":"AT","product":"epp","severity_name":"High","name":"item-%d;"}`, f.n))
		f.n++
	}
}

func (f *fake) AddBad() { f.put(`{"composite_id":"ID","updated_timestamp":17}`) }

func (f *fake) AddHuge(size int) {
	f.put(`{"composite_id":"ID","updated_timestamp":"AT","description":"` + strings.Repeat("x", size) + `"}`)
}

func (f *fake) Repeat() {} // every look repeats the overlap

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/oauth2/token" {
		if r.PostFormValue("client_id") != "id" || r.PostFormValue("client_secret") != "secret" {
			http.Error(w, `{"errors":[{"code":403,"message":"access denied"}]}`, http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"access_token":"t0ken","expires_in":1799,"token_type":"bearer"}`)
		return
	}
	if r.Header.Get("Authorization") != "Bearer t0ken" {
		http.Error(w, `{"errors":[{"code":401,"message":"access denied, invalid bearer token"}]}`, http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /alerts/queries/alerts/v2":
		f.query(w, r.URL.Query())
	case "POST /alerts/entities/alerts/v2":
		var in struct {
			IDs []string `json:"composite_ids"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.IDs) == 0 || len(in.IDs) > 1000 {
			http.Error(w, `{"errors":[{"code":400}]}`, http.StatusBadRequest)
			return
		}
		out := []json.RawMessage{}
		for _, a := range f.alerts {
			if slices.Contains(in.IDs, a.id) {
				out = append(out, json.RawMessage(a.text))
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{}, "errors": []string{}, "resources": out})
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) query(w http.ResponseWriter, q url.Values) {
	value, ok := strings.CutPrefix(q.Get("filter"), "updated_timestamp:>='")
	from, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(value, "'"))
	limit, lerr := strconv.Atoi(q.Get("limit"))
	offset, oerr := strconv.Atoi(q.Get("offset"))
	if !ok || err != nil || lerr != nil || oerr != nil || offset+limit > deepest || q.Get("sort") != "updated_timestamp.asc" {
		http.Error(w, `{"errors":[{"code":400,"message":"invalid filter"}]}`, http.StatusBadRequest)
		return
	}
	ids := []string{}
	for _, a := range f.alerts { // in order of time
		if !a.at.Before(from) {
			ids = append(ids, a.id)
		}
	}
	total := len(ids)
	ids = ids[min(offset, total):min(offset+limit, total)]
	_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{"pagination": map[string]int{"offset": offset, "limit": limit, "total": total}}, "resources": ids})
}

func TestConformance(t *testing.T) {
	pulltest.Run(t, pulltest.Kind{New: func(*testing.T) (pulltest.Server, func(string) (puller.Feed, error)) {
		return &fake{start: time.Now().Add(-time.Hour).Truncate(time.Second)}, func(url string) (puller.Feed, error) {
			return New(Config{URL: url, ID: "id", Secret: "secret", Page: 3})
		}
	}})
}
