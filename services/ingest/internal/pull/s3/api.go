package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

const noBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing

// api is the few operations that are needed of S3 and SQS.
type api struct {
	cfg    Config
	client *puller.Client
	signer *v4.Signer
	sqs    *v4.Signer
}

func newAPI(cfg Config) (*api, error) {
	urls := []string{cfg.base()}
	if cfg.Queue != "" {
		urls = append(urls, cfg.Queue)
	}
	client, err := puller.NewClient(cfg.CA, urls...)
	if err != nil {
		return nil, err
	}
	// S3 wants the path as it is sent, other services encoded once more.
	return &api{cfg: cfg, client: client, sqs: v4.NewSigner(),
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}, nil
}

// sign signs a request, if there are credentials: a public bucket needs none.
func (a *api) sign(ctx context.Context, s *v4.Signer, req *http.Request, hash, service string) error {
	if a.cfg.AccessKey == "" {
		return nil
	}
	var cred aws.Credentials
	var err error
	for _, v := range []struct {
		from puller.Secret
		to   *string
	}{{a.cfg.AccessKey, &cred.AccessKeyID}, {a.cfg.SecretKey, &cred.SecretAccessKey}, {a.cfg.Session, &cred.SessionToken}} {
		if *v.to, err = v.from.Value(); err != nil {
			return err
		}
	}
	return s.SignHTTP(ctx, cred, req, hash, service, a.cfg.Region, time.Now())
}

func (a *api) get(ctx context.Context, target string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Content-Sha256", noBody)
	return req, nil
}

// object is an entry of a listing.
type object struct {
	Key      string
	ETag     string
	Size     int64
	Modified time.Time `xml:"LastModified"`
	loose    bool      // ETag is another checksum: it cannot be asked for
}

type listing struct {
	Contents       []object
	CommonPrefixes []struct{ Prefix string }
	IsTruncated    bool
	Next           string `xml:"NextContinuationToken"`
}

// list asks for a page of keys behind after; token goes on where the page
// before ended.
func (a *api) list(ctx context.Context, prefix, delimiter, after, token string) (*listing, error) {
	q := url.Values{"list-type": {"2"}, "prefix": {prefix}, "max-keys": {"1000"}}
	for k, v := range map[string]string{"delimiter": delimiter, "start-after": after, "continuation-token": token} {
		if v != "" {
			q.Set(k, v)
		}
	}
	req, err := a.get(ctx, a.cfg.base()+"/?"+strings.ReplaceAll(q.Encode(), "+", "%20"))
	if err != nil {
		return nil, err
	}
	if err := a.sign(ctx, a.signer, req, noBody, "s3"); err != nil {
		return nil, err
	}
	op := "list bucket " + a.cfg.Bucket
	text, err := a.client.Do(req, op)
	if err != nil {
		return nil, err
	}
	l := new(listing)
	if err := xml.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", op, puller.ErrMalformed, err)
	}
	return l, nil
}

// open reads an object as it was when it had the ETag (any if empty).
func (a *api) open(ctx context.Context, key, etag string) (*http.Response, error) {
	req, err := a.get(ctx, a.cfg.base()+"/"+escapeKey(key))
	if err != nil {
		return nil, err
	}
	if etag != "" {
		req.Header.Set("If-Match", `"`+etag+`"`)
	}
	req.Header.Set("Accept-Encoding", "identity") // what is stored, as it is stored
	if err := a.sign(ctx, a.signer, req, noBody, "s3"); err != nil {
		return nil, err
	}
	return a.client.Open(req, "read "+remote(a.cfg.Bucket, key))
}

// escapeKey escapes all but unreserved characters and slashes, as signatures
// want it.
func escapeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// remote names an object in at most 500 bytes.
func remote(bucket, key string) string {
	s := "s3://" + bucket + "/" + strings.ToValidUTF8(key, "?")
	return s[:min(len(s), 500)]
}

// message is one of SQS.
type message struct {
	MessageID     string `json:"MessageId"`
	ReceiptHandle string
	Body          string
}

func (a *api) receive(ctx context.Context) ([]message, error) {
	var out struct{ Messages []message }
	err := a.queue(ctx, "ReceiveMessage", map[string]any{"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": visible}, &out)
	return out.Messages, err
}

func (a *api) remove(ctx context.Context, m message) error {
	return a.queue(ctx, "DeleteMessage", map[string]any{"ReceiptHandle": m.ReceiptHandle}, nil)
}

// hold keeps a message from other readers for longer.
func (a *api) hold(ctx context.Context, m message) error {
	return a.queue(ctx, "ChangeMessageVisibility", map[string]any{"ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": visible}, nil)
}

func (a *api) queue(ctx context.Context, action string, in map[string]any, out any) error {
	op := "queue: " + action
	in["QueueUrl"] = a.cfg.Queue
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.queueHost(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("Content-Length", strconv.Itoa(len(text)))
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	sum := sha256.Sum256(text)
	if err := a.sign(ctx, a.sqs, req, hex.EncodeToString(sum[:]), "sqs"); err != nil {
		return err
	}
	answer, err := a.client.Do(req, op)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %w: %w", op, puller.ErrMalformed, err)
	}
	return nil
}
