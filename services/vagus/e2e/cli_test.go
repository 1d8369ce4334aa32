package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/services/vagus/internal/cli"
)

// commands are all commands that people may call, by their path without
// "vagus".
func commands() map[string]*cobra.Command {
	out := map[string]*cobra.Command{}
	var walk func(prefix string, c *cobra.Command)
	walk = func(prefix string, c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden {
				continue
			}
			path := strings.TrimSpace(prefix + " " + sub.Name())
			out[path] = sub
			walk(path, sub)
		}
	}
	walk("", cli.New("test"))
	return out
}

func TestHelpOfEveryCommand(t *testing.T) {
	need(t)
	all := commands()
	if len(all) < 25 {
		t.Fatalf("only %d commands", len(all))
	}
	for path, c := range all {
		out, problem, err := vagus(t, "", append(strings.Fields(path), "--help")...)
		if err != nil || problem != "" || !strings.Contains(out, "Usage:") || !strings.Contains(out, "vagus "+path) {
			t.Errorf("vagus %s --help: %v\n%s%s", path, err, out, problem)
		}
		if c.Short == "" {
			t.Errorf("vagus %s has no description", path)
		}
	}
	out, _, err := vagus(t, "", "--version")
	if err != nil || !strings.HasPrefix(out, "vagus version ") {
		t.Errorf("--version: %v %s", err, out)
	}
}

func TestDemo(t *testing.T) {
	out, problem, err := vagus(t, "", "demo")
	if err != nil {
		t.Fatalf("vagus demo: %v\n%s%s", err, out, problem)
	}
	for _, want := range []string{"the hub is up", "replayed ", "ALERT ", "RUN   succeeded", "all of it in "} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "vagus-demo-*")); len(left) > 0 {
		t.Logf("folders of demos: %v", left) // another one may be running
	}
	t.Log(out[strings.LastIndex(out, "all of it"):])
}

// `./task up` a second time, with the data of the first: what is there already
// is said, not missed.
func TestUpDemoAgain(t *testing.T) {
	h := newHub(t)
	h.conf.args = []string{"--demo"}
	for session := 1; session <= 2; session++ {
		h.start()
		eventually(t, patience, "everything has happened", func() bool {
			return strings.Count(h.tail(1000), "the hub stays up") == session
		})
		h.stop()
	}
	out := h.tail(1000)
	for _, want := range []string{"all of it in ", "alerts stand from an earlier session"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(out, "did not happen") {
		t.Error("the second session misses what the first one raised")
	}
}

// Every listing prints JSON that parses, and something for people.
func TestListings(t *testing.T) {
	h := start(t)
	h.send("nginx.access", "list", nginxRecords("list", 20))
	h.send("kubernetes.audit", "list", []byte(execRecord("training", "llm-train-0")))
	h.send("kubernetes.audit", "broken", []byte("broken\n"))
	h.cli("decisions", "add", "block", "ip", "203.0.113.7", "--reason", "test", "--by", "test")
	al := h.alert("kubernetes.exec-into-ai-workload", "training/llm-train-0")
	var r run.Run
	eventually(t, patience, "a run", func() bool {
		for _, one := range decode[[]run.Run](t, h.cli("runs", "--json")) {
			if one.Playbook == "isolate-pod" {
				r = one
				return true
			}
		}
		return false
	})
	h.stored("list", 20)
	eventually(t, patience, "a dead letter", func() bool { return h.number("SELECT count() FROM dead_letters") == 1 })

	// Tuning learns from what analysts said of stored alerts.
	h.cli("alerts", "disposition", al.UID, "benign", "--by", "test")
	eventually(t, patience, "the verdict", func() bool {
		return h.number("SELECT count() FROM alert_dispositions WHERE alert IN (SELECT uid FROM alerts)") == 1
	})

	if out := h.cli("alerts", al.UID, "--ocsf"); !strings.Contains(out, `"class_uid":2004`) || !strings.Contains(out, `"risk_score":`) {
		t.Errorf("alerts --ocsf: %s", out)
	}

	// What stands after the command, and whether it prints an object a line.
	type listing struct {
		args  string
		lines bool
		empty bool // nothing is listed here
	}
	const combined = "../../../schemas/sources/nginx.access/testdata/combined.log"
	listings := map[string][]listing{
		"status": {{}}, "alerts": {{}, {args: al.UID}, {args: "--level critical", empty: true}}, "incidents": {{}},
		"runs": {{}, {args: r.UID}, {args: r.UID[:12]}}, "approve": {{}}, "decisions": {{}}, "ledger": {{args: "--wait 30s"}}, "dead list": {{}},
		"events": {{lines: true}, {args: "--source nginx.access --limit 3", lines: true}, {args: "--source okta.system_log", lines: true, empty: true}},
		"sql":    {{args: "SHOW-TABLES", lines: true}},
		"rules":  {}, "rules list": {{}}, "rules check": {{}}, "rules test": {{}}, "rules explain": {{args: "kubernetes.exec-into-ai-workload"}},
		"playbooks list": {{}}, "sources list": {{}}, "sources check": {{empty: true}}, "sources guess": {{args: combined}},
		"sources explain": {{args: "nginx.access " + combined, lines: true}}, "token list": {{empty: true}},
		"silences": {}, "silences list": {{empty: true}}, "silences add": {{args: "rule=no-such -c test --dry-run"}},
		"silences show": {}, "silences expire": {}, // of one that is there; see the tests of detect
		"content": {}, "content list": {{}}, "content log": {{empty: true}}, "content diff": {{args: "../../../rules"}},
		"content push": {}, "content rollback": {}, "content pull": {}, // change the rules; see the tests of detect
		"rules import": {}, "rules import atr": {}, "rules import sigma": {}, "rules import wazuh": {}, // read files of others; see the tests of detect
		"rules bench": {{args: "ai-gateway.prompt-injection-burst --rounds 1"}}, "rules doc": {{args: "--out " + t.TempDir()}},
		"rules diff": {{args: "kubernetes.exec-into-ai-workload kubernetes.exec-into-ai-workload"}}, "hunt": {{args: "exists(http_request.path) --since 30d", lines: true}},
		"rules new":  {{args: "made.here --force --out " + t.TempDir()}},
		"rules tune": {{args: "kubernetes.exec-into-ai-workload --since 30d"}}, "replay": {{args: "--diff --since 30d"}},
		"rules backtest": {{args: "kubernetes.exec-into-ai-workload --since 30d"}},
		"rules regress":  {}, "rules equiv": {}, "alerts disposition": {}, // see the tests of detect
		"send": {}, // sends; see the tests of following and of resuming
		"tail": {}, // does not end; see TestTail
	}
	for path, c := range commands() {
		if c.Flags().Lookup("json") == nil && c.InheritedFlags().Lookup("json") == nil {
			continue
		}
		cases, ok := listings[path]
		if !ok {
			t.Errorf("vagus %s --json is not tested here", path)
		}
		for _, l := range cases {
			args := append(strings.Fields(path), strings.Fields(l.args)...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "SHOW-TABLES", "SHOW TABLES")
			}
			name := "vagus " + strings.Join(args, " ")
			out := h.cli(append(args, "--json")...)
			d, values := json.NewDecoder(strings.NewReader(out)), 0
			for {
				var v any
				if err := d.Decode(&v); err == io.EOF {
					break
				} else if err != nil {
					t.Errorf("%s --json: %v\n%s", name, err, out)
					break
				}
				values++
				list, isList := v.([]any)
				if isList && (len(list) == 0) != l.empty {
					t.Errorf("%s --json lists %d", name, len(list))
				}
			}
			if l.lines && (values == 0) != l.empty || !l.lines && values != 1 {
				t.Errorf("%s --json prints %d values\n%s", name, values, out)
			}
			if path == "sql" {
				continue
			}
			if human := h.cli(args...); strings.TrimSpace(human) == "" && !l.empty {
				t.Errorf("%s prints nothing", name)
			}
		}
	}
}

// A source that nothing is known of is a slip, not an empty list.
func TestUnknownSource(t *testing.T) {
	h := start(t)
	h.send("nginx.access", "source", nginxRecords("source", 1))
	h.stored("source", 1)
	for _, args := range [][]string{{"events", "--source", "nginx.acess"}, {"hunt", "exists(http_request.path)", "--source", "nginx.acess"}} {
		out, problem, err := h.run(args...)
		if want := "--source nginx.acess: no mapping is for this source and no stored event is of it: did you mean nginx.access?"; err == nil || !strings.Contains(problem, want) {
			t.Errorf("%v: %v %s%s", args, err, out, problem)
		}
	}
	if _, problem, err := h.run("events", "--family", "netwrk"); err == nil || !strings.Contains(problem, "did you mean network?") {
		t.Errorf("family: %v %s", err, problem)
	}
	if _, problem, err := h.run("events", "--where", "status_code = 'no such'"); err != nil || !strings.Contains(problem, "no stored event fits") {
		t.Errorf("nothing fits: %v %s", err, problem)
	}
	if _, problem, err := h.run("dead", "replay", "--source", "nginx.acess", "--dry-run"); err != nil || !strings.Contains(problem, "there are no dead letters of the source nginx.acess") {
		t.Errorf("dead letters: %v %s", err, problem)
	}
	if _, problem, err := h.run("tail", "alerts", "--source", "nginx.access"); err == nil || !strings.Contains(problem, "--source chooses among events, raw and dead") {
		t.Errorf("tail: %v %s", err, problem)
	}
}

func TestTail(t *testing.T) {
	h := start(t)
	fields := map[string]string{"events": "event_uid", "raw": "raw", "dead": "reason", "alerts": "entity", "runs": "playbook", "signals": "rule"}
	for what, field := range fields {
		t.Run(what, func(t *testing.T) {
			cmd := exec.Command(binary, "--data", h.data, "tail", what, "--json", "--all")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// What came before is shown with --all, what comes later in any case.
			h.send("kubernetes.audit", "tail-"+what, []byte(execRecord("training", "llm-"+what)+"broken\n"))
			late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
			defer late.Stop()
			var line map[string]any
			if err := json.NewDecoder(out).Decode(&line); err != nil || line[field] == nil {
				t.Errorf("the first line has no %s: %v %v", field, line, err)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil {
				t.Errorf("Ctrl-C ends it with %v", err)
			}
		})
	}
	if out, problem, err := h.run("tail", "nonsense"); err == nil || !strings.Contains(problem, "none of events") {
		t.Errorf("tail nonsense: %v %s%s", err, out, problem)
	}
}

// Nobody changes or reads anything but the tables through `vagus sql`.
func TestSQLIsReadOnly(t *testing.T) {
	h := start(t)
	h.send("nginx.access", "sql", nginxRecords("sql", 1))
	h.stored("sql", 1)
	secret := filepath.Join(h.data, "secrets.json")
	for _, statement := range []string{
		"INSERT INTO raw (source) VALUES ('x')",
		"CREATE TABLE mine (a Int8) ENGINE = Memory",
		"CREATE TEMPORARY TABLE mine (a Int8)",
		"CREATE USER mallory",
		"CREATE FUNCTION f AS (x) -> x",
		"GRANT ALL ON *.* TO grafana",
		"ALTER TABLE raw DELETE WHERE 1",
		"DELETE FROM raw WHERE 1",
		"UPDATE raw SET source = 'x' WHERE 1",
		"TRUNCATE TABLE raw", "DROP TABLE raw", "DROP DATABASE default", "RENAME TABLE raw TO mine", "OPTIMIZE TABLE raw",
		"DETACH TABLE raw", "ATTACH TABLE raw", "EXCHANGE TABLES raw AND ledger",
		"SYSTEM SHUTDOWN", "SYSTEM RELOAD CONFIG", "KILL QUERY WHERE 1",
		"SET readonly = 0", "SELECT 1 SETTINGS readonly = 0", "DROP TABLE raw SETTINGS allow_ddl = 1",
		"SELECT * FROM file('" + secret + "', 'RawBLOB')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'RawBLOB')",
		"INSERT INTO FUNCTION file('out.csv', 'CSV') SELECT 1",
		"SELECT * FROM executable('id', 'TSV', 'x String')",
		"SELECT * FROM remote('127.0.0.1', 'default', 'raw')",
		"SELECT * FROM s3('http://127.0.0.1:1/x', 'RawBLOB')",
		"SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
		"SELECT file('" + secret + "')",
		"SELECT 1 INTO OUTFILE '" + filepath.Join(h.data, "out") + "'",
		"BACKUP TABLE raw TO File('x')",
		"EXPLAIN AST DROP TABLE raw; DROP TABLE raw",
		"SELECT 1; DROP TABLE raw",
	} {
		out, problem, err := h.run("sql", "--json", statement)
		if err == nil || strings.Contains(out+problem, "clickhouse_store") {
			t.Errorf("%s: allowed\n%.300s", statement, out)
			continue
		}
		if !strings.Contains(problem, "vagus: sql: ") {
			t.Errorf("%s: refused without a reason: %s", statement, problem)
		}
	}
	if n := h.count("SELECT count() FROM raw"); n != 1 {
		t.Errorf("%d rows afterwards", n)
	}
	for _, statement := range []string{"SELECT count() FROM events", "SHOW TABLES", "DESCRIBE TABLE events", "EXISTS TABLE raw", "EXPLAIN SELECT 1", "WITH 1 AS x SELECT x"} {
		h.cli("sql", statement)
	}
	out, problem, err := vagus(t, "SELECT 40 + 2", "--data", h.data, "sql", "--format", "TSV")
	if err != nil || out != "42\n" {
		t.Errorf("a statement on standard input: %v %s%s", err, out, problem)
	}
}

func TestConfigCheck(t *testing.T) {
	need(t)
	position := regexp.MustCompile(`\[(\d+):(\d+)\]`)
	tests := map[string]struct {
		text, at, says string // at "": sound
	}{
		"sound":            {text: "log: {level: debug}\nstore:\n  events_days: 30\n"},
		"empty":            {text: ""},
		"unknown section":  {text: "log: {level: debug}\nstores:\n  events_days: 30\n", at: "2:1", says: "stores"},
		"unknown key":      {text: "store:\n  event_days: 30\n", at: "2:3", says: "event_days"},
		"wrong type":       {text: "store:\n  events_days: many\n", at: "2:16", says: "cannot unmarshal"},
		"out of range":     {text: "log: {level: debug}\nstore:\n  events_days: 0\n", at: "3:16", says: "want 1 to 3650"},
		"no YAML":          {text: "store: [1,\n  2\nlog: {", at: "", says: ""},
		"wrong duration":   {text: "respond:\n  budgets:\n    block: {max: 3, window: soon}\n", at: "3:29", says: `want a duration such as 10m, not "soon"`},
		"token of no hash": {text: "ingest:\n  tokens:\n    - {name: a, sha256: secret, sources: [nginx.access]}\n", at: "3:25", says: "64 hex digits"},
		"wrong log level":  {text: "log:\n  level: loud\n", at: "2:10", says: "loud"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "vagus.yml")
			write(t, file, test.text)
			out, problem, err := vagus(t, "", "config", "check", file)
			if test.at == "" && name != "no YAML" {
				if err != nil || !strings.Contains(out, "is sound") {
					t.Errorf("%v %s%s", err, out, problem)
				}
				return
			}
			found := position.FindString(problem)
			if err == nil || !strings.Contains(problem, file) || found == "" || !strings.Contains(problem, test.says) || test.at != "" && found != "["+test.at+"]" {
				t.Errorf("%v, want position %s and %q in:\n%s%s", err, test.at, test.says, out, problem)
			}
		})
	}
	if _, problem, err := vagus(t, "", "config", "check", "no-such-file.yml"); err == nil || !strings.Contains(problem, "no-such-file.yml") {
		t.Errorf("a file that is not there: %v %s", err, problem)
	}
	out, problem, err := vagus(t, "", "up", "--data", t.TempDir(), "--config", "no-such-file.yml")
	if err == nil || !strings.Contains(problem, "no-such-file.yml") {
		t.Errorf("up with a file that is not there: %v %s%s", err, out, problem)
	}
}

// execRecord is what an API server logs of a shell in a pod.
func execRecord(namespace, pod string) string {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"exec-%s-%s","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/%[1]s/pods/%[2]s/exec?command=sh&stdin=true&tty=true","verb":"create","user":{"username":"mallory@example.com"},"sourceIPs":["192.0.2.66"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"pods","namespace":%[1]q,"name":%[2]q,"apiVersion":"v1","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":%[3]q,"stageTimestamp":%[3]q,"annotations":{"authorization.k8s.io/decision":"allow"}}`+"\n",
		namespace, pod, now)
}

// kubeAPI is a Kubernetes API server that takes notes.
type kubeAPI struct {
	mu    sync.Mutex
	calls []string // method, path, token
	*httptest.Server
}

func startKubeAPI(t *testing.T) *kubeAPI {
	k := &kubeAPI{}
	k.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		k.mu.Lock()
		k.calls = append(k.calls, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), body))
		k.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"Status","status":"Success"}`)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *kubeAPI) seen() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.calls...)
}

// A shell in a training pod leads to a question, the answer to one call of the
// Kubernetes API, and its time to its taking back.
func TestApproveIsolatesAPodOnce(t *testing.T) {
	k := startKubeAPI(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})))
	write(t, filepath.Join(dir, "token"), "kube-token\n")
	h := start(t, withConfig(fmt.Sprintf(`respond:
  vars:
    isolate-pod: {ttl: 5s}
  connectors:
    kubernetes:
      url: %s
      token: file:%[2]s/token
      ca: file:%[2]s/ca.pem
      allow_networks: 127.0.0.0/8
`, k.URL, dir)))
	h.send("kubernetes.audit", "exec", []byte(execRecord("training", "llm-train-0")+execRecord("training", "llm-train-1")))
	al := h.alert("kubernetes.exec-into-ai-workload", "training/llm-train-0")
	if !strings.Contains(al.Title, "mallory@example.com") || !strings.Contains(al.Title, "training/llm-train-0") {
		t.Errorf("title %q", al.Title)
	}
	waiting := func() map[string]run.Approval {
		out := map[string]run.Approval{}
		for _, a := range decode[[]run.Approval](t, h.cli("approve", "--json")) {
			out[a.Entity] = a
		}
		return out
	}
	var asked map[string]run.Approval
	eventually(t, patience, "two questions", func() bool { asked = waiting(); return len(asked) == 2 })
	yes, no := asked["pod:training/llm-train-0"], asked["pod:training/llm-train-1"]
	if yes.Run == "" || yes.Alert != al.UID || yes.Playbook != "isolate-pod" || !strings.Contains(yes.Question, "Isolate pod training/llm-train-0?") {
		t.Fatalf("the question is %+v", asked)
	}
	if calls := k.seen(); len(calls) > 0 {
		t.Fatalf("called before anybody agreed: %q", calls)
	}
	h.stop() // the question outlives a restart
	h.start()
	h.cli("approve", no.Run[:12], no.Step, "--deny", "--by", "bob", "--reason", "a drill")
	h.cli("approve", yes.Run, yes.Step, "--by", "alice", "--reason", "checked with the owner")
	eventually(t, patience, "the pod is isolated", func() bool { return len(k.seen()) >= 2 })
	one := decode[run.Run](t, h.cli("runs", yes.Run, "--json"))
	eventually(t, patience, "the pod is released", func() bool {
		one = decode[run.Run](t, h.cli("runs", yes.Run, "--json"))
		return one.State.Finished()
	})
	calls := k.seen()
	want := []string{
		"PATCH /apis/networking.k8s.io/v1/namespaces/training/networkpolicies/vagus-isolate-" + yes.Run[:16] + " Bearer kube-token ",
		"PATCH /api/v1/namespaces/training/pods/llm-train-0 Bearer kube-token ",
		"PATCH /api/v1/namespaces/training/pods/llm-train-0 Bearer kube-token ",
		"DELETE /apis/networking.k8s.io/v1/namespaces/training/networkpolicies/vagus-isolate-" + yes.Run[:16] + " Bearer kube-token ",
	}
	for i, c := range calls {
		if i >= len(want) || !strings.HasPrefix(c, want[i]) {
			t.Errorf("call %d is %s", i+1, c)
		}
	}
	if len(calls) != len(want) {
		t.Errorf("%d calls, want %d", len(calls), len(want))
	}
	if one.State != run.Succeeded {
		t.Errorf("the run is %s: %s", one.State, one.Reason)
	}
	human := h.cli("runs", yes.Run)
	for _, w := range []string{"approved by alice", "checked with the owner", "kubernetes.isolate_pod", "undone"} {
		if !strings.Contains(human, w) {
			t.Errorf("`vagus runs UID` does not show %q:\n%s", w, human)
		}
	}
	if denied := decode[run.Run](t, h.cli("runs", no.Run, "--json")); denied.State != run.Refused {
		t.Errorf("the run that was denied is %s", denied.State)
	}
	if n := len(waiting()); n != 0 {
		t.Errorf("%d questions left", n)
	}
	if out, problem, err := h.run("approve", yes.Run, yes.Step, "--by", "eve"); err == nil || problem == "" {
		t.Errorf("an answer to no question: %v %s", err, out)
	}
}

func TestCtrlCStopsCleanly(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		h := start(t)
		if n := len(h.children()); n != 1 {
			t.Errorf("%d child processes, want the engine alone", n)
		}
		now, peak := h.rss()
		took := h.stop()
		t.Logf("stopped in %s; memory %d MB, at most %d MB", took.Round(time.Millisecond), now>>20, peak>>20)
		if _, err := os.Stat(filepath.Join(h.data, "vagus.json")); !os.IsNotExist(err) {
			t.Errorf("the state file is left: %v", err)
		}
		if _, problem, err := h.run("status"); err == nil || !strings.Contains(problem, "no hub runs with the data folder") {
			t.Errorf("status of a stopped hub: %v %s", err, problem)
		}
	})
	t.Run("while it starts", func(t *testing.T) {
		h := newHub(t)
		h.launch()
		eventually(t, patience, "the engine starts", func() bool { return len(h.children()) > 0 })
		begin := time.Now()
		_ = h.cmd.Process.Signal(os.Interrupt) // ended: seen below
		select {
		case <-h.ended:
		case <-time.After(patience):
			t.Fatalf("still there after %s\n%s", patience, h.tail(20))
		}
		h.childless(nil)
		t.Logf("ended in %s", time.Since(begin).Round(time.Millisecond))
		if h.exit != nil {
			t.Errorf("ended with %v\n%s", h.exit, h.tail(20))
		}
	})
	t.Run("under load", func(t *testing.T) {
		h := start(t)
		good := h.neighbour("over-stop")
		eventually(t, patience, "events", func() bool { return h.number("SELECT count() FROM events") > 1000 })
		t.Logf("stopped in %s", h.stop().Round(time.Millisecond))
		h.start()
		good.settle()
		h.ledger()
	})
	t.Run("SIGTERM", func(t *testing.T) {
		h := start(t)
		if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.ended:
		case <-time.After(patience):
			t.Fatalf("still there after %s", patience)
		}
		if h.exit != nil {
			t.Errorf("ended with %v", h.exit)
		}
	})
}

// A second hub on the same data is refused and does the first one no harm.
func TestSecondHubIsRefused(t *testing.T) {
	h := start(t)
	out, problem, err := vagus(t, "", "up", "--data", h.data, "--ingest-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--clickhouse-addr", "127.0.0.1:0")
	if err == nil {
		t.Fatalf("a second hub ran:\n%s", out)
	}
	t.Logf("%s", strings.TrimSpace(problem))
	h.send("nginx.access", "alone", nginxRecords("alone", 10))
	h.stored("alone", 10)
	h.cli("status")
}
