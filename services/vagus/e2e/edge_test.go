package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// selfSigned writes a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "hub.pem"), filepath.Join(dir, "hub.key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})))
	return cert, key
}

// startEdge runs `vagus edge` until the end of the test.
func startEdge(t *testing.T, name string, args ...string) (*hub, *process) {
	t.Helper()
	e := &hub{t: t, data: filepath.Join(t.TempDir(), name)}
	p := supervise(t, name, []string{"VAGUS_EDGE_TOKEN=token-of-" + name},
		append([]string{binary, "edge", "--data", e.data, "--name", name, "--token", "env:VAGUS_EDGE_TOKEN", "--ingest-addr", testkit.FreeAddr(t)}, args...)...)
	eventually(t, patience, "the edge takes records", func() bool {
		state, err := instance.Load(e.data)
		if err != nil {
			return false
		}
		e.mu.Lock()
		e.state = state
		e.mu.Unlock()
		resp, err := http.Get(state.IngestURL + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return e, p
}

// An edge takes logs before it has ever seen its hub, over TLS it hands them on
// when there is one, and when its space is used up it refuses more.
func TestEdge(t *testing.T) {
	need(t)
	cert, key := selfSigned(t)
	leaf := testkit.FreeAddr(t)
	small := filepath.Join(t.TempDir(), "small.yml")
	write(t, small, "edge: {max_bytes: 10000000}\n")
	north, northProc := startEdge(t, "north", "--hub", "tls://"+leaf, "--hub-ca", cert)
	south, _ := startEdge(t, "south", "--hub", "tls://"+leaf, "--hub-ca", cert, "--config", small)
	old := filepath.Join(t.TempDir(), "old.yml")
	write(t, old, "edge: {max_age: 1s}\n")
	stranger, strangerProc := startEdge(t, "stranger", "--hub", "tls://"+leaf, "--config", old) // trusts no such certificate

	for i := range 20 {
		north.send("nginx.access", fmt.Sprintf("north-%d", i), nginxRecords(fmt.Sprintf("north-%d", i), 500))
	}
	stranger.send("nginx.access", "stranger", nginxRecords("stranger", 500))
	long, err := north.post("kubernetes.audit", strings.NewReader(`{"a":"`+strings.Repeat("x", 2<<20)+`"}`))
	if err != nil || long.Dead != 1 {
		t.Fatalf("a record that is too long: %+v %v", long, err)
	}
	full, taken := south.fill("south", 400)
	south.wantFull(full)
	status := decode[struct {
		Waiting int
		Reading bool
	}](t, north.cli("status", "--json"))
	if status.Waiting != 20 || status.Reading {
		t.Errorf("status %+v, want 20 waiting and nobody reading", status)
	}
	if rss := rssOf(t, northProc.running.Process.Pid); rss > 150<<20 {
		t.Errorf("the edge takes %d MB", rss>>20)
	} else {
		t.Logf("the edge takes %d MB", rss>>20)
	}

	h := start(t, withConfig(fmt.Sprintf("bus:\n  leaf:\n    addr: %s\n    tls: {cert: %s, key: %s}\n    edges:\n      - {name: north, token_sha256: %s}\n      - {name: south, token_sha256: %s}\n      - {name: stranger, token_sha256: %s}\n",
		leaf, cert, key, ingest.HashToken("token-of-north"), ingest.HashToken("token-of-south"), ingest.HashToken("token-of-stranger"))))
	begin := time.Now()
	h.stored("north", 10_000)
	h.stored("south", taken)
	t.Logf("%d events came within %s", taken+10_000, time.Since(begin).Round(10*time.Millisecond))
	if !northProc.kill(false) {
		t.Fatal("the edge does not run")
	}
	north.send("nginx.access", "north-again", nginxRecords("north-again", 500))
	// What was refused is taken now, once: the space is freed as the hub takes.
	key2 := fmt.Sprintf("south-%d", taken/1000)
	south.send("nginx.access", key2, nginxRecords("later", 1000))
	h.stored("north", 10_500)
	h.stored("later", 1000)
	eventually(t, patience, "the edge knows that all was taken", func() bool {
		return strings.Contains(north.cli("status"), "(reading)\nwaiting      0 messages\n")
	})
	if _, says, err := vagus(t, "", "edge", "--data", small+".data", "--hub", "nats-leaf://192.0.2.1:7422", "--name", "x", "--token", "y"); err == nil || !strings.Contains(says, "in the clear") {
		t.Errorf("a hub elsewhere without TLS: %v %s", err, says)
	}
	if out := h.cli("status"); !strings.Contains(out, "north") || !strings.Contains(out, "LAST SEEN") {
		t.Errorf("the hub's status has no edges:\n%s", out)
	}
	resp, err := http.Get(h.at().IngestURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || !strings.Contains(text.String(), `vagus_edge_up{edge="north",stream="RAW"} 1`) ||
		!strings.Contains(text.String(), `vagus_edge_up{edge="stranger",stream="RAW"} 0`) {
		t.Errorf("metrics: %v\n%s", err, text.String())
	}
	h.ledger() // what has no events is stored in its own time
	if n := h.count("SELECT count() FROM events"); n != 10_500+taken+1000 {
		t.Errorf("%d events, want %d", n, 10_500+taken+1000)
	}
	if n := h.count("SELECT count() FROM dead_letters WHERE source = 'kubernetes.audit' AND reason = 'line_too_long'"); n != 1 {
		t.Errorf("%d dead letters of the edge's", n)
	}
	late, err := stranger.post("nginx.access", bytes.NewReader(nginxRecords("late", 1)))
	if err != nil || late.Status != http.StatusServiceUnavailable || !strings.Contains(late.Error, "the oldest message waits for the hub for more than 1s") {
		t.Errorf("an edge whose messages are too old: %+v %v", late, err)
	}
	strangerProc.stop()
	if _, says, err := vagus(t, "", "edge", "--data", stranger.data, "--hub", "tls://"+leaf, "--name", "other", "--token", "x"); err == nil || !strings.Contains(says, `holds what edge "stranger" received`) {
		t.Errorf("another name: %v %s", err, says)
	}
}

// rssOf is the memory of one process in bytes.
func rssOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb int64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kb << 10
}

// Kill -9 of either side, again and again while the edge hands on what it kept.
func TestEdgeKilledCatchingUp(t *testing.T) {
	need(t)
	leaf := testkit.FreeAddr(t)
	north, proc := startEdge(t, "north", "--hub", "nats-leaf://"+leaf)
	const batches, size = 600, 100
	for i := range batches {
		north.send("nginx.access", fmt.Sprintf("kept-%d", i), nginxRecords(fmt.Sprintf("kept-%d", i), size))
	}
	h := newHub(t, withConfig(fmt.Sprintf("bus:\n  leaf:\n    addr: %s\n    edges: [{name: north, token_sha256: %s}]\n", leaf, ingest.HashToken("token-of-north"))))
	hubKills, edgeKills := 0, 0
	pull := func() (waiting int) {
		out, _, err := north.run("status", "--json")
		if err != nil {
			return batches
		}
		return decode[struct{ Waiting int }](t, out).Waiting
	}
	for n := range 4 {
		h.launch()
		before := pull()
		eventually(t, patience, "the hub takes some", func() bool { now := pull(); return now < before-20*n || now == 0 })
		if n%2 == 1 && proc.kill(false) {
			edgeKills++
		}
		h.kill()
		hubKills++
		t.Logf("killed with %d waiting", pull())
	}
	h.start()
	h.stored("kept", batches*size)
	eventually(t, patience, "nothing waits", func() bool { return pull() == 0 })
	rep := h.ledger() // raw records are stored beside events
	if n := h.count("SELECT count() FROM raw"); n != batches*size {
		t.Errorf("%d raw records, want %d", n, batches*size)
	}
	t.Logf("the hub was killed %d times, the edge %d times: %+v", hubKills, edgeKills, rep.Sources)
}
