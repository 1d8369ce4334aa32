package cli

import (
	"errors"
	"fmt"
	"net/url"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/decision"
	"github.com/vagus-hub/vagus/schemas/run"
)

// me is the name that goes into the audit log unless --by gives another.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func (a *app) approveCommand() *cobra.Command {
	var deny, asJSON bool
	var by, reason string
	c := &cobra.Command{
		Use: "approve [RUN STEP]", Short: "List what waits for approval, or answer it",
		Example: "  vagus approve\n  vagus approve 3f2c… ask --reason 'checked with the owner'\n  vagus approve 3f2c… ask --deny",
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&deny, "deny", false, "answer no")
	c.Flags().StringVar(&by, "by", me(), "who answers")
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 2:
			uid, err := a.runUID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			in := map[string]any{"approve": !deny, "by": by, "reason": reason}
			if err := a.call(cmd.Context(), "POST", "/v1/approvals/"+url.PathEscape(uid)+"/"+url.PathEscape(args[1]), in, nil); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "recorded")
			return nil
		case 0:
		default:
			return errors.New("approve: give the run and the step, or nothing to list what waits")
		}
		var r struct {
			Approvals []run.Approval `json:"approvals"`
		}
		if err := a.call(cmd.Context(), "GET", "/v1/approvals", nil, &r); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), r.Approvals)
		}
		t := newTable(cmd.OutOrStdout(), "UNTIL", "RUN", "STEP", "PLAYBOOK", "ENTITY", "QUESTION")
		for _, p := range r.Approvals {
			t.row(short(p.Deadline), p.Run, p.Step, p.Playbook, cut(p.Entity, 40), cut(p.Question, 120))
		}
		return t.flush()
	}
	return c
}

func (a *app) decisionsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "decisions", Short: "List who is blocked, limited or let through; add or take back", Args: cobra.NoArgs}
	jsonFlag(c, &asJSON)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var r struct {
			Decisions []decision.Decision `json:"decisions"`
		}
		if err := a.call(cmd.Context(), "GET", "/v1/decisions", nil, &r); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), r.Decisions)
		}
		t := newTable(cmd.OutOrStdout(), "KIND", "SCOPE", "VALUE", "UNTIL", "BY", "REASON", "ID")
		for _, d := range r.Decisions {
			until := "taken back"
			if !d.ExpiresAt.IsZero() {
				until = short(d.ExpiresAt)
			}
			t.row(d.Kind, d.Scope, cut(d.Value, 48), until, d.By, cut(d.Reason, 70), d.ID)
		}
		return t.flush()
	}
	c.AddCommand(a.decideCommand(), a.takeBackCommand())
	return c
}

func (a *app) decideCommand() *cobra.Command {
	var ttl, reason, by string
	c := &cobra.Command{
		Use: "add KIND SCOPE VALUE", Short: "Block, limit or allow somebody by hand", Args: cobra.ExactArgs(3),
		Example: "  vagus decisions add block ip 203.0.113.7 --ttl 1h --reason 'reported by the SOC'",
	}
	c.Flags().StringVar(&ttl, "ttl", "1h", "how long; empty means until taken back")
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().StringVar(&by, "by", me(), "who decides")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		in := map[string]any{"kind": args[0], "scope": args[1], "value": args[2], "ttl": ttl, "reason": reason, "by": by}
		var d decision.Decision
		if err := a.call(cmd.Context(), "POST", "/v1/decisions", in, &d); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), d.ID)
		return nil
	}
	return c
}

func (a *app) takeBackCommand() *cobra.Command {
	var reason, by string
	c := &cobra.Command{Use: "remove ID", Short: "Take a decision back", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().StringVar(&by, "by", me(), "who decides")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{"by": {by}, "reason": {reason}}
		return a.call(cmd.Context(), "DELETE", "/v1/decisions/"+url.PathEscape(args[0])+"?"+q.Encode(), nil, nil)
	}
	return c
}
