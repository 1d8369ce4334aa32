package detect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect/internal/author/coverage"
	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

// testOptions are the flags of test.
type testOptions struct {
	output
	coverage bool
	update   bool
}

func (a *author) testCommand() *cobra.Command {
	var o testOptions
	c := &cobra.Command{
		Use: "test [PATH…]", Short: "Run the inline tests of rules (default: the built-in rules)", SilenceUsage: true,
		Long: "Runs the tests that stand in rules with the matcher and the correlator of the service.\n" +
			"--coverage says for each comparison of a condition whether some test needs it: what no test needs\n" +
			"could be removed without a test failing. --update writes what happens into tests that fail.",
		Example: "  vagus rules test rules\n  vagus rules test rules/ai-gateway/key-shared.yml --watch\n  vagus rules test rules --coverage\n" +
			"  vagus rules test rules/ai-gateway/key-shared.yml --update   # then look at the difference\n  vagus rules test rules --format junit > rules.xml",
	}
	o.flags(c)
	c.Flags().BoolVar(&o.coverage, "coverage", false, "say which parts of conditions no test exercises")
	c.Flags().BoolVar(&o.update, "update", false, "write the actual result into tests that fail")
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.update && (o.watch || len(args) == 0) {
			return errors.New("test: --update needs a path, and goes without --watch")
		}
		return a.watched(c, o.output, args, func(w io.Writer) error { return a.test(w, o, args) })
	}
	return c
}

// testing is what tests need beside their rule.
func (a *author) testing(rules []*rule.Rule) (ruletest.Options, error) {
	opts := ruletest.Options{Rules: rules, Normalize: a.Normalize, Read: ruletest.ReadSamples(a.Content, sources.FS)}
	if a.Content != nil {
		known, _, err := a.read(nil)
		if err != nil {
			return opts, err
		}
		opts.Rules = append(known, rules...) // the later one of an id counts
	}
	return opts, nil
}

func (a *author) test(w io.Writer, o testOptions, args []string) error {
	if a.json {
		o.format = "json"
	}
	if err := report.Known(o.format); err != nil {
		return err
	}
	rules, problems, err := a.load(args)
	if err != nil {
		return err
	}
	if err := some(args, rules, problems); err != nil {
		return err
	}
	opts, err := a.testing(rules)
	if err != nil {
		return err
	}
	out := tested{Tests: []ruletest.Result{}}
	var cases []report.Case
	for _, p := range problems {
		if !p.Warning {
			cases = append(cases, checkCases(nil, []rule.Problem{p})...)
		}
	}
	for _, r := range rules {
		results := ruletest.Run(r, opts)
		if o.update {
			n, err := a.update(r, results)
			if err != nil {
				return err
			}
			if n > 0 && o.format == "text" {
				fmt.Fprintf(w, "%s: %d tests updated\n", r.File, n)
			}
			out.Updated += n
		}
		out.Tests = append(out.Tests, results...)
		if o.coverage {
			rep, err := coverage.Of(r, opts)
			if err != nil {
				return fmt.Errorf("coverage of %s: %w", r.ID, err)
			}
			out.Coverage = append(out.Coverage, rep)
			cases = append(cases, a.gaps(r, rep)...)
		}
	}
	for _, r := range out.Tests {
		c := report.Case{File: r.File, Line: r.Line, Column: r.Column, Rule: r.Rule, Name: r.Test}
		if !r.OK {
			out.failed++
			c.Severity, c.Code, c.Message = report.Error, "test-failed", fmt.Sprintf("FAIL %s: %s: %s", r.Rule, r.Test, r.Message)
		}
		cases = append(cases, c)
	}
	if err := a.printTested(w, o, out, cases, len(rules), problems); err != nil {
		return err
	}
	if out.failed > out.Updated || rule.Failed(problems) {
		return errProblems
	}
	return nil
}

// tested is what `rules test` found.
type tested struct {
	Tests    []ruletest.Result `json:"tests"`
	Coverage []coverage.Report `json:"coverage,omitempty"`
	Updated  int               `json:"updated,omitempty"`
	failed   int
}

func (a *author) printTested(w io.Writer, o testOptions, out tested, cases []report.Case, rules int, problems []rule.Problem) error {
	if o.format == "json" {
		// A rule that does not load has no test that could fail.
		for _, p := range problems {
			if !p.Warning {
				out.Tests = append(out.Tests, ruletest.Result{File: p.File, Line: p.Line, Column: p.Column, Message: p.Message})
			}
		}
		if o.coverage || o.update {
			return a.print(w, out)
		}
		return a.print(w, out.Tests)
	}
	rw := report.Writer{Suite: "vagus rules test"}
	if o.coverage {
		rw.Source = a.source
	}
	if err := rw.Write(w, o.format, cases); err != nil || o.format != "text" {
		return err
	}
	if o.coverage {
		parts, covered := 0, 0
		for _, r := range out.Coverage {
			parts, covered = parts+r.Parts, covered+r.Covered
		}
		fmt.Fprintf(w, "coverage %.0f %%: tests decide %d of %d times by a comparison\n", 100*coverage.Report{Parts: parts, Covered: covered}.Share(), covered, parts)
	}
	fmt.Fprintf(w, "%s, %s, %d failed\n", count(rules, "rule"), count(len(out.Tests), "test"), out.failed-min(out.failed, out.Updated))
	return nil
}

// update writes what happened into the rule's file.
func (a *author) update(r *rule.Rule, results []ruletest.Result) (int, error) {
	name := filepath.FromSlash(r.File)
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	text, n, err := ruletest.Update(data, r.Tests, results)
	if err != nil || n == 0 {
		return 0, err
	}
	if again, problems := rule.Load(r.File, text); again == nil {
		return 0, fmt.Errorf("update %s: the result is no rule: %v", r.File, problems)
	}
	return n, os.WriteFile(name, text, 0o644)
}

// gaps are the parts of a rule's conditions that no test exercises, as notices.
func (a *author) gaps(r *rule.Rule, rep coverage.Report) []report.Case {
	places := map[string]rule.Place{}
	for _, p := range rule.Places(a.source(r.File)) {
		places[p.Path] = p
	}
	var out []report.Case
	for _, g := range rep.Gaps {
		path := "when"
		if r.Correlate != nil {
			for i, s := range r.Correlate.Steps {
				if s.Rule != nil && s.Rule.ID == g.Rule {
					path = fmt.Sprintf("correlate.steps[%d].when", i)
				}
			}
		}
		line, column := 1, 1
		if p, ok := places[path]; ok {
			line, column = at(p, g.From)
		}
		out = append(out, report.Case{File: r.File, Line: line, Column: column, Rule: r.ID, Name: g.Part, Code: "coverage", Severity: report.Notice, Message: g.Message})
	}
	return out
}

// at is where a character of a condition stands in its file.
func at(p rule.Place, from int) (line, column int) {
	line, column = p.Line, p.Column
	for i, n := 0, 0; i < len(p.Text) && n < from; n++ {
		c, size := utf8.DecodeRuneInString(p.Text[i:])
		if i += size; c == '\n' {
			line, column = line+1, p.Column
		} else {
			column++
		}
	}
	return line, column
}
