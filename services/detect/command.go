package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// errProblems ends a command whose output has said what is wrong.
var errProblems = errors.New("rules have problems")

// Command returns `rules`, the commands for authors.
func Command(opts CommandOptions) *cobra.Command {
	a := &author{CommandOptions: opts}
	cmd := &cobra.Command{Use: "rules", Short: "Check, test, list and explain detection rules"}
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	sub := func(use, short string, run func(w io.Writer, args []string) error) {
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: short, SilenceUsage: true,
			RunE: func(c *cobra.Command, args []string) error { return run(c.OutOrStdout(), args) },
		})
	}
	sub("check [PATH…]", "Check rule files or folders (default: the built-in rules)", a.check)
	sub("test [PATH…]", "Run the inline tests of rules", a.test)
	sub("list [PATH…]", "List rules", a.list)
	sub("explain ID|PATH…", "Show what the compiler makes of rules", a.explain)
	return cmd
}

// author is what the commands share.
type author struct {
	CommandOptions
	json bool
}

// load reads the paths, or the built-in rules if there are none.
func (a *author) load(paths []string) ([]*rule.Rule, []rule.Problem, error) {
	if len(paths) == 0 {
		if a.Content == nil {
			return nil, nil, errors.New("rules: no path given and no built-in rules")
		}
		return rule.LoadFS(a.Content, contentRoot(a.Content), "")
	}
	var rules []*rule.Rule
	var problems []rule.Problem
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, nil, err
		}
		if info.IsDir() {
			rs, ps, err := rule.LoadFS(os.DirFS(p), ".", filepath.ToSlash(filepath.Clean(p))+"/")
			if err != nil {
				return nil, nil, err
			}
			rules, problems = append(rules, rs...), append(problems, ps...)
			continue
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, nil, err
		}
		r, ps := rule.Load(filepath.ToSlash(p), data)
		if problems = append(problems, ps...); r != nil {
			rules = append(rules, r)
		}
	}
	return rules, problems, nil
}

func (a *author) print(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *author) check(w io.Writer, args []string) error {
	rules, problems, err := a.load(args)
	if err != nil {
		return err
	}
	if a.json {
		out := struct {
			Rules    int            `json:"rules"`
			Problems []rule.Problem `json:"problems"`
		}{len(rules), append([]rule.Problem{}, problems...)}
		if err := a.print(w, out); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(w, p)
		}
		fmt.Fprintf(w, "%d rules are good, %d problems\n", len(rules), len(problems))
	}
	if rule.Failed(problems) {
		return errProblems
	}
	return nil
}

func (a *author) test(w io.Writer, args []string) error {
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
	for _, r := range results {
		if !r.OK {
			failed++
		}
	}
	if a.json {
		if err := a.print(w, results); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			if !p.Warning {
				fmt.Fprintln(w, p)
			}
		}
		for _, r := range results {
			if !r.OK {
				fmt.Fprintf(w, "%s:%d: FAIL %s: %s: %s\n", r.File, r.Line, r.Rule, r.Test, r.Message)
			}
		}
		fmt.Fprintf(w, "%d rules, %d tests, %d failed\n", len(rules), len(results), failed)
	}
	if failed > 0 || rule.Failed(problems) {
		return errProblems
	}
	return nil
}

// listed is a line of `rules list`.
type listed struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Level   string   `json:"level"`
	Status  string   `json:"status"`
	Lane    string   `json:"lane"`
	Tags    []string `json:"tags,omitempty"`
	Tests   int      `json:"tests"`
	Enabled bool     `json:"enabled"`
	File    string   `json:"file"`
	// Blind has the silent sources, if the running hub gets nothing else that
	// this rule could match.
	Blind []string `json:"blind,omitempty"`
}

func (a *author) list(w io.Writer, args []string) error {
	rules, _, err := a.load(args)
	if err != nil {
		return err
	}
	blind := a.blind()
	out := []listed{}
	for _, r := range rules {
		out = append(out, listed{r.ID, r.Title, string(r.Level), r.Status, string(r.Lane), r.Tags, len(r.Tests), !r.Disabled, r.File, blind[r.ID]})
	}
	if a.json {
		return a.print(w, out)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tLEVEL\tLANE\tSTATUS\tTESTS\tTITLE")
	for _, l := range out {
		if len(l.Blind) > 0 {
			l.Title += "  (blind: " + strings.Join(l.Blind, ", ") + " silent)"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\n", l.ID, l.Level, l.Lane, l.Status, l.Tests, l.Title)
	}
	return tw.Flush()
}

// blind asks the running service; without one no rule is known to be blind.
func (a *author) blind() map[string][]string {
	if a.Health == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h, err := a.Health(ctx)
	if err != nil {
		return nil
	}
	return h.Blind
}

// explained is what `rules explain` shows of a rule.
type explained struct {
	match.Plan
	Title     string            `json:"title"`
	Tags      map[string]string `json:"tags,omitempty"` // id → name
	Correlate string            `json:"correlate,omitempty"`
	Suppress  string            `json:"suppress"`
}

func (a *author) explain(w io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New("explain: which rule? give an id or a path")
	}
	var rules []*rule.Rule
	for _, arg := range args {
		var paths []string
		if _, err := os.Stat(arg); err == nil {
			paths = []string{arg}
		}
		rs, problems, err := a.load(paths)
		if err != nil {
			return err
		}
		if paths == nil {
			rs = slices.DeleteFunc(rs, func(r *rule.Rule) bool { return r.ID != arg })
		}
		if len(rs) == 0 {
			for _, p := range problems {
				fmt.Fprintln(w, p)
			}
			return fmt.Errorf("explain %s: no such rule", arg)
		}
		rules = append(rules, rs...)
	}
	out := []explained{}
	for _, r := range rules {
		out = append(out, explain(r))
	}
	if a.json {
		return a.print(w, out)
	}
	for _, e := range out {
		e.write(w)
	}
	return nil
}

func explain(r *rule.Rule) explained {
	e := explained{Plan: match.Explain(r), Title: r.Title, Tags: map[string]string{}, Suppress: r.Alert.Suppress.String()}
	for _, t := range r.Tags {
		e.Tags[t] = taxonomy.Name(t)
	}
	if c := r.Correlate; c != nil {
		e.Correlate = fmt.Sprintf("%s of at least %d within %s", c.Type, c.Threshold, c.Timespan)
	}
	return e
}

func (e explained) write(w io.Writer) {
	or := func(list []string, none string) string {
		if len(list) == 0 {
			return none
		}
		return strings.Join(list, ", ")
	}
	fmt.Fprintf(w, "%s  %s\n", e.Rule, e.Title)
	fmt.Fprintf(w, "  reads       families %s; classes %s; products %s\n", or(e.Families, "any"), or(e.Classes, "any"), or(e.Products, "any"))
	if e.Always {
		fmt.Fprintln(w, "  candidates  every event of these (no necessary literal)")
	} else {
		fmt.Fprintf(w, "  candidates  about 1 in %.0f events, those where one of these holds:\n", 1/max(e.Cost, 1e-9))
		for i, l := range e.Literals {
			if i == 20 {
				fmt.Fprintf(w, "              … %d more\n", len(e.Literals)-i)
				break
			}
			fmt.Fprintf(w, "              %s\n", l)
		}
	}
	fmt.Fprintf(w, "  evaluated   by %s: %s\n", e.Evaluated, e.Tree)
	if e.Correlate != "" {
		fmt.Fprintf(w, "  correlates  %s\n", e.Correlate)
	}
	fmt.Fprintf(w, "  suppress    %s\n", e.Suppress)
	tags := make([]string, 0, len(e.Tags))
	for t := range e.Tags {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	for _, t := range tags {
		fmt.Fprintf(w, "  tag         %s %s\n", t, e.Tags[t])
	}
	fmt.Fprintln(w)
}
