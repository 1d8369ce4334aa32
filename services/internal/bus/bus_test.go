package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server with streams and one in-process client.
func start(t testing.TB, l Limits) (*Server, *Bus) {
	t.Helper()
	s, err := StartServer(ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	b := connect(t, Options{Server: s})
	if err := b.EnsureStreams(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return s, b
}

func connect(t testing.TB, o Options) *Bus {
	t.Helper()
	b, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// consume runs Consume until stop is called (or the test ends).
func consume(t testing.TB, b *Bus, c Consumer, h Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Consume(ctx, c, h) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("consume: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func put(t testing.TB, b *Bus, subject, id string, data []byte) Ack {
	t.Helper()
	ack, err := b.Publish(t.Context(), Msg{Subject: subject, ID: id, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func lag(t testing.TB, b *Bus, durable string) Lag {
	t.Helper()
	lags, err := b.Lag(t.Context())
	if err != nil && !IsBusy(err) {
		t.Fatal(err)
	}
	for _, l := range lags {
		if l.Durable == durable {
			return l
		}
	}
	return Lag{Pending: ^uint64(0)}
}

func drained(t testing.TB, b *Bus, durable string) {
	t.Helper()
	eventually(t, durable+" drained", func() bool {
		l := lag(t, b, durable)
		return l.Pending == 0 && l.AckPending == 0
	})
}

func TestPublishIsIdempotent(t *testing.T) {
	_, b := start(t, Limits{})
	first := put(t, b, "raw.a.b", "1", []byte("x"))
	again := put(t, b, "raw.a.b", "1", []byte("x"))
	if first.Duplicate || !again.Duplicate || first.Seq != again.Seq {
		t.Errorf("first %+v, again %+v", first, again)
	}
}

func TestPublishErrors(t *testing.T) {
	_, b := start(t, Limits{})
	_, err := b.Publish(t.Context(), Msg{Subject: "raw.a", Data: make([]byte, 9<<20)})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("too large: %v", err)
	}
	_, err = b.Publish(t.Context(), Msg{Subject: "nowhere.a"})
	if !IsBusy(err) {
		t.Errorf("no stream: %v", err)
	}
	_, err = b.Publish(t.Context(), Msg{Subject: "raw a"})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("bad subject: %v", err)
	}
}

func TestInputAckedAfterOutput(t *testing.T) {
	_, b := start(t, Limits{})
	for i := range 100 {
		put(t, b, "raw.a", fmt.Sprint(i), fmt.Append(nil, i))
	}
	stop := consume(t, b, Consumer{Stream: "RAW", Durable: "norm", Workers: 4}, func(_ context.Context, d *Delivery) Verdict {
		if err := d.Publish(Msg{Subject: subjects.Events("ai"), ID: subjects.EventsID(d.Seq, "ai"), Data: d.Data}); err != nil {
			return Retry(err)
		}
		return Done()
	})
	drained(t, b, "norm")
	stop()
	n := 0
	for r, err := range b.ReadFrom(t.Context(), "EVENTS", nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		_ = r
	}
	if n != 100 {
		t.Errorf("got %d events, want 100", n)
	}
}

func TestVerdicts(t *testing.T) {
	_, b := start(t, Limits{})
	for i, s := range []string{"done", "retry", "permanent", "drop", "panic", "maxdeliver"} {
		put(t, b, "raw.src."+s, fmt.Sprint(i), []byte(s))
	}
	var mu sync.Mutex
	calls := map[string]int{}
	consume(t, b, Consumer{Stream: "RAW", Durable: "v", Stage: "normalize", MaxDeliver: 3}, func(_ context.Context, d *Delivery) Verdict {
		mu.Lock()
		defer mu.Unlock()
		calls[string(d.Data)]++
		switch string(d.Data) {
		case "retry":
			if d.NumDelivered < 2 {
				return RetryAfter(errors.New("not yet"), time.Millisecond)
			}
		case "permanent":
			return Permanent("bad_json", errors.New("line 1:\nunexpected"))
		case "drop":
			return Drop("filtered")
		case "panic":
			panic("boom")
		case "maxdeliver":
			return RetryAfter(errors.New("always"), time.Millisecond)
		}
		return Done()
	})
	drained(t, b, "v")
	dead := map[string]Record{}
	for r, err := range b.ReadFrom(t.Context(), "DEAD", nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		dead[r.Subject] = r
	}
	if len(dead) != 3 {
		t.Errorf("dead letters: %v", dead)
	}
	for subject, reason := range map[string]string{
		"dead.normalize.src.permanent": "bad_json", "dead.normalize.src.panic": "panic", "dead.normalize.src.maxdeliver": "max_deliver",
	} {
		if got := dead[subject].Header.Get(subjects.HeaderReason); got != reason {
			t.Errorf("%s: reason %q, want %q", subject, got, reason)
		}
	}
	if got := string(dead["dead.normalize.src.permanent"].Data); got != "permanent" {
		t.Errorf("payload %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if calls["done"] != 1 || calls["retry"] != 2 || calls["drop"] != 1 || calls["panic"] != 1 || calls["maxdeliver"] != 3 {
		t.Errorf("calls: %v", calls)
	}
	st := b.Stats()[0]
	if st.Dropped["filtered"] != 1 || st.Dead["panic"] != 1 || st.Panics != 1 {
		t.Errorf("stats: %+v", st)
	}
}
