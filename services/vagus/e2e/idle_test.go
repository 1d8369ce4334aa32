package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// idleMemory is what the hub with its engines may take when it has nothing to
// do, in bytes.
const idleMemory = 600 << 20

// The hub at rest: little memory, and an alert soon after the event.
func TestIdle(t *testing.T) {
	h := start(t)
	k := &killing{t: t, h: h}
	now, peak := h.rss()
	t.Logf("after the start: %d MB, at most %d MB", now>>20, peak>>20)
	h.replaySamples()
	h.ledger()
	now, peak = h.rss()
	t.Logf("after the recorded samples: %d MB, at most %d MB", now>>20, peak>>20)
	quiet := 60 * time.Second
	if os.Getenv("CI") == "true" {
		quiet = 20 * time.Second
	}
	time.Sleep(quiet)
	now, peak = h.rss()
	t.Logf("after %s of quiet: %d MB, at most %d MB", quiet, now>>20, peak>>20)
	if now > idleMemory {
		t.Errorf("the hub takes %d MB at rest, want %d MB at most", now>>20, int64(idleMemory)>>20)
	}
	const limit = 300 * time.Millisecond
	var p99 time.Duration
	for attempt := range 3 { // the machine may be busy with something else
		took := k.latencies(attempt)
		p99 = took[len(took)*99/100-1]
		t.Logf("event to alert: p50 %s, p90 %s, p99 %s, at most %s", took[len(took)/2-1], took[len(took)*9/10-1], p99, took[len(took)-1])
		if p99 < limit {
			break
		}
	}
	if p99 >= limit {
		t.Errorf("99 of 100 alerts take up to %s, want less than %s", p99, limit)
	}
	now, peak = h.rss()
	t.Logf("at the end: %d MB, at most %d MB", now>>20, peak>>20)
}

// replaySamples sends the recorded logs of every source.
func (h *hub) replaySamples() {
	h.t.Helper()
	dirs, err := sources.FS.ReadDir(".")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range dirs {
		source := d.Name()
		if strings.HasPrefix(source, "_") { // shared fragments
			continue
		}
		files, err := sources.FS.ReadDir(source + "/testdata")
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range files {
			if f.IsDir() || !(strings.HasSuffix(f.Name(), ".ndjson") || strings.HasSuffix(f.Name(), ".json") || strings.HasSuffix(f.Name(), ".log")) {
				continue
			}
			text, err := sources.FS.ReadFile(source + "/testdata/" + f.Name())
			if err != nil {
				h.t.Fatal(err)
			}
			h.send(source, "sample-"+f.Name(), text)
		}
	}
}

// latencies sends 100 events one after the other, of which each raises an
// alert, and returns how long the alerts took to be on the bus, shortest
// first. Half of them match a rule by themselves, half are the last one that a
// threshold needs.
func (k *killing) latencies(attempt int) []time.Duration {
	k.t.Helper()
	const n = 100
	temps, h := loadTemplates(k.t), k.h
	client := func(i int) (addr, key string) {
		return fmt.Sprintf("203.0.113.%d", 1+attempt*n/2+i/2), fmt.Sprintf("sk-...%d%03d", attempt, i)
	}
	var before []byte
	for i := 1; i < n; i += 2 {
		addr, key := client(i)
		for j := range 4 {
			before = temps.prompt.append(before, &values{id: uint64(attempt*n*10 + i*10 + j), at: time.Now(), addr: addr, key: key, prompt: burst[j]})
		}
	}
	h.send("nginx.access", fmt.Sprintf("before-%d", attempt), before)

	s := h.at()
	b, err := bus.Connect(k.t.Context(), bus.Options{URL: s.NATSURL, Token: s.NATSToken, Name: "test"})
	if err != nil {
		k.t.Fatal(err)
	}
	defer b.Close()
	st, err := b.JetStream().Stream(k.t.Context(), subjects.StreamAlerts)
	if err != nil {
		k.t.Fatal(err)
	}
	type sight struct {
		entity string
		at     time.Time
	}
	seen := make(chan sight, 10*n)
	ctx, cancel := context.WithCancel(k.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r, err := range b.Follow(ctx, subjects.StreamAlerts, nil, st.CachedInfo().State.LastSeq+1) {
			var a finding.Alert
			if err == nil && json.Unmarshal(r.Data, &a) == nil {
				seen <- sight{a.Entity.Value, time.Now()}
			}
		}
	}()
	defer func() { cancel(); <-done }()

	posted := map[string]time.Time{}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		var body []byte
		var source, entity string
		if i%2 == 0 {
			pod := fmt.Sprintf("trainer-%d-%d", attempt, i)
			source, entity = "kubernetes.audit", recordedNamespace+"/"+pod
			body = temps.exec.append(nil, &values{id: uint64(attempt*n + i), at: time.Now(), name: pod})
		} else {
			addr, key := client(i)
			source, entity = "nginx.access", addr
			body = temps.prompt.append(nil, &values{id: uint64(attempt*n*10 + i*10 + 9), at: time.Now(), addr: addr, key: key, prompt: burst[0]})
		}
		posted[entity] = time.Now()
		r, err := h.post(source, bytes.NewReader(body))
		if err != nil || r.Status != 200 {
			k.t.Fatalf("post: %d %s %v", r.Status, r.Error, err)
		}
	}
	var took []time.Duration
	limit := time.After(20 * time.Second)
	for len(took) < n {
		select {
		case x := <-seen:
			if at, ok := posted[x.entity]; ok {
				took = append(took, x.at.Sub(at).Round(100*time.Microsecond))
				delete(posted, x.entity)
			}
		case <-limit:
			k.t.Fatalf("no alert about %v", posted)
		}
	}
	slices.Sort(took)
	return took
}
