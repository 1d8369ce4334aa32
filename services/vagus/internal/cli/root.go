// Package cli is the command line of the hub.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	content "github.com/vagus-hub/vagus"
	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/normalize"
	"github.com/vagus-hub/vagus/services/respond"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

// New makes the root command.
func New(version string) *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:           "vagus",
		Short:         "Event-driven SIEM and XDR hub for AI stacks",
		Long:          "Vagus takes the logs of AI gateways, model servers, Kubernetes and hosts, finds attacks\nwith rules, and answers with playbooks. `vagus up` starts all of it in one process.",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&a.data, "data", config.DefaultData(), "folder that holds everything the hub keeps")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run it:"},
		&cobra.Group{ID: "look", Title: "Look at it:"},
		&cobra.Group{ID: "act", Title: "Act:"},
		&cobra.Group{ID: "author", Title: "Write rules, playbooks and mappings:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.upCommand(), a.edgeCommand(), a.demoCommand(), a.sendCommand(), a.busCommand(), a.engineServerCommand(), configCommand())
	add("look", a.statusCommand(), a.alertsCommand(), a.incidentsCommand(), a.eventsCommand(), a.tailCommand(), a.runsCommand(), a.ledgerCommand(), a.sqlCommand(), detect.HuntCommand(a.authors()), detect.ReplayCommand(a.authors()))
	add("act", a.approveCommand(), a.decisionsCommand(), detect.SilencesCommand(a.authors()), detect.ContentCommand(a.authors()), a.deadCommand(), a.tokenCommand())
	add("author", detect.Command(a.authors()), detect.LanguageServer(a.authors()), respond.Command(playbooks()), normalize.Command())
	root.AddCommand(engineCommand())
	refuseUnknown(root)
	return root
}

// refuseUnknown makes an unknown word after a group of commands an error, which
// cobra does at the root only: it prints help and exits with 0 elsewhere. Of a
// wrong number of arguments it makes the error say which ones are wanted.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w: write %s (--help has more)", err, strings.TrimSuffix(c.UseLine(), " [flags]"))
			}
			return nil
		}
	}
	if !c.HasParent() || !c.HasSubCommands() || c.Runnable() {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		c.SuggestionsMinimumDistance = 2
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = ", did you mean " + strings.Join(near, " or ") + "?"
		}
		return fmt.Errorf("unknown command %q for %q%s (--help lists what there is)", args[0], c.CommandPath(), hint)
	}
}

// app is what the commands share.
type app struct{ data string }

func (a *app) state() (instance.State, error) { return instance.Load(a.data) }

// bus connects to the running hub's bus.
func (a *app) bus(ctx context.Context) (*bus.Bus, error) {
	s, err := a.state()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Options{URL: s.NATSURL, Token: s.NATSToken, Name: "cli"})
	if err != nil {
		return nil, fmt.Errorf("%w (is the hub of %s still running? `vagus status` tells)", err, a.data)
	}
	return b, nil
}

// health asks the running hub what its rules cannot see.
func (a *app) health(ctx context.Context) (detect.Health, error) {
	b, err := a.bus(ctx)
	if err != nil {
		return detect.Health{}, err
	}
	defer b.Close()
	return detect.ReadHealth(ctx, b)
}

// clickhouse connects to the running hub's ClickHouse as the read-only user.
func (a *app) clickhouse(ctx context.Context) (*clickhouse.Client, error) {
	s, err := a.state()
	if err != nil {
		return nil, err
	}
	return clickhouse.Open(ctx, s.ClickHouseDSN)
}

// playbooks are the built-in ones.
func playbooks() fs.FS {
	sub, err := fs.Sub(content.Playbooks, "playbooks")
	if err != nil {
		return content.Playbooks // cannot be: the folder is embedded
	}
	return sub
}

func jsonFlag(c *cobra.Command, v *bool) { c.Flags().BoolVar(v, "json", false, "print JSON") }

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
