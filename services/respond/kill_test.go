package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
)

// TestVictim is the process that TestKill kills; it does nothing otherwise.
func TestVictim(t *testing.T) {
	url := os.Getenv("VAGUS_VICTIM_BUS")
	if url == "" {
		return
	}
	b, err := bus.Connect(t.Context(), bus.Options{URL: url, Token: os.Getenv("VAGUS_VICTIM_TOKEN"), Name: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	opts := DefaultOptions()
	opts.Bus, opts.Token, opts.Addr, opts.Content = b, token, "127.0.0.1:0", os.DirFS("../../playbooks")
	opts.Budgets = nil
	opts.Vars = map[string]map[string]string{"contain-compromised-key": {"ttl": "2s"}}
	opts.Connectors = map[string]map[string]string{"webhook": {
		"url": os.Getenv("VAGUS_VICTIM_HOOK"), "secret": "env:VAGUS_VICTIM_TOKEN", "allow_networks": "127.0.0.0/8",
	}}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(s.Run(context.Background()))
}

// TestKill ends the service with SIGKILL at random moments while alerts come
// in. Afterwards every run is complete, every action has had one idempotency
// key, and the audit log has neither gap nor repeat.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	const alerts, kills = 40, 12
	srv := testkit.Server(t)
	b := testkit.Connect(t, srv)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	deliveries := map[string]string{} // idempotency key → body
	hits := 0
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		hits++
		k := r.Header.Get("X-Vagus-Delivery")
		if was, ok := deliveries[k]; ok && was != string(body) {
			t.Errorf("delivery %s came with another body", k)
		}
		deliveries[k] = string(body)
		if hits%5 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer hook.Close()

	spawn := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), "VAGUS_VICTIM_BUS="+srv.URL(), "VAGUS_VICTIM_TOKEN="+srv.Token(), "VAGUS_VICTIM_HOOK="+hook.URL)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	h := &hub{t: t, bus: b}
	var uids []string
	cmd := spawn()
	defer func() { kill(cmd) }()
	for i := range alerts {
		a := h.raise(finding.Alert{Level: finding.High, Lane: finding.Enforce, Entity: finding.Entity{Type: "ip", Value: fmt.Sprintf("203.0.113.%d", i)}})
		uids = append(uids, engine.RunUID("contain-compromised-key", a.UID), engine.RunUID("notify", a.UID))
		if i%(alerts/kills) == 0 {
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) // the moment is the point
			kill(cmd)
			cmd = spawn()
		}
	}
	runs, err := bus.OpenBucket[engine.Doc](t.Context(), b, subjects.BucketRuns)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for _, uid := range uids {
		for {
			e, err := runs.Get(t.Context(), "run."+uid)
			if err == nil && e.Value.State == run.Succeeded && len(e.Value.Outbox) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("run %s: %s %s %v", uid, e.Value.State, e.Value.Reason, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	seqs, undone := map[string]int{}, 0
	for rec, err := range b.ReadFrom(t.Context(), subjects.StreamRuns, []string{"runs.contain-compromised-key", "runs.notify"}, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var tr run.Transition
		if err := json.Unmarshal(rec.Data, &tr); err != nil {
			t.Fatal(err)
		}
		if seqs[tr.Run]++; tr.Seq != seqs[tr.Run] {
			t.Fatalf("run %s: transition %d at place %d", tr.Run, tr.Seq, seqs[tr.Run])
		}
		if tr.State == run.Undone {
			undone++
		}
	}
	if len(seqs) != 2*alerts || undone != alerts {
		t.Errorf("%d runs and %d undone in the log, want %d and %d", len(seqs), undone, 2*alerts, alerts)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(deliveries) != 2*alerts {
		t.Errorf("%d distinct deliveries, want %d", len(deliveries), 2*alerts)
	}
	for k := range deliveries {
		if !strings.HasSuffix(k, "/tell") && !strings.HasSuffix(k, "/send") {
			t.Errorf("delivery key %q", k)
		}
	}
}
