package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

func TestOrderedRetryKeepsOrder(t *testing.T) {
	_, b := start(t, Limits{})
	for i := range 200 {
		put(t, b, "signals.0", fmt.Sprint(i), fmt.Append(nil, i))
	}
	var mu sync.Mutex
	var seen []uint64
	consume(t, b, Consumer{Stream: "SIGNALS", Durable: "ord", Ordered: true}, func(_ context.Context, d *Delivery) Verdict {
		if d.Seq%50 == 0 && d.NumDelivered == 1 {
			return RetryAfter(errors.New("once"), time.Millisecond)
		}
		mu.Lock()
		seen = append(seen, d.Seq)
		mu.Unlock()
		if err := d.Publish(Msg{Subject: "alerts.low", ID: fmt.Sprint("a", d.Seq), Data: d.Data}); err != nil {
			return Retry(err)
		}
		return Done()
	})
	drained(t, b, "ord")
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 200 || !slices.IsSorted(seen) {
		t.Errorf("%d messages, sorted %v", len(seen), slices.IsSorted(seen))
	}
}

// A process that dies with unacknowledged messages leaves them to its
// successor, which must see them first and in order, long before AckWait.
func TestExclusiveStartsAtUnacknowledged(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			s, _ := start(t, Limits{})
			dying := connect(t, Options{Server: s})
			for i := range 20 {
				put(t, dying, "signals.0", fmt.Sprint(i), fmt.Append(nil, i))
			}
			c := Consumer{Stream: "SIGNALS", Durable: "x", Ordered: ordered, Exclusive: true, AckWait: time.Hour, Grace: 200 * time.Millisecond}
			ctx, cancel := context.WithCancel(t.Context())
			reached := make(chan struct{})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = dying.Consume(ctx, c, func(ctx context.Context, d *Delivery) Verdict {
					if d.Seq == 7 {
						close(reached)
						<-ctx.Done() // never answers
						return Retry(ctx.Err())
					}
					return Done()
				})
			}()
			<-reached
			// The connection breaks before the consumer can give anything back.
			dying.nc.Close()
			cancel()
			b := connect(t, Options{Server: s})
			var mu sync.Mutex
			var seen []uint64
			consume(t, b, c, func(_ context.Context, d *Delivery) Verdict {
				mu.Lock()
				seen = append(seen, d.Seq)
				mu.Unlock()
				return Done()
			})
			drained(t, b, "x")
			mu.Lock()
			defer mu.Unlock()
			if !slices.IsSorted(seen) || seen[0] > 7 || seen[len(seen)-1] != 20 {
				t.Errorf("seen %v", seen)
			}
			<-ended
		})
	}
}

func TestServerRestart(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("ordered=", ordered), func(t *testing.T) {
			dir := t.TempDir()
			s, err := StartServer(ServerOptions{StoreDir: dir, Token: "t", MaxStore: 4 << 30})
			if err != nil {
				t.Fatal(err)
			}
			addr := strings.TrimPrefix(s.URL(), "nats://")
			b := connect(t, Options{URL: s.URL(), Token: "t"})
			if err := b.EnsureStreams(t.Context(), Limits{}); err != nil {
				t.Fatal(err)
			}
			var handled atomic.Int64
			var mu sync.Mutex
			var order []uint64
			stop := consume(t, b, Consumer{Stream: "RAW", Durable: "n", Ordered: ordered, Workers: 3, AckWait: 2 * time.Second},
				func(_ context.Context, d *Delivery) Verdict {
					handled.Add(1)
					mu.Lock()
					order = append(order, d.Seq)
					mu.Unlock()
					if err := d.Publish(Msg{Subject: "events.ai", ID: subjects.EventsID(d.Seq, "ai"), Data: d.Data}); err != nil {
						return Retry(err)
					}
					return Done()
				})
			const n = 600
			sent := make(chan error, 1)
			go func() {
				for i := range n {
					for {
						_, err := b.Publish(t.Context(), Msg{Subject: "raw.a", ID: fmt.Sprint(i), Data: make([]byte, 2000)})
						if err == nil {
							break
						}
						if !IsBusy(err) {
							sent <- err
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				}
				sent <- nil
			}()
			for round := range 3 {
				eventually(t, "some progress", func() bool { return handled.Load() > int64(round+1)*100 })
				s.Shutdown()
				if s, err = StartServer(ServerOptions{StoreDir: dir, Addr: addr, Token: "t", MaxStore: 4 << 30}); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { s.Shutdown() }()
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			drained(t, b, "n")
			stop()
			ids := map[string]int{}
			for r, err := range b.ReadFrom(t.Context(), "EVENTS", nil, 1, 0) {
				if err != nil {
					t.Fatal(err)
				}
				ids[r.Header.Get(subjects.HeaderMsgID)]++
			}
			raw := 0
			for _, err := range b.ReadFrom(t.Context(), "RAW", nil, 1, 0) {
				if err != nil {
					t.Fatal(err)
				}
				raw++
			}
			if raw != n || len(ids) != n {
				t.Errorf("raw %d, distinct events %d, want %d", raw, len(ids), n)
			}
			for id, c := range ids {
				if c != 1 {
					t.Errorf("%s stored %d times", id, c)
				}
			}
			if ordered {
				// Repeats may step back, a new message never skips one.
				top := uint64(0)
				for _, seq := range order {
					if seq > top+1 {
						t.Fatalf("%d after %d", seq, top)
					}
					top = max(top, seq)
				}
			}
			t.Logf("handled %d of %d", handled.Load(), n)
		})
	}
}

func TestFullStreamIsBusyAndRecovers(t *testing.T) {
	_, b := start(t, Limits{Streams: map[string]StreamLimits{
		"RAW": {MaxBytes: 64 << 10}, "EVENTS": {MaxBytes: 64 << 10},
	}})
	var stored int
	for {
		_, err := b.Publish(t.Context(), Msg{Subject: "raw.a", ID: fmt.Sprint(stored), Data: make([]byte, 1000)})
		if err != nil {
			if !IsBusy(err) {
				t.Fatalf("want busy, got %v", err)
			}
			break
		}
		if stored++; stored > 1000 {
			t.Fatal("the limit does not hold")
		}
	}
	// A consumer whose own output stream is full keeps its inputs in flight.
	consume(t, b, Consumer{Stream: "RAW", Durable: "n", AckWait: 300 * time.Millisecond}, func(_ context.Context, d *Delivery) Verdict {
		for part := range 2 {
			if err := d.Publish(Msg{Subject: "events.ai", ID: fmt.Sprint(d.Seq, part), Data: d.Data}); err != nil {
				return Retry(err)
			}
		}
		return Done()
	})
	eventually(t, "EVENTS full", func() bool {
		st, err := b.Streams(t.Context())
		return err == nil && st[1].Bytes > 60<<10
	})
	var read atomic.Int64
	consume(t, b, Consumer{Stream: "EVENTS", Durable: "store"}, func(context.Context, *Delivery) Verdict {
		read.Add(1)
		return Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Trim(ctx, 20*time.Millisecond) }()
	for i := stored; i < stored+100; i++ {
		eventually(t, "room", func() bool {
			_, err := b.Publish(t.Context(), Msg{Subject: "raw.a", ID: fmt.Sprint(i), Data: make([]byte, 1000)})
			return err == nil
		})
	}
	drained(t, b, "n")
	drained(t, b, "store")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := int64(2 * (stored + 100)); read.Load() != want {
		t.Errorf("read %d events, want %d", read.Load(), want)
	}
}

func TestLongWorkIsNotRedelivered(t *testing.T) {
	_, b := start(t, Limits{})
	put(t, b, "raw.a", "1", []byte("x"))
	var calls atomic.Int64
	consume(t, b, Consumer{Stream: "RAW", Durable: "n", Workers: 2, AckWait: 2 * time.Second}, func(context.Context, *Delivery) Verdict {
		calls.Add(1)
		time.Sleep(5 * time.Second)
		return Done()
	})
	drained(t, b, "n")
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestDeletedConsumerComesBack(t *testing.T) {
	_, b := start(t, Limits{})
	var calls atomic.Int64
	consume(t, b, Consumer{Stream: "RAW", Durable: "n"}, func(context.Context, *Delivery) Verdict {
		calls.Add(1)
		return Done()
	})
	put(t, b, "raw.a", "1", nil)
	eventually(t, "first", func() bool { return calls.Load() == 1 })
	if err := b.js.DeleteConsumer(t.Context(), "RAW", "n"); err != nil {
		t.Fatal(err)
	}
	put(t, b, "raw.a", "2", nil)
	eventually(t, "all again", func() bool { return calls.Load() >= 3 })
}

func TestShutdownLetsHandlersFinish(t *testing.T) {
	_, b := start(t, Limits{})
	for i := range 50 {
		put(t, b, "raw.a", fmt.Sprint(i), nil)
	}
	var done atomic.Int64
	began := make(chan struct{}, 100)
	stop := consume(t, b, Consumer{Stream: "RAW", Durable: "n", Workers: 2}, func(context.Context, *Delivery) Verdict {
		began <- struct{}{}
		time.Sleep(50 * time.Millisecond)
		done.Add(1)
		return Done()
	})
	<-began
	stop()
	eventually(t, "acks arrived", func() bool {
		return int64(50)-done.Load() == int64(lag(t, b, "n").Pending)+int64(lag(t, b, "n").AckPending)
	})
	if done.Load() >= 50 {
		t.Error("it did not stop")
	}
}

func TestConsumeSaysWhatIsWrong(t *testing.T) {
	s, b := start(t, Limits{})
	if err := b.Consume(t.Context(), Consumer{Stream: "RAW"}, nil); err == nil {
		t.Error("no durable: no error")
	}
	if _, err := Connect(t.Context(), Options{URL: s.URL(), Token: "wrong"}); !errors.Is(err, ErrRefused) {
		t.Errorf("wrong token: %v", err)
	}
	if _, err := StartServer(ServerOptions{StoreDir: s.opts.StoreDir}); !errors.Is(err, ErrInUse) {
		t.Errorf("folder in use: %v", err)
	}
	addr := strings.TrimPrefix(s.URL(), "nats://")
	if _, err := StartServer(ServerOptions{StoreDir: t.TempDir(), Addr: addr}); !errors.Is(err, ErrInUse) {
		t.Errorf("address in use: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, Options{URL: "nats://127.0.0.1:1"}); !IsBusy(err) {
		t.Errorf("nobody there: %v", err)
	}
}
