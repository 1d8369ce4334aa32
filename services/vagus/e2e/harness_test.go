// Package e2e tests the shipped binary from outside: it is built once, runs as
// a process of its own, and is spoken to over HTTP and by its command line.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// binary is the program under test, set by TestMain.
var binary string

// patience is how long anything may take before it hangs. What is expected
// comes much sooner; a machine that is busy with something else is no failure.
const patience = 3 * time.Minute

// TestMain builds the binary the way it is shipped, unless VAGUS_E2E_BINARY
// names one.
func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vagus-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("VAGUS_E2E_BINARY"); binary == "" {
		binary = filepath.Join(dir, "vagus")
		build := exec.Command("go", "build", "-o", binary, "../cmd/vagus")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the binary under test: %v\n%s", err, out)
			return 1
		}
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// need skips the test on a machine that has neither the engine nor npm (with
// CI=true that is a failure).
func need(t testing.TB) {
	t.Helper()
	embeddedtest.Need(t)
}

// hub is one running `vagus up`, over all its restarts.
type hub struct {
	t    testing.TB
	data string
	conf hubConfig

	mu    sync.Mutex // of what follows: senders run beside restarts
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when the process has ended
	exit  error         // set before ended is closed
	state instance.State
}

type hubConfig struct {
	config string // text of the configuration file
	args   []string
	env    []string
	data   string
}

type option func(*hubConfig)

// withConfig gives the hub a configuration file with this text.
func withConfig(text string) option { return func(c *hubConfig) { c.config = text } }

// withData uses this data folder instead of a new one.
func withData(dir string) option { return func(c *hubConfig) { c.data = dir } }

// start runs a hub and returns when it takes events. It is ended with the test.
func start(t testing.TB, opts ...option) *hub {
	t.Helper()
	h := newHub(t, opts...)
	h.start()
	return h
}

// newHub prepares a hub without running it.
func newHub(t testing.TB, opts ...option) *hub {
	t.Helper()
	need(t)
	h := &hub{t: t}
	for _, o := range opts {
		o(&h.conf)
	}
	if h.data = h.conf.data; h.data == "" {
		h.data = filepath.Join(t.TempDir(), "data")
	}
	if err := os.MkdirAll(h.data, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "hub.log"))
	if err != nil {
		t.Fatal(err)
	}
	h.log = log
	t.Cleanup(h.cleanup)
	return h
}

func (h *hub) cleanup() {
	h.kill()
	if h.t.Failed() {
		h.t.Logf("the hub said:\n%s", h.tail(60))
	}
	h.log.Close()
}

// tail is the end of what the hub logged.
func (h *hub) tail(lines int) string {
	text, err := os.ReadFile(h.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// start runs the process, again after stop or kill, and waits until it takes
// events.
func (h *hub) start() {
	h.t.Helper()
	h.launch()
	h.ready()
}

// launch starts the process and does not wait for anything.
func (h *hub) launch() {
	h.t.Helper()
	args := []string{"up", "--data", h.data, "--ingest-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--clickhouse-addr", "127.0.0.1:0"}
	if h.conf.config != "" {
		file := h.log.Name() + ".yml"
		if err := os.WriteFile(file, []byte(h.conf.config), 0o600); err != nil {
			h.t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	cmd := exec.Command(binary, append(args, h.conf.args...)...)
	cmd.Env = append(os.Environ(), h.conf.env...)
	cmd.Stdout, cmd.Stderr = h.log, h.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	h.mu.Lock()
	h.cmd, h.ended, h.exit = cmd, ended, nil
	h.mu.Unlock()
	go func() {
		err := cmd.Wait()
		h.mu.Lock()
		h.exit = err
		h.mu.Unlock()
		close(ended)
	}()
}

// ready waits until the launched process has published its state and every
// readiness check of ingest passes.
func (h *hub) ready() {
	h.t.Helper()
	pid := h.pid()
	eventually(h.t, patience, "the hub is ready", func() bool {
		select {
		case <-h.ended:
			h.t.Fatalf("the hub ended while it started: %v\n%s", h.exit, h.tail(30))
		default:
		}
		state, err := instance.Load(h.data)
		if err != nil || state.PID != pid {
			return false
		}
		resp, err := http.Get(state.IngestURL + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		h.mu.Lock()
		h.state = state
		h.mu.Unlock()
		return resp.StatusCode == http.StatusOK
	})
}

// at says where the hub is now.
func (h *hub) at() instance.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

func (h *hub) pid() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return 0
	}
	return h.cmd.Process.Pid
}

// stop ends the hub as Ctrl-C does, which must succeed (the hub has limits of
// its own for that and says which part exceeded them), and returns how long it
// took.
func (h *hub) stop() time.Duration {
	h.t.Helper()
	begin, children := time.Now(), h.children()
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatalf("interrupt the hub: %v", err)
	}
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.t.Fatalf("the hub did not stop within %s\n%s", patience, h.tail(30))
	}
	took := time.Since(begin)
	if h.exit != nil {
		h.t.Fatalf("the hub stopped with %v\n%s", h.exit, h.tail(30))
	}
	h.childless(children)
	return took
}

// kill ends the hub's process with SIGKILL and waits until its children,
// which follow it, are gone. It does nothing if the hub does not run.
func (h *hub) kill() {
	if h.cmd == nil {
		return
	}
	children := h.children()
	_ = h.cmd.Process.Kill() // ended by itself: fine
	<-h.ended
	h.childless(children)
}

// childless waits until the children are gone and no process works with the
// hub's data folder any more; what is left after a minute is killed by its id.
func (h *hub) childless(children []int) {
	deadline := time.Now().Add(time.Minute)
	for {
		left := slices.DeleteFunc(append(h.orphans(), children...), func(pid int) bool { return !alive(pid) })
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Errorf("processes %v outlived the hub by a minute", left)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			deadline = deadline.Add(5 * time.Second)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// alive reports whether a process is more than a zombie.
func alive(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

// pause stops a process with SIGSTOP and waits until each of its threads
// stands: the signal is sent to the process, and a thread that runs on another
// core goes on, and answers, until it next enters the kernel. The returned
// function lets the process go on.
func pause(t testing.TB, pid int) (goOn func()) {
	t.Helper()
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	eventually(t, patience, "every thread stands", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, dir := range threads { // none without a /proc: not Linux
			if fields := statOf(dir); len(fields) > 0 && fields[0] != "T" {
				return false
			}
		}
		return true
	})
	return func() { t.Helper(); signal(syscall.SIGCONT) }
}

// stat is /proc/PID/stat after the name: state, parent and so on.
func stat(pid int) []string { return statOf(fmt.Sprintf("/proc/%d", pid)) }

// statOf is the stat of a process or a thread, by its folder in /proc.
func statOf(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	// "pid (name) state ppid …"; the name may hold anything.
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// orphans are the processes of the binary that have files of the data folder
// open.
func (h *hub) orphans() []int {
	var out []int
	for _, pid := range processes() {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, h.data+"/") {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// processes are the processes of the binary under test.
func processes() []int {
	var out []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range dirs {
		if to, err := os.Readlink(exe); err == nil && to == binary {
			if pid, err := strconv.Atoi(strings.Split(exe, "/")[2]); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// children are the hub's own child processes: the engine.
func (h *hub) children() []int {
	var out []int
	parent := h.pid()
	for _, pid := range processes() {
		if fields := stat(pid); len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			out = append(out, pid)
		}
	}
	return out
}

// rss is the memory of the hub and its children in bytes: now, and the most it
// ever was.
func (h *hub) rss() (now, peak int64) {
	for _, pid := range append(h.children(), h.pid()) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			name, rest, _ := strings.Cut(line, ":")
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			switch name {
			case "VmRSS":
				now += kb << 10
			case "VmHWM":
				peak += kb << 10
			}
		}
	}
	return now, peak
}

// receipt is what ingest answers.
type receipt struct {
	Accepted  int    `json:"accepted"`
	Dead      int    `json:"dead"`
	Batch     string `json:"batch"`
	Duplicate bool   `json:"duplicate"`
	Code      string `json:"code"`
	Error     string `json:"error"`
	Offset    *int   `json:"offset"`

	Status     int    `json:"-"`
	RetryAfter string `json:"-"`
}

// post sends a body to ingest once. The headers may replace the token.
func (h *hub) post(source string, body io.Reader, header ...string) (receipt, error) {
	state := h.at()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, state.IngestURL+"/v1/ingest/"+source, body)
	if err != nil {
		return receipt{}, err
	}
	req.Header.Set("Authorization", "Bearer "+state.IngestToken)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return receipt{}, err
	}
	defer resp.Body.Close()
	r := receipt{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("answer %d %q: %w", resp.StatusCode, text, err)
	}
	return r, nil
}

// deliver sends a batch until it is stored, with the same key on every
// attempt, as a good sender does: over refusals for a while, broken
// connections and restarts of the hub.
func (h *hub) deliver(ctx context.Context, source, key string, body []byte) (receipt, error) {
	for {
		r, err := h.post(source, bytes.NewReader(body), "Idempotency-Key", key)
		switch {
		case err == nil && r.Status == http.StatusOK:
			return r, nil
		case err == nil && r.Status < 500 && r.Status != http.StatusTooManyRequests && r.Status != http.StatusRequestTimeout:
			return r, fmt.Errorf("deliver %s: %d %s", source, r.Status, r.Error)
		}
		select {
		case <-ctx.Done():
			return r, errors.Join(fmt.Errorf("deliver %s: last answer %d %s", source, r.Status, r.Error), err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// send is deliver for a test's own goroutine; it must succeed.
func (h *hub) send(source, key string, body []byte) receipt {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r, err := h.deliver(ctx, source, key, body)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// run runs a command of the command line on the hub's data folder.
func (h *hub) run(args ...string) (stdout, stderr string, err error) {
	return vagus(h.t, "", append([]string{"--data", h.data}, args...)...)
}

// cli is run for commands that must succeed; it returns standard output.
func (h *hub) cli(args ...string) string {
	h.t.Helper()
	out, problem, err := h.run(args...)
	if err != nil {
		h.t.Fatalf("vagus %s: %v\n%s%s", strings.Join(args, " "), err, out, problem)
	}
	return out
}

// vagus runs the binary until it ends by itself.
func vagus(t testing.TB, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	need(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, problem bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problem
	err = cmd.Run()
	return out.String(), problem.String(), err
}

// decode reads the JSON that a command printed.
func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not the JSON expected: %v\n%.2000s", err, text)
	}
	return v
}

// query asks ClickHouse through `vagus sql`, a map a row. Whole numbers of 64
// bits come as strings: cast what is compared.
func (h *hub) query(sql string) []map[string]any {
	h.t.Helper()
	var rows []map[string]any
	d := json.NewDecoder(strings.NewReader(h.cli("sql", "--json", sql)))
	for {
		var row map[string]any
		if err := d.Decode(&row); errors.Is(err, io.EOF) {
			return rows
		} else if err != nil {
			h.t.Fatalf("%s: %v", sql, err)
		}
		rows = append(rows, row)
	}
}

// number asks ClickHouse for one number; -1 if it cannot answer now.
func (h *hub) number(sql string) int {
	n, _ := h.ask(sql)
	return n
}

// count is number until there is an answer.
func (h *hub) count(sql string) (n int) {
	h.t.Helper()
	eventually(h.t, patience, "an answer to "+sql, func() (ok bool) {
		var problem string
		if n, problem = h.ask(sql); n < 0 {
			h.t.Logf("%s: %s", sql, problem)
		}
		return n >= 0
	})
	return n
}

// ask is number with what the command says if it fails.
func (h *hub) ask(sql string) (n int, problem string) {
	h.t.Helper()
	out, problem, err := h.run("sql", "--format", "TSV", sql)
	if err != nil {
		return -1, problem
	}
	if n, err = strconv.Atoi(strings.TrimSpace(out)); err != nil {
		h.t.Fatalf("%s gives %q, not a number", sql, out)
	}
	return n, ""
}

// ledgerReport is what `vagus ledger --json` prints.
type ledgerReport struct {
	Closed  bool              `json:"closed"`
	Behind  map[string]uint64 `json:"behind"`
	Sources []struct {
		Source     string            `json:"source"`
		Received   uint64            `json:"received"`
		Normalized uint64            `json:"normalized"`
		Dead       uint64            `json:"dead"`
		Dropped    map[string]uint64 `json:"dropped"`
		Stored     uint64            `json:"stored"`
		Evaluated  uint64            `json:"evaluated"`
		InFlight   uint64            `json:"in_flight"`
		Difference int64             `json:"difference"`
		Rows       uint64            `json:"rows"`
		Distinct   uint64            `json:"distinct"`
	} `json:"sources"`
}

// ledger waits until the ledger closes, rows counted, and returns it.
func (h *hub) ledger() ledgerReport {
	h.t.Helper()
	out, problem, err := h.run("ledger", "--wait", "60s", "--count", "--json")
	if err != nil {
		h.t.Fatalf("the ledger does not close: %v\n%s%s", err, out, problem)
	}
	rep := decode[ledgerReport](h.t, out)
	if !rep.Closed {
		h.t.Fatalf("the ledger does not close, yet the command succeeds:\n%s", out)
	}
	return rep
}

// eventually waits until cond is true and fails the test at the limit.
func eventually(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(wait)
	}
}
