package detect

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
)

func (a *author) testCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "test [PATH…]", Short: "Run the inline tests of rules (default: the built-in rules)", SilenceUsage: true,
		Example: "  vagus rules test rules\n  vagus rules test rules/ai-gateway/key-shared.yml --watch\n  vagus rules test rules --format junit > rules.xml",
	}
	o.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.watched(c, o, args, func(w io.Writer) error { return a.test(w, o, args) })
	}
	return c
}

func (a *author) test(w io.Writer, o output, args []string) error {
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
	results := []ruletest.Result{}
	failed := 0
	for _, r := range rules {
		rs, err := ruletest.Run(r)
		if err != nil {
			return err
		}
		results = append(results, rs...)
	}
	var cases []report.Case
	for _, p := range problems {
		if !p.Warning {
			cases = append(cases, checkCases(nil, []rule.Problem{p})...)
		}
	}
	for _, r := range results {
		c := report.Case{File: r.File, Line: r.Line, Column: r.Column, Rule: r.Rule, Name: r.Test}
		if !r.OK {
			failed++
			c.Severity, c.Code, c.Message = report.Error, "test-failed", fmt.Sprintf("FAIL %s: %s: %s", r.Rule, r.Test, r.Message)
		}
		cases = append(cases, c)
	}
	if o.format == "json" {
		err = a.print(w, results)
	} else {
		err = report.Writer{Suite: "vagus rules test"}.Write(w, o.format, cases)
	}
	if err != nil {
		return err
	}
	if o.format == "text" {
		fmt.Fprintf(w, "%d rules, %d tests, %d failed\n", len(rules), len(results), failed)
	}
	if failed > 0 || rule.Failed(problems) {
		return errProblems
	}
	return nil
}
