package detect

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/author/lint"
	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

func nearest(written string, names []string) string { return lang.DidYouMean(written, names) }

// output is how check and test print.
type output struct {
	format string
	strict bool
	watch  bool
}

func (o *output) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.format, "format", "text", "text, json, github (annotations), junit (XML) or sarif")
	c.Flags().BoolVar(&o.watch, "watch", false, "run again whenever a file changes; Ctrl-C ends it")
}

func (a *author) checkCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "check [PATH…]", Short: "Check rule files or folders (default: the built-in rules)", SilenceUsage: true,
		Long: "Checks rules with the code that loads them, and says for each problem where it is and what to do.\n" +
			"Errors end with exit code 1; warnings only with --strict.",
		Example: "  vagus rules check rules\n  vagus rules check rules/ai-gateway/key-shared.yml --watch\n  vagus rules check rules --format github   # in a workflow\n  vagus rules check rules --format sarif > rules.sarif",
	}
	o.flags(c)
	c.Flags().BoolVar(&o.strict, "strict", false, "warnings count as errors")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.watched(c, o, args, func(w io.Writer) error { return a.check(w, o, args) })
	}
	return c
}

func (a *author) check(w io.Writer, o output, args []string) error {
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
	more, err := a.lint(rules)
	if err != nil {
		return err
	}
	problems = inOrder(append(problems, more...))
	if o.format == "json" {
		out := struct {
			Rules    int            `json:"rules"`
			Problems []rule.Problem `json:"problems"`
		}{sound(rules, problems), append([]rule.Problem{}, problems...)}
		if err := a.print(w, out); err != nil {
			return err
		}
	} else {
		rw := report.Writer{Suite: "vagus rules check", Source: a.source}
		if err := rw.Write(w, o.format, checkCases(rules, problems)); err != nil {
			return err
		}
		if o.format == "text" {
			good, verb := sound(rules, problems), "are"
			if good == 1 {
				verb = "is"
			}
			fmt.Fprintf(w, "%s %s good, %s\n", count(good, "rule"), verb, count(len(problems), "problem"))
		}
	}
	if rule.Failed(problems) || o.strict && len(problems) > 0 {
		return errProblems
	}
	return nil
}

// sound counts the rules whose files have no error.
func sound(rules []*rule.Rule, problems []rule.Problem) int {
	bad := map[string]bool{}
	for _, p := range problems {
		bad[p.File] = bad[p.File] || !p.Warning
	}
	n := 0
	for _, r := range rules {
		if !bad[r.File] {
			n++
		}
	}
	return n
}

// lint looks at what rules say; those of the loader are not repeated.
func (a *author) lint(rules []*rule.Rule) ([]rule.Problem, error) {
	opts := lint.Options{Now: time.Now(), Source: a.source, Formats: formats()}
	if a.Feeds != nil {
		feeds, err := a.Feeds()
		if err != nil {
			return nil, err
		}
		opts.Feeds = feeds
	}
	return lint.Check(rules, opts), nil
}

func inOrder(problems []rule.Problem) []rule.Problem {
	slices.SortStableFunc(problems, func(a, b rule.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return problems
}

// checkCases has a case for every problem, and one for every rule without any.
func checkCases(rules []*rule.Rule, problems []rule.Problem) []report.Case {
	var out []report.Case
	bad := map[string]bool{}
	for _, p := range problems {
		bad[p.File] = true
		c := report.Case{File: p.File, Line: p.Line, Column: p.Column, Name: "check", Code: p.Code, Severity: report.Error, Message: p.Message}
		if p.Warning {
			c.Severity = report.Warning
		}
		if c.Code == "" {
			c.Code = "rule"
		}
		out = append(out, c)
	}
	for _, r := range rules {
		if !bad[r.File] {
			out = append(out, report.Case{File: r.File, Rule: r.ID, Name: "check"})
		}
	}
	return out
}
