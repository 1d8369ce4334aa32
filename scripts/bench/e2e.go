package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// senders is the number of connections of the load generator.
const senders = 4

// run is one end-to-end run.
type run struct {
	events    int
	wall      time.Duration // first POST until everything is stored and evaluated
	sent      time.Duration // first POST until the last acknowledgement
	stored    time.Duration // first POST until every event can be queried
	hub       time.Duration // CPU
	engine    time.Duration // CPU
	generator time.Duration // CPU
	usage     usage         // at the end
}

func (r run) rate() float64 { return float64(r.events) / r.wall.Seconds() }

func (r run) perEvent(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.events) }

// outcome is all that end to end measures.
type outcome struct {
	idle      usage // before the first event
	runs      []run // sorted by rate
	bytesEach float64
	stages    map[string]float64 // share of the hub's CPU time
}

// endToEnd sends `events` events, `runs` times, after a warm-up of an eighth.
// With profile, the hub's CPU profile is kept in that file.
func endToEnd(ctx context.Context, bin string, events, runs int, profile string) (*outcome, error) {
	data, err := os.MkdirTemp("", "vagus-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(data)
	bodies, err := makeCorpus(160, time.Now())
	if err != nil {
		return nil, err
	}
	out := &outcome{}
	text, each := describe(bodies)
	fmt.Fprintln(os.Stderr, text)
	out.bytesEach = each
	h, err := startHub(ctx, bin, data)
	if err != nil {
		return nil, err
	}
	defer h.stop()
	// What the start left behind settles first.
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out.idle = h.usage()
	if _, err := h.measure(ctx, "warm", bodies, events/8); err != nil {
		return nil, err
	}
	var profiled chan error
	for i := range runs {
		if i == 0 {
			profiled = make(chan error, 1)
			length := min(10*time.Second, max(time.Second, time.Duration(events/100)*time.Millisecond))
			go func() { profiled <- h.profile(ctx, length, profile, out) }()
		}
		r, err := h.measure(ctx, fmt.Sprint("run", i), bodies, events)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "run %d: %d events, %.0f events/s (%.0f/s acknowledged, %.0f/s stored), CPU per event: hub %.1f µs, engine %.1f µs, generator %.1f µs; RSS hub %d MB, engine %d MB\n",
			i+1, r.events, r.rate(), float64(r.events)/r.sent.Seconds(), float64(r.events)/r.stored.Seconds(),
			r.perEvent(r.hub), r.perEvent(r.engine), r.perEvent(r.generator), r.usage.hubRSS>>20, r.usage.engineRSS>>20)
		out.runs = append(out.runs, r)
	}
	if err := <-profiled; err != nil {
		return nil, err
	}
	sort.Slice(out.runs, func(i, j int) bool { return out.runs[i].rate() < out.runs[j].rate() })
	return out, nil
}

// measure sends bodies in turn until `events` events are on their way, and
// waits until all of them are stored and evaluated.
func (h *hub) measure(ctx context.Context, key string, bodies []body, events int) (run, error) {
	before, err := h.query(ctx, "SELECT count() FROM events")
	if err != nil {
		return run{}, err
	}
	u0, g0, begin := h.usage(), cpuOf(os.Getpid()), time.Now()
	var next, sent atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, senders)
	for range senders {
		wg.Go(func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{WriteBufferSize: 256 << 10}}
			defer client.CloseIdleConnections()
			for sent.Load() < int64(events) {
				n := next.Add(1) - 1
				b := bodies[n%int64(len(bodies))]
				sent.Add(int64(b.records))
				if err := h.post(ctx, client, b, fmt.Sprintf("%s-%d", key, n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	r := run{sent: time.Since(begin), events: int(sent.Load())}
	select {
	case err := <-errs:
		return run{}, err
	default:
	}
	// A record of this corpus is an event: none is dropped, none is several.
	for deadline := time.Now().Add(2 * time.Minute); ; {
		after, err := h.query(ctx, "SELECT count() FROM events")
		if err != nil {
			return run{}, err
		}
		if after-before == r.events {
			break
		}
		if time.Now().After(deadline) {
			return run{}, errors.Join(fmt.Errorf("%d events sent, %d stored after two minutes", r.events, after-before), h.closed(ctx, 0))
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.stored = time.Since(begin)
	if err := h.closed(ctx, 2*time.Minute); err != nil {
		return run{}, err
	}
	r.wall = time.Since(begin)
	r.generator, r.usage = cpuOf(os.Getpid())-g0, h.usage()
	r.hub, r.engine = r.usage.hub-u0.hub, r.usage.engine-u0.engine
	return r, nil
}

// post sends a body until it is stored; 429 and 503 mean later.
func (h *hub) post(ctx context.Context, client *http.Client, b body, key string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.state.IngestURL+"/v1/ingest/"+b.source, bytes.NewReader(b.data))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+h.state.IngestToken)
		req.Header.Set("Idempotency-Key", key)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		_ = resp.Body.Close() // read whole
		if err != nil {
			return err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			var got struct{ Accepted int }
			if err := json.Unmarshal(text, &got); err != nil || got.Accepted != b.records {
				return fmt.Errorf("%s: %d of %d records accepted: %s", b.source, got.Accepted, b.records, text)
			}
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			time.Sleep(100 * time.Millisecond)
		default:
			return fmt.Errorf("%s: %s: %s", b.source, resp.Status, text)
		}
	}
}
