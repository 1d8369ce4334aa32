package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// micro is a set of Go benchmarks of one package.
type micro struct {
	name, dir, pattern string
	benchtime, quick   string
	quickArgs          []string // further arguments of a quick run
}

// micros are the stages by themselves, one core each.
var micros = []micro{
	{"ingest", "./services/ingest/...", ".", "1s", "50ms", nil},
	{"map", "./services/normalize/internal/mapping", "Map/(nginx.access|kubernetes.audit|litellm.proxy|microsoft.sysmon|opentelemetry.genai)", "1s", "50ms", nil},
	{"block", "./services/internal/block", "Build|Decode", "1s", "50ms", nil},
	{"match", "./services/detect/internal/match", "Match|Growth", "1s", "50ms", nil},
	{"correlate", "./services/detect", "^BenchmarkCorrelate$", "3x", "1x", nil},
	{"store", "./services/store", ".", "400000x", "70000x", nil},
	{"backtest", "./services/detect/internal/history", "Backtest", "5x", "1x", []string{"-backtest.events", "200000"}},
}

// result is one measured value.
type result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(-\d+)?\s+\d+\s+(.*)$`)

// run measures a set; a package that fails is an error with its output.
func (m micro) run(ctx context.Context, root string, quick bool) ([]result, error) {
	benchtime := m.benchtime
	if quick {
		benchtime = m.quick
	}
	args := []string{"test", m.dir, "-run", "^$", "-bench", m.pattern, "-benchmem", "-benchtime", benchtime, "-cpu", "1", "-timeout", "10m"}
	if quick {
		args = append(args, m.quickArgs...)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("bench %s: %w\n%s", m.name, err, out)
	}
	var results []result
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		g := benchLine.FindStringSubmatch(lines.Text())
		if g == nil {
			continue
		}
		fields := strings.Fields(g[3])
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil || fields[i+1] == "MB/s" {
				continue
			}
			results = append(results, result{m.name + "." + strings.ReplaceAll(g[1], " ", "_"), v, fields[i+1]})
		}
	}
	return results, nil
}
