// Command ingest runs the ingest service as its own process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

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
	tokens := flag.String("tokens", "tokens.yaml", "file of the senders' tokens, read again when it changes")
	flag.StringVar(&opts.TLS.Cert, "tls-cert", "", "PEM file of the certificate; with -tls-key it is HTTPS")
	flag.StringVar(&opts.TLS.Key, "tls-key", "", "PEM file of its key")
	flag.BoolVar(&opts.Insecure, "insecure", false, "listen in the clear on an address that is not loopback")
	dir := flag.String("sources", "", "folder of <source>/mapping.yaml (default: the built-in sources)")
	level := flag.String("log-level", "info", "debug, info, warn or error")
	flag.Parse()

	log, err := telemetry.NewLogger(os.Stderr, "text", *level)
	if err != nil {
		return err
	}
	known, err := load(folder(*dir))
	if err != nil {
		log.Warn("sources with errors are left out", "error", err)
	}
	if len(known) == 0 {
		return errors.New("no sources: --sources must be a folder of <source>/mapping.yaml")
	}
	opts.Framing = func(name string) (ingest.Framing, bool) { f, ok := known[name]; return f, ok }
	opts.Sources = func() []string { return slices.Sorted(maps.Keys(known)) }
	opts.Logger = log
	opts.TokensFile = *tokens
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
