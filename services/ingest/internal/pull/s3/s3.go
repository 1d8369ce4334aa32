package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

const (
	partBytes   = 4 << 20 // of a part of an object
	partRecords = 10_000
	partsAre    = 1 // changes when objects are cut into other parts
	maxSeen     = 200_000
	maxPlaces   = 10_000
)

// Feed pulls one bucket.
type Feed struct {
	cfg Config
	api *api
}

var _ puller.Feed = (*Feed)(nil)

// New checks the configuration.
func New(cfg Config) (*Feed, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	a, err := newAPI(cfg)
	if err != nil {
		return nil, err
	}
	return &Feed{cfg: cfg, api: a}, nil
}

// state is what the checkpoint holds.
type state struct {
	Places map[string]*place `json:"places,omitempty"`
	Seen   puller.Seen       `json:"seen"` // of the queue
	// Object is what is being read, Part how many of its parts are stored.
	Object string `json:"object,omitempty"`
	Part   int    `json:"part,omitempty"`
	Cut    int    `json:"cut,omitempty"`
}

// place is how far a prefix has been read: all keys up to After, and of those
// behind it the ones in Seen.
type place struct {
	After string      `json:"after"`
	Seen  puller.Seen `json:"seen"`
}

// pull is one Pull at work.
type pull struct {
	*Feed
	out   puller.Out
	state state
	held  func(ctx context.Context) error // of the queue's message; may be nil
}

// Pull reads the objects that are new.
func (f *Feed) Pull(ctx context.Context, text json.RawMessage, out puller.Out) error {
	defer f.api.client.Close()
	p := &pull{Feed: f, out: out}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &p.state); err != nil {
			return fmt.Errorf("read the checkpoint: %w", err)
		}
	}
	if p.state.Cut != partsAre { // another version's parts cannot be told apart
		p.state.Object, p.state.Part, p.state.Cut = "", 0, partsAre
	}
	if f.cfg.Queue != "" {
		return p.messages(ctx)
	}
	prefixes, err := p.places(ctx)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		if err := p.list(ctx, prefix); err != nil {
			return err
		}
	}
	out.Behind(time.Time{})
	return nil
}

// places are the prefixes, split into folders if so configured.
func (p *pull) places(ctx context.Context) ([]string, error) {
	found := slices.Clone(p.cfg.Prefixes)
	for range p.cfg.Split {
		var below []string
		for _, prefix := range found {
			token := ""
			for {
				l, err := p.api.list(ctx, prefix, "/", "", token)
				if err != nil {
					return nil, err
				}
				for _, c := range l.CommonPrefixes {
					below = append(below, c.Prefix)
				}
				if len(below) > maxPlaces {
					return nil, fmt.Errorf("split: more than %d folders (give prefixes)", maxPlaces)
				}
				if token = l.Next; !l.IsTruncated || token == "" {
					break
				}
			}
		}
		found = below
	}
	return found, nil
}

// list takes what is new under a prefix, in the order of keys.
func (p *pull) list(ctx context.Context, prefix string) error {
	if p.state.Places == nil {
		p.state.Places = map[string]*place{}
	}
	at := p.state.Places[prefix]
	if at == nil {
		at = &place{}
		p.state.Places[prefix] = at
	}
	old := time.Now().Add(-p.cfg.Lookback)
	after, token, settled := at.After, "", true
	for {
		l, err := p.api.list(ctx, prefix, "", after, token)
		if err != nil {
			return err
		}
		began := at.After
		for i := range l.Contents {
			o := &l.Contents[i]
			o.ETag = strings.Trim(o.ETag, `"`)
			if err := p.visit(ctx, o, &at.Seen); err != nil {
				return err
			}
			// Behind a young object others may still appear.
			if settled = settled && o.Modified.Before(old); settled {
				at.After = o.Key
				at.Seen.Drop(o.id())
			}
		}
		if over := at.Seen.Forget(time.Time{}, maxSeen); over > 0 || at.After != began {
			if err := p.out.Store(ctx, &puller.Batch{}, &p.state); err != nil {
				return err
			}
		}
		if token = l.Next; !l.IsTruncated || token == "" {
			return nil
		}
	}
}

func (o *object) id() string { return o.Key + "\x00" + o.ETag }

func (c *Config) wants(key string) bool {
	if strings.HasSuffix(key, "/") {
		return false
	}
	for _, s := range c.Suffixes {
		if strings.HasSuffix(key, s) {
			return true
		}
	}
	return len(c.Suffixes) == 0
}

// visit reads an object unless it was read; seen then holds it.
func (p *pull) visit(ctx context.Context, o *object, seen *puller.Seen) error {
	if !p.cfg.wants(o.Key) || seen.Has(o.id()) {
		return nil
	}
	if !o.Modified.IsZero() {
		p.out.Behind(o.Modified)
	}
	if p.state.Object != o.id() {
		p.state.Object, p.state.Part = o.id(), 0
	}
	c := &cutter{ctx: ctx, p: p, o: o, done: p.state.Part}
	err := p.read(ctx, o, c)
	if errors.Is(err, errChanged) {
		return nil // what it is now is listed the next time
	}
	if err != nil {
		return err
	}
	p.state.Object, p.state.Part = "", 0
	seen.Add(o.id(), time.Now())
	return c.flush() // the last part, or the state alone
}

// errChanged says that an object is not what it was when it was listed.
var errChanged = errors.New("the object changed")

// read hands the records of an object to c. What is wrong with the object
// itself becomes a dead letter.
func (p *pull) read(ctx context.Context, o *object, c *cutter) error {
	etag := o.ETag
	if o.loose {
		etag = ""
	}
	resp, err := p.api.open(ctx, o.Key, etag)
	if err != nil {
		var f *puller.Failure
		switch {
		case !errors.As(err, &f):
		case f.Status == http.StatusNotFound && strings.Contains(f.Text, "NoSuchKey"):
			return nil
		case f.Status == http.StatusPreconditionFailed:
			return errChanged
		case f.Status == http.StatusForbidden && strings.Contains(f.Text, "InvalidObjectState"): // archived
			return c.bad(o.describe(p.cfg.Bucket), puller.ReasonUnread, "the object is in an archive")
		}
		return err
	}
	defer resp.Body.Close()
	r, done, err := unpack(resp.Body, p.cfg.MaxObject)
	if err == nil {
		defer done()
		err = split(r, p.cfg.Format, p.out.Limits(), c)
	}
	var d *damage
	switch {
	case errors.As(err, &d):
		return c.bad(o.describe(p.cfg.Bucket), puller.ReasonUnread, d.Error())
	case errors.Is(err, errLarge):
		return c.bad(o.describe(p.cfg.Bucket), puller.ReasonTooLarge, fmt.Sprintf("more than %d bytes unpacked; what is before is stored", p.cfg.MaxObject))
	case err != nil:
		return fmt.Errorf("read %s: %w", remote(p.cfg.Bucket, o.Key), err)
	}
	return nil
}

// describe is the dead letter of an object.
func (o *object) describe(bucket string) []byte {
	text, err := json.Marshal(map[string]any{"bucket": bucket, "key": o.Key, "etag": o.ETag, "size": o.Size})
	if err != nil {
		return []byte(remote(bucket, o.Key))
	}
	return text
}

// cutter puts records into parts. The same object gives the same parts.
type cutter struct {
	ctx   context.Context
	p     *pull
	o     *object
	batch puller.Batch
	part  int // parts so far
	done  int // of them stored before
}

func (c *cutter) record(rec []byte) error {
	c.batch.Add(rec, c.p.out.Limits())
	return c.full()
}

func (c *cutter) bad(rec []byte, reason, why string) error {
	c.batch.Dead(rec, reason, why)
	return c.full()
}

func (c *cutter) full() error {
	if c.batch.Bytes() < partBytes && c.batch.Len() < partRecords {
		return nil
	}
	c.p.state.Part = max(c.part+1, c.done)
	return c.flush()
}

// flush stores a part with the state as it is.
func (c *cutter) flush() error {
	c.part++
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.part <= c.done && c.p.state.Object != "" {
		c.batch.Reset()
		return nil
	}
	if c.p.held != nil {
		if err := c.p.held(c.ctx); err != nil {
			return err
		}
	}
	c.batch.Key = fmt.Sprintf("%s\x00%s\x00%d", c.p.cfg.Bucket, c.o.id(), c.part)
	c.batch.Remote, c.batch.Again = remote(c.p.cfg.Bucket, c.o.Key), true
	err := c.p.out.Store(c.ctx, &c.batch, &c.p.state)
	c.batch.Reset()
	return err
}
