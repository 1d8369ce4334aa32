package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/pulltest"
)

const stamp = "2006-01-02T15:04:05.000Z"

// fake has Elasticsearch's points in time: what a PIT shows was there when it
// was opened; its id changes with every search; _shard_doc is a number that
// means nothing in another PIT; one that is gone is answered with 404.
type fake struct {
	mu     sync.Mutex
	start  time.Time
	docs   []doc
	pits   map[string]*pit
	n      int
	opened int
	expire int // after so many searches of a PIT it is gone; 0: never
}

type doc struct {
	id, source string
	at         time.Time
}

type pit struct {
	docs     []doc
	salt     int
	searches int
}

func (f *fake) put(source string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.start.Add(time.Duration(len(f.docs)/3) * time.Second)
	f.docs = append(f.docs, doc{fmt.Sprint("d", len(f.docs)), strings.ReplaceAll(source, "AT", at.Format(stamp)), at})
}

func (f *fake) Add(n int) {
	for range n {
		f.put(fmt.Sprintf(`{"@timestamp":"AT","kibana.alert.rule.name":"item-%d;"}`, f.n))
		f.n++
	}
}

func (f *fake) AddBad() { f.put(`null`) }

func (f *fake) AddHuge(size int) {
	f.put(`{"@timestamp":"AT","message":"` + strings.Repeat("x", size) + `"}`)
}

func (f *fake) Repeat() {} // every look repeats the overlap

func (f *fake) fail(w http.ResponseWriter, status int, kind string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"root_cause":[{"type":%q}],"type":%q},"status":%d}`, kind, kind, status)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "ApiKey k3y" {
		f.fail(w, http.StatusUnauthorized, "security_exception")
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /logs-*/_pit":
		if r.URL.Query().Get("keep_alive") == "" {
			f.fail(w, http.StatusBadRequest, "action_request_validation_exception")
			return
		}
		if f.pits == nil {
			f.pits = map[string]*pit{}
		}
		f.opened++
		id := fmt.Sprintf("pit-%d-0", f.opened)
		f.pits[id] = &pit{docs: f.docs[:len(f.docs):len(f.docs)], salt: f.opened * 1000}
		fmt.Fprintf(w, `{"id":%q}`, id)
	case "DELETE /_pit":
		var in struct{ ID string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		delete(f.pits, in.ID)
		fmt.Fprint(w, `{"succeeded":true,"num_freed":1}`)
	case "POST /_search":
		f.search(w, r)
	default:
		f.fail(w, http.StatusBadRequest, "illegal_argument_exception")
	}
}

func (f *fake) search(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Size  int
		PIT   struct{ ID string }
		Query struct {
			Bool struct {
				Filter []struct {
					Range map[string]struct{ GTE string }
				}
			}
		}
		Sort        []map[string]any
		SearchAfter []json.RawMessage `json:"search_after"`
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	if err != nil || len(in.Sort) != 2 || len(in.Query.Bool.Filter) != 1 || in.SearchAfter != nil && len(in.SearchAfter) != 2 {
		f.fail(w, http.StatusBadRequest, "parsing_exception")
		return
	}
	p := f.pits[in.PIT.ID]
	if p == nil {
		f.fail(w, http.StatusNotFound, "search_context_missing_exception")
		return
	}
	delete(f.pits, in.PIT.ID)
	if p.searches++; f.expire > 0 && p.searches > f.expire {
		f.fail(w, http.StatusNotFound, "search_context_missing_exception")
		return
	}
	next := fmt.Sprintf("pit-%d-%d", p.salt, p.searches)
	f.pits[next] = p
	from, err := time.Parse(time.RFC3339Nano, in.Query.Bool.Filter[0].Range["@timestamp"].GTE)
	if err != nil {
		f.fail(w, http.StatusBadRequest, "parsing_exception")
		return
	}
	hits := []string{}
	for i, d := range p.docs {
		sort := []json.RawMessage{json.RawMessage(`"` + d.at.Format(stamp) + `"`), json.RawMessage(fmt.Sprint(p.salt + i))}
		if d.at.Before(from) || in.SearchAfter != nil && !behind(sort, in.SearchAfter) || len(hits) == in.Size {
			continue
		}
		hits = append(hits, fmt.Sprintf(`{"_index":"logs-a","_id":%q,"_score":null,"_source":%s,"sort":[%s,%s]}`, d.id, d.source, sort[0], sort[1]))
	}
	fmt.Fprintf(w, `{"pit_id":%q,"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"max_score":null,"hits":[%s]}}`, next, strings.Join(hits, ","))
}

func behind(a, b []json.RawMessage) bool {
	if c := bytes.Compare(a[0], b[0]); c != 0 {
		return c > 0
	}
	var x, y int
	_ = json.Unmarshal(a[1], &x)
	_ = json.Unmarshal(b[1], &y)
	return x > y
}

func TestConformance(t *testing.T) {
	for name, expire := range map[string]int{"points in time last": 0, "points in time end": 2} {
		t.Run(name, func(t *testing.T) {
			pulltest.Run(t, pulltest.Kind{New: func(*testing.T) (pulltest.Server, func(string) (puller.Feed, error)) {
				return &fake{start: time.Now().Add(-time.Hour).Truncate(time.Second), expire: expire}, func(url string) (puller.Feed, error) {
					return New(Config{URL: url, Index: "logs-*", APIKey: "k3y", Page: 4, Overlap: time.Second})
				}
			}})
		})
	}
}
