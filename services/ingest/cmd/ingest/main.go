// Command ingest runs the ingest service as its own process.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func run() error {
	opts := ingest.DefaultOptions()
	flag.StringVar(&opts.Addr, "addr", opts.Addr, "address to listen on")
	flag.Int64Var(&opts.MaxBody, "max-body", opts.MaxBody, "bytes of a request after unpacking")
	flag.IntVar(&opts.MaxRecord, "max-record", opts.MaxRecord, "bytes of a record")
	flag.Int64Var(&opts.MaxInFlight, "max-in-flight", opts.MaxInFlight, "bytes of all requests at work")
	url := flag.String("nats", "nats://127.0.0.1:4222", "URL of the bus")
	tokens := flag.String("tokens", "tokens.yaml", "file of the senders' tokens")
	jsonSources := flag.String("json-sources", "", "comma-separated sources that send JSON")
	lineSources := flag.String("line-sources", "", "comma-separated sources that send lines")
	level := flag.String("log-level", "info", "debug, info, warn or error")
	flag.Parse()

	log, err := telemetry.NewLogger(os.Stderr, "text", *level)
	if err != nil {
		return err
	}
	sources := map[string]ingest.Framing{}
	for list, framing := range map[string]ingest.Framing{*jsonSources: ingest.JSON, *lineSources: ingest.Lines} {
		for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
			if err := subjects.Check(name); err != nil {
				return err
			}
			sources[name] = framing
		}
	}
	opts.Framing = func(name string) (ingest.Framing, bool) { f, ok := sources[name]; return f, ok }
	opts.Sources = func() []string {
		names := make([]string, 0, len(sources))
		for name := range sources {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	opts.Logger = log
	if opts.Tokens, err = ingest.LoadTokens(*tokens); err != nil {
		return err
	}
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	connect, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// The token travels in the environment: a flag would show in the process list.
	b, err := bus.Connect(connect, bus.Options{URL: *url, Token: os.Getenv("VAGUS_NATS_TOKEN"), Name: "ingest", Logger: log})
	if err != nil {
		return err
	}
	defer b.Close()
	opts.Bus = b
	s, err := ingest.New(opts)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
