package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/mute"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/bus"
)

// SilencesCommand returns `silences`, which needs opts.Bus.
func SilencesCommand(opts CommandOptions) *cobra.Command {
	s := &silencer{CommandOptions: opts, now: time.Now}
	cmd := &cobra.Command{
		Use: "silences", Short: "Mute alerts for a while: they are stored, but nobody is told and no playbook starts",
		Long: "A silence mutes the alerts that all its matchers match. A matcher is NAME=\"VALUE\", with the\noperators = != =~ !~; a word alone is a rule. Names are rule, level, lane, title, entity\n(type:value), entity.type, entity.value, entities, tag, source, and the fields that alerts carry.\nAn alert that still fires when its silence ends is told then.",
		Example: "  vagus silences add rule=~\"ai-gateway\\..*\" src_endpoint.ip=192.0.2.7 --for 2h -c \"load test\"\n" +
			"  vagus silences list\n  vagus silences expire 3f9c01aa52be",
	}
	cmd.PersistentFlags().BoolVar(&s.json, "json", false, "print JSON")
	cmd.AddCommand(s.add(), s.list(), s.show(), s.expire())
	return cmd
}

type silencer struct {
	CommandOptions
	json bool
	now  func() time.Time
}

func (s *silencer) open(ctx context.Context) (*bus.Bus, *bus.Bucket[mute.Silence], error) {
	if s.Bus == nil {
		return nil, nil, errors.New("silences: this program has no bus to talk to (use `vagus silences`)")
	}
	b, err := s.Bus(ctx)
	if err != nil {
		return nil, nil, err
	}
	kv, err := bus.OpenBucket[mute.Silence](ctx, b, subjects.BucketSilences)
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return b, kv, nil
}

func (s *silencer) add() *cobra.Command {
	var length, start, end, comment, by string
	var dry bool
	c := &cobra.Command{
		Use: "add MATCHER…", Short: "Add a silence, and show which alerts that fire now it mutes", Args: cobra.MinimumNArgs(1),
		Example: "  vagus silences add ai-gateway.prompt-injection-burst src_endpoint.ip=192.0.2.7 -c \"red team\"\n" +
			"  vagus silences add 'level=~\"low|medium\"' 'source=nginx.access' --start 2026-12-01T22:00:00Z --for 6h -c \"maintenance\"\n" +
			"  vagus silences add 'entity=\"host:gpu-1\"' --for 3d -c \"being rebuilt\" --dry-run",
	}
	f := c.Flags()
	f.StringVar(&length, "for", "2h", "how long: 30m, 2h, 7d")
	f.StringVar(&end, "until", "", "when it ends, instead of --for: 2026-12-01T22:00:00Z")
	f.StringVar(&start, "start", "", "when it begins, a time or a duration from now (default: now)")
	f.StringVarP(&comment, "comment", "c", "", "why; needed")
	f.StringVar(&by, "by", "", "who you are (default: the login name)")
	f.BoolVar(&dry, "dry-run", false, "only show what it would mute now")
	c.MarkFlagsMutuallyExclusive("for", "until")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		now := s.now().UTC().Truncate(time.Second)
		sil := mute.Silence{ID: mute.NewID(), Comment: comment, CreatedBy: by, CreatedAt: now, StartsAt: now}
		for _, arg := range args {
			list, err := mute.ParseMatchers(arg)
			if err != nil {
				return err
			}
			sil.Matchers = append(sil.Matchers, list...)
		}
		if sil.CreatedBy == "" {
			if u, err := user.Current(); err == nil {
				sil.CreatedBy = u.Username
			}
		}
		if err := s.times(&sil, start, end, length, now); err != nil {
			return err
		}
		if err := sil.Check(now); err != nil {
			return fmt.Errorf("silences add: %w", err)
		}
		b, kv, err := s.open(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		notes, err := s.unknownRules(cmd.Context(), sil.Matchers)
		if err != nil {
			return err
		}
		for _, n := range notes {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", n)
		}
		if !dry {
			if _, err := kv.Create(cmd.Context(), sil.ID, sil); err != nil {
				return err
			}
		}
		mutes, err := firing(cmd.Context(), b, &sil, now)
		if err != nil {
			return err
		}
		return s.printOne(cmd.OutOrStdout(), sil, mutes, dry)
	}
	return c
}

func (s *silencer) times(sil *mute.Silence, start, end, length string, now time.Time) error {
	if start != "" {
		if d, err := rule.ParseDuration(start); err == nil {
			sil.StartsAt = now.Add(d)
		} else if sil.StartsAt, err = time.Parse(time.RFC3339, start); err != nil {
			return fmt.Errorf("silences add: --start %s is neither a duration nor a time such as 2026-12-01T22:00:00Z", start)
		}
	}
	if end != "" {
		var err error
		if sil.EndsAt, err = time.Parse(time.RFC3339, end); err != nil {
			return fmt.Errorf("silences add: --until %s is no time such as 2026-12-01T22:00:00Z", end)
		}
		return nil
	}
	d, err := rule.ParseDuration(length)
	if err != nil {
		return fmt.Errorf("silences add: --for %s is not a duration such as 30m, 2h or 7d", length)
	}
	sil.EndsAt = sil.StartsAt.Add(d)
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// muting is a silence with what it mutes, for people.
type muting struct {
	mute.Silence
	State string          `json:"state"`
	Mutes []finding.Alert `json:"mutes"`
}

func (s *silencer) printOne(w io.Writer, sil mute.Silence, mutes []finding.Alert, dry bool) error {
	out := muting{sil, sil.State(s.now()), append([]finding.Alert{}, mutes...)}
	if s.json {
		return printJSON(w, out)
	}
	if dry {
		fmt.Fprintln(w, "not added, this is what it would be:")
	}
	fmt.Fprintf(w, "%s  %s, %s to %s, by %s: %s\n", sil.ID, out.State, sil.StartsAt.Format(time.RFC3339), sil.EndsAt.Format(time.RFC3339), printable(sil.CreatedBy), printable(sil.Comment))
	for _, m := range sil.Matchers {
		fmt.Fprintf(w, "  %s\n", m)
	}
	fmt.Fprintf(w, "alerts that fire now and match: %d\n", len(mutes))
	for i, a := range mutes {
		if i == 20 {
			fmt.Fprintf(w, "  … %d more\n", len(mutes)-i)
			break
		}
		fmt.Fprintf(w, "  %s  %-13s  %s  %s\n", a.UID[:min(12, len(a.UID))], a.Level, a.Rule, printable(a.Title))
	}
	return nil
}

// printable takes control characters out of texts of others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}

// firing lists the alerts that fire now and that the silence matches.
func firing(ctx context.Context, b *bus.Bus, sil *mute.Silence, now time.Time) ([]finding.Alert, error) {
	latest := map[string]finding.Alert{}
	for rec, err := range b.ReadFrom(ctx, subjects.StreamAlerts, nil, 1, 0) {
		if err != nil {
			return nil, err
		}
		var a finding.Alert
		if json.Unmarshal(rec.Data, &a) == nil && a.Revision >= latest[a.UID].Revision {
			latest[a.UID] = a
		}
	}
	var out []finding.Alert
	for _, a := range latest {
		if a.Status != finding.Retracted && now.Before(a.Until) && sil.Matches(&a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(x, y finding.Alert) int { return y.RaisedAt.Compare(x.RaisedAt) })
	return out, nil
}

func (s *silencer) all(ctx context.Context, kv *bus.Bucket[mute.Silence]) ([]mute.Silence, error) {
	entries, err := kv.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []mute.Silence{}
	for _, e := range entries {
		e.Value.ID = e.Key
		out = append(out, e.Value)
	}
	slices.SortFunc(out, func(x, y mute.Silence) int { return x.EndsAt.Compare(y.EndsAt) })
	return out, nil
}

func (s *silencer) list() *cobra.Command {
	var expired bool
	c := &cobra.Command{Use: "list", Short: "List silences that are active or will be", Args: cobra.NoArgs}
	c.Flags().BoolVar(&expired, "expired", false, "also those that ended within the last 5 days")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		b, kv, err := s.open(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		list, err := s.all(cmd.Context(), kv)
		if err != nil {
			return err
		}
		now := s.now()
		if !expired {
			list = slices.DeleteFunc(list, func(x mute.Silence) bool { return x.State(now) == "expired" })
		}
		if s.json {
			return printJSON(cmd.OutOrStdout(), list)
		}
		tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "ID\tSTATE\tENDS\tBY\tMATCHERS\tCOMMENT")
		for _, x := range list {
			var ms []string
			for _, m := range x.Matchers {
				ms = append(ms, m.String())
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, x.State(now), x.EndsAt.UTC().Format(time.RFC3339), printable(x.CreatedBy), printable(strings.Join(ms, ", ")), printable(x.Comment))
		}
		return tw.Flush()
	}
	return c
}

// find completes the beginning of an id.
func (s *silencer) find(ctx context.Context, kv *bus.Bucket[mute.Silence], begin string) (mute.Silence, error) {
	list, err := s.all(ctx, kv)
	if err != nil {
		return mute.Silence{}, err
	}
	list = slices.DeleteFunc(list, func(x mute.Silence) bool { return begin == "" || !strings.HasPrefix(x.ID, begin) })
	if len(list) != 1 {
		return mute.Silence{}, fmt.Errorf("silences: %d begin with %q (`vagus silences list --expired` has them)", len(list), begin)
	}
	return list[0], nil
}

func (s *silencer) show() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a silence and which alerts that fire now it matches", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, kv, err := s.open(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			sil, err := s.find(cmd.Context(), kv, args[0])
			if err != nil {
				return err
			}
			mutes, err := firing(cmd.Context(), b, &sil, s.now())
			if err != nil {
				return err
			}
			return s.printOne(cmd.OutOrStdout(), sil, mutes, false)
		},
	}
}

func (s *silencer) expire() *cobra.Command {
	var by string
	c := &cobra.Command{Use: "expire ID…", Short: "End silences now; what they muted and still fires is told", Args: cobra.MinimumNArgs(1)}
	c.Flags().StringVar(&by, "by", "", "who you are (default: the login name)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		b, kv, err := s.open(cmd.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		if u, err := user.Current(); by == "" && err == nil {
			by = u.Username
		}
		done := []mute.Silence{}
		for _, arg := range args {
			sil, err := s.find(cmd.Context(), kv, arg)
			if err != nil {
				return err
			}
			now := s.now().UTC()
			_, err = kv.Change(cmd.Context(), sil.ID, func(e bus.Entry[mute.Silence]) (mute.Silence, error) {
				if e.Revision == 0 || e.Value.State(now) == "expired" {
					return e.Value, fmt.Errorf("silence %s has ended already", sil.ID)
				}
				e.Value.ID, e.Value.EndsAt, e.Value.ExpiredBy = sil.ID, now, by
				e.Value.StartsAt = minTime(e.Value.StartsAt, now)
				sil = e.Value
				return e.Value, nil
			})
			if err != nil {
				return err
			}
			done = append(done, sil)
			if !s.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s has ended\n", sil.ID)
			}
		}
		if s.json {
			return printJSON(cmd.OutOrStdout(), done)
		}
		return nil
	}
	return c
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
