package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/user"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
)

// change is what a push does to one rule.
type change struct {
	Rule  string   `json:"rule"`
	Kind  string   `json:"kind"`            // added, removed, changed
	Parts []string `json:"parts,omitempty"` // what of it has changed
	Title string   `json:"title"`
}

func (p *publisher) diff() *cobra.Command {
	return &cobra.Command{
		Use: "diff [DIR]", Short: "Show rule by rule what pushing a folder would change", Args: cobra.MaximumNArgs(1), SilenceUsage: true,
		Long: "Compares the rules of a folder (default: rules) with the revision in force, rule by rule.\n`vagus rules diff` says what the change does to alerts.",
		RunE: func(cmd *cobra.Command, args []string) error {
			files, _, err := readRules(args)
			if err != nil {
				return err
			}
			b, store, err := p.open(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			m, err := store.Current(cmd.Context())
			if err != nil && !errors.Is(err, bus.ErrNotFound) {
				return err
			}
			changes, err := p.compare(cmd.Context(), store, m, files)
			if err != nil {
				return err
			}
			if p.json {
				return printJSON(cmd.OutOrStdout(), changes)
			}
			writeChanges(cmd.OutOrStdout(), changes)
			return nil
		},
	}
}

// compare says what files change against a revision; files with errors are left
// out.
func (p *publisher) compare(ctx context.Context, store *snapshot.Store, m snapshot.Manifest, files map[string][]byte) ([]change, error) {
	before, _, err := p.rulesOf(ctx, store, m)
	if err != nil {
		return nil, err
	}
	after, _, err := rule.LoadFS(snapshot.FS(files), ".", "", formats()...)
	if err != nil {
		return nil, err
	}
	was, is := map[string]*rule.Rule{}, map[string]*rule.Rule{}
	for _, r := range before {
		was[r.ID] = r
	}
	for _, r := range after {
		is[r.ID] = r
	}
	ids := maps.Clone(was)
	maps.Copy(ids, is)
	out := []change{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		switch old, now := was[id], is[id]; {
		case old == nil:
			out = append(out, change{Rule: id, Kind: "added", Title: now.Title})
		case now == nil:
			out = append(out, change{Rule: id, Kind: "removed", Title: old.Title})
		case old.Version != now.Version:
			out = append(out, change{Rule: id, Kind: "changed", Title: now.Title, Parts: parts(old, now)})
		}
	}
	return out, nil
}

// parts says in which parts two versions of a rule differ.
func parts(old, now *rule.Rule) []string {
	var out []string
	value := func(name string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("%s %v → %v", name, a, b))
		}
	}
	value("level", old.Level, now.Level)
	value("lane", old.Lane, now.Lane)
	value("status", old.Status, now.Status)
	value("enabled", !old.Disabled, !now.Disabled)
	value("suppress", old.Alert.Suppress, now.Alert.Suppress)
	same := func(name string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			out = append(out, name)
		}
	}
	text := func(r *rule.Rule) string {
		if r.When == nil {
			return ""
		}
		return r.When.Root.String()
	}
	same("when", text(old), text(now))
	same("source", old.Source, now.Source)
	same("tags", old.Tags, now.Tags)
	cases := func(r *rule.Rule) []rule.Test {
		out := slices.Clone(r.Tests)
		for i := range out {
			out[i].Line = 0
		}
		return out
	}
	same("tests", cases(old), cases(now))
	if (old.Correlate == nil) != (now.Correlate == nil) || old.StateKey() != now.StateKey() {
		out = append(out, "correlate")
	}
	if len(old.Exceptions) != len(now.Exceptions) {
		out = append(out, "exceptions")
	}
	if len(out) == 0 {
		out = append(out, "text")
	}
	return out
}

func writeChanges(w io.Writer, changes []change) {
	count := map[string]int{}
	for _, c := range changes {
		count[c.Kind]++
		sign := map[string]string{"added": "+", "removed": "-", "changed": "~"}[c.Kind]
		fmt.Fprintf(w, "%s %s  %s", sign, c.Rule, printable(c.Title))
		if len(c.Parts) > 0 {
			fmt.Fprintf(w, "  (%s)", printable(strings.Join(c.Parts, ", ")))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d added, %d removed, %d changed\n", count["added"], count["removed"], count["changed"])
}

// login is who somebody is: as they say, or the login name.
func login(by string) string {
	if by == "" {
		if u, err := user.Current(); err == nil {
			return u.Username
		}
	}
	return by
}
