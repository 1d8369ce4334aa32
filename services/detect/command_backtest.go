package detect

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

func (a *author) backtestCommand() *cobra.Command {
	var s span
	limit := 5
	c := &cobra.Command{
		Use: "backtest ID|PATH…", Short: "Run rules over the events that are stored", SilenceUsage: true,
		Long: "Runs rules over the events that the running hub has stored, with the code that live detection runs,\n" +
			"correlations included, and tells what they would have raised: alerts per day, the entities with most,\n" +
			"precision where analysts have judged alerts (`vagus alerts disposition`), the playbooks that would have acted,\n" +
			"and sample events. An id is that of a rule that the hub runs: built in, of its folder or pushed.\n\n" +
			"ClickHouse is given a condition that every match fulfils, and sends only the events that fulfil it and the\n" +
			"columns that the rules read; what is exact is decided here. Correlations also get what happened before\n" +
			"--since, as long as it may matter. Several rules cost little more than one.",
		Example: "  vagus rules backtest ai-gateway.prompt-injection-burst --since 30d\n" +
			"  vagus rules backtest rules/ai-gateway/key-shared.yml --since 2026-11-01 --until 2026-11-08 --limit 20\n" +
			"  vagus rules backtest rules --since 7d --json | jq '.by_rule[]'",
	}
	s.flags(c, "30d")
	c.Flags().IntVar(&limit, "limit", limit, "how many alerts, entities and sample events are shown")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("backtest: which rule? give an id, a file or a folder")
		}
		o, err := s.options(time.Now().UTC())
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		live := a.live(c.Context())
		rules, err := a.named(args, live)
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		all, err := a.withBases(rules, live)
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		db, err := a.events(c.Context())
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		defer func() { _ = db.Close() }()
		if o.Verdicts, err = a.verdicts(c.Context()); err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		b := newBar(c.ErrOrStderr(), "backtest")
		o.Samples, o.Progress = max(limit, 0), b.show
		res, err := history.Run(c.Context(), db, history.NewSet(all), rules, o)
		b.clear()
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		done, err := a.responses(res.Alerts)
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		if a.json {
			return a.print(c.OutOrStdout(), struct {
				*history.Backtest
				Playbooks []reaction `json:"playbooks"`
			}{res, done})
		}
		if err := writeBacktest(c.OutOrStdout(), rules, res, limit); err != nil || a.Playbooks == nil {
			return err
		}
		return writeReactions(c.OutOrStdout(), done, limit)
	}
	return c
}

func writeBacktest(w io.Writer, rules []*rule.Rule, b *history.Backtest, limit int) error {
	if len(rules) == 1 {
		fmt.Fprintf(w, "%s  %s\n", rules[0].ID, rules[0].Title)
	} else {
		fmt.Fprintf(w, "%d rules\n", len(rules))
	}
	days := b.To.Sub(b.From).Hours() / 24
	fmt.Fprintf(w, "  time        %s to %s (%s)\n", b.From.Format("2006-01-02 15:04"), b.To.Format("2006-01-02 15:04"), spanText(b.To.Sub(b.From)))
	fmt.Fprintf(w, "  events      %s judged in %s (%s/s); ClickHouse sent %s; %s matched\n", thousands(b.Events), b.Elapsed.Round(time.Millisecond),
		thousands(uint64(float64(b.Events)/max(b.Elapsed.Seconds(), 1e-3))), thousands(b.Candidates), thousands(b.Matches))
	if b.Failures > 0 {
		fmt.Fprintf(w, "  failures    %s evaluations ended in an error and count as no match\n", thousands(b.Failures))
	}
	fmt.Fprintf(w, "  alerts      %s, %.2g a day\n", thousands(uint64(b.Raised)), float64(b.Raised)/max(days, 1e-9))
	if p := b.Precision; p.Judged() > 0 {
		fmt.Fprintf(w, "  precision   %.0f %% of the %d judged (%d true positive, %d benign, %d false positive; %d not judged)\n",
			100*p.Share(), p.Judged(), p.TruePositive, p.Benign, p.FalsePositive, p.Unjudged)
	} else if b.Raised > 0 {
		fmt.Fprintln(w, "  precision   not known: no alert of these was judged (vagus alerts disposition)")
	}
	if b.Truncated {
		fmt.Fprintln(w, "  cut         there were more than these alerts: choose a shorter time")
	}
	if len(rules) > 1 {
		writeCounts(w, "rules", b.PerRule, max(limit, 20))
	}
	writeDays(w, b.PerDay)
	writeCounts(w, "entities", b.Entities, limit)
	if len(b.Alerts) > 0 && limit > 0 {
		fmt.Fprintln(w, "  alerts")
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, al := range b.Alerts[:min(limit, len(b.Alerts))] {
			fmt.Fprintf(tw, "    %s\t%s\t%s\t%s\n", al.Time.Format("2006-01-02 15:04:05"), al.Level, plain(al.Title, 90), plain(al.Reason, 110))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		if more := b.Raised - limit; more > 0 {
			fmt.Fprintf(w, "    … %d more\n", more)
		}
	}
	if len(b.Samples) > 0 {
		fmt.Fprintln(w, "  matching events")
		for _, s := range b.Samples {
			fmt.Fprintf(w, "    %s\n", plain(string(s), 400))
		}
	}
	return nil
}

// spanText is a duration in the unit that people use.
func spanText(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.3g days", d.Hours()/24)
	}
	return d.Round(time.Second).String()
}

// writeDays draws alerts per day.
func writeDays(w io.Writer, days []history.Day) {
	most := 1
	for _, d := range days {
		most = max(most, d.Alerts)
	}
	if len(days) > 0 {
		fmt.Fprintln(w, "  by day")
	}
	for _, d := range days {
		fmt.Fprintf(w, "    %s %7d %s\n", d.Day.Format("2006-01-02"), d.Alerts, strings.Repeat("#", max(1, d.Alerts*40/most)))
	}
}

func writeCounts(w io.Writer, what string, counts []history.Count, limit int) {
	if len(counts) == 0 || limit <= 0 {
		return
	}
	fmt.Fprintf(w, "  %s\n", what)
	for _, c := range counts[:min(limit, len(counts))] {
		fmt.Fprintf(w, "    %7d %s\n", c.Count, plain(c.Value, 100))
	}
	if more := len(counts) - limit; more > 0 {
		fmt.Fprintf(w, "            … %d more\n", more)
	}
}
