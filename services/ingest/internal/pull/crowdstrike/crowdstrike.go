// Package crowdstrike pulls the alerts of CrowdStrike Falcon: their ids by
// time, then what they are. An alert that changes comes again, as a record of
// its own. (The sensors' own data, FDR, lies in a bucket with a queue.)
package crowdstrike

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

// deepest is the largest offset and limit together that the API takes.
const deepest = 10_000

// Config is one customer's API client, with the scope Alerts: Read.
type Config struct {
	URL    string        `yaml:"url"` // of the cloud; default https://api.crowdstrike.com
	ID     puller.Secret `yaml:"client_id"`
	Secret puller.Secret `yaml:"client_secret"`
	CA     string        `yaml:"ca"` // file of certificates to trust instead of the system's
	// Filter in FQL, joined to the one on updated_timestamp with "+".
	Filter string `yaml:"filter"`
	// Since is how far back the very first look goes; default 24h. Overlap is
	// how late an alert may appear; default 10m.
	Since   time.Duration `yaml:"since"`
	Overlap time.Duration `yaml:"overlap"`
	// Page is the number of alerts a page, at most 1000; default 500.
	Page int `yaml:"page"`
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	_, err := c.complete()
	return err
}

func (c Config) complete() (Config, error) {
	if c.URL == "" {
		c.URL = "https://api.crowdstrike.com"
	}
	if c.Since == 0 {
		c.Since = 24 * time.Hour
	}
	if c.Overlap == 0 {
		c.Overlap = 10 * time.Minute
	}
	if c.Page == 0 {
		c.Page = 500
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	switch {
	case c.ID == "" || c.Secret == "":
		return c, errors.New("client_id and client_secret are needed: env:NAME or file:PATH")
	case c.Page < 1 || c.Page > 1000:
		return c, fmt.Errorf("page: %d; want 1 to 1000", c.Page)
	case c.Since < 0 || c.Overlap < 0 || c.Overlap > 24*time.Hour:
		return c, errors.New("since and overlap must not be negative, overlap at most 24h")
	}
	if _, err := puller.CheckURL(c.URL); err != nil {
		return c, fmt.Errorf("url: %w", err)
	}
	return c, nil
}

// Feed pulls the alerts of a customer.
type Feed struct {
	cfg    Config
	client *puller.Client
	grant  *puller.Grant
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
	return &Feed{cfg: cfg, client: client, grant: &puller.Grant{URL: cfg.URL + "/oauth2/token", ID: cfg.ID, Secret: cfg.Secret, Client: client}}, nil
}

// state is what the checkpoint holds: what was updated before Last is stored.
type state struct {
	Last time.Time   `json:"last"`
	Seen puller.Seen `json:"seen"`
}

// Pull takes the alerts that were updated. Every page asks from the last
// update on: an offset into a list that changes would skip alerts. Only among
// alerts of one instant it counts an offset.
func (f *Feed) Pull(ctx context.Context, text json.RawMessage, out puller.Out) error {
	defer f.client.Close()
	st := state{Last: time.Now().Add(-f.cfg.Since)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &st); err != nil {
			return fmt.Errorf("read the checkpoint: %w", err)
		}
	}
	from, offset := st.Last.Add(-f.cfg.Overlap), 0
	for {
		ids, err := f.ids(ctx, from, offset)
		if err != nil {
			return err
		}
		items, err := f.alerts(ctx, ids)
		if err != nil {
			return err
		}
		b := puller.Batch{Remote: "crowdstrike:" + f.client.Host()}
		newest := from
		for _, raw := range items {
			if at := f.take(&b, out, &st, raw); at.After(newest) {
				newest = at
			}
		}
		if newest.After(st.Last) {
			st.Last = newest
		}
		st.Seen.Forget(st.Last.Add(-f.cfg.Overlap-time.Second), puller.MaxSeen)
		if b.Len() > 0 { // else all of it was seen, and the state is as it was
			if err := out.Store(ctx, &b, &st); err != nil {
				return err
			}
		}
		if len(ids) < f.cfg.Page {
			out.Behind(time.Time{})
			return nil
		}
		if newest.After(from) {
			from, offset = newest, 0
		} else {
			offset += len(ids)
		}
		if offset+f.cfg.Page > deepest {
			return fmt.Errorf("list alerts: %w: more than %d alerts that were updated at %s", puller.ErrTooLarge, deepest, from)
		}
		out.Behind(newest)
	}
}

func (f *Feed) ids(ctx context.Context, from time.Time, offset int) ([]string, error) {
	filter := "updated_timestamp:>='" + from.UTC().Format(time.RFC3339Nano) + "'"
	if f.cfg.Filter != "" {
		filter += "+(" + f.cfg.Filter + ")"
	}
	q := url.Values{"filter": {filter}, "sort": {"updated_timestamp.asc"}, "limit": {strconv.Itoa(f.cfg.Page)}, "offset": {strconv.Itoa(offset)}}
	var answer struct {
		Resources []string `json:"resources"`
	}
	err := f.ask(ctx, "list alerts", http.MethodGet, "/alerts/queries/alerts/v2?"+q.Encode(), nil, &answer)
	return answer.Resources, err
}

func (f *Feed) alerts(ctx context.Context, ids []string) ([]json.RawMessage, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var answer struct {
		Resources []json.RawMessage `json:"resources"`
	}
	err := f.ask(ctx, "read alerts", http.MethodPost, "/alerts/entities/alerts/v2", map[string]any{"composite_ids": ids}, &answer)
	if err == nil && len(answer.Resources) == 0 {
		err = fmt.Errorf("read alerts: %w: none of %d is there", puller.ErrMalformed, len(ids))
	}
	return answer.Resources, err
}

func (f *Feed) ask(ctx context.Context, op, method, path string, in, out any) error {
	header, err := f.grant.Header(ctx)
	if err != nil {
		return err
	}
	err = f.client.JSON(ctx, op, method, f.cfg.URL+path, header, in, out)
	if puller.Status(err) == 401 {
		f.grant.Forget()
	}
	return err
}

// take gives the time of the update, the zero time of an item without one.
func (f *Feed) take(b *puller.Batch, out puller.Out, st *state, raw json.RawMessage) time.Time {
	var a struct {
		ID   string    `json:"composite_id"`
		Time time.Time `json:"updated_timestamp"`
	}
	err := puller.Object(raw, &a)
	if err == nil && (a.ID == "" || a.Time.IsZero()) {
		err = errors.New("no composite_id or updated_timestamp")
	}
	if err != nil {
		b.Bad(&st.Seen, "", raw, time.Now(), err)
		return time.Time{}
	}
	b.Take(out, &st.Seen, puller.Item{Record: raw, ID: a.ID, Time: a.Time})
	return a.Time
}
