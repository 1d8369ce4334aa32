package detect

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
)

func (a *author) diffCommand() *cobra.Command {
	var s span
	limit := 20
	c := &cobra.Command{
		Use: "diff OLD NEW", Short: "Compare what two versions of rules would have raised, and what would have been done", SilenceUsage: true, Args: cobra.ExactArgs(2),
		Long: "Runs two versions of a rule (or of a folder of rules) over the same stored events and tells which alerts\n" +
			"the new version adds and which it loses, and on which assets which playbooks would act more or less.\n" +
			"OLD and NEW are ids of rules that the hub runs (built in, of its folder or pushed), files or folders. An alert that only begins or ends elsewhere is kept.",
		Example: "  vagus rules diff ai-gateway.prompt-injection-burst ./prompt-injection-burst.yml --since 7d\n" +
			"  git show HEAD:rules/linux/audit-cleared.yml > /tmp/old.yml && vagus rules diff /tmp/old.yml rules/linux/audit-cleared.yml\n" +
			"  vagus rules diff old/rules rules --since 30d --json | jq '.added | length'",
	}
	s.flags(c, "7d")
	c.Flags().IntVar(&limit, "limit", limit, "how many alerts of each kind are shown")
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := s.options(time.Now().UTC())
		if err != nil {
			return fmt.Errorf("diff: %w", err)
		}
		var sides [2]history.Side
		live := a.live(c.Context())
		for i, arg := range args {
			rules, err := a.named([]string{arg}, live)
			if err != nil {
				return fmt.Errorf("diff: %w", err)
			}
			all, err := a.withBases(rules, live)
			if err != nil {
				return fmt.Errorf("diff: %w", err)
			}
			sides[i] = history.Side{Set: history.NewSet(all), Wanted: rules}
		}
		db, err := a.events(c.Context())
		if err != nil {
			return fmt.Errorf("diff: %w", err)
		}
		defer func() { _ = db.Close() }()
		b := newBar(c.ErrOrStderr(), "diff")
		o.Progress = b.show
		cmp, err := history.Compare(c.Context(), db, sides[0], sides[1], o)
		b.clear()
		if err != nil {
			return fmt.Errorf("diff: %w", err)
		}
		acts, err := a.acts(cmp)
		if err != nil {
			return fmt.Errorf("diff: %w", err)
		}
		if a.json {
			return a.print(c.OutOrStdout(), struct {
				*history.Comparison
				Playbooks []act `json:"playbooks"`
			}{cmp, acts})
		}
		return writeDiff(c.OutOrStdout(), cmp, acts, limit, a.Playbooks != nil)
	}
	return c
}

// act is what a playbook would do to an asset with one version only.
type act struct {
	Change string `json:"change"` // added or lost
	Response
	Asset string `json:"asset"`
	Alert string `json:"alert"`
}

// acts asks which playbooks the alerts that differ would start.
func (a *author) acts(c *history.Comparison) ([]act, error) {
	out := []act{}
	if a.Playbooks == nil {
		return out, nil
	}
	started := func(al finding.Alert) ([]Response, error) {
		al.Status = finding.Raised // only that starts playbooks
		return a.Playbooks(al)
	}
	add := func(change string, al finding.Alert, but []Response) error {
		list, err := started(al)
		if err != nil {
			return err
		}
		for _, r := range list {
			if !slices.ContainsFunc(but, func(x Response) bool { return x.Playbook == r.Playbook }) {
				out = append(out, act{change, r, al.Entity.Type + ":" + al.Entity.Value, al.UID})
			}
		}
		return nil
	}
	for _, al := range c.Added {
		if err := add("added", al, nil); err != nil {
			return nil, err
		}
	}
	for _, al := range c.Lost {
		if err := add("lost", al, nil); err != nil {
			return nil, err
		}
	}
	for _, ch := range c.Changed {
		before, err := started(ch.Old)
		if err != nil {
			return nil, err
		}
		after, err := started(ch.New)
		if err != nil {
			return nil, err
		}
		// Another subject is another asset to act on.
		if ch.Old.Entity != ch.New.Entity {
			before, after = nil, nil
		}
		if err := add("added", ch.New, before); err != nil {
			return nil, err
		}
		if err := add("lost", ch.Old, after); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func writeDiff(w io.Writer, c *history.Comparison, acts []act, limit int, playbooks bool) error {
	fmt.Fprintf(w, "from %s to %s: %s events judged in %s\n", c.From.Format("2006-01-02 15:04"), c.To.Format("2006-01-02 15:04"), thousands(c.Events), c.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(w, "old raises %d alerts, new %d: %d added, %d lost, %d kept (%d of them changed)\n", c.Old, c.New, len(c.Added), len(c.Lost), c.Kept, len(c.Changed))
	if c.Truncated {
		fmt.Fprintln(w, "there were more alerts than are kept: the lists are not complete")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	list := func(sign string, alerts []finding.Alert) {
		for _, al := range alerts[:min(limit, len(alerts))] {
			fmt.Fprintf(tw, "%s %s\t%s\t%s\t%s\n", sign, al.FirstSeen.Format("2006-01-02 15:04:05"), al.Level, plain(al.Entity.Type+":"+al.Entity.Value, 48), plain(al.Title, 90))
		}
		if more := len(alerts) - limit; more > 0 {
			fmt.Fprintf(tw, "%s … %d more\n", sign, more)
		}
	}
	list("+", c.Added)
	list("-", c.Lost)
	for _, ch := range c.Changed[:min(limit, len(c.Changed))] {
		fmt.Fprintf(tw, "~ %s\t%s\t%s\t%s\n", ch.New.FirstSeen.Format("2006-01-02 15:04:05"), changed(string(ch.Old.Level), string(ch.New.Level)),
			plain(changed(ch.Old.Entity.Type+":"+ch.Old.Entity.Value, ch.New.Entity.Type+":"+ch.New.Entity.Value), 60), plain(changed(ch.Old.Title, ch.New.Title), 120))
	}
	if more := len(c.Changed) - limit; more > 0 {
		fmt.Fprintf(tw, "~ … %d more\n", more)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	switch {
	case !playbooks:
	case len(acts) == 0:
		fmt.Fprintln(w, "no playbook would act otherwise")
	default:
		fmt.Fprintln(w, "playbooks that would act otherwise")
		for _, x := range acts[:min(limit, len(acts))] {
			dry := ""
			if x.DryRun {
				dry = " (dry run)"
			}
			fmt.Fprintf(tw, "%s %s%s\t%s\t%s\n", map[string]string{"added": "+", "lost": "-"}[x.Change], x.Playbook, dry, plain(x.Asset, 48), strings.Join(x.Actions, ", "))
		}
		if more := len(acts) - limit; more > 0 {
			fmt.Fprintf(tw, "… %d more\n", more)
		}
	}
	return tw.Flush()
}

func changed(old, now string) string {
	if old == now {
		return now
	}
	return old + " → " + now
}
