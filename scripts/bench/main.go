// Command bench measures the hub: each stage by itself with Go benchmarks, and
// the whole binary end to end, with fsync on, every rule on and raw records
// kept, on a fixed mixed corpus made of the recorded logs. The load generator
// runs on the same cores. It prints lines `bench NAME VALUE UNIT` and a table.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := bench(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context) error {
	quick := flag.Bool("quick", false, "small numbers: shows that it works, not how fast it is")
	only := flag.String("only", "", "comma-separated parts: ingest, map, block, match, correlate, store, backtest, e2e")
	events := flag.Int("events", 1_500_000, "events of one end-to-end run")
	runs := flag.Int("runs", 3, "end-to-end runs")
	asJSON := flag.Bool("json", false, "print JSON instead of lines")
	bin := flag.String("bin", filepath.Join("bin", "vagus"), "the binary to measure end to end")
	root := flag.String("root", ".", "the repository's root folder")
	sigma := flag.String("sigma", "", "measure matching with the Windows rules of this checkout of SigmaHQ/sigma, on -events-from, and nothing else")
	from := flag.String("events-from", "", "folder of Windows events for -sigma, such as a checkout of OTRF/Security-Datasets")
	profile := flag.String("cpuprofile", "", "keep the CPU profile of the hub in this file")
	flag.Parse()
	if *quick {
		*events, *runs = 60_000, 1
	}
	want := func(part string) bool {
		return *only == "" || strings.Contains(","+*only+",", ","+part+",")
	}
	var results []result
	if (*sigma == "") != (*from == "") {
		return errors.New("-sigma and -events-from belong together")
	}
	if *sigma != "" {
		got, err := sigmaBench(ctx, *bin, *sigma, *from)
		if err != nil {
			return err
		}
		results, *only = got, "sigma"
	}
	for _, m := range micros {
		if !want(m.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", m.name)
		got, err := m.run(ctx, *root, *quick)
		if err != nil {
			return err
		}
		results = append(results, got...)
	}
	if want("e2e") {
		fmt.Fprintln(os.Stderr, "measuring end to end")
		got, err := endToEnd(ctx, *bin, *events, *runs, *profile)
		if err != nil {
			return err
		}
		results = append(results, got.summary()...)
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(results)
	}
	for _, r := range results {
		fmt.Printf("bench %s %.4g %s\n", r.Name, r.Value, r.Unit)
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	for _, r := range results {
		if r.Unit != "B/op" {
			fmt.Fprintf(w, "%s\t%.4g\t%s\t\n", r.Name, r.Value, r.Unit)
		}
	}
	return w.Flush()
}

// summary gives the median run (of an even number the lower one), with the
// best beside it.
func (o *outcome) summary() []result {
	m, best := o.runs[(len(o.runs)-1)/2], o.runs[len(o.runs)-1]
	mb := func(n int64) float64 { return float64(n) / 1e6 }
	out := []result{
		{"e2e.events_per_second", m.rate(), "events/s"},
		{"e2e.events_per_second.best", best.rate(), "events/s"},
		{"e2e.acknowledged_per_second", float64(m.events) / m.sent.Seconds(), "events/s"},
		{"e2e.stored_per_second", float64(m.events) / m.stored.Seconds(), "events/s"},
		{"e2e.record_size", o.bytesEach, "B"},
		{"e2e.cpu.total", m.perEvent(m.hub + m.engine + m.generator), "µs/event"},
		{"e2e.cpu.generator", m.perEvent(m.generator), "µs/event"},
		{"e2e.cpu.clickhouse", m.perEvent(m.engine), "µs/event"},
		{"e2e.cpu.hub", m.perEvent(m.hub), "µs/event"},
	}
	for _, name := range slices.Sorted(maps.Keys(o.stages)) {
		out = append(out, result{"e2e.cpu.hub." + name, o.stages[name] * m.perEvent(m.hub), "µs/event"})
	}
	return append(out,
		result{"e2e.rss.hub", mb(m.usage.hubRSS), "MB"},
		result{"e2e.rss.clickhouse", mb(m.usage.engineRSS), "MB"},
		result{"idle.rss.hub", mb(o.idle.hubRSS), "MB"},
		result{"idle.rss.clickhouse", mb(o.idle.engineRSS), "MB"},
		result{"idle.rss.total", mb(o.idle.hubRSS + o.idle.engineRSS), "MB"},
	)
}
