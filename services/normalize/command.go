package normalize

import (
	"encoding/json"
	"errors"
	"fmt"
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
	c := &cobra.Command{Use: "sources", Short: "List, check and test the mappings of sources"}
	c.PersistentFlags().StringVar(&dir, "dir", "", "folder of <source>/mapping.yaml (default: the built-in sources)")
	open := func() fs.FS {
		if dir == "" {
			return sources.FS
		}
		return os.DirFS(dir)
	}
	c.AddCommand(listCommand(open), checkCommand(open), testCommand(open, &dir))
	return c
}

func listCommand(open func() fs.FS) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "list", Short: "List the sources, with the share of fields mapped in their samples", Args: cobra.NoArgs}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		reports, err := reports(open())
		if err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(reports)
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
	return &cobra.Command{
		Use: "check", Short: "Check every mapping; errors have line and column", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := mapping.Load(open())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d mappings are sound\n", len(set.Sources()))
			return nil
		},
	}
}

func testCommand(open func() fs.FS, dir *string) *cobra.Command {
	var update bool
	c := &cobra.Command{Use: "test", Short: "Map the recorded samples and compare with the goldens", Args: cobra.NoArgs}
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
	var out []mapping.SampleReport
	for _, id := range set.Sources() {
		r, err := mapping.RunSamples(fsys, set.Get(id))
		if err != nil {
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
