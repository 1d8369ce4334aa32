// Command normalize runs the normalize service as a process of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/normalize"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "normalize:", err)
		os.Exit(1)
	}
}

func run() error {
	url := flag.String("nats", "nats://127.0.0.1:4222", "URL of the bus")
	dir := flag.String("sources", "", "folder of <source>/mapping.yaml (default: the built-in sources)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := bus.Connect(ctx, bus.Options{URL: *url, Token: os.Getenv("VAGUS_NATS_TOKEN"), Name: "normalize"})
	if err != nil {
		return err
	}
	defer b.Close()
	opts := normalize.DefaultOptions()
	opts.Bus = b
	if *dir != "" {
		opts.Sources = os.DirFS(*dir)
	}
	s, err := normalize.New(opts)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
