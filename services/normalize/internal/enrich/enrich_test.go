package enrich

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func file(t testing.TB, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// running is an engine whose lists are read.
func running(t testing.TB, cfg Config, b *bus.Bus) *Engine {
	t.Helper()
	e, err := New(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx, b) }()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never came: %s", what)
}

// rows enriches a block and returns its rows as JSON without the ages.
func rows(t *testing.T, e *Engine, b *block.Builder) []string {
	t.Helper()
	NewWorker(e).Apply(b)
	var out block.Block
	if err := block.Decode(b.AppendTo(nil, block.Header{}), &out); err != nil {
		t.Fatal(err)
	}
	var list []string
	for i := range out.Rows() {
		list = append(list, string(out.AppendJSON(nil, i)))
	}
	return list
}

func TestEnrich(t *testing.T) {
	b := testkit.Bus(t)
	kv, err := bus.OpenBucket[Asset](t.Context(), b, "assets")
	if err != nil {
		t.Fatal(err)
	}
	for key, a := range map[string]Asset{
		bus.Key("host", "GPU1"):    {Owner: "ml-platform", Criticality: "medium", Labels: []string{"gpu"}, Region: "eu"},
		bus.Key("k8s", "prod"):     {Owner: "platform", Criticality: "critical"},
		bus.Key("ip", "192.0.2.9"): {Owner: "office", Zone: "vip"},
	} {
		if _, err := kv.Put(t.Context(), key, a); err != nil {
			t.Fatal(err)
		}
	}
	e := running(t, Config{
		Assets: true,
		Zones:  map[string][]string{"lab": {"192.0.2.0/24", "2001:db8::/32"}, "bench": {"192.0.2.128/25"}},
		Lists: []List{
			{Name: "bad-ips", Kind: "ip", File: file(t, "# comment\n198.51.100.0/24 ; a network\n203.0.113.7\n2001:db8:1::1\n")},
			{Name: "bad-names", Kind: "domain", File: file(t, "evil.example.com\n")},
			{Name: "bad-hashes", Kind: "hash", File: file(t, strings.Repeat("ab", 32)+"\n")},
			{Name: "bad-packages", Kind: "package", File: file(t, "Left_Pad==1.0\ntypo\n")},
		},
	}, b)
	eventually(t, "lists and assets", func() bool { c := e.current.Load(); return len(c.lists) == 4 && len(c.assets) == 3 })

	host := block.NewBuilder(event.FamilyHost)
	add := func(f func()) { f(); host.EndRow() }
	add(func() { host.SetString(event.DeviceHostname, "quiet") })
	add(func() {
		host.SetString(event.DeviceHostname, "gpu1")
		host.SetString(event.K8sNamespace, "prod")
		host.SetIP(event.SrcEndpointIP, netip.MustParseAddr("192.0.2.200"))
	})
	add(func() {
		host.SetIP(event.SrcEndpointIP, netip.MustParseAddr("192.0.2.9"))
		host.SetIP(event.DstEndpointIP, netip.MustParseAddr("203.0.113.7"))
	})
	add(func() { host.SetString(event.DNSQuery, "a.b.EVIL.example.com.") })
	add(func() { host.SetString(event.ProcessHashes, "SHA256="+strings.Repeat("AB", 32)+",MD5=00") })
	add(func() { host.SetString(event.DNSQuery, "notevil.example.com") })
	got := rows(t, e, host)
	want := [][]string{
		{},
		{`"asset.owner":"ml-platform"`, `"asset.criticality":"critical"`, `"src_endpoint.zone":"bench"`, `"asset.labels":["gpu","region=eu"]`, `"enrichments":["assets@20`, `"zones@20`},
		{`"src_endpoint.zone":"vip"`, `"asset.owner":"office"`, `"threat.lists":["bad-ips"]`, `"threat.indicators":["203.0.113.7"]`, `"bad-ips@20`},
		{`"threat.lists":["bad-names"]`, `"threat.indicators":["evil.example.com"]`},
		{`"threat.lists":["bad-hashes"]`},
		{},
	}
	for i, parts := range want {
		for _, p := range parts {
			if !strings.Contains(got[i], p) {
				t.Errorf("row %d has no %s:\n%s", i, p, got[i])
			}
		}
		if len(parts) == 0 && strings.Contains(got[i], "enrichments") {
			t.Errorf("row %d: %s", i, got[i])
		}
	}
	data := block.NewBuilder(event.FamilyData)
	data.SetString(event.ResourceUID, "left-pad==1.0")
	data.EndRow()
	data.SetString(event.ResourceUID, "left-pad==1.1")
	data.SetString(event.ResourceName, "left-pad")
	data.EndRow()
	data.SetString(event.ResourceName, "typo")
	data.EndRow()
	for i, r := range rows(t, e, data) {
		if strings.Contains(r, "bad-packages") != (i != 1) {
			t.Errorf("row %d: %s", i, r)
		}
	}
	if err := kv.Delete(t.Context(), bus.Key("host", "GPU1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deletion", func() bool { return len(e.current.Load().assets) == 2 })
}

// A list over HTTP is asked for again only if it changed, and a bad answer
// keeps what was there.
func TestListOverHTTP(t *testing.T) {
	var mode atomic.Int32
	var notModified atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case mode.Load() == 1:
			http.Error(w, "no", http.StatusInternalServerError)
		case mode.Load() == 2:
			fmt.Fprint(w, "<html>\n<body>\nplease log in\n</body>\n</html>\n")
		case mode.Load() == 3:
			fmt.Fprint(w, strings.Repeat("203.0.113.7\n", 1000))
		case r.Header.Get("If-None-Match") == `"v1"`:
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", `"v1"`)
			fmt.Fprint(w, "203.0.113.7\n")
		}
	}))
	defer srv.Close()
	client := srv.Client()
	defer client.CloseIdleConnections()
	s := &source{list: List{Name: "l", Kind: "ip", URL: srv.URL, MaxBytes: 1000}, client: client}
	if l, err := s.fetch(t.Context()); err != nil || l.entries != 1 {
		t.Fatalf("%+v %v", l, err)
	}
	if _, err := s.fetch(t.Context()); err != errSame || notModified.Load() != 1 {
		t.Errorf("again: %v", err)
	}
	for m, want := range map[int32]string{1: "500", 2: "no entries", 3: "more than 1000 bytes"} {
		mode.Store(m)
		if _, err := s.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mode %d: %v", m, err)
		}
	}
}

// The flat ranges find what the narrowest prefix says.
func TestRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var prefixes []netip.Prefix
	var nets []network
	for i := range 2000 {
		var p netip.Prefix
		if i%4 == 0 {
			a := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(rng.IntN(4)), byte(rng.IntN(4))}
			p = netip.PrefixFrom(netip.AddrFrom16(a), 8+rng.IntN(60)).Masked()
		} else {
			p = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(256)), byte(rng.IntN(256))}), 1+rng.IntN(32)).Masked()
		}
		prefixes = append(prefixes, p)
	}
	for _, edge := range []string{"0.0.0.0/0", "255.255.255.255/32", "255.0.0.0/8", "ffff::/16"} {
		prefixes = append(prefixes, netip.MustParsePrefix(edge))
	}
	value := map[netip.Prefix]uint32{}
	for i, p := range prefixes {
		if _, ok := value[p]; !ok {
			value[p] = uint32(i)
			nets = append(nets, newNetwork(p, uint32(i)))
		}
	}
	r := newRanges(nets)
	for range 20_000 {
		a := netip.AddrFrom4([4]byte{byte(rng.IntN(5)), byte(rng.IntN(5)), byte(rng.IntN(256)), byte(rng.IntN(256))})
		if rng.IntN(4) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(rng.IntN(5)), byte(rng.IntN(5)), byte(rng.IntN(256))})
		}
		best := netip.Prefix{}
		for p := range value {
			if p.Contains(a) && p.Bits() >= best.Bits() && (best.IsValid() || true) {
				best = p
			}
		}
		key := a.As16()
		got, ok := r.find(&key)
		if ok != best.IsValid() || ok && got != value[best] {
			t.Fatalf("%s: got %d %v, want %s = %d", a, got, ok, best, value[best])
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]Config{
		"network": {Zones: map[string][]string{"a": {"192.0.2.0/40"}}},
		"zone":    {Zones: map[string][]string{"a b": nil}},
		"kind":    {Lists: []List{{Name: "a", Kind: "x", File: "f"}}},
		"both":    {Lists: []List{{Name: "a", Kind: "ip", File: "f", URL: "https://example.com/"}}},
		"twice":   {Lists: []List{{Name: "a", Kind: "ip", File: "f"}, {Name: "a", Kind: "ip", File: "f"}}},
		"url":     {Lists: []List{{Name: "a", Kind: "ip", URL: "file:///etc/passwd"}}},
		"refresh": {Lists: []List{{Name: "a", Kind: "ip", File: "f", Refresh: time.Millisecond}}},
	} {
		if c.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range []string{kindIP, kindDomain, kindHash, kindPackage} {
		f.Add(kind, []byte("192.0.2.0/24 # x\n*.example.com,1\n::ffff:192.0.2.1/97\nleft_pad==1\n"))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		l, err := parse(List{Name: "l", Kind: kind}, data, time.Unix(0, 0))
		if err == nil && l.entries == 0 {
			t.Error("a list without entries")
		}
	})
}

func benchmark(b *testing.B, cfg Config, lists int, addr func(i int) netip.Addr) {
	var e *Engine
	if !cfg.Empty() {
		e = running(b, cfg, nil)
		eventually(b, "lists", func() bool { return len(e.current.Load().lists) == lists })
	}
	w := NewWorker(e)
	const n = 1000
	bb := block.NewBuilder(event.FamilyNetwork)
	i := 0
	for b.Loop() {
		b.StopTimer()
		bb.Reset()
		for range n {
			bb.SetIP(event.SrcEndpointIP, addr(i))
			bb.SetString(event.HTTPRequestHostname, "www.example.com")
			bb.EndRow()
			i++
		}
		b.StartTimer()
		w.Apply(bb)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
	if e != nil {
		sum := 0
		for _, l := range e.current.Load().lists {
			sum += l.bytes()
		}
		b.ReportMetric(float64(sum)/1e6, "MB-lists")
	}
}

func BenchmarkApply(b *testing.B) {
	zones := map[string][]string{}
	for i := range 10_000 {
		zones[fmt.Sprintf("z%d", i%100)] = append(zones[fmt.Sprintf("z%d", i%100)], fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	var sb strings.Builder
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		v := rng.Uint32()
		fmt.Fprintf(&sb, "%d.%d.%d.%d\n", 20+v>>24%100, v>>16&255, v>>8&255, v&255)
	}
	cfg := Config{Zones: zones, Lists: []List{{Name: "million", Kind: "ip", File: file(b, sb.String())}}}
	some := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i * 7 % 39), byte(i % 13), 1}) }
	b.Run("nothing configured", func(b *testing.B) { benchmark(b, Config{}, 0, some) })
	b.Run("500 clients", func(b *testing.B) { benchmark(b, cfg, 1, some) })
	b.Run("every client new", func(b *testing.B) {
		benchmark(b, cfg, 1, func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{byte(i >> 20), byte(i >> 12), byte(i >> 4), byte(i * 16)})
		})
	})
}
