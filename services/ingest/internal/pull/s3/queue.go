package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

const (
	visible = 600 // seconds for which a message is ours
	nested  = 3   // envelopes around a message
)

// messages takes the objects that a queue tells of. A message is deleted after
// its objects are stored.
func (p *pull) messages(ctx context.Context) error {
	for ctx.Err() == nil {
		found, err := p.api.receive(ctx)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			p.out.Behind(time.Time{})
			return nil
		}
		for _, m := range found {
			if err := p.message(ctx, m); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (p *pull) message(ctx context.Context, m message) error {
	last := time.Now()
	p.held = func(ctx context.Context) error {
		if time.Since(last) < visible/3*time.Second {
			return nil
		}
		last = time.Now()
		return p.api.hold(ctx, m)
	}
	objects, err := notification([]byte(m.Body), p.cfg.Bucket, nested)
	if err != nil {
		b := puller.Batch{Key: "message\x00" + m.MessageID, Remote: "sqs:" + p.cfg.Bucket, Again: true}
		b.Dead([]byte(m.Body), puller.ReasonMalformed, err.Error())
		if err := p.out.Store(ctx, &b, &p.state); err != nil {
			return err
		}
	}
	for i := range objects {
		if err := p.visit(ctx, &objects[i], &p.state.Seen); err != nil {
			return err
		}
	}
	p.state.Seen.Forget(time.Time{}, maxSeen)
	return p.api.remove(ctx, m)
}

// notification reads what S3 says of new objects: an S3 event, the same within
// an SNS message, an EventBridge event, or the message of CrowdStrike's FDR.
func notification(text []byte, bucket string, depth int) ([]object, error) {
	var m struct {
		Type, Message, Event string
		Records              []struct {
			EventName string    `json:"eventName"`
			EventTime time.Time `json:"eventTime"`
			S3        struct {
				Bucket struct{ Name string }
				Object struct {
					Key, ETag string
					Size      int64
				}
			}
		}
		DetailType string `json:"detail-type"`
		Detail     struct {
			Bucket struct{ Name string }
			Object struct {
				Key, ETag string
				Size      int64
			}
		}
		Bucket string
		Files  []struct {
			Path, Checksum string
			Size           int64
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("no notification: %w", err)
	}
	ours := func(name string) error {
		if name != bucket {
			return fmt.Errorf("a notification of bucket %.100q, not %s", name, bucket)
		}
		return nil
	}
	var out []object
	switch {
	case m.Type == "Notification" && m.Message != "" && depth > 0:
		return notification([]byte(m.Message), bucket, depth-1)
	case m.Event == "s3:TestEvent":
		return nil, nil
	case len(m.Files) > 0:
		for _, f := range m.Files {
			out = append(out, object{Key: f.Path, ETag: f.Checksum, Size: f.Size, loose: true})
		}
		return foreign(out, ours(m.Bucket))
	case m.DetailType != "":
		if m.DetailType == "Object Created" {
			o := m.Detail.Object
			out = append(out, object{Key: o.Key, ETag: o.ETag, Size: o.Size})
		}
		return foreign(out, ours(m.Detail.Bucket.Name))
	case len(m.Records) > 0:
		for _, r := range m.Records {
			if err := ours(r.S3.Bucket.Name); err != nil {
				return nil, err
			}
			if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
				continue
			}
			key, err := url.QueryUnescape(r.S3.Object.Key)
			if err != nil {
				return nil, fmt.Errorf("no notification: key: %w", err)
			}
			o := object{Key: key, ETag: strings.Trim(r.S3.Object.ETag, `"`), Size: r.S3.Object.Size, Modified: r.EventTime}
			out = append(out, o)
		}
		return out, nil
	}
	return nil, fmt.Errorf("no notification of S3")
}

// foreign takes no object along with an error.
func foreign(objects []object, err error) ([]object, error) {
	if err != nil {
		return nil, err
	}
	return objects, nil
}
