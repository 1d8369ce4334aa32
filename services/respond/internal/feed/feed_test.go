package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func dec(kind decision.Kind, scope decision.Scope, value string, ttl time.Duration) decision.Decision {
	d := decision.Decision{Kind: kind, Scope: scope, Value: value, ID: decision.ID(kind, scope, value), CreatedAt: t0, Rate: 2}
	if ttl > 0 {
		d.ExpiresAt = t0.Add(ttl)
	}
	return d
}

func fill(ds ...decision.Decision) *Feed {
	f := New(slog.New(slog.DiscardHandler), nil)
	for i, d := range ds {
		f.Apply(bus.Entry[decision.Decision]{Key: d.ID, Value: d, Revision: uint64(i + 1)})
	}
	return f
}

func TestCheck(t *testing.T) {
	const b, a, l = decision.Block, decision.Allow, decision.Limit
	ip := func(s string) Query { return Query{Client: netip.MustParseAddr(s)} }
	for name, tt := range map[string]struct {
		ds   []decision.Decision
		q    Query
		at   time.Duration
		deny bool
	}{
		"nothing stands":                   {nil, ip("192.0.2.1"), 0, false},
		"blocked":                          {[]decision.Decision{dec(b, "ip", "192.0.2.1", time.Minute)}, ip("192.0.2.1"), 0, true},
		"another one":                      {[]decision.Decision{dec(b, "ip", "192.0.2.1", time.Minute)}, ip("192.0.2.2"), 0, false},
		"over, though nobody deleted it":   {[]decision.Decision{dec(b, "ip", "192.0.2.1", time.Minute)}, ip("192.0.2.1"), time.Minute, false},
		"until taken back":                 {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0)}, ip("192.0.2.1"), 9999 * time.Hour, true},
		"mapped into IPv6":                 {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0)}, ip("::ffff:192.0.2.1"), 0, true},
		"with a zone":                      {[]decision.Decision{dec(b, "ip", "fe80::1", 0)}, ip("fe80::1%eth0"), 0, true},
		"range":                            {[]decision.Decision{dec(b, "ip", "192.0.2.0/24", 0)}, ip("192.0.2.77"), 0, true},
		"range of IPv6":                    {[]decision.Decision{dec(b, "ip", "2001:db8::/64", 0)}, ip("2001:db8::77"), 0, true},
		"IPv4 range, IPv6 client":          {[]decision.Decision{dec(b, "ip", "0.0.0.0/0", 0)}, ip("2001:db8::77"), 0, false},
		"allow wins":                       {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0), dec(a, "ip", "192.0.2.1", 0)}, ip("192.0.2.1"), 0, false},
		"allow of a range wins":            {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0), dec(a, "ip", "192.0.2.0/24", 0)}, ip("192.0.2.1"), 0, false},
		"allow of the key wins":            {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0), dec(a, "api_key", "k", 0)}, Query{Client: netip.MustParseAddr("192.0.2.1"), KeyID: "k"}, 0, false},
		"an allow that is over does not":   {[]decision.Decision{dec(b, "ip", "192.0.2.1", 0), dec(a, "ip", "192.0.2.1", time.Second)}, ip("192.0.2.1"), time.Minute, true},
		"a block behind one that is over":  {[]decision.Decision{dec(b, "ip", "192.0.2.1", time.Second), dec(b, "ip", "192.0.2.0/24", 0)}, ip("192.0.2.1"), time.Minute, true},
		"key":                              {[]decision.Decision{dec(b, "api_key", "k", 0)}, Query{KeyID: "k"}, 0, true},
		"a user is not a key":              {[]decision.Decision{dec(b, "api_key", "k", 0)}, Query{User: "k"}, 0, false},
		"user":                             {[]decision.Decision{dec(b, "user", "eve", 0)}, Query{User: "eve", KeyID: "k"}, 0, true},
		"first request under a limit":      {[]decision.Decision{dec(l, "user", "eve", 0)}, Query{User: "eve"}, 0, false},
		"a value that is an address in no": {[]decision.Decision{dec(b, "ip", "nonsense", 0)}, ip("192.0.2.1"), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if v := fill(tt.ds...).Check(tt.q, t0.Add(tt.at)); v.Deny != tt.deny {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	d := dec(decision.Limit, "ip", "192.0.2.1", 0)
	f := fill(d)
	q := Query{Client: netip.MustParseAddr("192.0.2.1")}
	got := ""
	for _, at := range []int{0, 0, 0, 1, 30, 30, 31, 600, 600, 600} {
		if f.Check(q, t0.Add(time.Duration(at)*time.Second)).Deny {
			got += "x"
		} else {
			got += "."
		}
	}
	// Two a minute: two at once, then one every half minute.
	if got != "..xx.xx..x" {
		t.Error(got)
	}
	// Extending the limit hands out no fresh allowance.
	d.ExpiresAt = t0.Add(time.Hour)
	f.Apply(bus.Entry[decision.Decision]{Key: d.ID, Value: d, Revision: 9})
	if v := f.Check(q, t0.Add(600*time.Second)); !v.Deny || !v.Limited {
		t.Errorf("%+v", v)
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	var ds []decision.Decision
	for i := range 1000 {
		ds = append(ds, dec(decision.Block, "ip", fmt.Sprintf("198.51.100.%d", i%256), 0), dec(decision.Block, "api_key", fmt.Sprint(i), 0))
	}
	f := fill(append(ds, dec(decision.Block, "ip", "203.0.113.0/24", 0))...)
	q := Query{Client: netip.MustParseAddr("203.0.113.9"), KeyID: "none", User: "none"}
	if n := testing.AllocsPerRun(100, func() {
		if !f.Check(q, t0).Deny {
			t.Error("let through")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	f := fill(dec(decision.Block, "ip", "203.0.113.0/24", 0), dec(decision.Block, "ip", "198.51.100.1", 0), dec(decision.Block, "api_key", "k", 0))
	q := Query{Client: netip.MustParseAddr("203.0.114.9"), KeyID: "none", User: "none"}
	b.ReportAllocs()
	for b.Loop() {
		f.Check(q, t0)
	}
}

func TestChangesAndWaiting(t *testing.T) {
	d := dec(decision.Block, "ip", "192.0.2.1", 0)
	f := fill(d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Wait(ctx, 1); close(done) }()
	f.Apply(bus.Entry[decision.Decision]{Key: d.ID, Deleted: true, Revision: 2})
	<-done
	cancel()
	if v := f.Check(Query{Client: netip.MustParseAddr("192.0.2.1")}, t0); v.Deny {
		t.Error("deleted, and still blocked")
	}
	// A late repeat of an older change is ignored once there is a newer one.
	f.Apply(bus.Entry[decision.Decision]{Key: d.ID, Value: d, Revision: 5})
	f.Apply(bus.Entry[decision.Decision]{Key: d.ID, Deleted: true, Revision: 3})
	if list, rev := f.List(t0); len(list) != 1 || rev != 5 {
		t.Error(list, rev)
	}
	if n := f.lengths[0][32]; n != 1 {
		t.Errorf("%d prefixes counted", n)
	}
}

func TestWriter(t *testing.T) {
	now := t0
	w := &Writer{Store: kv.NewMem[decision.Decision](), Now: func() time.Time { return now }}
	c := &Connector{Writer: w}
	call := func(op, run string, ttl time.Duration, prior map[string]any) connector.Result {
		t.Helper()
		res, err := c.Do(t.Context(), connector.Call{
			Operation: op, Run: run, Step: "s", Playbook: "pb-" + run, Params: map[string]any{"scope": "ip", "value": "192.0.2.1"},
			ExpiresAt: t0.Add(ttl), Undo: prior != nil, Prior: prior,
		})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	standing := func() string {
		e, err := w.Store.List(t.Context())
		if err != nil || len(e) > 1 {
			t.Fatal(e, err)
		}
		if len(e) == 0 {
			return ""
		}
		return e[0].Value.Run + " " + e[0].Value.ExpiresAt.Sub(t0).String()
	}
	check := func(want string) {
		t.Helper()
		if got := standing(); got != want {
			t.Fatalf("stands %q, want %q", got, want)
		}
	}
	first := call("block", "r1", 15*time.Minute, nil).Data
	check("r1 15m0s")
	call("block", "r1", 15*time.Minute, nil) // the same again after a crash
	check("r1 15m0s")
	call("block", "r2", 5*time.Minute, nil) // shorter: the longer stays
	check("r1 15m0s")
	second := call("block", "r3", 20*time.Minute, nil).Data
	check("r3 20m0s")
	call("release", "r1", 15*time.Minute, first) // not its own any more
	check("r3 20m0s")
	call("release", "r3", 20*time.Minute, second)
	check("")
	if r := call("release", "r3", 20*time.Minute, second); r.Data["reason"] != "was gone already" {
		t.Error(r)
	}
	call("block", "r4", time.Minute, nil)
	now = t0.Add(90 * time.Second)
	if err := w.Sweep(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	check("r4 1m0s")
	now = t0.Add(3 * time.Minute)
	if err := w.Sweep(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	check("")
}

// breaking is a bucket whose watch ends and starts again with less.
type breaking struct{ rounds chan []decision.Decision }

func (b breaking) Watch(ctx context.Context, _ []string, f func(bus.Entry[decision.Decision], bool) bool) error {
	select {
	case <-ctx.Done():
		return nil
	case ds := <-b.rounds:
		for i, d := range ds {
			f(bus.Entry[decision.Decision]{Key: d.ID, Value: d, Revision: uint64(i + 1)}, false)
		}
		f(bus.Entry[decision.Decision]{}, true)
		return bus.ErrBusy
	}
}

func TestWatchBreaks(t *testing.T) {
	b := breaking{rounds: make(chan []decision.Decision)}
	f := New(slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx, b) }()
	if f.Synced() {
		t.Error("synced before anything was loaded")
	}
	b.rounds <- []decision.Decision{dec(decision.Block, "ip", "192.0.2.1", 0), dec(decision.Block, "user", "eve", 0)}
	// While the watch is away the decisions stay; what went meanwhile goes.
	b.rounds <- []decision.Decision{dec(decision.Block, "user", "eve", 0)}
	if !f.Synced() || !f.Check(Query{User: "eve"}, t0).Deny {
		t.Error("forgotten while the watch was away")
	}
	b.rounds <- nil
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if f.Live() {
		t.Error("live after the end")
	}
}
