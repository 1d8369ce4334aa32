package shippers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"

	"github.com/vagus-hub/vagus/services/ingest/internal/bulk"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func handler(t testing.TB, hub *hubtest.Hub) *bulk.Handler {
	t.Helper()
	h, err := bulk.New(bulk.Config{}, hub, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// once checks that the documents 0 to n-1 are there, each once.
func once(t testing.TB, hub *hubtest.Hub, n int, mark func(i int) string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d documents", n), func() bool { return len(hub.Records()) >= n })
	var all strings.Builder
	for _, r := range hub.Records() {
		all.WriteString(r.Text + "\n")
	}
	for i := range n {
		if c := strings.Count(all.String(), mark(i)); c != 1 {
			t.Errorf("%s is there %d times", mark(i), c)
		}
	}
}

// Elastic's own Go client checks product, version and answer, and says of each
// document what became of it.
func TestElasticsBulkIndexer(t *testing.T) {
	hub := hubtest.New(t)
	srv := httptest.NewServer(handler(t, hub))
	defer srv.Close()
	for name, address := range map[string]string{"root": srv.URL, "prefix": srv.URL + bulk.Prefix} {
		t.Run(name, func(t *testing.T) {
			before := len(hub.Records())
			es, err := elasticsearch.NewClient(elasticsearch.Config{
				Addresses: []string{address}, APIKey: "all-secret", CompressRequestBody: true, RetryOnStatus: []int{429, 502, 503, 504}, MaxRetries: 5,
				RetryBackoff: func(int) time.Duration { return time.Millisecond },
			})
			if err != nil {
				t.Fatal(err)
			}
			info, err := es.Info()
			if err != nil || info.IsError() {
				t.Fatalf("info: %v %v", info, err)
			}
			info.Body.Close()
			var calls atomic.Int32
			hub.Busy(func(int, *intake.Batch) bool { return calls.Add(1)%3 == 1 })
			bi, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Client: es, Index: "logs-app-default", NumWorkers: 2, FlushBytes: 2000})
			if err != nil {
				t.Fatal(err)
			}
			const n = 200
			var good, bad atomic.Int32
			for i := range n {
				doc := fmt.Sprintf(`{"%s":"#%d."}`, name, i)
				if i == 77 {
					doc = `{"broken":`
				}
				err := bi.Add(context.Background(), esutil.BulkIndexerItem{
					Action: "create", Body: strings.NewReader(doc),
					OnSuccess: func(context.Context, esutil.BulkIndexerItem, esutil.BulkIndexerResponseItem) { good.Add(1) },
					OnFailure: func(_ context.Context, _ esutil.BulkIndexerItem, res esutil.BulkIndexerResponseItem, err error) {
						bad.Add(1)
						if err != nil || res.Status != 400 || res.Error.Type != "document_parsing_exception" {
							t.Errorf("%d %s %v", res.Status, res.Error.Type, err)
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := bi.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if good.Load() != n-1 || bad.Load() != 1 || len(hub.Records())-before != n-1 {
				t.Errorf("%d good, %d bad, %d stored", good.Load(), bad.Load(), len(hub.Records())-before)
			}
		})
	}
}

// rsyslog asks nothing first, and sends again only if the connection breaks:
// every third batch is refused, and still each document arrives once.
func TestRsyslogElasticsearch(t *testing.T) {
	program := testkit.Program(t, "rsyslogd")
	hub := hubtest.New(t)
	srv := httptest.NewServer(handler(t, hub))
	defer srv.Close()
	var calls atomic.Int32
	hub.Busy(func(int, *intake.Batch) bool { return calls.Add(1)%3 == 2 })
	host, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	dir := t.TempDir()
	const n = 150
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "document #%d.\n", i)
	}
	write(t, filepath.Join(dir, "in.log"), lines.String())
	write(t, filepath.Join(dir, "conf"), strings.NewReplacer("DIR", dir, "HOST", host, "PORT", port).Replace(`
global(workDirectory="DIR" net.enableDNS="off")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omelasticsearch")
input(type="imfile" file="DIR/in.log" tag="app" reopenOnTruncate="on" ruleset="out")
template(name="doc" type="list" option.jsonf="on") {
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
ruleset(name="out") {
  action(type="omelasticsearch" server="HOST" serverport="PORT" uid="shipper" pwd="all-secret" template="doc" searchIndex="logs-app"
         searchType="" bulkmode="on" maxbytes="1m"
         action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="linkedList" queue.dequeueBatchSize="20")
}
`))
	background(t, program, "-n", "-f", filepath.Join(dir, "conf"), "-i", filepath.Join(dir, "pid"))
	once(t, hub, n, func(i int) string { return fmt.Sprintf("#%d.", i) })
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// background runs a program until the end of the test.
func background(t testing.TB, name string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), out.String())
		}
	})
}
