package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// chaos is everything in processes of its own, a hub and an edge, under steady
// traffic into both.
type chaos struct {
	t     *testing.T
	scale float64
	begin time.Time
	hub   *hub // the command line's view of it
	edge  *hub
	link  *link
	proc  map[string]*process
	disk  string // a file system of its own below the hub's data; "": none
	lines []template

	sent, edgeSent, refused atomic.Int64
}

// chaosScale is VAGUS_CHAOS_SCALE: 1 has every outage last as long as it should
// be survived; the default is a fortieth of that.
func chaosScale(t testing.TB) float64 {
	text := os.Getenv("VAGUS_CHAOS_SCALE")
	if text == "" {
		return 0.025
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f <= 0 {
		t.Fatalf("VAGUS_CHAOS_SCALE %q: want a number above 0", text)
	}
	return f
}

// after is a time of the full run, scaled.
func (c *chaos) after(seconds float64) time.Duration {
	return time.Duration(seconds * c.scale * float64(time.Second))
}

func (c *chaos) say(format string, args ...any) {
	fmt.Printf("chaos %6.1fs  %s\n", time.Since(c.begin).Seconds(), fmt.Sprintf(format, args...))
}

func newChaos(t *testing.T) *chaos {
	need(t)
	c := &chaos{t: t, scale: chaosScale(t), begin: time.Now(), proc: map[string]*process{}, lines: loadTemplates(t).everyday["nginx.access"]}
	bin, dir := buildServices(t), logDir(t)
	var data string
	c.disk = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(c.disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mountTmpfs(c.disk, "size=1500m"); err != nil {
		t.Logf("no file system of its own to fill (%v): the disk is not filled", err)
		data, c.disk = filepath.Join(t.TempDir(), "hub"), ""
	} else {
		at := c.disk
		t.Cleanup(func() {
			eventually(t, patience, "the file system can be unmounted", func() bool { return unmount(at) == nil })
		})
		data = filepath.Join(c.disk, "hub")
	}
	c.hub = newHub(t, withData(data))
	t.Cleanup(func() { c.hub.childless(nil) })
	secrets, err := instance.LoadSecrets(data)
	if err != nil {
		t.Fatal(err)
	}
	busAddr, leafAddr, chAddr, inAddr, edgeAddr := testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t)
	dsn := func(user, password string) string {
		return (&url.URL{Scheme: "http", User: url.UserPassword(user, password), Host: chAddr, Path: "/default"}).String()
	}
	c.hub.state = instance.State{
		PID: os.Getpid(), NATSURL: "nats://" + busAddr, NATSToken: secrets.NATS, IngestURL: "http://" + inAddr,
		IngestToken: secrets.Ingest, ClickHouseDSN: dsn("grafana", secrets.Read),
	}
	if err := instance.Save(data, c.hub.state); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("token-of-the-edge"))
	tokens, config := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "bus.yml")
	write(t, tokens, fmt.Sprintf("tokens:\n  - {name: local, sha256: %s, sources: ['*']}\n", ingest.HashToken(secrets.Ingest)))
	write(t, config, fmt.Sprintf("bus:\n  leaf:\n    addr: %s\n    edges: [{name: north, token_sha256: %s}]\n", leafAddr, hex.EncodeToString(sum[:])))
	c.link = newLink(t, leafAddr)
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	edgeData := filepath.Join(t.TempDir(), "edge")
	c.edge = &hub{t: t, data: edgeData}
	env := []string{"VAGUS_NATS_TOKEN=" + secrets.NATS, "VAGUS_CLICKHOUSE_DSN=" + dsn("vagus", secrets.Store), "VAGUS_EDGE_TOKEN=token-of-the-edge"}
	nats := "--nats=nats://" + busAddr
	for _, p := range [][]string{ // stopped in the reverse order
		{"bus", binary, "bus", "--data", data, "--addr", busAddr, "--config", config},
		{"clickhouse", binary, "clickhouse", "--data", data, "--addr", chAddr},
		{"store", filepath.Join(bin, "store"), nats},
		{"detect", filepath.Join(bin, "detect"), nats, "--rules", filepath.Join(root, "rules")},
		{"normalize", filepath.Join(bin, "normalize"), nats},
		{"ingest", filepath.Join(bin, "ingest"), nats, "--addr", inAddr, "--tokens", tokens},
		{"edge", binary, "edge", "--data", edgeData, "--hub", "nats-leaf://" + c.link.addr, "--name", "north", "--token", "env:VAGUS_EDGE_TOKEN", "--ingest-addr", edgeAddr},
	} {
		c.proc[p[0]] = supervise(t, p[0], env, p[1:]...)
	}
	for _, h := range []*hub{c.hub, c.edge} {
		eventually(t, patience, "records are taken", func() bool {
			if h == c.edge {
				state, err := instance.Load(edgeData)
				if err != nil {
					return false
				}
				h.state = state
			}
			r, err := h.post("nginx.access", strings.NewReader(""))
			return err == nil && r.Status == 200
		})
	}
	eventually(t, patience, "ClickHouse answers", func() bool { return c.hub.number("SELECT count() FROM events") == 0 })
	c.begin = time.Now()
	return c
}

// outage is one thing that is down for a while, in seconds of the full run.
type outage struct {
	what     string
	at, long float64
	begin    func()
	end      func()
}

func (c *chaos) down(name string) (begin, end func()) {
	p := c.proc[name]
	return func() {
		p.gate.Lock()
		for !p.kill(false) {
			time.Sleep(time.Millisecond)
		}
	}, p.gate.Unlock
}

func (c *chaos) kill(name string) func() { return func() { c.proc[name].kill(false) } }

func (c *chaos) outages() []outage {
	jsDown, jsUp := c.down("bus")
	chDown, chUp := c.down("clickhouse")
	plan := []outage{
		{"edge link cut", 15, 600, c.link.cut, c.link.mend},
		{"ClickHouse stopped", 30, 300, chDown, chUp},
		{"JetStream stopped", 60, 60, jsDown, jsUp},
		{"normalize killed", 150, 0, c.kill("normalize"), nil},
		{"normalize killed", 200, 0, c.kill("normalize"), nil},
		{"normalize killed", 450, 0, c.kill("normalize"), nil},
		// While the edge catches up.
		{"edge killed", 616, 0, c.kill("edge"), nil},
		{"JetStream killed", 619, 0, c.kill("bus"), nil},
		{"edge killed", 622, 0, c.kill("edge"), nil},
	}
	if c.disk != "" {
		ballast := filepath.Join(c.disk, "ballast")
		plan = append(plan, outage{"disk full", 360, 60, func() { fillDisk(c.t, ballast) }, func() { _ = os.Remove(ballast) }})
	}
	return plan
}

// send delivers batches to h at a steady rate until ctx ends, each until it is
// taken. A sender that was held up does not hurry afterwards.
func (c *chaos) send(ctx context.Context, h *hub, name string, count *atomic.Int64) {
	const batch, every = 50, 200 * time.Millisecond
	var wg sync.WaitGroup
	for s := range 2 { // two, so that 500 events a second in all go out
		wg.Go(func() {
			tick := time.NewTicker(2 * every)
			defer tick.Stop()
			seed := uint64(len(name)*10 + s)
			for n := uint64(0); ctx.Err() == nil; n++ {
				var body []byte
				for i := range uint64(batch) {
					id := mix(seed, n*batch+i+1)
					client := id >> 32 % 250
					v := values{id: id, at: time.Now(), addr: "198.51.100." + strconv.Itoa(1+int(client)), key: fmt.Sprintf("sk-...%04d", client)}
					body = c.lines[id%uint64(len(c.lines))].append(body, &v)
				}
				key := fmt.Sprintf("%s-%d-%d", name, s, n)
				for { // also after ctx ended: what may be stored must be counted
					r, err := h.post("nginx.access", strings.NewReader(string(body)), "Idempotency-Key", key)
					if err == nil && r.Status == 200 {
						if r.Accepted != batch || r.Dead != 0 {
							c.t.Errorf("%s: %d accepted, %d dead", key, r.Accepted, r.Dead)
						}
						count.Add(batch)
						break
					}
					c.refused.Add(1)
					time.Sleep(every)
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
}

// Everything that can be down is down, several at a time, while logs arrive at
// the hub and at an edge: what was acknowledged is stored, once.
func TestChaos(t *testing.T) {
	c := newChaos(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var senders, plan sync.WaitGroup
	senders.Go(func() { c.send(ctx, c.hub, "hub", &c.sent) })
	senders.Go(func() { c.send(ctx, c.edge, "north", &c.edgeSent) })
	for _, o := range c.outages() {
		plan.Go(func() {
			time.Sleep(time.Until(c.begin.Add(c.after(o.at))))
			o.begin()
			if o.end == nil {
				c.say("%s", o.what)
				return
			}
			c.say("%s for %s", o.what, c.after(o.long))
			time.Sleep(c.after(o.long))
			o.end()
			c.say("%s: over", o.what)
		})
	}
	plan.Add(1)
	go func() { // how the edge catches up
		defer plan.Done()
		time.Sleep(time.Until(c.begin.Add(c.after(614))))
		waiting := c.waiting()
		c.say("edge has %d messages waiting", waiting)
		time.Sleep(time.Until(c.begin.Add(c.after(640))))
	}()
	plan.Wait()
	mended := time.Now()
	stop()
	senders.Wait()
	sent, edgeSent := c.sent.Load(), c.edgeSent.Load()
	c.say("sent %d events to the hub and %d to the edge; %d requests were refused or cut off and repeated", sent, edgeSent, c.refused.Load())
	eventually(t, patience, "the hub has all that the edge had", func() bool { return c.waiting() == 0 })
	total := int(sent + edgeSent)
	eventually(t, patience, "all is stored", func() bool { return c.hub.number("SELECT count() FROM events") >= total })
	c.say("all is stored, %s after the last outage", time.Since(mended).Round(time.Second))
	out, problem, err := c.hub.run("ledger", "--wait", "120s", "--count", "--json")
	if err != nil {
		t.Fatalf("the ledger does not close: %v\n%s%s", err, out, problem)
	}
	fmt.Printf("$ vagus ledger --count --json\n%s", out)
	fmt.Printf("$ vagus ledger\n%s", c.hub.cli("ledger"))
	rep := decode[ledgerReport](t, out)
	if !rep.Closed || len(rep.Sources) != 1 {
		t.Fatalf("the ledger: %+v", rep)
	}
	if s := rep.Sources[0]; s.Received != uint64(total) || s.Stored != uint64(total) || s.Rows != uint64(total) || s.Distinct != uint64(total) || s.Dead != 0 {
		t.Errorf("sent %d; the ledger has %+v", total, s)
	}
	for _, q := range []string{
		"SELECT count() FROM raw", "SELECT uniqExact(event_uid) FROM raw",
		"SELECT count() FROM events", "SELECT uniqExact(event_uid) FROM events", "SELECT uniqExact(metadata_correlation_uid) FROM events",
	} {
		n := c.hub.count(q)
		c.say("%s: %d", q, n)
		if n != total {
			t.Errorf("%s: %d, sent %d", q, n, total)
		}
	}
}

// waiting is how many messages the edge has for the hub; many if it does not
// answer.
func (c *chaos) waiting() int {
	out, _, err := c.edge.run("status", "--json")
	if err != nil {
		return 1 << 30
	}
	var s struct {
		Waiting int `json:"waiting"`
	}
	if json.Unmarshal([]byte(out), &s) != nil {
		return 1 << 30
	}
	return s.Waiting
}

// link is the line between an edge and its hub, to cut.
type link struct {
	addr, to string
	mu       sync.Mutex
	isCut    bool
	open     map[net.Conn]bool
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{addr: l.Addr().String(), to: to, open: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { k.carry(c) })
		}
	})
	t.Cleanup(func() { l.Close(); k.cut(); wg.Wait() })
	return k
}

func (k *link) carry(c net.Conn) {
	defer c.Close()
	far, err := net.DialTimeout("tcp", k.to, time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	k.mu.Lock()
	if k.isCut {
		k.mu.Unlock()
		return
	}
	k.open[c], k.open[far] = true, true
	k.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far, c); far.Close(); c.Close() })
	_, _ = io.Copy(c, far)
	c.Close()
	far.Close()
	wg.Wait()
	k.mu.Lock()
	delete(k.open, c)
	delete(k.open, far)
	k.mu.Unlock()
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isCut = true
	for c := range k.open {
		c.Close()
	}
}

func (k *link) mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isCut = false
}
