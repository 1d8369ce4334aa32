package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/respond/internal/connector"
	"github.com/vagus-hub/vagus/services/respond/internal/content"
	"github.com/vagus-hub/vagus/services/respond/internal/feed"
	"github.com/vagus-hub/vagus/services/respond/internal/playbook"
	"github.com/vagus-hub/vagus/services/respond/internal/playtest"
)

// Command returns "playbooks": check, test and list. defaults is the content
// used when no folder is given; it may be nil. Folders given are read on top
// of the connectors of defaults.
func Command(defaults fs.FS) *cobra.Command {
	root := &cobra.Command{Use: "playbooks", Short: "Check, test and list playbooks"}
	asJSON := false
	load := func(args []string) ([]*connector.Spec, []*playbook.Playbook, error) {
		return loadContent(defaults, args)
	}
	check := &cobra.Command{
		Use: "check [folder...]", Short: "Find mistakes in playbooks and connectors", SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, books, err := load(args)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d playbooks, %d connectors: no mistakes\n", len(books), len(specs))
			return nil
		},
	}
	test := &cobra.Command{
		Use: "test [folder...]", Short: "Run the tests inside playbooks", SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, books, err := load(args)
			if err != nil {
				return err
			}
			return runTests(cmd.Context(), cmd, specs, books)
		},
	}
	list := &cobra.Command{
		Use: "list [folder...]", Short: "List playbooks", SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, books, err := load(args)
			if err != nil {
				return err
			}
			return printBooks(cmd, books, asJSON)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	root.AddCommand(check, test, list)
	return root
}

// loadContent reads the folders, or defaults without any.
func loadContent(defaults fs.FS, dirs []string) ([]*connector.Spec, []*playbook.Playbook, error) {
	var base, mine []fs.FS
	if defaults != nil {
		base = append(base, defaults)
	}
	for _, d := range dirs {
		if st, err := os.Stat(d); err != nil {
			return nil, nil, err
		} else if !st.IsDir() {
			return nil, nil, fmt.Errorf("%s is not a folder", d)
		}
		mine = append(mine, os.DirFS(d))
	}
	if len(base)+len(mine) == 0 {
		return nil, nil, errors.New("no folder given")
	}
	specs, err := content.Connectors(append(base, mine...)...)
	if err != nil {
		return nil, nil, err
	}
	set, err := connector.New(connector.Options{Specs: specs, Natives: map[string]connector.Native{"vagus": &feed.Connector{}}})
	if err != nil {
		return nil, nil, err
	}
	if len(mine) == 0 {
		mine = base
	}
	books, err := content.Playbooks(set, mine...)
	return specs, books, err
}

// runTests prints a line per playbook and every difference.
func runTests(ctx context.Context, cmd *cobra.Command, specs []*connector.Spec, books []*playbook.Playbook) error {
	if ctx == nil {
		ctx = context.Background()
	}
	out, failed, total := cmd.OutOrStdout(), 0, 0
	for _, pb := range books {
		bad := 0
		for _, t := range pb.Tests {
			total++
			diff, err := playtest.Run(ctx, specs, pb, t)
			if err != nil {
				diff = append(diff, err.Error())
			}
			if len(diff) > 0 {
				bad++
				fmt.Fprintf(out, "FAIL %s: %s\n     %s\n", pb.ID, t.Name, strings.Join(diff, "\n     "))
			}
		}
		failed += bad
		switch {
		case len(pb.Tests) == 0:
			failed++
			fmt.Fprintf(out, "FAIL %s: no tests\n", pb.ID)
		case bad == 0:
			fmt.Fprintf(out, "ok   %s (%d tests)\n", pb.ID, len(pb.Tests))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d playbook tests failed", failed, total)
	}
	return nil
}

func printBooks(cmd *cobra.Command, books []*playbook.Playbook, asJSON bool) error {
	if asJSON {
		type item struct {
			ID      string   `json:"id"`
			Title   string   `json:"title"`
			Status  string   `json:"status"`
			Lanes   []string `json:"lanes"`
			Version string   `json:"version"`
			Path    string   `json:"path"`
			Tests   int      `json:"tests"`
		}
		items := []item{}
		for _, p := range books {
			items = append(items, item{p.ID, p.Title, string(p.Status), p.Lanes, p.Version, p.Path, len(p.Tests)})
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(items)
	}
	for _, p := range books {
		fmt.Fprintf(cmd.OutOrStdout(), "%-28s %-8s %-16s %s\n", p.ID, p.Status, path.Dir(p.Path), p.Title)
	}
	return nil
}
