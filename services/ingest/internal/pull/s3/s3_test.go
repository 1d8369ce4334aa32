package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/pulltest"
)

// fake is a bucket and a queue: objects in the order of their keys, three keys
// a page, and messages that come again until they are deleted.
type fake struct {
	mu       sync.Mutex
	objects  map[string]stored
	keys     []string
	messages map[string]string
	told     []string
	queue    bool
	shape    int
	n, m     int
}

type stored struct {
	body []byte
	at   time.Time
}

func (f *fake) put(body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.objects == nil {
		f.objects, f.messages = map[string]stored{}, map[string]string{}
	}
	// Every second object sorts before one that is there, as late ones do.
	k := len(f.keys)
	key := fmt.Sprintf("logs/2026 a+b/%06d.json", k^1)
	var b bytes.Buffer
	switch f.shape++; f.shape % 3 {
	case 0:
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(body))
		_ = z.Close()
	case 1:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			panic(err)
		}
		_, _ = z.Write([]byte(body))
		_ = z.Close()
	default:
		b.WriteString(body)
	}
	f.objects[key] = stored{b.Bytes(), time.Now()}
	f.keys = append(f.keys, key)
	slices.Sort(f.keys)
	f.tell(fmt.Sprintf(`{"Records":[{"eventName":"ObjectCreated:Put","eventTime":%q,"s3":{"bucket":{"name":"logs"},"object":{"key":%q,"eTag":%q}}}]}`,
		time.Now().UTC().Format(time.RFC3339Nano), strings.ReplaceAll(strings.ReplaceAll(key, "+", "%2B"), " ", "+"), etag(b.Bytes())))
}

func (f *fake) tell(body string) {
	f.m++
	f.messages[fmt.Sprint("m", f.m)] = body
	f.told = append(f.told, body)
}

func etag(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func (f *fake) Add(n int) {
	for n > 0 { // objects of one to four records, as lines or as a list
		var rec []string
		for range min(n, 1+f.n%4) {
			rec = append(rec, fmt.Sprintf(`{"eventName":"item-%d;"}`, f.n))
			f.n++
			n--
		}
		if f.n%2 == 0 {
			f.put(`{"Records":[` + strings.Join(rec, ",") + `]}`)
		} else {
			f.put(strings.Join(rec, "\n") + "\n")
		}
	}
}

func (f *fake) AddBad() { f.put(`{"Records":[`) }

func (f *fake) AddHuge(size int) { f.put(`{"Records":[{"x":"` + strings.Repeat("x", size) + `"}]}`) }

func (f *fake) Repeat() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, body := range slices.Clone(f.told) {
		f.tell(body)
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") {
		http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
		return
	}
	if action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS."); ok {
		f.sqs(w, r, action)
		return
	}
	if r.URL.Path == "/logs/" && r.URL.Query().Get("list-type") == "2" {
		f.list(w, r)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/logs/")
	o, ok := f.objects[key]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	case r.Header.Get("If-Match") != `"`+etag(o.body)+`"`:
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		_, _ = w.Write(o.body)
	}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	type entry struct {
		Key, ETag, LastModified string
		Size                    int
	}
	type result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []entry
		IsTruncated           bool
		NextContinuationToken string
	}
	var out result
	for _, k := range f.keys {
		if k <= after || !strings.HasPrefix(k, q.Get("prefix")) {
			continue
		}
		if len(out.Contents) == 3 {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[2].Key
			break
		}
		o := f.objects[k]
		out.Contents = append(out.Contents, entry{k, `"` + etag(o.body) + `"`, o.at.UTC().Format("2006-01-02T15:04:05.000Z"), len(o.body)})
	}
	_ = xml.NewEncoder(w).Encode(out)
}

func (f *fake) sqs(w http.ResponseWriter, r *http.Request, action string) {
	var in struct{ ReceiptHandle string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	if action == "DeleteMessage" {
		delete(f.messages, in.ReceiptHandle)
	}
	type msg struct{ MessageId, ReceiptHandle, Body string } //nolint:revive // as on the wire
	var out struct{ Messages []msg }
	if action == "ReceiveMessage" {
		for id, body := range f.messages {
			if len(out.Messages) < 10 {
				out.Messages = append(out.Messages, msg{id, id, body})
			}
		}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func TestConformance(t *testing.T) {
	for _, queue := range []bool{false, true} {
		t.Run(map[bool]string{false: "list", true: "queue"}[queue], func(t *testing.T) {
			pulltest.Run(t, pulltest.Kind{New: func(*testing.T) (pulltest.Server, func(string) (puller.Feed, error)) {
				return &fake{queue: queue}, func(url string) (puller.Feed, error) {
					c := Config{Endpoint: url, Bucket: "logs", AccessKey: "key", SecretKey: "secret", Prefixes: []string{"logs/"}}
					if queue {
						c.Queue = url + "/1/queue"
					}
					return New(c)
				}
			}})
		})
	}
}
