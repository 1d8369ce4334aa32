package normalize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// Command is `sources`: what mapping authors use. It runs the same code as the
// service.
func Command() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "sources", Short: "List, check and test the mappings of sources; guess, explain and make new ones",
		Example: "  vagus sources new acme.gateway --from gateway.log --dir sources\n  vagus sources --dir sources check\n  vagus sources --dir sources explain acme.gateway gateway.log\n  vagus sources --dir sources test --update",
	}
	c.PersistentFlags().StringVar(&dir, "dir", "", "folder of <source>/mapping.yaml (default: the built-in sources)")
	open := func() fs.FS {
		if dir == "" {
			return sources.FS
		}
		return os.DirFS(dir)
	}
	c.AddCommand(listCommand(open), checkCommand(open), testCommand(open, &dir), guessCommand(open), explainCommand(open), convertCommand(open), newCommand(&dir))
	return c
}

func listCommand(open func() fs.FS) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "list", Short: "List the sources, with the share of fields mapped in their samples", Args: cobra.NoArgs,
		Example: "  vagus sources list --json | jq '.[] | select(.recognised == false)'"}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		reports, err := reports(open())
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), reports)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 2, 8, 2, ' ', 0)
		fmt.Fprintln(w, "SOURCE\tSAMPLES\tRECORDS\tEVENTS\tCOLUMNS\tMAPPED\tTITLE")
		for _, r := range reports {
			fmt.Fprintf(w, "%s\t%d %s\t%d\t%d\t%d\t%.0f %%\t%s\n", r.Source, r.Samples, r.Origin, r.Records, r.Events, r.Columns, r.Share*100, r.Title)
		}
		return w.Flush()
	}
	return c
}

func checkCommand(open func() fs.FS) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Check every mapping; errors have line and column", Args: cobra.NoArgs,
		Long:    "Checks every mapping. Each error is a line file:line:column: what is wrong.",
		Example: "  vagus sources --dir sources check\n  vagus sources --dir sources check --json",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the errors as JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		set, err := mapping.Load(open())
		if asJSON {
			if e := printJSON(cmd.OutOrStdout(), faults(err)); e != nil {
				return e
			}
			if err != nil {
				cmd.SilenceErrors = true
			}
			return err
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d mappings are sound\n", len(set.Sources()))
		return nil
	}
	return c
}

// fault is an error in a mapping as JSON has it.
type fault struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// faults takes joined errors apart.
func faults(err error) []fault {
	out := []fault{}
	if err == nil {
		return out
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out = append(out, faults(e)...)
		}
		return out
	}
	var placed *mapping.Error
	if errors.As(err, &placed) {
		return append(out, fault{placed.File, placed.Line, placed.Column, placed.Message})
	}
	return append(out, fault{Message: err.Error()})
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func testCommand(open func() fs.FS, dir *string) *cobra.Command {
	var update bool
	c := &cobra.Command{Use: "test", Short: "Map the recorded samples and compare with the goldens", Args: cobra.NoArgs,
		Example: "  vagus sources --dir sources test\n  vagus sources --dir sources test --update   # after looking at the difference"}
	c.Flags().BoolVar(&update, "update", false, "write the goldens (needs --dir)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if update && *dir == "" {
			return errors.New("sources test: --update needs --dir, the folder to write to")
		}
		fsys := open()
		reports, err := reports(fsys)
		if err != nil {
			return err
		}
		var errs []error
		for _, r := range reports {
			if update {
				errs = append(errs, writeGoldens(*dir, r))
				continue
			}
			if err := mapping.Differences(fsys, r); err != nil {
				errs = append(errs, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d records, %d events, %d dropped, %d dead\n", r.Source, r.Records, r.Events, r.Dropped, r.Dead)
		}
		return errors.Join(errs...)
	}
	return c
}

func reports(fsys fs.FS) ([]mapping.SampleReport, error) {
	set, err := mapping.Load(fsys)
	if err != nil {
		return nil, err
	}
	out := []mapping.SampleReport{}
	for _, id := range set.Sources() {
		r, err := mapping.RunSamples(fsys, set.Get(id))
		if err != nil {
			return nil, err
		}
		if r.Recognised, err = set.RecognisesSamples(fsys, id); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func writeGoldens(dir string, r mapping.SampleReport) error {
	for name, data := range r.Files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
