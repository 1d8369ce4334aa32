package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// TestSendingPrograms drives the service with programs that Debian does not
// have; scripts/record/programs.py brings them ("./task deps").
func TestSendingPrograms(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, binary string){
		"kube-apiserver": kubeAPIServer,
		"litellm":        liteLLM,
		"otelcol":        collector,
	} {
		t.Run(name, func(t *testing.T) { test(t, testkit.Program(t, name)) })
	}
}

// program runs a program until the test ends.
func program(t *testing.T, dir string, env []string, binary string, args ...string) (log func() string) {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		_ = out.Close()
	})
	return func() string {
		text, _ := os.ReadFile(out.Name())
		return string(text[max(0, len(text)-4000):])
	}
}

// until asks every half second, for programs that take their time to start: on a
// busy machine minutes.
func until(t *testing.T, log func() string, what string, cond func() bool) {
	t.Helper()
	const patience = 4 * time.Minute
	for end := time.Now().Add(patience); !cond(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %s\n%s", what, patience, log())
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kubeAPIServer sends audit events over TLS, with the token of a kubeconfig.
func kubeAPIServer(t *testing.T, binary string) {
	ca := newAuthority(t, "hub")
	ca.server("server")
	b := testkit.Bus(t)
	o := options(b)
	o.TLS = TLS{Cert: ca.path("server.pem"), Key: ca.path("server.key")}
	s := start(t, o)

	dir := t.TempDir()
	webhook := write(t, filepath.Join(dir, "webhook.yaml"), fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: vagus
clusters: [{name: vagus, cluster: {server: "%s/v1/kubernetes/audit", certificate-authority: %s}}]
users: [{name: vagus, user: {token: all-secret}}]
contexts: [{name: vagus, context: {cluster: vagus, user: vagus}}]
`, s.URL(), ca.path("ca.pem")))
	policy := write(t, filepath.Join(dir, "policy.yaml"), "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
	users := write(t, filepath.Join(dir, "users.csv"), "admin-token,admin@example.com,1,\"system:masters\"\n")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	account := write(t, filepath.Join(dir, "sa.key"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})))
	addr, client, peer := testkit.FreeAddr(t), "http://"+testkit.FreeAddr(t), "http://"+testkit.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	log := program(t, dir, []string{"ETCD_DIR=" + filepath.Join(dir, "etcd"), "ETCD_CLIENT_URL=" + client, "ETCD_PEER_URL=" + peer}, binary,
		"--etcd-servers="+client, "--secure-port="+port, "--bind-address=127.0.0.1", "--advertise-address=192.0.2.100", "--cert-dir="+filepath.Join(dir, "certs"),
		"--service-cluster-ip-range=10.96.0.0/24", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+account,
		"--service-account-signing-key-file="+account, "--token-auth-file="+users, "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		"--audit-policy-file="+policy, "--audit-webhook-config-file="+webhook, "--audit-webhook-batch-max-size=10", "--audit-webhook-batch-max-wait=1s")

	api := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // of a test's own server
	create := func() bool {
		req, _ := http.NewRequest(http.MethodPost, "https://"+addr+"/api/v1/namespaces/default/configmaps", strings.NewReader(`{"metadata":{"name":"from-vagus-test"}}`))
		req.Header.Set("Authorization", "Bearer admin-token")
		req.Header.Set("Content-Type", "application/json")
		resp, err := api.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusConflict
	}
	until(t, log, "the API server takes a ConfigMap", create)
	until(t, log, "its audit event is here", func() bool {
		got, _ := stored(t, b, subjects.StreamRaw)
		return strings.Contains(strings.Join(got, "\n"), `"name":"from-vagus-test"`)
	})
	got, raws := stored(t, b, subjects.StreamRaw)
	for _, r := range got {
		var event struct{ AuditID, Kind string }
		if err := json.Unmarshal([]byte(r), &event); err != nil || event.AuditID == "" || event.Kind == "EventList" {
			t.Fatalf("not an event: %.200s %v", r, err)
		}
	}
	t.Logf("%d audit events in %d batches", len(got), len(raws))
}

// liteLLM logs a call through its callback generic_api, as an array and as
// lines.
func liteLLM(t *testing.T, binary string) {
	b := testkit.Bus(t)
	s := start(t, options(b))
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "config.yaml"), `
model_list:
- {model_name: gpt-test, litellm_params: {model: openai/gpt-test, api_key: none, mock_response: "hello from a mock"}}
litellm_settings: {callbacks: [array, lines], telemetry: false}
callback_settings:
  array: {callback_type: generic_api, endpoint: "`+s.URL()+`/v1/ingest/litellm.proxy", headers: {Authorization: Bearer all-secret}}
  lines: {callback_type: generic_api, endpoint: "`+s.URL()+`/v1/ingest/litellm.proxy", headers: {X-Vagus-Token: all-secret}, log_format: ndjson}
`)
	addr := testkit.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	log := program(t, dir, []string{"LITELLM_MASTER_KEY=sk-test", "DEFAULT_FLUSH_INTERVAL_SECONDS=1", "LITELLM_LOCAL_MODEL_COST_MAP=True"}, binary,
		"--config", config, "--host", "127.0.0.1", "--port", port)
	ask := func() bool {
		req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/chat/completions", bytes.NewReader([]byte(`{"model":"gpt-test","messages":[{"role":"user","content":"hello"}]}`)))
		req.Header.Set("Authorization", "Bearer sk-test")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusOK && bytes.Contains(text, []byte("hello from a mock"))
	}
	until(t, log, "LiteLLM answers", ask)
	var got []string
	until(t, log, "both callbacks logged", func() bool {
		got, _ = stored(t, b, subjects.StreamRaw)
		return len(got) >= 2
	})
	for _, r := range got {
		var call struct {
			ID, Model string
			Messages  json.RawMessage
		}
		if err := json.Unmarshal([]byte(r), &call); err != nil || call.ID == "" || !strings.Contains(call.Model, "gpt-test") {
			t.Fatalf("not a call: %.300s %v", r, err)
		}
	}
	t.Logf("%d calls logged, %d bytes the first", len(got), len(got[0]))
}

// collector reads a file and takes an application's spans, and sends both on:
// logs over gRPC, spans over HTTP, each compressed its own way.
func collector(t *testing.T, binary string) {
	b := testkit.Bus(t)
	o := options(b)
	o.OTLP.GRPC = "127.0.0.1:0"
	s := start(t, o)
	dir := t.TempDir()
	addr := testkit.FreeAddr(t)
	lines := write(t, filepath.Join(dir, "app.log"), "order 17 was refused\norder 18 was taken\n")
	config := write(t, filepath.Join(dir, "config.yaml"), `
receivers:
  filelog: {include: ["`+lines+`"], start_at: beginning}
  otlp: {protocols: {grpc: {endpoint: "`+addr+`"}}}
processors:
  batch: {timeout: 100ms}
exporters:
  otlp:
    endpoint: "`+s.OTLPAddr()+`"
    compression: zstd
    headers: {authorization: Bearer all-secret}
    tls: {insecure: true}
  otlphttp:
    endpoint: "`+s.URL()+`"
    compression: gzip
    headers: {authorization: Bearer all-secret}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [filelog], processors: [batch], exporters: [otlp]}
    traces: {receivers: [otlp], processors: [batch], exporters: [otlphttp]}
`)
	log := program(t, dir, nil, binary, "--config", config)
	send := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithInsecure(), otlptracegrpc.WithEndpoint(addr))
		if err != nil {
			return false
		}
		traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		_, span := traces.Tracer("shop").Start(ctx, "chat small-model")
		span.SetAttributes(attribute.String("gen_ai.operation.name", "chat"))
		span.End()
		return traces.Shutdown(ctx) == nil
	}
	var got []string
	until(t, log, "two lines and a span are here", func() bool {
		if len(got) < 3 && !send() {
			return false
		}
		got, _ = stored(t, b, subjects.StreamRaw)
		text := strings.Join(got, "\n")
		return strings.Contains(text, "order 17 was refused") && strings.Contains(text, "order 18 was taken") && strings.Contains(text, "gen_ai.operation.name")
	})
	t.Logf("%d records of the collector", len(got))
}
