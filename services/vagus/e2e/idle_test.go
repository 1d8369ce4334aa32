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

// wait is more than the hub may wait before it raises an alert for no other
// reason than to gather more events.
const wait = 300 * time.Millisecond

// The hub at rest: little memory, and an alert soon after the event. How soon
// is told; what fails is a hub that waits, which the fastest of many alerts
// shows on a busy machine, too.
func TestIdle(t *testing.T) {
	h := start(t, withConfig(keepLong))
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
	for kind, took := range k.latencies() {
		n := len(took)
		t.Logf("event to alert, %s: p50 %s, p90 %s, p98 %s, at most %s", kind, took[n/2-1], took[n*9/10-1], took[n*98/100-1], took[n-1])
		if fast := took[n/10-1]; fast >= wait {
			t.Errorf("%s: nine of ten alerts take %s and more: the hub waits", kind, fast)
		}
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
func (k *killing) latencies() map[string][]time.Duration {
	k.t.Helper()
	const n = 100
	temps, h := loadTemplates(k.t), k.h
	client := func(i int) (addr, key string) {
		return fmt.Sprintf("203.0.113.%d", 1+i/2), fmt.Sprintf("sk-...%04d", i)
	}
	var before []byte
	for i := 1; i < n; i += 2 {
		addr, key := client(i)
		for j := range 4 {
			before = temps.prompt.append(before, &values{id: uint64(i*10 + j), at: time.Now(), addr: addr, key: key, prompt: burst[j]})
		}
	}
	h.send("nginx.access", "before", before)

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
			pod := fmt.Sprintf("trainer-0-%d", i)
			source, entity = "kubernetes.audit", recordedNamespace+"/"+pod
			body = temps.exec.append(nil, &values{id: uint64(i), at: time.Now(), name: pod})
		} else {
			addr, key := client(i)
			source, entity = "nginx.access", addr
			body = temps.prompt.append(nil, &values{id: uint64(i*10 + 9), at: time.Now(), addr: addr, key: key, prompt: burst[0]})
		}
		posted[entity] = time.Now()
		r, err := h.post(source, bytes.NewReader(body))
		if err != nil || r.Status != 200 {
			k.t.Fatalf("post: %d %s %v", r.Status, r.Error, err)
		}
	}
	took := map[string][]time.Duration{}
	limit := time.After(patience)
	for len(posted) > 0 {
		select {
		case x := <-seen:
			if at, ok := posted[x.entity]; ok {
				kind := "threshold"
				if strings.HasPrefix(x.entity, recordedNamespace) {
					kind = "one event"
				}
				took[kind] = append(took[kind], x.at.Sub(at).Round(100*time.Microsecond))
				delete(posted, x.entity)
			}
		case <-limit:
			k.t.Fatalf("no alert about %v", posted)
		}
	}
	for _, t := range took {
		slices.Sort(t)
	}
	return took
}
