package detect

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vagus-hub/vagus/schemas/finding"
)

// reaction is what a playbook would have done about the alerts of a backtest.
type reaction struct {
	Response
	Alerts int      `json:"alerts"` // that would have started it
	Assets []string `json:"assets"` // on which, the one with most alerts first; at most maxAssets
	More   int      `json:"more_assets,omitempty"`
	count  map[string]int
}

const maxAssets = 100

// responses asks which playbooks the alerts would have started, the one with most
// alerts first.
func (a *author) responses(alerts []finding.Alert) ([]reaction, error) {
	out := []reaction{}
	if a.Playbooks == nil {
		return out, nil
	}
	for i := range alerts {
		al := alerts[i]
		al.Status = finding.Raised // only that starts playbooks
		list, err := a.Playbooks(al)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			k := slices.IndexFunc(out, func(x reaction) bool { return x.Playbook == r.Playbook })
			if k < 0 {
				k = len(out)
				out = append(out, reaction{Response: r, count: map[string]int{}})
			}
			out[k].Alerts++
			out[k].count[al.Entity.Type+":"+al.Entity.Value]++
		}
	}
	for i := range out {
		x := &out[i]
		for asset := range x.count {
			x.Assets = append(x.Assets, asset)
		}
		slices.SortFunc(x.Assets, func(a, b string) int { return cmp.Or(x.count[b]-x.count[a], cmp.Compare(a, b)) })
		if x.More = max(len(x.Assets)-maxAssets, 0); x.More > 0 {
			x.Assets = x.Assets[:maxAssets]
		}
	}
	slices.SortFunc(out, func(a, b reaction) int { return cmp.Or(b.Alerts-a.Alerts, cmp.Compare(a.Playbook, b.Playbook)) })
	return out, nil
}

func writeReactions(w io.Writer, list []reaction, limit int) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "  playbooks   none would have acted")
		return err
	}
	fmt.Fprintln(w, "  playbooks that would have acted")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range list {
		x := &list[i]
		dry := ""
		if x.DryRun {
			dry = " (dry run)"
		}
		few := x.Assets[:min(max(limit, 1), len(x.Assets))]
		more := ""
		if n := len(x.Assets) + x.More - len(few); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(tw, "    %7d %s%s\t%s\t%s\n", x.Alerts, x.Playbook, dry, strings.Join(x.Actions, ", "), plain(strings.Join(few, ", "), 120)+more)
	}
	return tw.Flush()
}
