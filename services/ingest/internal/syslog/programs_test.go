package syslog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// background runs a program until the end of the test.
func background(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, out.String())
		}
	})
	return cmd
}

// logger sends n messages with logger(1).
func logger(t testing.TB, n int, args ...string) { t.Helper(); loggerFrom(t, 0, n, args...) }

// loggerFrom sends the messages first to end-1.
func loggerFrom(t testing.TB, first, end int, args ...string) {
	t.Helper()
	var in strings.Builder
	for i := first; i < end; i++ {
		fmt.Fprintf(&in, "message %d of many\n", i)
	}
	cmd := exec.Command(testkit.Program(t, "logger"), append([]string{"-t", "vagustest", "-p", "auth.info"}, args...)...)
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("logger: %v\n%s", err, out)
	}
}

// complete waits for n messages and checks that each is there exactly once.
func complete(t testing.TB, hub *fakeHub, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d messages", n), func() bool { return hub.len() >= n })
	for text, times := range arrived(t, hub) {
		if times != 1 {
			t.Errorf("%q arrived %d times", text, times)
		}
	}
	if got := hub.len(); got != n {
		t.Errorf("%d messages, want %d", got, n)
	}
}

// arrived counts the messages by text and checks where they went.
func arrived(t testing.TB, hub *fakeHub) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, m := range hub.all() {
		if m.Source != "linux.auth" || m.Reason != "" {
			t.Fatalf("routed to %s (%s): %q", m.Source, m.Reason, m.Text)
		}
		at := strings.Index(m.Text, "message ")
		if at < 0 || !strings.HasSuffix(m.Text, " of many") || m.Text[0] != '<' {
			t.Fatalf("message %q", m.Text)
		}
		seen[m.Text[at:]]++
	}
	return seen
}

var toAuth = []Route{{App: "vagustest", Facility: "auth", Source: "linux.auth"}}

func TestLogger(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"udp 5424": {"-d", "--rfc5424"}, "udp 3164": {"-d", "--rfc3164"}, "tcp 5424": {"-T", "--rfc5424"},
		"tcp 3164": {"-T", "--rfc3164"}, "tcp counted": {"-T", "--octet-count"},
	} {
		t.Run(name, func(t *testing.T) {
			hub := &fakeHub{}
			network := "tcp"
			if args[0] == "-d" {
				network = "udp"
			}
			r := run(t, hub, Config{Listen: network + "://127.0.0.1:0", Routes: toAuth})
			host, port, _ := strings.Cut(r.Addrs()[0], ":")
			logger(t, 200, append(args, "-n", host, "-P", port)...)
			complete(t, hub, 200)
		})
	}
}

// rsyslog runs a real rsyslogd that forwards what comes in at a socket.
func rsyslog(t testing.TB, action string) (socket string) {
	t.Helper()
	program := testkit.Program(t, "rsyslogd")
	dir := t.TempDir()
	socket = filepath.Join(dir, "in.sock")
	conf := filepath.Join(dir, "rsyslog.conf")
	text := fmt.Sprintf(`global(workDirectory=%q maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%q CreatePath="on" RateLimit.Interval="0" UseSysTimeStamp="off")
%s
`, dir, socket, action)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, program, "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	testkit.Eventually(t, "rsyslogd listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

func TestRsyslog(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	tlsAction := fmt.Sprintf(`StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="hub.example.com" StreamDriver.CAFile=%q StreamDriver.CertFile=%q StreamDriver.KeyFile=%q`, p.ca, p.clientCert, p.clientKey)
	secure := &TLS{Cert: p.cert, Key: p.key, ClientCA: p.ca}
	for name, tc := range map[string]struct {
		config Config
		action string
	}{
		"udp":         {Config{Listen: "udp://127.0.0.1:0"}, `protocol="udp" template="RSYSLOG_SyslogProtocol23Format"`},
		"tcp lines":   {Config{Listen: "tcp://127.0.0.1:0"}, `protocol="tcp" template="RSYSLOG_SyslogProtocol23Format"`},
		"tcp counted": {Config{Listen: "tcp://127.0.0.1:0"}, `protocol="tcp" tcp_framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"`},
		"tcp 3164":    {Config{Listen: "tcp://127.0.0.1:0"}, `protocol="tcp" template="RSYSLOG_TraditionalForwardFormat"`},
		"tcp 3339":    {Config{Listen: "tcp://127.0.0.1:0"}, `protocol="tcp" template="RSYSLOG_ForwardFormat"`},
		"tls":         {Config{Listen: "tls://127.0.0.1:0", TLS: secure}, `protocol="tcp" tcp_framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format" ` + tlsAction},
	} {
		t.Run(name, func(t *testing.T) {
			hub := &fakeHub{}
			tc.config.Routes = toAuth
			r := run(t, hub, tc.config)
			host, port, _ := strings.Cut(r.Addrs()[0], ":")
			socket := rsyslog(t, fmt.Sprintf(`action(type="omfwd" target=%q port=%q %s)`, host, port, tc.action))
			logger(t, 500, "-u", socket)
			complete(t, hub, 500)
		})
	}
}

// The hub is busy for a while and away for a while: rsyslog's disk-assisted
// queue keeps what the hub does not take, and nothing is lost. What rsyslog was
// sending when the connection ended it sends again: syslog has no way to tell
// it that the hub has it. The hub goes away between two batches of rsyslog: in a
// batch rsyslog does not look whether the connection stands, and if it stands
// still itself for longer than the hub listens, the rest of the batch is lost.
func TestRsyslogQueue(t *testing.T) {
	t.Parallel()
	hub := &fakeHub{}
	addr := testkit.FreeAddr(t)
	config := Config{Listen: "tcp://" + addr, Routes: toAuth}
	r := run(t, hub, config)
	host, port, _ := strings.Cut(addr, ":")
	socket := rsyslog(t, fmt.Sprintf(`action(type="omfwd" target=%q port=%q protocol="tcp" tcp_framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"
 action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="LinkedList" queue.filename="hub" queue.size="2000" queue.maxDiskSpace="64m" queue.saveOnShutdown="on")`, host, port))
	const busy, down, n = 2_000, 12_000, 20_000
	loggerFrom(t, 0, busy, "-u", socket)
	testkit.Eventually(t, "the first messages", func() bool { return hub.len() > 0 })
	hub.set(true)
	loggerFrom(t, busy, down, "-u", socket)
	testkit.Eventually(t, "attempts", func() bool { hub.mu.Lock(); defer hub.mu.Unlock(); return hub.attempts > 3 })
	hub.set(false)
	testkit.Eventually(t, "all that was sent", func() bool { return hub.len() >= down })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	before := hub.len()
	loggerFrom(t, down, n, "-u", socket)
	time.Sleep(2 * time.Second) // the hub is down
	run(t, hub, config)
	testkit.Eventually(t, "every message", func() bool { return hub.len() >= n && len(arrived(t, hub)) == n })
	if before >= n {
		t.Error("all messages came before the hub was down")
	}
	t.Logf("%d messages before the hub went down, %d in all", before, hub.len())
}

func TestSyslogNG(t *testing.T) {
	t.Parallel()
	program := testkit.Program(t, "syslog-ng")
	p := newPKI(t)
	for name, tc := range map[string]struct {
		config Config
		driver string
	}{
		"network udp": {Config{Listen: "udp://127.0.0.1:0"}, `network("%s" port(%s) transport("udp"))`},
		"network tcp": {Config{Listen: "tcp://127.0.0.1:0"}, `network("%s" port(%s) transport("tcp"))`},
		"syslog tcp":  {Config{Listen: "tcp://127.0.0.1:0"}, `syslog("%s" port(%s) transport("tcp"))`},
		"syslog tls": {Config{Listen: "tls://127.0.0.1:0", TLS: &TLS{Cert: p.cert, Key: p.key, ClientCA: p.ca}},
			fmt.Sprintf(`syslog("%%s" port(%%s) transport("tls") tls(ca-file("%s") cert-file("%s") key-file("%s")))`, p.ca, p.clientCert, p.clientKey)},
	} {
		t.Run(name, func(t *testing.T) {
			hub := &fakeHub{}
			tc.config.Routes = toAuth
			r := run(t, hub, tc.config)
			host, port, _ := strings.Cut(r.Addrs()[0], ":")
			dir := t.TempDir()
			socket := filepath.Join(dir, "in.sock")
			conf := filepath.Join(dir, "syslog-ng.conf")
			text := "@version: 3.38\noptions { stats-freq(0); };\nsource s { unix-dgram(\"" + socket + "\"); };\n" +
				"destination d { " + fmt.Sprintf(tc.driver, host, port) + "; };\nlog { source(s); destination(d); flags(flow-control); };\n"
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-F", "--no-caps", "-f", conf, "-R", filepath.Join(dir, "persist"), "-c", filepath.Join(dir, "ctl"), "-p", filepath.Join(dir, "pid")}
			background(t, program, args...)
			testkit.Eventually(t, "syslog-ng listens", func() bool { _, err := os.Stat(socket); return err == nil })
			logger(t, 500, "-u", socket)
			complete(t, hub, 500)
		})
	}
}
