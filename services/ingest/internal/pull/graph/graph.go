// Package graph pulls Microsoft Graph's security alerts (alerts_v2). An alert
// that changes comes again, as a record of its own.
package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

// Config is one tenant.
type Config struct {
	Tenant string        `yaml:"tenant"` // id or domain
	ID     puller.Secret `yaml:"client_id"`
	Secret puller.Secret `yaml:"client_secret"`
	// URL and Login are the addresses; default those of the global cloud.
	URL   string `yaml:"url"`
	Login string `yaml:"login_url"`
	CA    string `yaml:"ca"` // file of certificates to trust instead of the system's
	// Filter is joined to the filter on lastUpdateDateTime with "and".
	Filter string `yaml:"filter"`
	// Since is how far back the very first look goes; default 24h. Overlap is
	// how late an alert may appear; default 10m.
	Since   time.Duration `yaml:"since"`
	Overlap time.Duration `yaml:"overlap"`
	// Page is the number of alerts a page, at most 2000; default 500.
	Page int `yaml:"page"`
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	_, err := c.complete()
	return err
}

func (c Config) complete() (Config, error) {
	if c.URL == "" {
		c.URL = "https://graph.microsoft.com"
	}
	if c.Login == "" {
		c.Login = "https://login.microsoftonline.com"
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
	c.URL, c.Login = strings.TrimSuffix(c.URL, "/"), strings.TrimSuffix(c.Login, "/")
	switch {
	case c.Tenant == "" || strings.ContainsAny(c.Tenant, "/?#: "):
		return c, fmt.Errorf("tenant: %q is neither an id nor a domain", c.Tenant)
	case c.ID == "" || c.Secret == "":
		return c, errors.New("client_id and client_secret are needed: env:NAME or file:PATH")
	case c.Page < 1 || c.Page > 2000:
		return c, fmt.Errorf("page: %d; want 1 to 2000", c.Page)
	case c.Since < 0 || c.Overlap < 0 || c.Overlap > 24*time.Hour:
		return c, errors.New("since and overlap must not be negative, overlap at most 24h")
	}
	for key, u := range map[string]string{"url": c.URL, "login_url": c.Login} {
		if _, err := puller.CheckURL(u); err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
	}
	return c, nil
}

// Feed pulls the alerts of a tenant.
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
	client, err := puller.NewClient(cfg.CA, cfg.URL, cfg.Login)
	if err != nil {
		return nil, err
	}
	return &Feed{cfg: cfg, client: client, grant: &puller.Grant{
		URL: cfg.Login + "/" + cfg.Tenant + "/oauth2/v2.0/token", ID: cfg.ID, Secret: cfg.Secret, Scope: cfg.URL + "/.default", Client: client,
	}}, nil
}

// state is what the checkpoint holds: everything that changed before From is
// stored. Next is the page to go on with, Newest the latest time so far.
type state struct {
	From   time.Time   `json:"from"`
	Next   string      `json:"next,omitempty"`
	Newest time.Time   `json:"newest"`
	Seen   puller.Seen `json:"seen"`
}

type page struct {
	Value []json.RawMessage `json:"value"`
	Next  string            `json:"@odata.nextLink"`
}

// Pull takes the alerts that changed. Their order is the server's: From moves
// on only when the last page is stored.
func (f *Feed) Pull(ctx context.Context, text json.RawMessage, out puller.Out) error {
	defer f.client.Close()
	st := state{From: time.Now().Add(-f.cfg.Since)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &st); err != nil {
			return fmt.Errorf("read the checkpoint: %w", err)
		}
	}
	resumed, dirty := st.Next != "", st.Next != ""
	for {
		target := st.Next
		if target == "" {
			target = f.first(st.From)
		}
		p, err := f.ask(ctx, target)
		if s := puller.Status(err); st.Next != "" && (s == 400 || s == 404 || s == 410) { // the link is too old
			st.Next, resumed = "", false
			continue
		}
		if err != nil {
			return err
		}
		b := puller.Batch{Remote: "graph:" + f.cfg.Tenant}
		for _, raw := range p.Value {
			f.take(&b, out, &st, raw)
		}
		if st.Next = p.Next; st.Next == "" {
			if from := st.Newest.Add(-f.cfg.Overlap); from.After(st.From) {
				st.From = from
			}
			st.Seen.Forget(st.From, puller.MaxSeen)
		}
		dirty = dirty || b.Len() > 0
		if b.Len() > 0 || dirty && st.Next == "" { // else all of it was seen
			if err := out.Store(ctx, &b, &st); err != nil {
				return err
			}
		}
		switch {
		case st.Next != "":
			out.Behind(st.Newest)
		case resumed: // the list of an earlier Pull is at its end; what came since is not in it
			resumed, dirty = false, false
		default:
			out.Behind(time.Time{})
			return nil
		}
	}
}

func (f *Feed) first(from time.Time) string {
	filter := "lastUpdateDateTime ge " + from.UTC().Format(time.RFC3339)
	if f.cfg.Filter != "" {
		filter += " and (" + f.cfg.Filter + ")"
	}
	q := url.Values{"$filter": {filter}, "$top": {fmt.Sprint(f.cfg.Page)}}
	return f.cfg.URL + "/v1.0/security/alerts_v2?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

func (f *Feed) ask(ctx context.Context, target string) (*page, error) {
	header, err := f.grant.Header(ctx)
	if err != nil {
		return nil, err
	}
	header.Set("Prefer", "include-unknown-enum-members")
	p := new(page)
	err = f.client.JSON(ctx, "list alerts", "GET", target, header, nil, p)
	if puller.Status(err) == 401 {
		f.grant.Forget()
	}
	if err == nil && p.Value == nil {
		err = fmt.Errorf("list alerts: %w: no value", puller.ErrMalformed)
	}
	return p, err
}

func (f *Feed) take(b *puller.Batch, out puller.Out, st *state, raw json.RawMessage) {
	var a struct {
		ID   string    `json:"id"`
		Time time.Time `json:"lastUpdateDateTime"`
	}
	err := puller.Object(raw, &a)
	if err == nil && (a.ID == "" || a.Time.IsZero()) {
		err = errors.New("no id or lastUpdateDateTime")
	}
	if err != nil {
		b.Bad(&st.Seen, "", raw, time.Now(), err)
		return
	}
	if a.Time.After(st.Newest) {
		st.Newest = a.Time
	}
	b.Take(out, &st.Seen, puller.Item{Record: raw, ID: a.ID, Time: a.Time})
}
