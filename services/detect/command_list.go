package detect

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// listed is a line of `rules list`.
type listed struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Level    string   `json:"level"`
	Status   string   `json:"status"`
	Lane     string   `json:"lane"`
	Tags     []string `json:"tags,omitempty"`
	Families []string `json:"families,omitempty"`
	Classes  []string `json:"classes,omitempty"`
	Products []string `json:"products,omitempty"`
	Tests    int      `json:"tests"`
	Enabled  bool     `json:"enabled"`
	File     string   `json:"file"`
	// Blind has the silent sources, if the running hub gets nothing else that
	// this rule could match.
	Blind []string `json:"blind,omitempty"`
	// Learning is what a rule that rests on the past knows of it, if a hub runs.
	Learning *Learning `json:"learning,omitempty"`
}

// filter chooses rules; empty lists take all.
type filter struct {
	tags, levels, lanes, statuses, sources []string
}

func (a *author) listCommand() *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use: "list [PATH…]", Short: "List rules (default: the built-in rules)", SilenceUsage: true,
		Long:    "Lists rules. Filters of different kinds must all hold; of one kind, one value is enough.",
		Example: "  vagus rules list --tag atlas.aml.t0051 --level high\n  vagus rules list --source nginx.access --lane enforce\n  vagus rules list rules --json | jq -r '.[].id'",
	}
	c.Flags().StringSliceVar(&f.tags, "tag", nil, "a tag or the beginning of one: atlas.aml.t0051, owasp")
	c.Flags().StringSliceVar(&f.levels, "level", nil, "informational, low, medium, high, critical; medium+ means medium or above")
	c.Flags().StringSliceVar(&f.lanes, "lane", nil, "hunt, alert or enforce")
	c.Flags().StringSliceVar(&f.statuses, "status", nil, "experimental, test or stable")
	c.Flags().StringSliceVar(&f.sources, "source", nil, "a source whose events the rule reads (nginx.access), or a class or family that it names: http_activity, ai")
	c.RunE = func(c *cobra.Command, args []string) error { return a.list(c.OutOrStdout(), f, args) }
	return c
}

func (a *author) list(w io.Writer, f filter, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	rules, _, err := a.load(args)
	if err != nil {
		return err
	}
	var feeds []Feed
	if a.Feeds != nil && len(f.sources) > 0 {
		if feeds, err = a.Feeds(); err != nil {
			return err
		}
	}
	if err := f.checkNames(rules, feeds); err != nil {
		return err
	}
	health := a.health()
	out := []listed{}
	for _, r := range rules {
		l := listed{ID: r.ID, Title: r.Title, Level: string(r.Level), Status: r.Status, Lane: string(r.Lane), Tags: r.Tags,
			Products: r.Source.Products, Tests: len(r.Tests), Enabled: !r.Disabled, File: r.File, Blind: health.Blind[r.ID]}
		if x, ok := health.Learning[r.ID]; ok {
			l.Learning = &x
		}
		l.Classes, l.Families = classNames(r), familyNames(r)
		if f.takes(l) && f.reads(r, feeds) {
			out = append(out, l)
		}
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
		if l.Learning != nil && l.Learning.State != Seeded {
			l.Title += "  (" + l.Learning.State + ": raises nothing until " + l.Learning.Until.Format(time.RFC3339) + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\n", l.ID, l.Level, l.Lane, l.Status, l.Tests, l.Title)
	}
	return tw.Flush()
}

// check refuses values that no rule can have, whatever rules there are.
func (f filter) check() error {
	for _, x := range []struct {
		flag   string
		values []string
		known  []string
	}{
		{"level", f.levels, []string{"informational", "low", "medium", "high", "critical"}},
		{"lane", f.lanes, []string{"hunt", "alert", "enforce"}},
		{"status", f.statuses, []string{"experimental", "test", "stable"}},
	} {
		for _, v := range x.values {
			if x.flag == "level" {
				v = strings.TrimSuffix(v, "+")
			}
			if !slices.Contains(x.known, v) {
				return fmt.Errorf("list: --%s %s is unknown%s (one of %s)", x.flag, v, nearest(v, x.known), strings.Join(x.known, ", "))
			}
		}
	}
	return nil
}

func (f filter) takes(l listed) bool {
	one := func(want []string, fits func(string) bool) bool {
		return len(want) == 0 || slices.ContainsFunc(want, fits)
	}
	rank := func(level string) int { return finding.Level(level).SeverityID() }
	return one(f.tags, func(t string) bool {
		return slices.ContainsFunc(l.Tags, func(have string) bool { return have == t || strings.HasPrefix(have, t+".") })
	}) && one(f.levels, func(v string) bool {
		least, above := strings.CutSuffix(v, "+")
		return v == l.Level || above && rank(least) > 0 && rank(l.Level) >= rank(least)
	}) && one(f.lanes, func(v string) bool { return v == l.Lane }) &&
		one(f.statuses, func(v string) bool { return v == l.Status })
}

// reads reports whether a rule, or a step of its own, is about one of the sources
// that are asked for: it names it as a product, class or family, or takes events
// that the source's mapping makes.
func (f filter) reads(r *rule.Rule, feeds []Feed) bool {
	if len(f.sources) == 0 {
		return true
	}
	if r.Correlate != nil {
		for _, s := range r.Correlate.Steps {
			if s.Rule != nil && f.reads(s.Rule, feeds) {
				return true
			}
		}
	}
	s := r.Source
	return slices.ContainsFunc(f.sources, func(v string) bool {
		return slices.Contains(s.Products, v) || slices.Contains(classNames(r), v) || slices.Contains(familyNames(r), v) ||
			len(s.Products) == 0 && slices.ContainsFunc(feeds, func(x Feed) bool {
				return x.Source == v && s.Families.Has(x.Family) && (len(s.Classes) == 0 || slices.Contains(s.Classes, x.Class))
			})
	})
}

func classNames(r *rule.Rule) []string {
	var out []string
	for _, uid := range r.Source.Classes {
		if c, ok := event.ClassByUID(uid); ok {
			out = append(out, c.Name)
		}
	}
	return out
}

func familyNames(r *rule.Rule) []string {
	var out []string
	for i, name := range event.FamilyNames {
		if r.Source.Families.Has(event.Family(i)) {
			out = append(out, name)
		}
	}
	return out
}

// health asks the running service; without one nothing is known of its rules.
func (a *author) health() Health {
	if a.Health == nil {
		return Health{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h, err := a.Health(ctx)
	if err != nil {
		return Health{}
	}
	return h
}
