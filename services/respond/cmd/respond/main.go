// Command respond runs the respond service as a process of its own, or, with
// "playbooks" as its first argument, checks and tests playbooks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/respond"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "respond:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "playbooks" {
		c := respond.Command(nil)
		c.SetArgs(os.Args[2:])
		c.SilenceErrors = true
		return c.ExecuteContext(ctx)
	}
	url := flag.String("nats", "nats://127.0.0.1:4222", "URL of the bus; its token is in VAGUS_NATS_TOKEN")
	addr := flag.String("addr", "", "address of the API and decisions feed (default 127.0.0.1:8481); its token is in VAGUS_RESPOND_TOKEN")
	dirs := flag.String("playbooks", "playbooks", "folders of playbooks and connectors, comma-separated; later ones win")
	config := flag.String("config", "", "YAML file with connectors, vars, budgets, protected, auth_networks")
	flag.Parse()
	b, err := bus.Connect(ctx, bus.Options{URL: *url, Token: os.Getenv("VAGUS_NATS_TOKEN"), Name: "respond"})
	if err != nil {
		return err
	}
	defer b.Close()
	opts := respond.DefaultOptions()
	if *config != "" {
		if err := opts.Load(*config); err != nil {
			return err
		}
	}
	opts.Bus, opts.Token = b, os.Getenv("VAGUS_RESPOND_TOKEN")
	if opts.Token == "" {
		return errors.New("VAGUS_RESPOND_TOKEN is not set: choose the token of the API")
	}
	if *addr != "" {
		opts.Addr = *addr
	}
	for i, dir := range strings.Split(*dirs, ",") {
		if i == 0 {
			opts.Content = os.DirFS(dir)
		} else {
			opts.More = append(opts.More, os.DirFS(dir))
		}
	}
	s, err := respond.New(opts)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
