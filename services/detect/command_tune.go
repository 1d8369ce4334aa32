package detect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// exceptionText is what an exception says besides its condition.
type exceptionText struct{ owner, reason, expires string }

func (a *author) tuneCommand() *cobra.Command {
	var s span
	var x exceptionText
	var write bool
	c := &cobra.Command{
		Use: "tune ID|FILE", Short: "Propose exceptions from alerts that were found benign, and prove them", SilenceUsage: true, Args: cobra.ExactArgs(1),
		Long: "Looks at the rule's alerts that analysts found benign or false (`vagus alerts disposition`), finds what their\n" +
			"events have in common and no event of a true positive has, and proposes exceptions. The proposals are\n" +
			"proved on history: the rule is run with and without them, and one that would lose a true positive is not\n" +
			"made. With --write they are put into the rule's file, with owner, reason and an end.",
		Example: "  vagus rules tune ai-gateway.gateway-key-brute-force --since 90d\n" +
			"  vagus rules tune rules/ai-gateway/gateway-key-brute-force.yml --write --owner sec@example.com --reason 'nightly scan'",
	}
	s.flags(c, "90d")
	c.Flags().BoolVar(&write, "write", false, "put the exceptions into the rule's file")
	c.Flags().StringVar(&x.owner, "owner", "", "who answers for the exceptions")
	c.Flags().StringVar(&x.reason, "reason", "", "why they are there (default: what they were learned from)")
	c.Flags().StringVar(&x.expires, "expires", "", "the day they end (default: in 90 days)")
	c.RunE = func(c *cobra.Command, args []string) error {
		now := time.Now().UTC()
		o, err := s.options(now)
		if err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		if err := x.check(now, write); err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		live := a.live(c.Context())
		rules, err := a.named(args, live)
		if err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		if len(rules) != 1 {
			return fmt.Errorf("tune: %s has %d rules; name one", args[0], len(rules))
		}
		r := rules[0]
		if _, err := os.Stat(args[0]); write && err != nil {
			return fmt.Errorf("tune: %s is built in and cannot be written: give its file, or copy it into your rules", r.ID)
		}
		all, err := a.withBases(rules, live)
		if err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		db, err := a.events(c.Context())
		if err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		defer func() { _ = db.Close() }()
		b := newBar(c.ErrOrStderr(), "tune")
		if o.Verdicts, err = a.verdicts(c.Context()); err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		o.Progress = b.show
		set := history.NewSet(all)
		t, err := history.Tune(c.Context(), db, set, set.Rules[0], o)
		b.clear()
		if err != nil {
			return fmt.Errorf("tune %s: %w", r.ID, err)
		}
		if a.json {
			err = a.print(c.OutOrStdout(), t)
		} else {
			err = writeTuning(c.OutOrStdout(), r, t, x)
		}
		if err != nil || !write || len(t.Proposals) == 0 {
			return err
		}
		if err := addExceptions(args[0], t, x); err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		if !a.json {
			_, err = fmt.Fprintf(c.OutOrStdout(), "written to %s\n", args[0])
		}
		return err
	}
	return c
}

func (x *exceptionText) check(now time.Time, write bool) error {
	if x.expires == "" {
		x.expires = now.AddDate(0, 0, 90).Format("2006-01-02")
	}
	end, err := time.Parse("2006-01-02", x.expires)
	if err != nil {
		return fmt.Errorf("--expires %s is no day such as 2027-01-31", x.expires)
	}
	if !end.After(now) {
		return fmt.Errorf("--expires %s is over", x.expires)
	}
	if write && x.owner == "" {
		return errors.New("--write needs --owner: an exception without one is never taken out again")
	}
	return nil
}

// line is an exception as YAML.
func (x *exceptionText) line(p history.Proposal, t *history.Tuning) string {
	reason := x.reason
	if reason == "" {
		were := "were"
		if p.Quieted == 1 {
			were = "was"
		}
		reason = fmt.Sprintf("%s from %s to %s %s found benign", count(p.Quieted, "alert"), t.From.Format("2006-01-02"), t.To.Format("2006-01-02"), were)
	}
	owner := x.owner
	if owner == "" {
		owner = "OWNER"
	}
	return fmt.Sprintf("- {when: %s, reason: %s, owner: %s, expires: %s}", yamlText(p.When), yamlText(reason), yamlText(owner), x.expires)
}

// yamlText quotes a text for YAML.
func yamlText(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func writeTuning(w io.Writer, r *rule.Rule, t *history.Tuning, x exceptionText) error {
	v := t.Verdict
	fmt.Fprintf(w, "%s  %s\n  alerts      %d benign, %d false positive, %d true positive, %d not judged, from %s to %s\n", r.ID, r.Title,
		v.Benign, v.FalsePositive, v.TruePositive, v.Unjudged, t.From.Format("2006-01-02"), t.To.Format("2006-01-02"))
	if len(t.Proposals) == 0 {
		_, err := fmt.Fprintln(w, "  proposal    none: what these alerts have in common, a true positive has too, or their events are gone")
		return err
	}
	fmt.Fprintln(w, "  exceptions")
	for _, p := range t.Proposals {
		fmt.Fprintf(w, "    %s\n", plain(x.line(p, t), 600))
	}
	fmt.Fprintf(w, "  proof       %s events judged with and without: %d of %d benign or false alerts go away, ", thousands(t.Events),
		t.Quieted, v.Benign+v.FalsePositive)
	if t.Kept > 0 {
		fmt.Fprintf(w, "all %d true positives are still raised", t.Kept)
	} else {
		fmt.Fprint(w, "and there is no true positive that could be lost")
	}
	if t.Unjudged > 0 {
		fmt.Fprintf(w, "; %d alerts that nobody judged go too", t.Unjudged)
	}
	fmt.Fprintln(w)
	if t.Silent > 0 {
		fmt.Fprintf(w, "  not proved  %d true positives that the rule as it is does not raise again: it was changed, or their events are gone\n", t.Silent)
	}
	return nil
}

// addExceptions writes the proposals into a rule's file, and only if the
// result loads.
func addExceptions(file string, t *history.Tuning, x exceptionText) error {
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := make([]string, len(t.Proposals))
	for i, p := range t.Proposals {
		lines[i] = x.line(p, t)
	}
	text, err := withExceptions(string(before), lines)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	old, _ := rule.Load(filepath.ToSlash(file), before)
	now, problems := rule.Load(filepath.ToSlash(file), []byte(text))
	if now == nil || old == nil || len(now.Exceptions) != len(old.Exceptions)+len(lines) {
		for _, p := range problems {
			if !p.Warning {
				return fmt.Errorf("the exceptions do not fit into the file, which is left as it was: %s", p)
			}
		}
		return fmt.Errorf("%s: the exceptions do not fit into the file, which is left as it was: add them by hand", file)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	// Whole or not at all: a running hub may read the file at any moment.
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), info.Mode().Perm()); err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// withExceptions adds lines to the list of exceptions, or begins one before the
// tests.
func withExceptions(text string, lines []string) (string, error) {
	rows := strings.Split(text, "\n")
	insert := func(at int, more ...string) string {
		out := append([]string{}, rows[:at]...)
		out = append(append(out, more...), rows[at:]...)
		return strings.Join(out, "\n")
	}
	indented := func(by string) []string {
		out := make([]string, len(lines))
		for i, l := range lines {
			out[i] = by + l
		}
		return out
	}
	tests := len(rows)
	for tests > 0 && rows[tests-1] == "" {
		tests-- // before the line end of the last line
	}
	for i, row := range rows {
		if strings.HasPrefix(row, "tests:") {
			tests = i
		}
		rest, ok := strings.CutPrefix(row, "exceptions:")
		if !ok {
			continue
		}
		if rest, _, _ = strings.Cut(rest, "#"); strings.TrimSpace(rest) == "[]" {
			rows[i] = "exceptions:"
		} else if strings.TrimSpace(rest) != "" {
			return "", errors.New("exceptions is a list in one line: put every exception on a line of its own first")
		}
		by := "  "
		for _, next := range rows[i+1:] {
			if item := strings.TrimLeft(next, " "); strings.HasPrefix(item, "-") {
				by = next[:len(next)-len(item)]
				break
			} else if item != "" && !strings.HasPrefix(item, "#") {
				break
			}
		}
		return insert(i+1, indented(by)...), nil
	}
	return insert(tests, append([]string{"exceptions:"}, indented("  ")...)...), nil
}
