package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpu is the process's CPU time, server included: they share the process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchBus(b *testing.B, tcp, nosync bool) *Bus {
	s, err := StartServer(ServerOptions{StoreDir: b.TempDir(), NoSync: nosync, MaxStore: 200 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Shutdown)
	o := Options{Server: s}
	if tcp {
		o = Options{URL: s.URL(), Token: s.Token()}
	}
	bus := connect(b, o)
	if err := bus.EnsureStreams(b.Context(), Limits{Total: 100 << 30}); err != nil {
		b.Fatal(err)
	}
	return bus
}

func report(b *testing.B, size int, began time.Duration) {
	mb := float64(b.N) * float64(size) / 1e6
	b.ReportMetric(float64((cpu()-began).Microseconds())/mb, "cpu-µs/MB")
	b.SetBytes(int64(size))
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{256 << 10, 1 << 20} {
		for _, mode := range []string{"inprocess", "tcp", "inprocess-nosync"} {
			b.Run(fmt.Sprintf("%s/%dKB", mode, size>>10), func(b *testing.B) {
				bus := benchBus(b, mode == "tcp", mode == "inprocess-nosync")
				data := make([]byte, size)
				var failed atomic.Int64
				done := make(chan struct{}, 1<<20)
				began := cpu()
				for b.Loop() {
					err := bus.PublishAsync(b.Context(), Msg{Subject: "raw.a", Data: data}, func(_ Ack, err error) {
						if err != nil {
							failed.Add(1)
						}
						done <- struct{}{}
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				for range b.N {
					<-done
				}
				report(b, size, began)
				if failed.Load() > 0 {
					b.Fatal(failed.Load(), "failed")
				}
			})
		}
	}
}

// BenchmarkStage is one stage of the pipeline: it reads an input, publishes an
// output of the same size, and the input is acked after the output.
func BenchmarkStage(b *testing.B) {
	for _, size := range []int{256 << 10, 1 << 20} {
		for _, mode := range []string{"inprocess", "tcp"} {
			b.Run(fmt.Sprintf("%s/%dKB", mode, size>>10), func(b *testing.B) {
				bus := benchBus(b, mode == "tcp", false)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				data := make([]byte, size)
				began := cpu()
				var acked atomic.Int64
				all := make(chan struct{}, 1<<20)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = bus.Consume(ctx, Consumer{Stream: "RAW", Durable: "n"}, func(_ context.Context, d *Delivery) Verdict {
						if err := d.Publish(Msg{Subject: "events.ai", ID: fmt.Sprint("n:", d.Seq), Data: d.Data}); err != nil {
							return Retry(err)
						}
						d.OnAck(func() { acked.Add(1); all <- struct{}{} })
						return Done()
					})
				}()
				n := 0
				slots := make(chan struct{}, 64)
				for b.Loop() {
					slots <- struct{}{}
					if err := bus.PublishAsync(b.Context(), Msg{Subject: "raw.a", ID: fmt.Sprint(n), Data: data}, func(Ack, error) { <-slots }); err != nil {
						b.Fatal(err)
					}
					for n++; n > 32+int(acked.Load()); {
						<-all
					}
				}
				for int(acked.Load()) < n {
					<-all
				}
				report(b, size, began)
				cancel()
				<-ended
			})
		}
	}
}

// BenchmarkLatency is publish, deliver, handle on an idle bus.
func BenchmarkLatency(b *testing.B) {
	bus := benchBus(b, false, false)
	got := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = bus.Consume(ctx, Consumer{Stream: "RAW", Durable: "n"}, func(context.Context, *Delivery) Verdict {
			got <- struct{}{}
			return Done()
		})
	}()
	data := make([]byte, 1<<10)
	for b.Loop() {
		if _, err := bus.Publish(b.Context(), Msg{Subject: "raw.a", Data: data}); err != nil {
			b.Fatal(err)
		}
		<-got
	}
	cancel()
	<-ended
}
