package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/atr"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// importATR is `rules import atr`.
func (a *author) importATR() *cobra.Command {
	var out string
	var check, all bool
	c := &cobra.Command{
		Use: "atr PATH…", Short: "Import Agent Threat Rules", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		Long: "Reads rules of ATR (folders are searched for .yml and .yaml), tells what loads and what does not\nand why, runs each rule's own test cases, and writes each rule as a native one to\nDIR/atr/<id>.yml. ATR files also load as they are from any folder of rules.",
		Example: "  vagus rules import atr agent-threat-rules/rules --check\n  vagus rules import atr agent-threat-rules/rules --check --all   # every case that differs\n" +
			"  vagus rules import atr agent-threat-rules/rules --out rules",
	}
	c.Flags().StringVar(&out, "out", "", "folder to write native rules to")
	c.Flags().BoolVar(&check, "check", false, "only report")
	c.Flags().BoolVar(&all, "all", false, "list every rule that does not load, and every test case that differs")
	c.RunE = func(c *cobra.Command, args []string) error {
		if (out == "") == !check {
			return errors.New("import atr: give either --out DIR or --check")
		}
		files, err := readFiles(args)
		if err != nil {
			return err
		}
		return a.runImportATR(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), files, out, all)
	}
	return c
}

// importedATR is what `rules import atr --json` prints.
type importedATR struct {
	Files   int         `json:"files"` // of ATR
	Loaded  int         `json:"loaded"`
	Partly  int         `json:"partly"` // of these, without one or more conditions
	Cases   atr.Outcome `json:"cases"`
	Rules   []atrRule   `json:"rules"`
	Written int         `json:"written"`
	// Tests are those of the rules that were written.
	Tests *derivedTests `json:"tests,omitempty"`
}

type atrRule struct {
	File     string         `json:"file"`
	ATR      string         `json:"atr"`
	ID       string         `json:"id,omitempty"`
	Title    string         `json:"title"`
	Loaded   bool           `json:"loaded"`
	Reason   string         `json:"reason,omitempty"`
	Warnings []rule.Problem `json:"warnings,omitempty"`
	Cases    atr.Outcome    `json:"cases"`
}

func (a *author) runImportATR(ctx context.Context, w, progress io.Writer, files []rule.File, out string, all bool) error {
	sum := importedATR{Rules: []atrRule{}}
	bar := newCounter(progress, "reading rules", len(files))
	native := newNatives(ctx, out, nil, io.Discard, 0)
	for _, f := range files {
		bar.add(1)
		if !atr.Recognize(f.Data) {
			continue
		}
		sum.Files++
		c := atr.Convert(f.Name, f.Data)
		r := atrRule{File: f.Name, ATR: c.ID, Title: c.Title, Loaded: c.Rule != nil, Reason: c.Reason()}
		for _, p := range c.Problems {
			if p.Warning {
				r.Warnings = append(r.Warnings, p)
			}
		}
		if c.Rule != nil {
			sum.Loaded++
			r.ID = c.Rule.ID
			if len(r.Warnings) > 0 {
				sum.Partly++
			}
			var err error
			if r.Cases, err = atr.Check(&c); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			sum.Cases.Add(r.Cases)
			if out != "" {
				if err := native.write(c.Rule, nil); err != nil {
					return err
				}
				sum.Written, sum.Tests = native.written, &native.tests
			}
		}
		sum.Rules = append(sum.Rules, r)
	}
	bar.clear()
	if a.json {
		return a.print(w, sum)
	}
	if err := sum.write(w, all); err != nil {
		return err
	}
	if out != "" {
		native.report(w, "atr")
	}
	return nil
}

func (s *importedATR) write(w io.Writer, all bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range s.Rules {
		if !r.Loaded {
			fmt.Fprintf(t, "%s\tdoes not load\t%s\n", r.ATR, r.Reason)
		}
		for _, p := range r.Warnings {
			if all {
				fmt.Fprintf(t, "%s\tin part\t%s\n", r.ATR, p.Message)
			}
		}
		for _, name := range r.Cases.Differ {
			if all {
				fmt.Fprintf(t, "%s\tdiffers\t%s\n", r.ATR, name)
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Files == 0 {
		return errors.New("import atr: no file there is a rule of ATR (with agent_source and detection)")
	}
	fmt.Fprintf(w, "%d of %d rules load (%.1f %%), %d of them without a condition that RE2 cannot express\n", s.Loaded, s.Files, share(s.Loaded, s.Files), s.Partly)
	fmt.Fprintf(w, "their own test cases: %d of %d positives fire (%.1f %%), %d of %d negatives stay silent (%.1f %%)\n", s.Cases.Fired, s.Cases.Positives,
		share(s.Cases.Fired, s.Cases.Positives), s.Cases.Silent, s.Cases.Negatives, share(s.Cases.Silent, s.Cases.Negatives))
	return nil
}

// share is a percentage.
func share(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
