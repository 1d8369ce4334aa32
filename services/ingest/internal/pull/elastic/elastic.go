// Package elastic pulls documents from Elasticsearch, such as Elastic
// Security's alerts: a point in time (PIT) is read in the order of time, and
// the next look begins a little before the last document of the one before.
package elastic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

// Config is one search.
type Config struct {
	URL string `yaml:"url"`
	// Index is a pattern; default .alerts-security.alerts-*.
	Index string `yaml:"index"`
	// APIKey is the encoded key; or User and Password.
	APIKey   puller.Secret `yaml:"api_key"`
	User     string        `yaml:"user"`
	Password puller.Secret `yaml:"password"`
	CA       string        `yaml:"ca"` // file of certificates to trust instead of the system's
	// Query is a query in Elasticsearch's JSON that documents must match.
	Query string `yaml:"query"`
	// TimeField is the time that decides what is new; default @timestamp.
	TimeField string `yaml:"time_field"`
	// Since is how far back the very first look goes; default 24h. Overlap is
	// how late a document may appear; default 10m.
	Since   time.Duration `yaml:"since"`
	Overlap time.Duration `yaml:"overlap"`
	// KeepAlive is how long the server keeps a PIT between two pages; default
	// 2m. Page is the number of documents a page, at most 10000; default 1000.
	KeepAlive time.Duration `yaml:"keep_alive"`
	Page      int           `yaml:"page"`
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	_, err := c.complete()
	return err
}

func (c Config) complete() (Config, error) {
	if c.Index == "" {
		c.Index = ".alerts-security.alerts-*"
	}
	if c.TimeField == "" {
		c.TimeField = "@timestamp"
	}
	if c.Since == 0 {
		c.Since = 24 * time.Hour
	}
	if c.Overlap == 0 {
		c.Overlap = 10 * time.Minute
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 2 * time.Minute
	}
	if c.Page == 0 {
		c.Page = 1000
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if _, err := puller.CheckURL(c.URL); err != nil {
		return c, fmt.Errorf("url: %w", err)
	}
	switch {
	case strings.ContainsAny(c.Index, "/?# "):
		return c, fmt.Errorf("index: %q is no pattern", c.Index)
	case c.APIKey != "" && c.User != "":
		return c, errors.New("api_key and user exclude each other")
	case c.Query != "" && !json.Valid([]byte(c.Query)):
		return c, errors.New("query: no JSON")
	case c.Page < 1 || c.Page > 10_000:
		return c, fmt.Errorf("page: %d; want 1 to 10000", c.Page)
	case c.Since < 0 || c.Overlap < 0 || c.Overlap > 24*time.Hour:
		return c, errors.New("since and overlap must not be negative, overlap at most 24h")
	case c.KeepAlive < 10*time.Second || c.KeepAlive > time.Hour:
		return c, fmt.Errorf("keep_alive: %s; want 10s to 1h", c.KeepAlive)
	}
	return c, nil
}

// Feed pulls one search.
type Feed struct {
	cfg    Config
	client *puller.Client
}

var _ puller.Feed = (*Feed)(nil)

// New checks the configuration.
func New(cfg Config) (*Feed, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	client, err := puller.NewClient(cfg.CA, cfg.URL)
	if err != nil {
		return nil, err
	}
	return &Feed{cfg: cfg, client: client}, nil
}

// state is what the checkpoint holds: everything before Last is stored, but
// for what appears late. A PIT does not outlive a Pull: the number of a shard's
// document means nothing in another one.
type state struct {
	Last time.Time   `json:"last"`
	Seen puller.Seen `json:"seen"`
}

type hit struct {
	Index  string            `json:"_index"`
	ID     string            `json:"_id"`
	Source json.RawMessage   `json:"_source"`
	Sort   []json.RawMessage `json:"sort"`
}

// Pull reads a point in time to its end. If the server has dropped it
// meanwhile, another one is opened and read from the last document on.
func (f *Feed) Pull(ctx context.Context, text json.RawMessage, out puller.Out) error {
	defer f.client.Close()
	st := state{Last: time.Now().Add(-f.cfg.Since)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &st); err != nil {
			return fmt.Errorf("read the checkpoint: %w", err)
		}
	}
	for again := 0; ; again++ {
		more, err := f.read(ctx, &st, out)
		if puller.Status(err) == http.StatusNotFound && more && again < 10 {
			continue // expired after at least one page: there is progress
		}
		return err
	}
}

// read reads one point in time; more: it was lost after some of it was stored.
func (f *Feed) read(ctx context.Context, st *state, out puller.Out) (more bool, err error) {
	pit, err := f.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() { f.drop(context.WithoutCancel(ctx), pit) }()
	from := st.Last.Add(-f.cfg.Overlap)
	var after []json.RawMessage
	for {
		hits, next, err := f.search(ctx, pit, from, after)
		if err != nil {
			return more, err
		}
		if next != "" {
			pit = next
		}
		b := puller.Batch{Remote: "elastic:" + f.client.Host() + "/" + f.cfg.Index, Envelope: intake.Bulk}
		for _, raw := range hits {
			after = f.take(&b, out, st, raw, after)
		}
		st.Seen.Forget(st.Last.Add(-f.cfg.Overlap-time.Second), puller.MaxSeen)
		if b.Len() > 0 { // else all of it was seen, and the state is as it was
			if err := out.Store(ctx, &b, st); err != nil {
				return more, err
			}
		}
		if len(hits) < f.cfg.Page {
			out.Behind(time.Time{})
			return false, nil
		}
		if after == nil {
			return false, fmt.Errorf("search: %w: a page without sort values", puller.ErrMalformed)
		}
		more = true
		out.Behind(st.Last)
	}
}

// take gives the sort values to go on behind.
func (f *Feed) take(b *puller.Batch, out puller.Out, st *state, raw json.RawMessage, after []json.RawMessage) []json.RawMessage {
	var h hit
	err := puller.Object(raw, &h)
	if len(h.Sort) > 0 {
		after = h.Sort
	}
	var at time.Time
	switch {
	case err != nil:
	case h.ID == "" || len(h.Source) == 0 || h.Source[0] != '{' || len(h.Sort) == 0:
		err = errors.New("no _id, _source or sort")
	default:
		err = json.Unmarshal(h.Sort[0], &at)
	}
	if err != nil {
		id := ""
		if h.ID != "" { // the sort values differ from one PIT to the next
			id = h.Index + "\x00" + h.ID
		}
		b.Bad(&st.Seen, id, raw, time.Now(), err)
		return after
	}
	if at.After(st.Last) {
		st.Last = at
	}
	b.Take(out, &st.Seen, puller.Item{Record: h.Source, ID: h.Index + "\x00" + h.ID, Time: at})
	return after
}

func (f *Feed) open(ctx context.Context) (string, error) {
	var pit struct{ ID string }
	path := "/" + url.PathEscape(f.cfg.Index) + "/_pit?keep_alive=" + f.alive()
	if err := f.ask(ctx, "open a point in time", http.MethodPost, path, nil, &pit); err != nil {
		return "", err
	}
	if pit.ID == "" {
		return "", fmt.Errorf("open a point in time: %w: no id", puller.ErrMalformed)
	}
	return pit.ID, nil
}

// drop frees the PIT; if that fails it ends by itself.
func (f *Feed) drop(ctx context.Context, pit string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = f.ask(ctx, "close a point in time", http.MethodDelete, "/_pit", map[string]string{"id": pit}, nil)
}

func (f *Feed) alive() string { return fmt.Sprintf("%ds", int(f.cfg.KeepAlive.Seconds())) }

func (f *Feed) search(ctx context.Context, pit string, from time.Time, after []json.RawMessage) (hits []json.RawMessage, next string, err error) {
	const format = "strict_date_optional_time_nanos"
	filter := []any{map[string]any{"range": map[string]any{f.cfg.TimeField: map[string]any{"gte": from.UTC().Format(time.RFC3339Nano), "format": format}}}}
	if f.cfg.Query != "" {
		filter = append(filter, json.RawMessage(f.cfg.Query))
	}
	in := map[string]any{
		"size": f.cfg.Page, "track_total_hits": false,
		"pit":   map[string]any{"id": pit, "keep_alive": f.alive()},
		"query": map[string]any{"bool": map[string]any{"filter": filter}},
		"sort": []any{
			map[string]any{f.cfg.TimeField: map[string]any{"order": "asc", "format": format, "numeric_type": "date_nanos"}},
			map[string]any{"_shard_doc": "asc"},
		},
	}
	if after != nil {
		in["search_after"] = after
	}
	var answer struct {
		PIT      string `json:"pit_id"`
		TimedOut bool   `json:"timed_out"`
		Shards   struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
		Hits *struct {
			Hits []json.RawMessage `json:"hits"`
		} `json:"hits"`
	}
	if err := f.ask(ctx, "search", http.MethodPost, "/_search?allow_partial_search_results=false", in, &answer); err != nil {
		return nil, "", err
	}
	if answer.Hits == nil || answer.TimedOut || answer.Shards.Failed > 0 { // a part of the answer would be a gap
		return nil, "", fmt.Errorf("search: %w: incomplete (%d shards failed)", puller.ErrMalformed, answer.Shards.Failed)
	}
	return answer.Hits.Hits, answer.PIT, nil
}

func (f *Feed) ask(ctx context.Context, op, method, path string, in, out any) error {
	header := http.Header{}
	switch {
	case f.cfg.APIKey != "":
		key, err := f.cfg.APIKey.Value()
		if err != nil {
			return err
		}
		header.Set("Authorization", "ApiKey "+key)
	case f.cfg.User != "":
		password, err := f.cfg.Password.Value()
		if err != nil {
			return err
		}
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(f.cfg.User+":"+password)))
	}
	return f.client.JSON(ctx, op, method, f.cfg.URL+path, header, in, out)
}
