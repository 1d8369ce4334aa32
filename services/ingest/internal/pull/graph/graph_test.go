package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/pulltest"
)

// fake is Graph with its login: a filter on the time of the update, newest
// first, pages by links that hold a token.
type fake struct {
	mu     sync.Mutex
	start  time.Time
	alerts []alert
	links  map[string][]json.RawMessage
	n      int
}

type alert struct {
	text string
	at   time.Time
}

func (f *fake) put(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.start.Add(time.Duration(len(f.alerts)) * time.Second)
	f.alerts = append(f.alerts, alert{strings.ReplaceAll(text, "AT", at.Format("2006-01-02T15:04:05.0000000Z")), at})
}

func (f *fake) Add(n int) {
	for range n {
		// Every third is an alert again that was there, changed.
		f.put(fmt.Sprintf(`{"id":"a%d","serviceSource":"microsoftDefenderForEndpoint","title":"item-%d;","lastUpdateDateTime":"AT"}`, f.n-f.n%3, f.n))
		f.n++
	}
}

func (f *fake) AddBad() { f.put(`{"title":"no id","lastUpdateDateTime":"AT"}`) }

func (f *fake) AddHuge(size int) {
	f.put(`{"id":"huge","lastUpdateDateTime":"AT","description":"` + strings.Repeat("x", size) + `"}`)
}

func (f *fake) Repeat() { // links expire
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links = nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPost && r.URL.Path == "/example.com/oauth2/v2.0/token" {
		if r.PostFormValue("client_secret") != "secret" || !strings.HasSuffix(r.PostFormValue("scope"), "/.default") {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"t0ken"}`)
		return
	}
	if r.URL.Path != "/v1.0/security/alerts_v2" || r.Header.Get("Authorization") != "Bearer t0ken" {
		http.Error(w, `{"error":{"code":"UnauthorizedAccess"}}`, http.StatusUnauthorized)
		return
	}
	q := r.URL.Query()
	top, err := strconv.Atoi(q.Get("$top"))
	if err != nil {
		top = 2
	}
	var rest []json.RawMessage
	if token := q.Get("$skiptoken"); token != "" {
		if rest = f.links[token]; rest == nil {
			http.Error(w, `{"error":{"code":"BadRequest","message":"invalid skip token"}}`, http.StatusBadRequest)
			return
		}
	} else {
		from, err := time.Parse(time.RFC3339, strings.TrimPrefix(q.Get("$filter"), "lastUpdateDateTime ge "))
		if err != nil {
			http.Error(w, `{"error":{"code":"BadRequest"}}`, http.StatusBadRequest)
			return
		}
		for i := len(f.alerts) - 1; i >= 0; i-- {
			if a := f.alerts[i]; !a.at.Before(from) {
				rest = append(rest, json.RawMessage(a.text))
			}
		}
	}
	n := min(top, len(rest))
	answer := map[string]any{"@odata.context": "x", "value": append([]json.RawMessage{}, rest[:n]...)}
	if rest = rest[n:]; len(rest) > 0 {
		if f.links == nil {
			f.links = map[string][]json.RawMessage{}
		}
		token := fmt.Sprint("t", time.Now().UnixNano())
		f.links[token] = rest
		answer["@odata.nextLink"] = "http://" + r.Host + r.URL.Path + "?$top=" + strconv.Itoa(top) + "&$skiptoken=" + token
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func TestConformance(t *testing.T) {
	pulltest.Run(t, pulltest.Kind{New: func(*testing.T) (pulltest.Server, func(string) (puller.Feed, error)) {
		return &fake{start: time.Now().Add(-time.Hour).Truncate(time.Second)}, func(url string) (puller.Feed, error) {
			return New(Config{Tenant: "example.com", URL: url, Login: url, ID: "id", Secret: "secret", Page: 4})
		}
	}})
}

func TestForeignLink(t *testing.T) {
	f, err := New(Config{Tenant: "example.com", ID: "id", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://attacker.example.com/v1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Do(req, "list alerts"); err == nil || !strings.Contains(err.Error(), "not configured") {
		t.Fatalf("a link to another host: %v", err)
	}
}
