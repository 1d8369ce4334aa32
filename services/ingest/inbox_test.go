package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Producers publish plain records to the bus; they become RAW blocks, once, and
// what is malformed dead letters.
func TestInbox(t *testing.T) {
	server, err := bus.StartServer(bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 2 << 30, NoSync: true, Users: []bus.User{
		{Name: "gateway", SHA256: HashToken("secret"), Publish: []string{"in.>"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Connect(t.Context(), bus.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context(), bus.Limits{Total: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	o := options(b)
	o.NATS.Enabled = true
	start(t, o)
	nc, err := nats.Connect(server.URL(), nats.UserInfo("gateway", "secret"), nats.CustomInboxPrefix("_INBOX_gateway"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(source, id, body string) {
		t.Helper()
		var opts []jetstream.PublishOpt
		if id != "" {
			opts = append(opts, jetstream.WithMsgID(id))
		}
		end := time.Now().Add(2 * time.Minute)
		for {
			ack, err := js.Publish(t.Context(), subjects.Inbox(source), []byte(body), opts...)
			if err == nil && !ack.Duplicate {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%+v %v", ack, err)
			}
			time.Sleep(20 * time.Millisecond) // the stream is being made, or remembers an id for its window
		}
	}
	publish("kubernetes.audit", "first", `{"a":1}`+"\n"+`{"a":2}`)
	publish("nginx.access", "lines", "a line\nanother\n")
	publish("nginx.access", "", "without an id\n")
	publish("kubernetes.audit", "array", `[{"a":3},{"a":4}]`)
	publish("kubernetes.audit", "broken", `[{"a":5},{"a":`)
	publish("no.such", "x", `{"a":6}`)
	publish("nginx.access", "empty", "")
	// Beyond the stream's own window:
	publish("kubernetes.audit", "first", `{"a":1}`+"\n"+`{"a":2}`)
	publish("nginx.access", "array", "a third line\n") // the id of another batch
	publish("auto", "auto", `{"a":7}`)
	want := []string{"a line", "a third line", "another", "without an id", `{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`, `{"a":7}`}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		st, err := b.JetStream().Stream(t.Context(), subjects.StreamInbox)
		if err != nil {
			t.Fatal(err)
		}
		if st.CachedInfo().State.Msgs == 0 || time.Now().After(end) {
			break
		}
	}
	got, _ := stored(t, b, subjects.StreamRaw)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
	dead, _ := stored(t, b, subjects.StreamDead)
	if text := fmt.Sprint(dead); len(dead) != 2 || !strings.Contains(text, `{"a":6}`) || !strings.Contains(text, `{"a":5},{"a":`) {
		t.Errorf("dead letters %q", dead)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := js.Publish(ctx, "raw.nginx.access", []byte("x"), jetstream.WithRetryAttempts(0)); err == nil {
		t.Error("a producer wrote elsewhere")
	}
}
