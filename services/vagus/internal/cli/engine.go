package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded"
	"github.com/vagus-hub/vagus/services/internal/lifecycle"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	hub "github.com/vagus-hub/vagus/services/vagus"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
)

// engineCommand is the child process of the embedded engine; people do not
// call it.
func engineCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clickhouse-engine", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return embedded.RunChild(cmd.Context(), cmd.InOrStdin()) },
	}
}

// busCommand runs the embedded NATS server by itself, for services that run as
// processes of their own on a machine without NATS.
func (a *app) busCommand() *cobra.Command {
	var addr, file string
	c := &cobra.Command{Use: "bus", Short: "Run only the embedded NATS server, for services in processes of their own", Args: cobra.NoArgs}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:4222", "address to listen on")
	c.Flags().StringVar(&file, "config", "", "configuration file, of which bus.leaf counts: edges connect here")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		secrets, err := makeSecrets(a.data)
		if err != nil {
			return err
		}
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), "text", "info")
		if err != nil {
			return err
		}
		cfg, err := config.Load(file)
		if err != nil {
			return err
		}
		leaf, err := cfg.Bus.Leaf.Listen()
		if err != nil {
			return err
		}
		s, err := bus.StartServer(bus.ServerOptions{StoreDir: filepath.Join(a.data, "nats"), Addr: addr, Token: secrets.NATS, Leaf: leaf, Logger: log})
		if err != nil {
			return err
		}
		defer s.Shutdown()
		b, err := bus.Connect(cmd.Context(), bus.Options{Server: s, Name: "bus", Logger: log})
		if err != nil {
			return err
		}
		defer b.Close()
		if err := b.EnsureStreams(cmd.Context(), bus.Limits{}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "bus at %s; its token is in %s\n", s.URL(), filepath.Join(a.data, "secrets.json"))
		if leaf == nil {
			return b.Trim(cmd.Context(), 0)
		}
		group := lifecycle.New(cmd.Context(), lifecycle.Options{Logger: log})
		group.Go("trim", func(ctx context.Context) error { return b.Trim(ctx, 0) })
		group.Go("edges", func(ctx context.Context) error {
			return hub.PullEdges(ctx, s, b, cfg.Bus.Leaf.Edges, log, telemetry.NewRegistry())
		})
		return group.Wait()
	}
	return c
}

// engineServerCommand runs the embedded ClickHouse by itself.
func (a *app) engineServerCommand() *cobra.Command {
	var addr string
	c := &cobra.Command{Use: "clickhouse", Short: "Run only the embedded ClickHouse, for services in processes of their own", Args: cobra.NoArgs}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8123", "address to listen on")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		secrets, err := makeSecrets(a.data)
		if err != nil {
			return err
		}
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), "text", "info")
		if err != nil {
			return err
		}
		e, err := embedded.Start(cmd.Context(), embedded.Options{
			DataDir: filepath.Join(a.data, "clickhouse"), Addr: addr, Logger: log, OnProgress: fetchProgress(cmd.ErrOrStderr()),
			Users: []embedded.User{{Name: "vagus", Password: secrets.Store}, {Name: "grafana", Password: secrets.Read, ReadOnly: true}},
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "ClickHouse at http://%s; its passwords are in %s\n", e.Addr(), filepath.Join(a.data, "secrets.json"))
		<-cmd.Context().Done()
		return e.Close()
	}
	return c
}
