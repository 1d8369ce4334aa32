package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// buildServices builds every service as the program of its own that it also is.
func buildServices(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir}
	for _, name := range []string{"ingest", "normalize", "detect", "respond", "store"} {
		args = append(args, "github.com/vagus-hub/vagus/services/"+name+"/cmd/"+name)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the services: %v\n%s", err, out)
	}
	return dir
}

// Every part as a process of its own, and kill -9 of each in turn.
func TestKillSeparate(t *testing.T) {
	need(t)
	k := newKilling(t)
	bin, dir := buildServices(t), logDir(t)
	secrets, err := instance.LoadSecrets(k.h.data)
	if err != nil {
		t.Fatal(err)
	}
	busAddr, chAddr, inAddr, apiAddr := testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t)
	dsn := func(user, password string) string {
		return (&url.URL{Scheme: "http", User: url.UserPassword(user, password), Host: chAddr, Path: "/default"}).String()
	}
	// What `vagus up` would leave for the command line.
	if err := instance.Save(k.h.data, instance.State{
		PID: os.Getpid(), NATSURL: "nats://" + busAddr, NATSToken: secrets.NATS,
		IngestURL: "http://" + inAddr, IngestToken: secrets.Ingest, APIURL: "http://" + apiAddr, APIToken: secrets.API,
		ClickHouseDSN: dsn("grafana", secrets.Read),
	}); err != nil {
		t.Fatal(err)
	}
	tokens, config := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "respond.yaml")
	write(t, tokens, fmt.Sprintf("tokens:\n  - {name: local, sha256: %s, sources: ['*']}\n", ingest.HashToken(secrets.Ingest)))
	write(t, config, k.respondConfig())
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{hookSecret, "VAGUS_NATS_TOKEN=" + secrets.NATS, "VAGUS_RESPOND_TOKEN=" + secrets.API, "VAGUS_CLICKHOUSE_DSN=" + dsn("vagus", secrets.Store)}
	nats := "--nats=nats://" + busAddr
	for _, p := range [][]string{ // cleaned up in the reverse order
		{"bus", binary, "bus", "--data", k.h.data, "--addr", busAddr},
		{"clickhouse", binary, "clickhouse", "--data", k.h.data, "--addr", chAddr},
		{"store", filepath.Join(bin, "store"), nats},
		{"respond", filepath.Join(bin, "respond"), nats, "--addr", apiAddr, "--config", config, "--playbooks", filepath.Join(root, "playbooks")},
		{"detect", filepath.Join(bin, "detect"), nats, "--rules", filepath.Join(root, "rules")},
		{"normalize", filepath.Join(bin, "normalize"), nats},
		{"ingest", filepath.Join(bin, "ingest"), nats, "--addr", inAddr, "--tokens", tokens},
	} {
		k.procs = append(k.procs, supervise(t, p[0], env, p[1:]...))
	}
	k.await()
	var plan []victim
	for i := range 21 { // seven processes, three times each
		plan = append(plan, victim{k.procs[i%7], false})
	}
	for range 3 {
		plan = append(plan, victim{k.procs[1], true}) // the engine below `vagus clickhouse`
	}
	k.do(plan)
}
