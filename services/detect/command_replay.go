package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/history"
)

// ReplayCommand returns `replay`: what live detection raised, against what the
// rules raise over the stored events.
func ReplayCommand(opts CommandOptions) *cobra.Command {
	var s span
	var diff, asJSON bool
	var rules []string
	limit := 20
	c := &cobra.Command{
		Use: "replay --diff", Short: "Find alerts that live detection missed, or raised otherwise, and why", SilenceUsage: true, Args: cobra.NoArgs,
		Long: "Runs the rules that the hub runs (built in, of its folder, pushed) over the stored events and compares the\n" +
			"alerts with those that live detection raised. For each difference it looks for the reason: events that came late or are not stored, a rule that\n" +
			"was changed since, an alert that was taken back. Exit code 1 if live missed one.",
		Example: "  vagus replay --diff --since 24h\n  vagus replay --diff --since 7d --rules /etc/vagus/rules --json | jq '.missed[] | {rule, why}'",
	}
	s.flags(c, "24h")
	c.Flags().BoolVar(&diff, "diff", false, "compare with the alerts that were raised live")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringSliceVar(&rules, "rules", nil, "files or folders of rules besides those that the hub runs, which they replace")
	c.Flags().IntVar(&limit, "limit", limit, "how many differences of each kind are shown")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !diff {
			return errors.New("replay: say --diff: replaying only compares, nothing is raised again")
		}
		o, err := s.options(time.Now().UTC())
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		a := &author{CommandOptions: opts}
		set, err := a.running(c.Context(), rules)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		db, err := opts.events(c.Context())
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		defer func() { _ = db.Close() }()
		b := newBar(c.ErrOrStderr(), "replay")
		o.Progress = b.show
		r, err := history.RunReplay(c.Context(), db, set, o)
		b.clear()
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		if asJSON {
			err = printJSON(c.OutOrStdout(), r)
		} else {
			err = writeReplay(c.OutOrStdout(), r, limit)
		}
		if err == nil && len(r.Missed) > 0 {
			err = fmt.Errorf("replay: live missed %d alerts", len(r.Missed))
		}
		return err
	}
	return c
}

// running is the set that the hub runs, as far as it is enabled, and those of
// files, which replace them.
func (a *author) running(ctx context.Context, paths []string) (*history.Set, error) {
	all, err := a.live(ctx)()
	if err != nil {
		return nil, err
	}
	if len(paths) > 0 {
		more, problems, err := a.load(paths)
		if err != nil {
			return nil, err
		}
		for _, p := range problems {
			if !p.Warning {
				return nil, errors.New(p.String())
			}
		}
		have := map[string]bool{}
		for _, r := range more {
			have[r.ID] = true
		}
		for _, r := range all {
			if !have[r.ID] {
				more = append(more, r)
			}
		}
		all = more
	}
	on := all[:0:0]
	for _, r := range all {
		if !r.Disabled {
			on = append(on, r)
		}
	}
	return history.NewSet(on), nil
}

func writeReplay(w io.Writer, r *history.Replay, limit int) error {
	fmt.Fprintf(w, "from %s to %s: %s events judged in %s\n", r.From.Format("2006-01-02 15:04"), r.To.Format("2006-01-02 15:04"), thousands(r.Events), r.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(w, "live raised %d alerts, the replay %d: %d are the same, live missed %d, only live has %d\n", r.Live, r.Replayed, r.Same, len(r.Missed), len(r.Extra))
	if r.Truncated {
		fmt.Fprintln(w, "there were more alerts than are kept: the comparison is not complete")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	list := func(what string, list []history.Difference) {
		for _, d := range list[:min(limit, len(list))] {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", what, d.First.Format("2006-01-02 15:04:05"), d.Rule, plain(d.Entity.Type+":"+d.Entity.Value, 40), plain(d.Title, 70))
			fmt.Fprintf(tw, "\t  %s\n", plain(strings.Join(d.Why, "; "), 300))
		}
		if more := len(list) - limit; more > 0 {
			fmt.Fprintf(tw, "%s\t… %d more\n", what, more)
		}
	}
	list("missed", r.Missed)
	list("only live", r.Extra)
	return tw.Flush()
}
