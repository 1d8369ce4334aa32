package detect

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/atr"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// importATR is `rules import atr`.
func (a *author) importATR() *cobra.Command {
	var o importFlags
	c := &cobra.Command{
		Use: "atr PATH…", Short: "Import Agent Threat Rules", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		Long: "Reads rules of ATR (folders are searched for .yml and .yaml), tells what loads and what does not\nand why, runs each rule's own test cases, and writes each rule as a native one to\nDIR/atr/<id>.yml. ATR files also load as they are from any folder of rules. A file that is there and\ndiffers is left as it is, unless --force is given. What is left out ends with exit code 1; the rest is written.",
		Example: "  vagus rules import atr agent-threat-rules/rules --check\n  vagus rules import atr agent-threat-rules/rules --check --all   # every case that differs\n" +
			"  vagus rules import atr agent-threat-rules/rules --out rules",
	}
	o.add(c, "list every condition that is left out, and every test case that differs")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.valid("atr"); err != nil {
			return err
		}
		files, unread, err := readFiles(args, ".yml", ".yaml")
		if err != nil {
			return fmt.Errorf("import atr: %w", err)
		}
		return a.runImportATR(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), files, unread, o)
	}
	return c
}

// importedATR is what `rules import atr --json` prints.
type importedATR struct {
	Files  int         `json:"files"` // of ATR
	Loaded int         `json:"loaded"`
	Partly int         `json:"partly"` // of these, without one or more conditions
	Cases  atr.Outcome `json:"cases"`
	Rules  []atrRule   `json:"rules"`
	// Others counts files that are no rules of ATR.
	Others  int            `json:"others"`
	Unread  []rule.Problem `json:"unread,omitempty"` // files that cannot be read
	Written int            `json:"written"`
	Kept    []string       `json:"kept,omitempty"` // files that were there and differ
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
	Problems []rule.Problem `json:"problems,omitempty"` // why it does not load
	Warnings []rule.Problem `json:"warnings,omitempty"`
	Cases    atr.Outcome    `json:"cases"`
}

func (a *author) runImportATR(ctx context.Context, w, progress io.Writer, files []rule.File, unread []rule.Problem, o importFlags) error {
	sum := importedATR{Rules: []atrRule{}, Unread: unread}
	bar := newCounter(progress, "reading rules", len(files))
	native := newNatives(ctx, o, nil, io.Discard, 0)
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		bar.add(1)
		if !atr.Recognize(f.Data) {
			// What is no text cannot be recognised.
			if line, column, why := rule.NotText(f.Data); why != "" {
				sum.Unread = append(sum.Unread, rule.Problem{File: f.Name, Line: line, Column: column, Message: why})
			} else {
				sum.Others++
			}
			continue
		}
		sum.Files++
		c := atr.Convert(f.Name, f.Data)
		r := atrRule{File: f.Name, ATR: c.ID, Title: c.Title, Loaded: c.Rule != nil, Reason: c.Reason()}
		for _, p := range c.Problems {
			if p.Warning {
				r.Warnings = append(r.Warnings, p)
			} else {
				r.Problems = append(r.Problems, p)
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
			if o.out != "" {
				if err := native.write(c.Rule, nil); err != nil {
					return err
				}
				sum.Written, sum.Kept, sum.Tests = native.written, native.kept, &native.tests
			}
		}
		sum.Rules = append(sum.Rules, r)
	}
	bar.clear()
	left := incomplete{len(sum.Unread), sum.Files - sum.Loaded, "rule", len(sum.Kept)}.err("atr")
	if sum.Files == 0 {
		left = errors.Join(errors.New("import atr: no file is a rule of ATR (with agent_source and detection)"), left)
	}
	if a.json {
		return errors.Join(a.print(w, sum), left)
	}
	writeProblems(w, sum.Unread)
	if sum.Files == 0 {
		return left
	}
	if err := sum.write(w, o.all); err != nil {
		return err
	}
	if o.out != "" {
		native.report(w, "atr")
	}
	return left
}

func (s *importedATR) write(w io.Writer, all bool) error {
	for _, r := range s.Rules {
		writeProblems(w, r.Problems)
		if !all {
			continue
		}
		writeProblems(w, r.Warnings)
		for _, name := range r.Cases.Differ {
			fmt.Fprintf(w, "%s: %s: the test case %s differs\n", r.File, r.ATR, name)
		}
	}
	if s.Others > 0 {
		fmt.Fprintf(w, "%s passed over that are no rules of ATR\n", count(s.Others, "file"))
	}
	fmt.Fprintf(w, "%d of %d rules load (%.1f %%), %d of them without a condition that cannot be expressed (--all lists them)\n", s.Loaded, s.Files, share(s.Loaded, s.Files), s.Partly)
	if s.Cases.Positives+s.Cases.Negatives == 0 {
		return nil
	}
	fmt.Fprintf(w, "their own test cases: %d of %d positives fire (%.1f %%), %d of %d negatives stay silent (%.1f %%)\n", s.Cases.Fired, s.Cases.Positives,
		share(s.Cases.Fired, s.Cases.Positives), s.Cases.Silent, s.Cases.Negatives, share(s.Cases.Silent, s.Cases.Negatives))
	return nil
}

// share is a percentage.
func share(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
