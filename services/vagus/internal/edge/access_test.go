package edge

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// stranger is a server that connects as an edge and keeps to no rule of its
// own.
func stranger(t *testing.T, addr, name, token string) (*server.Server, *nats.Conn) {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		ServerName: "stranger-" + name, Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: name,
		LeafNode: server.LeafNodeOpts{ReconnectInterval: 100 * time.Millisecond, Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats-leaf", Host: addr, User: url.UserPassword(name, token)}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("not ready")
	}
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return ns, nc
}

// Whoever has the token of an edge can answer the hub, and nothing else: not
// read, not write, not acknowledge, neither at the hub nor at another edge.
func TestEdgeMayOnlyAnswer(t *testing.T) {
	t.Parallel()
	hub, far := pair(t) // far is north
	_, stop := hub.pull("north")
	defer stop()
	far.put(0, 10)
	hub.await(10)
	ns, nc := stranger(t, hub.s.LeafAddr(), "south", "other")
	testkit.Eventually(t, "the stranger gets in with its token", func() bool { return ns.NumLeafNodes() > 0 })
	var heard atomic.Int64
	for _, subject := range []string{"raw.>", "events.>", "dead.>", "alerts.>", "_INBOX.>", "_EDGE.>", "$KV.>", "$JS.API.>", "$JS.ACK.>", "$JS.north.API.>"} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			if m.Header.Get("Own") == "" {
				heard.Add(1)
				t.Logf("heard %s", m.Subject)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	own := func(subject string) *nats.Msg {
		return &nats.Msg{Subject: subject, Header: nats.Header{"Own": {"1"}}, Data: []byte("{}")}
	}
	for _, subject := range []string{
		"raw.nginx.access", "events.ai", "alerts.high", "$JS.API.STREAM.PURGE.RAW", "$JS.hub.API.STREAM.DELETE.RAW", "$JS.north.API.STREAM.PURGE.RAW",
		"$KV.checkpoints.x", "$JS.ACK.RAW.hub-north.1.11.11.1.0", "$JS.ACK.RAW.normalize.1.1.1.1.0", "_INBOX.x", "_EDGE.north.x", "_EDGE.south.x",
	} {
		if err := nc.PublishMsg(own(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, js := range []string{"$JS.API.STREAM.INFO.RAW", "$JS.north.API.STREAM.INFO.RAW"} {
		m := own(js)
		m.Reply = "answers.here"
		sub, err := nc.SubscribeSync(m.Reply)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if got, err := sub.NextMsg(200 * time.Millisecond); err == nil && len(got.Data) > 0 && js != "$JS.API.STREAM.INFO.RAW" {
			t.Errorf("%s answers %s", js, got.Data)
		}
	}
	far.put(10, 10)
	hub.await(20)
	hub.exactly(20)
	far.exactly(20)
	if heard.Load() != 0 {
		t.Errorf("the stranger heard %d messages", heard.Load())
	}
	if st, err := hub.b.JetStream().Stream(t.Context(), subjects.StreamEvents); err != nil || st.CachedInfo().State.Msgs != 0 {
		t.Errorf("EVENTS: %v %v", st.CachedInfo().State, err)
	}
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	hub, _ := pair(t)
	for _, c := range [][2]string{{"north", "wrong"}, {"nobody", "secret"}, {"", ""}, {"south", "secret"}} {
		t.Run(fmt.Sprintf("%s %s", c[0], c[1]), func(t *testing.T) {
			ns, _ := stranger(t, hub.s.LeafAddr(), c[0], c[1])
			for range 10 {
				// A connection may stand for a moment before it is refused; one that is
				// let in stays.
				testkit.Eventually(t, "it is not let in", func() bool { return ns.NumLeafNodes() == 0 })
				time.Sleep(30 * time.Millisecond)
			}
		})
	}
	// Nor does an edge's token open the door for clients.
	for _, o := range []nats.Option{nats.Token("secret"), nats.UserInfo("north", "secret"), nats.UserInfo("x", "")} {
		if nc, err := nats.Connect(hub.s.URL(), o); err == nil {
			nc.Close()
			t.Error("a client got in")
		}
	}
}

func TestProducer(t *testing.T) {
	t.Parallel()
	s := &side{t: t, opts: bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30, NoSync: true, Users: []bus.User{
		{Name: "gateway", SHA256: hash("secret"), Publish: []string{"raw.nginx.access"}},
	}}}
	s.start()
	defer s.stop()
	denied := make(chan error, 100)
	nc, err := nats.Connect(s.s.URL(), nats.UserInfo("gateway", "secret"), nats.CustomInboxPrefix("_INBOX_gateway"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if m, err := nc.Request("raw.nginx.access", []byte("x"), time.Minute); err != nil || s.last() != 1 {
		t.Errorf("its own subject: %v %v", m, err)
	}
	for _, subject := range []string{"raw.other", "events.ai", "$JS.API.STREAM.INFO.RAW", "$JS.API.CONSUMER.CREATE.RAW", "$JS.API.DIRECT.GET.RAW", "$JS.ACK.RAW.normalize.1.1.1.1.0", "$KV.decisions.x", "_INBOX.y"} {
		if _, err := nc.Request(subject, []byte("x"), 100*time.Millisecond); err == nil {
			t.Errorf("%s is answered", subject)
		}
	}
	for _, subject := range []string{"raw.>", "raw.nginx.access", "_INBOX.>", ">", "$JS.>"} {
		sub, err := nc.SubscribeSync(subject)
		if err == nil {
			_ = nc.Flush()
			if err := s.b.Conn().Publish("raw.nginx.access", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
				t.Errorf("reads %s through %s", m.Subject, subject)
			}
		}
	}
	testkit.Eventually(t, "the violations are told", func() bool { return len(denied) >= 10 })
}
