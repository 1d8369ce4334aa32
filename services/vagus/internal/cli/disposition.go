package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// dispositionCommand records what an alert was found to be. Backtests measure
// precision by it, and `rules tune` learns from it.
func (a *app) dispositionCommand() *cobra.Command {
	var asJSON bool
	var note, by string
	c := &cobra.Command{
		Use: "disposition UID… [true_positive|benign|false_positive|none]", Short: "Say what alerts were found to be, or show what was said", Args: cobra.MinimumNArgs(1),
		Long: "Says what alerts were found to be:\n  true_positive   an attack, or what the rule is there for\n  benign          what the rule describes, and allowed\n  false_positive  not what the rule describes\n  none            takes the verdict back\n" +
			"The verdict goes into the audit log and into ClickHouse. `vagus rules backtest` measures a rule's\nprecision by it, and `vagus rules tune` proposes exceptions from it. UIDs may be cut short, as the\nlists show them. Without a verdict the newest one of each alert is shown.",
		Example: "  vagus alerts disposition 3f2c91d07a55 benign --note 'nightly scan of the platform team'\n  vagus alerts disposition 3f2c91d07a55",
	}
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&note, "note", "", "why")
	c.Flags().StringVar(&by, "by", me(), "who says so")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		verdict, given := finding.Verdict(args[len(args)-1]), false
		if verdict == "none" {
			verdict, given = "", true
		} else if slices.Contains(finding.Verdicts[:], verdict) {
			given = true
		}
		uids := args
		if given {
			uids = args[:len(args)-1]
		}
		if len(uids) == 0 {
			return errors.New("disposition: of which alert? give its uid (`vagus alerts` lists them)")
		}
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		said, err := dispositions(cmd.Context(), b)
		if err != nil {
			return err
		}
		all, err := alerts(cmd.Context(), b, time.Time{})
		if err != nil {
			return err
		}
		out := []finding.Disposition{}
		for _, uid := range uids {
			al, err := oneAlert(all, uid)
			if err != nil {
				return err
			}
			d, ok := said[al.UID]
			if given {
				d, ok = finding.Disposition{Alert: al.UID, Rule: al.Rule, Verdict: verdict, Note: note, By: by, At: time.Now().UTC().Truncate(time.Millisecond)}, true
				if err := publishDisposition(cmd.Context(), b, d); err != nil {
					return err
				}
			}
			if ok && (given || d.Verdict != "") {
				out = append(out, d)
			}
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), out)
		}
		if given {
			noun := "alerts"
			if len(out) == 1 {
				noun = "alert"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "recorded for %d %s\n", len(out), noun)
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "AT", "VERDICT", "BY", "RULE", "NOTE", "ALERT")
		for _, d := range out {
			t.row(short(d.At), d.Verdict, d.By, d.Rule, cut(d.Note, 80), d.Alert[:min(12, len(d.Alert))])
		}
		return t.flush()
	}
	return c
}

func publishDisposition(ctx context.Context, b *bus.Bus, d finding.Disposition) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = b.Publish(ctx, bus.Msg{
		Subject: subjects.Runs(subjects.RunsDisposition), ID: fmt.Sprintf("disposition:%s:%d", d.Alert, d.At.UnixMilli()), Data: data,
	})
	if err != nil {
		return fmt.Errorf("record disposition: %w", err)
	}
	return nil
}

// oneAlert finds an alert by the beginning of its uid.
func oneAlert(all []finding.Alert, begin string) (finding.Alert, error) {
	if strings.Trim(begin, "0123456789abcdef") != "" {
		return finding.Alert{}, fmt.Errorf("%q is neither a verdict (%s, none) nor the beginning of an alert's uid", begin, strings.Trim(fmt.Sprint(finding.Verdicts), "[]"))
	}
	var found []finding.Alert
	for _, al := range all {
		if strings.HasPrefix(al.UID, begin) {
			found = append(found, al)
		}
	}
	switch len(found) {
	case 0:
		return finding.Alert{}, fmt.Errorf("no alert on the bus begins with %q (`vagus alerts --since 30d` lists them)", begin)
	case 1:
		return found[0], nil
	}
	return finding.Alert{}, fmt.Errorf("%d alerts begin with %q; give more of the uid", len(found), begin)
}

// dispositions reads the newest verdict on each alert.
func dispositions(ctx context.Context, b *bus.Bus) (map[string]finding.Disposition, error) {
	out := map[string]finding.Disposition{}
	for rec, err := range b.ReadFrom(ctx, subjects.StreamRuns, []string{subjects.Runs(subjects.RunsDisposition)}, 1, 0) {
		if err != nil {
			return nil, err
		}
		var d finding.Disposition
		if json.Unmarshal(rec.Data, &d) == nil {
			out[d.Alert] = d
		}
	}
	return out, nil
}
