package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// stage is a part of the hub, known by the functions on its stacks.
type stage struct {
	name  string
	parts []string // of function names
}

// stages in the order in which one wins at the same frame. A sample belongs to
// the frame nearest to its leaf that belongs to anybody, so that the bus costs
// what it costs, whoever calls it.
var stages = []stage{
	{"gc", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcDrain"}},
	{"nats_server", []string{"nats-server/"}},
	{"bus_client", []string{"nats.go", "services/internal/bus"}},
	{"ingest", []string{"services/ingest", "net/http.(*conn)", "net/http.(*connReader)"}},
	{"normalize", []string{"services/normalize"}},
	{"detect", []string{"services/detect"}},
	{"store", []string{"services/store", "services/internal/clickhouse", "clickhouse-go", "net/http.(*persistConn)", "net/http.(*Transport)"}},
	{"respond", []string{"services/respond"}},
	{"scheduler", []string{"runtime.mcall", "runtime.park_m", "runtime.schedule", "runtime.mstart", "runtime.sysmon", "runtime.systemstack", "runtime.goexit0"}},
}

// profile takes a CPU profile of the hub at work and shares it out to stages.
func (h *hub) profile(ctx context.Context, length time.Duration, keep string, out *outcome) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", h.profiler, int(length.Seconds())), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %w", resp.Status, err)
	}
	if keep == "" {
		f, err := os.CreateTemp("", "vagus-bench-*.pprof")
		if err != nil {
			return err
		}
		keep = f.Name()
		_ = f.Close() // empty
		defer os.Remove(keep)
	}
	if err := os.WriteFile(keep, data, 0o600); err != nil {
		return err
	}
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", "-unit=ms", keep).Output()
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	out.stages = attribute(text)
	return nil
}

// attribute shares out the samples of `pprof -traces`: the sum is 1.
func attribute(traces []byte) map[string]float64 {
	out := map[string]float64{}
	var total, value float64
	var stack []string
	flush := func() {
		if value > 0 {
			out[stageOf(stack)] += value
			total += value
		}
		value, stack = 0, stack[:0]
	}
	lines := bufio.NewScanner(bytes.NewReader(traces))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----") {
			flush()
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || line[0] != ' ' {
			continue
		}
		if d, err := time.ParseDuration(fields[0]); err == nil && len(fields) > 1 {
			value = float64(d)
			fields = fields[1:]
		}
		stack = append(stack, fields[0])
	}
	flush()
	for name := range out {
		out[name] /= max(total, 1)
	}
	return out
}

func stageOf(stack []string) string {
	for _, frame := range stack {
		for _, s := range stages {
			for _, part := range s.parts {
				if strings.Contains(frame, part) && (s.name != "scheduler" || frame != "runtime.systemstack") {
					return s.name
				}
			}
		}
	}
	return "other"
}
