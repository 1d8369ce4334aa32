package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func hash(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }

// side is a server with a client, that can be stopped and started again.
type side struct {
	t    testing.TB
	opts bus.ServerOptions
	only []string
	s    *bus.Server
	b    *bus.Bus
}

func (x *side) start() {
	x.t.Helper()
	var err error
	if x.s, err = bus.StartServer(x.opts); err != nil {
		x.t.Fatal(err)
	}
	if x.b, err = bus.Connect(x.t.Context(), bus.Options{Server: x.s, Name: "test"}); err != nil {
		x.t.Fatal(err)
	}
	// A window of duplicates so short that it never helps.
	if err := x.b.EnsureStreams(x.t.Context(), bus.Limits{Total: 1 << 30, Only: x.only, Duplicates: 100 * time.Millisecond}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *side) stop() {
	if x.s != nil {
		x.b.Close()
		x.s.Shutdown()
		x.s = nil
	}
}

// pair is a hub and an edge that are connected.
func pair(t testing.TB) (hub, far *side) {
	t.Helper()
	addr := testkit.FreeAddr(t)
	hub = &side{t: t, opts: bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30, NoSync: true, Leaf: &bus.LeafListen{
		Addr: addr, Edges: []bus.Edge{{Name: "north", SHA256: hash("secret")}, {Name: "south", SHA256: hash("other")}},
	}}}
	far = &side{t: t, only: Streams(), opts: bus.ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30, NoSync: true, Remote: &bus.LeafRemote{
		URL: "nats-leaf://" + addr, Name: "north", Token: "secret",
	}}}
	hub.start()
	far.start()
	t.Cleanup(func() { far.stop(); hub.stop() })
	return hub, far
}

// pull runs a puller until stop is called.
func (x *side) pull(name string) (p *Puller, stop func()) {
	x.t.Helper()
	e, err := bus.Connect(x.t.Context(), bus.Options{Server: x.s, Edge: name, Name: "pull"})
	if err != nil {
		x.t.Fatal(err)
	}
	p = &Puller{Hub: x.b, Edge: e, Name: name, Stream: subjects.StreamRaw, Logger: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() { cancel(); <-done; e.Close() }
}

// put stores n records at the edge, from number from on, a message each.
func (x *side) put(from, n int) {
	x.t.Helper()
	errs := make(chan error, n)
	for i := from; i < from+n; i++ {
		b := block.NewRawBuilder()
		id := fmt.Sprintf("id-%d", i)
		b.Append(block.UID(id, 0), 1, fmt.Appendf(nil, `{"n":%d}`, i))
		m := bus.Msg{Subject: subjects.Raw("nginx.access"), ID: id, Data: b.AppendTo(nil, block.Header{Source: "nginx.access"})}
		if err := x.b.PublishAsync(x.t.Context(), m, func(_ bus.Ack, err error) { errs <- err }); err != nil {
			x.t.Fatal(err)
		}
	}
	for range n {
		if err := <-errs; err != nil {
			x.t.Fatal(err)
		}
	}
}

// count returns how often each record is in a stream.
func (x *side) count() map[string]int {
	x.t.Helper()
	out := map[string]int{}
	var raw block.Raw
	for r, err := range x.b.ReadFrom(x.t.Context(), subjects.StreamRaw, nil, 1, 0) {
		if err != nil {
			x.t.Fatal(err)
		}
		if err := block.DecodeRaw(r.Data, &raw); err != nil {
			x.t.Fatal(err)
		}
		for i := range raw.Len() {
			out[string(raw.Record(i))]++
		}
	}
	return out
}

func (x *side) last() uint64 {
	st, err := x.b.JetStream().Stream(x.t.Context(), subjects.StreamRaw)
	if err != nil {
		return 0
	}
	return st.CachedInfo().State.Msgs
}

func (x *side) await(n int) {
	x.t.Helper()
	testkit.Eventually(x.t, fmt.Sprintf("%d messages", n), func() bool { return x.last() >= uint64(n) })
}

func (x *side) exactly(n int) {
	x.t.Helper()
	got := x.count()
	for record, times := range got {
		if times != 1 {
			x.t.Errorf("%s is there %d times", record, times)
		}
	}
	if len(got) != n {
		x.t.Errorf("%d records, want %d", len(got), n)
	}
}

// What an edge has comes to the hub once, over stops of both.
func TestPull(t *testing.T) {
	t.Parallel()
	hub, far := pair(t)
	far.put(0, 500)
	_, stop := hub.pull("north")
	hub.await(500)
	far.put(500, 500)
	hub.await(1000)
	far.stop()
	far.start()
	far.put(1000, 200)
	hub.await(1200)
	stop()
	far.put(1200, 300)
	hub.stop()
	far.put(1500, 300)
	hub.start()
	p, stop := hub.pull("north")
	hub.await(1800)
	stop()
	hub.exactly(1800)
	if pos, _ := p.Position(); pos.Seq != 1800 || pos.Lag() != 0 {
		t.Errorf("position %+v", pos)
	}
}

// A publish without an answer, a position that was not saved and ids that the
// server forgot: what is stored is found in the stream.
func TestResumeFindsWhatIsStored(t *testing.T) {
	t.Parallel()
	hub, far := pair(t)
	far.put(0, 50)
	p, stop := hub.pull("north")
	hub.await(50)
	stop()
	for name, pos := range map[string]Position{
		"nothing saved since the start": {Created: p.pos.Created},
		"half of it saved":              {Created: p.pos.Created, Seq: 20, Stored: 20},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := p.positions.Put(t.Context(), Key("north", subjects.StreamRaw), pos); err != nil {
				t.Fatal(err)
			}
			// The edge delivers everything again.
			if err := far.b.JetStream().DeleteConsumer(t.Context(), subjects.StreamRaw, bus.HubConsumer("north")); err != nil {
				t.Fatal(err)
			}
			before := int(hub.last())
			q, stop := hub.pull("north")
			far.put(before, 10)
			hub.await(before + 10)
			stop()
			hub.exactly(before + 10)
			if got, _ := q.Position(); got.Seq != uint64(before+10) {
				t.Errorf("position %+v", got)
			}
		})
	}
	// The acknowledgements are on their way when a puller ends.
	testkit.Eventually(t, "all is acknowledged at the edge", func() bool {
		n, _, err := Waiting(t.Context(), far.b, "north")
		return err == nil && n == 0
	})
}

// An edge whose disk was lost begins anew, and is not taken for what it was.
func TestNewEdge(t *testing.T) {
	t.Parallel()
	hub, far := pair(t)
	_, stop := hub.pull("north")
	defer stop()
	far.put(0, 20)
	hub.await(20)
	far.stop()
	far.opts.StoreDir = t.TempDir()
	far.start()
	far.put(100, 5)
	hub.await(25)
	hub.exactly(25)
}

// What an edge puts into its stream besides blocks becomes a dead letter.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	hub, far := pair(t)
	far.put(0, 3)
	for i, data := range []string{"", "no block"} {
		if _, err := far.b.Publish(t.Context(), bus.Msg{Subject: "raw.nginx.access", ID: fmt.Sprint("bad", i), Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	b := block.NewRawBuilder()
	b.Append(block.UID("x", 0), 1, []byte("{}"))
	// A source that is not the subject's.
	if _, err := far.b.Publish(t.Context(), bus.Msg{Subject: "raw.nginx.access", ID: "other", Data: b.AppendTo(nil, block.Header{Source: "falco.alerts"})}); err != nil {
		t.Fatal(err)
	}
	far.put(3, 3)
	p, stop := hub.pull("north")
	hub.await(6)
	stop()
	for source, may := range map[string]bool{"nginx.access": true, "nginx.error": true, "falco.alerts": true, "okta.system": false} {
		if p.Sources = []string{"nginx.*", "falco.alerts"}; p.may(source) != may {
			t.Errorf("%s: %v", source, !may)
		}
	}
	hub.exactly(6)
	st, err := hub.b.JetStream().Stream(t.Context(), subjects.StreamDead)
	if err != nil || st.CachedInfo().State.Msgs != 3 {
		t.Errorf("dead letters: %+v %v", st.CachedInfo().State, err)
	}
}

// What an earlier session had asked for at the edge, and is given when the next
// one begins, comes again to that one.
func TestRequestsOfAnEarlierSession(t *testing.T) {
	t.Parallel()
	hub, far := pair(t)
	far.put(0, 5)
	_, stop := hub.pull("north")
	hub.await(5)
	stop()
	e, err := bus.Connect(t.Context(), bus.Options{Server: hub.s, Edge: "north", Name: "earlier"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cons, err := e.JetStream().Consumer(t.Context(), subjects.StreamRaw, bus.HubConsumer("north"))
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := cons.Fetch(2000, jetstream.FetchMaxWait(6*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the request is at the edge", func() bool {
		info, err := cons.Info(t.Context())
		return err == nil && info.NumWaiting > 0
	})
	far.put(5, 10)
	_, stop = hub.pull("north")
	defer stop()
	given := 0
	for range earlier.Messages() { // and never acknowledged
		given++
	}
	if given == 0 {
		t.Error("the earlier request was given nothing: it shows nothing")
	}
	far.put(15, 5)
	hub.await(20)
	hub.exactly(20)
}
