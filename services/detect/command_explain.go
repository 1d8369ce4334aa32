package detect

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

func (a *author) explainCommand() *cobra.Command {
	var o traceOptions
	c := &cobra.Command{
		Use: "explain [ID|PATH…]", Short: "Show what the compiler makes of rules, or which parts of them an event fulfils", SilenceUsage: true,
		Long: "Without --event: how a rule is routed, which literals it is found by, how it is evaluated.\n" +
			"With --event: for each part of its condition whether it holds (✓ or ✗) and what the event has there.\n" +
			"The event is a file of events in JSON (as `vagus events --json` prints them), a file of raw records\n" +
			"(--source says of which source; - is standard input), or the id of a stored event.",
		Example: "  vagus rules explain ai-gateway.prompt-injection-burst\n" +
			"  vagus rules explain rules/ai-gateway/key-shared.yml --event event.json\n" +
			"  tail -1 access.log | vagus rules explain ai-gateway.model-enumeration --event - --source nginx.access\n" +
			"  vagus rules explain --all --event 1b4e28ba-2fa1-11d2-883f-0016d3cca427   # every rule, nearest first",
	}
	c.Flags().StringVar(&o.event, "event", "", "a file of events or records, - for standard input, or the id of a stored event")
	c.Flags().StringVar(&o.source, "source", "", "the file holds raw records of this source (auto: recognise each)")
	c.Flags().BoolVar(&o.all, "all", false, "all rules: those that match and the nearest that do not")
	c.Flags().IntVar(&o.limit, "limit", 20, "events at most; 0 for all")
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.event != "" {
			return a.trace(c, o, args)
		}
		if o.all || o.source != "" {
			return errors.New("explain: --all and --source are about an event: give --event")
		}
		return a.explain(c.OutOrStdout(), args)
	}
	return c
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
	rules, err := a.named(args, a.builtIn)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	out := []explained{}
	for _, r := range rule.Matched(rules) {
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
	// Branches of a condition may share a literal.
	seen := map[string]bool{}
	e.Literals = slices.DeleteFunc(e.Literals, func(l string) bool { again := seen[l]; seen[l] = true; return again })
	for _, t := range r.Tags {
		e.Tags[t] = taxonomy.Name(t)
	}
	if c := r.Correlate; c != nil {
		e.Correlate = c.String()
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
		often := "nearly every event"
		if n := math.Round(1 / max(e.Cost, 1e-9)); n > 1 {
			often = fmt.Sprintf("about 1 in %.0f events", n)
		}
		fmt.Fprintf(w, "  candidates  %s, those where one of these holds:\n", often)
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
