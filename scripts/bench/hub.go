package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hub is a running bin/vagus with a data folder of its own.
type hub struct {
	cmd  *exec.Cmd
	bin  string
	data string
	// profiler is where the hub serves its profile.
	profiler string
	state    struct {
		IngestURL   string `json:"ingest_url"`
		IngestToken string `json:"ingest_token"`
		DSN         string `json:"clickhouse_dsn"`
	}
}

func startHub(ctx context.Context, bin, data string) (*hub, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &hub{bin: bin, data: data, profiler: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	h.cmd = exec.Command(bin, "up", "--data", data, "--log-level", "warn", "--pprof-addr", h.profiler,
		"--ingest-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--clickhouse-addr", "127.0.0.1:0")
	h.cmd.Stderr = os.Stderr
	// A group of its own: Ctrl-C reaches this program, which stops the hub. If
	// this program is killed, the hub must not stay behind.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if text, err := os.ReadFile(filepath.Join(data, "vagus.json")); err == nil && json.Unmarshal(text, &h.state) == nil {
			return h, nil
		}
		select {
		case <-ctx.Done():
			h.stop()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	h.stop()
	return nil, errors.New("the hub did not start within a minute")
}

func (h *hub) stop() {
	_ = h.cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { _ = h.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
}

// query asks ClickHouse for one number.
func (h *hub) query(ctx context.Context, sql string) (int, error) {
	u, err := url.Parse(h.state.DSN)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.Host+"/?database="+strings.Trim(u.Path, "/"), strings.NewReader(sql))
	if err != nil {
		return 0, err
	}
	password, _ := u.User.Password()
	req.SetBasicAuth(u.User.Username(), password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("clickhouse: %.200s", text)
	}
	return n, nil
}

// closed waits until the ledger closes: everything stored and evaluated.
func (h *hub) closed(ctx context.Context, wait time.Duration) error {
	out, err := exec.CommandContext(ctx, h.bin, "--data", h.data, "ledger", "--wait", wait.String()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ledger: %w\n%s", err, out)
	}
	return nil
}

// usage is CPU time and memory of the hub's two processes.
type usage struct {
	hub, engine       time.Duration
	hubRSS, engineRSS int64 // bytes
}

func (h *hub) usage() usage {
	pid := h.cmd.Process.Pid
	u := usage{hub: cpuOf(pid), hubRSS: rssOf(pid)}
	for _, child := range childrenOf(pid) {
		u.engine += cpuOf(child)
		u.engineRSS += rssOf(child)
	}
	return u
}

// cpuOf reads user and system time; the kernel counts in hundredths.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func rssOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func childrenOf(pid int) []int {
	var out []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
