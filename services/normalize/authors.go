package normalize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// maxInput bounds the files that authors' commands read, in bytes.
const maxInput = 64 << 20

func guessCommand(open func() fs.FS) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "guess FILE", Short: "Tell from which source the records of a file are", Args: cobra.ExactArgs(1),
		Long:    "Recognises every record of a file (- for standard input) as the hub does for the source auto,\nand counts them by source.",
		Example: "  vagus sources guess /var/log/nginx/access.log",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := mapping.Load(open())
		if set == nil {
			return err
		}
		data, err := readInput(cmd, args[0])
		if err != nil {
			return err
		}
		guesses := guess(set, data)
		if asJSON {
			return printJSON(cmd.OutOrStdout(), guesses)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 2, 8, 2, ' ', 0)
		fmt.Fprintln(w, "RECORDS\tSOURCE\tTITLE\tEXAMPLE")
		for _, g := range guesses {
			name := g.Source
			if name == "" {
				name = "(none)"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", g.Records, name, g.Title, g.Example)
		}
		return w.Flush()
	}
	return c
}

// guessed counts the records of one source; Source is empty for those that no
// mapping recognises.
type guessed struct {
	Source  string `json:"source"`
	Title   string `json:"title,omitempty"`
	Records int    `json:"records"`
	Example string `json:"example"`
}

func guess(set *mapping.Set, data []byte) []guessed {
	f := set.NewFinder()
	records := mapping.Records(data, mapping.Framing{})
	// Records of several lines are seen as such by the source of the whole.
	if m := f.Find(data); m != nil && m.Framing != (mapping.Framing{}) {
		records = mapping.Records(data, m.Framing)
	}
	out := []guessed{}
	for _, rec := range records {
		var g guessed
		if m := f.Find(rec); m != nil {
			g.Source, g.Title = m.Source, m.Title
		}
		i := slices.IndexFunc(out, func(o guessed) bool { return o.Source == g.Source })
		if i < 0 {
			g.Example = string(bytes.ToValidUTF8(rec[:min(len(rec), 60)], nil))
			i = len(out)
			out = append(out, g)
		}
		out[i].Records++
	}
	slices.SortStableFunc(out, func(a, b guessed) int { return b.Records - a.Records })
	return out
}

func explainCommand(open func() fs.FS) *cobra.Command {
	var asJSON bool
	var limit int
	c := &cobra.Command{
		Use: "explain SOURCE FILE", Short: "Show which field of each record went to which column, and what stayed unmapped", Args: cobra.ExactArgs(2),
		Long:    "Maps the records of a file (- for standard input) and shows for each event its class and table,\nwhich field went to which column and through which transform, and what stayed unmapped.",
		Example: "  tail -1 /var/log/nginx/access.log | vagus sources explain nginx.access -",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, a line for each record")
	c.Flags().IntVar(&limit, "limit", 20, "records at most; 0 for all")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := mapping.Load(open())
		if set == nil {
			return err
		}
		m := set.Get(args[0])
		if m == nil {
			return errors.Join(err, fmt.Errorf("explain records: %w", set.Missing(args[0])))
		}
		data, err := readInput(cmd, args[1])
		if err != nil {
			return err
		}
		for i, rec := range mapping.Records(data, m.Framing) {
			if limit > 0 && i == limit {
				fmt.Fprintf(cmd.ErrOrStderr(), "the first %d records only; --limit 0 for all\n", limit)
				break
			}
			e := m.Explain(rec, time.Now().UnixMilli())
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(e); err != nil {
					return err
				}
				continue
			}
			if err := printExplanation(cmd.OutOrStdout(), i+1, e); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func printExplanation(out io.Writer, n int, e mapping.Explanation) error {
	switch {
	case e.Reason != "":
		fmt.Fprintf(out, "record %d: dead letter %q: %s\n", n, e.Reason, e.Error)
	case e.Dropped > 0:
		fmt.Fprintf(out, "record %d: %d dropped: %s\n", n, e.Dropped, e.Why)
	}
	for _, ev := range e.Events {
		fmt.Fprintf(out, "record %d: %s, table of the family %s\n", n, ev.Class, ev.Family)
		w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
		for _, f := range ev.Columns {
			v, err := json.Marshal(f.Value)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "  %s\t%s\t<- %s\n", f.Column, bytes.ToValidUTF8(v[:min(len(v), 80)], nil), f.From)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(ev.Unmapped) > 0 {
			fmt.Fprintf(out, "  unmapped  %s\n", ev.Unmapped)
		}
	}
	return nil
}

func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("read records: %s is longer than %d MiB; give a part of it", name, maxInput>>20)
	}
	return data, nil
}
