package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/run"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// alerts reads the newest state of every alert, newest first. It asks the bus,
// so an alert shows the moment it is raised.
func alerts(ctx context.Context, b *bus.Bus, since time.Time) ([]finding.Alert, error) {
	latest := map[string]finding.Alert{}
	for rec, err := range b.ReadFrom(ctx, subjects.StreamAlerts, nil, 1, 0) {
		if err != nil {
			return nil, err
		}
		var al finding.Alert
		if err := json.Unmarshal(rec.Data, &al); err != nil {
			continue // not ours: ALERTS may hold newer kinds
		}
		if old, ok := latest[al.UID]; (!ok || al.Revision >= old.Revision) && !al.RaisedAt.Before(since) {
			latest[al.UID] = al
		}
	}
	out := make([]finding.Alert, 0, len(latest))
	for _, al := range latest {
		out = append(out, al)
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].RaisedAt.Equal(out[j].RaisedAt) {
			return out[i].RaisedAt.After(out[j].RaisedAt)
		}
		return out[i].UID < out[j].UID
	})
	return out, nil
}

func (a *app) alertsCommand() *cobra.Command {
	var asJSON, asOCSF, withMuted bool
	var level, rule, order string
	var since time.Duration
	var limit, minRisk int
	c := &cobra.Command{
		Use: "alerts [UID]", Short: "List alerts, or show one whole", Args: cobra.MaximumNArgs(1),
		Example: "  vagus alerts --min-risk 70 --sort risk\n  vagus alerts --muted --since 7d   # also those that a silence or an inhibition mutes\n" +
			"  vagus alerts --ocsf --limit 1000 > findings.ndjson   # as OCSF Detection Findings, an object a line",
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&asOCSF, "ocsf", false, "print OCSF Detection Findings, one JSON object a line")
	c.MarkFlagsMutuallyExclusive("json", "ocsf")
	c.Flags().StringVar(&level, "level", "", "only this level and above: informational, low, medium, high, critical")
	c.Flags().StringVar(&rule, "rule", "", "only rules whose id contains this")
	agoFlag(c, &since, "how far back, by the time they were raised")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most")
	c.Flags().IntVar(&minRisk, "min-risk", 0, "only those with this risk or more, 0 to 100")
	c.Flags().StringVar(&order, "sort", "time", "time (newest first) or risk (highest first)")
	c.Flags().BoolVar(&withMuted, "muted", false, "list muted alerts, too")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if order != "time" && order != "risk" {
			return fmt.Errorf("alerts: cannot sort by %q: time or risk", order)
		}
		least := 0
		if level != "" {
			if least = finding.Level(level).SeverityID(); least == 0 {
				return fmt.Errorf("alerts: unknown level %q: informational, low, medium, high or critical", level)
			}
		}
		b, err := a.bus(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		from := time.Now().Add(-since)
		if len(args) == 1 {
			from = time.Time{}
		}
		all, err := alerts(cmd.Context(), b, from)
		if err != nil {
			return err
		}
		if order == "risk" {
			slices.SortStableFunc(all, func(x, y finding.Alert) int { return y.Risk - x.Risk })
		}
		out, muted := []finding.Alert{}, 0
		for _, al := range all {
			if al.Level.SeverityID() < least || al.Risk < minRisk || !strings.Contains(al.Rule, rule) || len(args) == 1 && !strings.HasPrefix(al.UID, args[0]) {
				continue
			}
			if len(args) == 0 && !withMuted && !al.Told() {
				muted++
				continue
			}
			if out = append(out, al); len(out) == limit {
				break
			}
		}
		if len(args) == 1 && len(out) == 0 {
			return fmt.Errorf("alerts: none has the uid %s", args[0])
		}
		if rule != "" && len(out)+muted == 0 && len(args) == 0 {
			if hint := ofRule(all, rule); hint != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), hint)
			}
		}
		if asOCSF {
			return writeFindings(cmd.OutOrStdout(), out)
		}
		if asJSON || len(args) == 1 {
			return printJSON(cmd.OutOrStdout(), out)
		}
		t := newTable(cmd.OutOrStdout(), "RAISED", "LEVEL", "RISK", "COUNT", "ENTITY", "RULE", "REASON", "UID")
		for _, al := range out {
			reason := al.Reason
			if !al.Told() {
				reason = "muted by " + al.Muted.By + " " + al.Muted.ID + ": " + al.Muted.Reason
			}
			t.row(short(al.RaisedAt), al.Level, al.Risk, al.Count, cut(al.Entity.Type+":"+al.Entity.Value, 48), al.Rule, cut(reason, 90), al.UID[:min(12, len(al.UID))])
		}
		if err := t.flush(); err != nil {
			return err
		}
		if muted > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d muted alerts are not listed (--muted lists them)\n", muted)
		}
		return nil
	}
	c.AddCommand(a.dispositionCommand())
	return c
}

// ofRule says of a part of a rule's id that none of the alerts has it; "" if one
// does.
func ofRule(all []finding.Alert, part string) string {
	var ids []string
	for _, al := range all {
		if strings.Contains(al.Rule, part) {
			return ""
		}
		_, slug, _ := strings.Cut(al.Rule, ".")
		ids = append(ids, al.Rule, slug)
	}
	return fmt.Sprintf("no alert of this time is of a rule whose id contains %s%s", part, didYouMean(part, ids))
}

func (a *app) incidentsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "incidents", Short: "List incidents: alerts grouped by who they are about", Args: cobra.NoArgs}
	jsonFlag(c, &asJSON)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var r struct {
			Incidents []run.Incident `json:"incidents"`
		}
		if err := a.call(cmd.Context(), "GET", "/v1/incidents", nil, &r); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), r.Incidents)
		}
		t := newTable(cmd.OutOrStdout(), "LAST SEEN", "LEVEL", "ALERTS", "ENTITY", "TITLE", "UID")
		for _, i := range r.Incidents {
			t.row(short(i.LastSeen), i.Level, i.Count, cut(i.Entity, 48), cut(i.Title, 80), i.UID[:min(12, len(i.UID))])
		}
		return t.flush()
	}
	return c
}

// runUID completes the beginning of a run's uid, as lists show it.
func (a *app) runUID(ctx context.Context, begin string) (string, error) {
	if len(begin) >= 32 {
		return begin, nil
	}
	var r struct {
		Runs []run.Run `json:"runs"`
	}
	if err := a.call(ctx, "GET", "/v1/runs", nil, &r); err != nil {
		return "", err
	}
	found := ""
	for _, x := range r.Runs {
		if !strings.HasPrefix(x.UID, begin) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("several runs begin with %s; give more of the uid", begin)
		}
		found = x.UID
	}
	if found == "" {
		return "", fmt.Errorf("no run begins with %s (`vagus runs` lists them)", begin)
	}
	return found, nil
}

func (a *app) runsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "runs [UID]", Short: "List playbook runs, or show one with its steps", Args: cobra.MaximumNArgs(1)}
	jsonFlag(c, &asJSON)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			uid, err := a.runUID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var one run.Run
			if err := a.call(cmd.Context(), "GET", "/v1/runs/"+url.PathEscape(uid), nil, &one); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), one)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n%s\n\n", one.Playbook, one.State, clean(one.Entity), clean(one.Title))
			t := newTable(cmd.OutOrStdout(), "STEP", "ACTION", "STATE", "UNDO", "REASON")
			for _, s := range one.Steps {
				undo := string(s.Undo)
				if s.UndoAt != nil && s.Undo == run.Waiting {
					undo += " until " + short(*s.UndoAt)
				}
				t.row(s.ID, s.Action, s.State, undo, cut(s.Reason, 100))
			}
			return t.flush()
		}
		var r struct {
			Runs []run.Run `json:"runs"`
		}
		if err := a.call(cmd.Context(), "GET", "/v1/runs", nil, &r); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), r.Runs)
		}
		t := newTable(cmd.OutOrStdout(), "UPDATED", "STATE", "PLAYBOOK", "ENTITY", "ALERT", "REASON", "UID")
		for _, x := range r.Runs {
			t.row(short(x.UpdatedAt), x.State, x.Playbook, cut(x.Entity, 40), cut(x.Title, 60), cut(x.Reason, 60), x.UID[:min(12, len(x.UID))])
		}
		return t.flush()
	}
	return c
}
