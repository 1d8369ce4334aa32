package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/snapshot"
)

// ContentCommand returns `content`, which needs opts.Bus.
func ContentCommand(opts CommandOptions) *cobra.Command {
	p := &publisher{author: author{CommandOptions: opts}, patience: 15 * time.Second}
	cmd := &cobra.Command{
		Use: "content", Short: "Change the rules of the running hub: push a folder, compare, roll back",
		Long: "Rules that are pushed win over those of the folder detect.rules, which win over the built-in\nones, rule by rule. A push is checked and tested first, is one revision, and is taken by every\ninstance as a whole or not at all.",
		Example: "  vagus content push rules -m \"quieter brute force\"\n  vagus content diff rules\n" +
			"  vagus content log\n  vagus content rollback 3 -m \"too many alerts\"",
	}
	cmd.PersistentFlags().BoolVar(&p.json, "json", false, "print JSON")
	cmd.AddCommand(p.push(), p.list(), p.diff(), p.log(), p.rollback(), p.pull())
	return cmd
}

// publisher is what the commands share.
type publisher struct {
	author
	patience time.Duration // how long instances are waited for
}

func (p *publisher) open(ctx context.Context) (*bus.Bus, *snapshot.Store, error) {
	if p.Bus == nil {
		return nil, nil, errors.New("content: this program has no bus to talk to (use `vagus content`)")
	}
	b, err := p.Bus(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := snapshot.Open(ctx, b)
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return b, s, nil
}

// readRules reads a folder of rules, or the folder "rules" in it.
func readRules(args []string) (map[string][]byte, string, error) {
	dir := "rules"
	if len(args) > 0 {
		dir = args[0]
	}
	if i, err := os.Stat(dir); err != nil || !i.IsDir() {
		return nil, dir, fmt.Errorf("content: %s is no folder of rules", dir)
	}
	fsys := os.DirFS(dir)
	files, err := snapshot.Read(fsys, contentRoot(fsys), func(name string) bool { return path.Ext(name) == ".yml" || path.Ext(name) == ".yaml" })
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("content: %s holds no rules (<domain>/<slug>.yml)", dir)
	}
	return files, dir, err
}

// verify checks and tests the files as `rules check` and `rules test` do, and
// prints what is wrong.
func (p *publisher) verify(w io.Writer, files map[string][]byte, prefix string) ([]*rule.Rule, error) {
	rules, problems, err := rule.LoadFS(snapshot.FS(files), ".", prefix, formats()...)
	if err != nil {
		return nil, err
	}
	var known []*rule.Rule
	if p.Content != nil {
		if known, _, err = p.read(nil); err != nil {
			return nil, err
		}
	}
	problems = append(problems, rule.Link(rules, known...)...)
	warnings, tests, failed := 0, 0, 0
	for _, x := range problems {
		if x.Warning {
			warnings++
			continue
		}
		fmt.Fprintln(w, x)
	}
	opts, err := p.testing(rules)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		for _, x := range ruletest.Run(r, opts) {
			if tests++; !x.OK {
				failed++
				fmt.Fprintf(w, "%s:%d: FAIL %s: %s: %s\n", x.File, x.Line, x.Rule, x.Test, x.Message)
			}
		}
	}
	fmt.Fprintf(w, "%s, %s, %s, %d failed\n", count(len(rules), "rule"), count(warnings, "warning"), count(tests, "test"), failed)
	if rule.Failed(problems) || failed > 0 {
		return nil, errProblems
	}
	return rules, nil
}

func (p *publisher) push() *cobra.Command {
	var message, by string
	c := &cobra.Command{
		Use: "push [DIR]", Short: "Check and test a folder of rules, and put it in force everywhere", Args: cobra.MaximumNArgs(1), SilenceUsage: true,
		Long:    "Checks and tests the rules of a folder (default: rules) with the code that runs them. If one has\nan error or fails a test, nothing is pushed. Then every instance switches to them at once.",
		Example: "  vagus content push -m \"quieter brute force\"\n  vagus content push ../detections/rules -m \"release 12\"",
	}
	c.Flags().StringVarP(&message, "message", "m", "", "what changes, for the log; needed")
	c.Flags().StringVar(&by, "by", "", "who you are (default: the login name)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if message == "" {
			return errors.New("content push: say what changes (-m \"…\")")
		}
		files, dir, err := readRules(args)
		if err != nil {
			return err
		}
		if _, err := p.verify(cmd.ErrOrStderr(), files, dir+"/"); err != nil {
			return fmt.Errorf("nothing was pushed: %w", err)
		}
		return p.put(cmd, files, snapshot.Manifest{Message: message, Author: login(by), At: time.Now().UTC()})
	}
	return c
}

// put pushes the files over the revision in force and waits for the instances.
func (p *publisher) put(cmd *cobra.Command, files map[string][]byte, m snapshot.Manifest) error {
	ctx := cmd.Context()
	b, store, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	was, err := store.Current(ctx)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	changes, err := p.compare(ctx, store, was, files)
	if err != nil && !errors.Is(err, snapshot.ErrPruned) {
		return err
	}
	now, err := store.Push(ctx, files, was.Revision, m)
	if err != nil {
		return err
	}
	state, waitErr := p.await(ctx, store, now)
	if p.json {
		out := struct {
			snapshot.Manifest
			Changes   []change           `json:"changes"`
			Instances []snapshot.Applied `json:"instances"`
		}{now, changes, state}
		return errors.Join(printJSON(cmd.OutOrStdout(), out), waitErr)
	}
	w := cmd.OutOrStdout()
	if now.Revision == was.Revision {
		fmt.Fprintf(w, "nothing changes: revision %d (%s) has the same files\n", now.Revision, now.Hash[:12])
		return waitErr
	}
	writeChanges(w, changes)
	fmt.Fprintf(w, "revision %d is in force: %d files, hash %s\n", now.Revision, now.Files, now.Hash[:12])
	for _, i := range state {
		if i.Revision == now.Revision {
			fmt.Fprintf(w, "  %s runs it\n", i.Instance)
		}
	}
	return waitErr
}

// await waits until every instance that is there runs the revision.
func (p *publisher) await(ctx context.Context, store *snapshot.Store, m snapshot.Manifest) ([]snapshot.Applied, error) {
	end := time.Now().Add(p.patience)
	for {
		list, err := store.Instances(ctx)
		if err != nil {
			return nil, err
		}
		open, refused := 0, error(nil)
		for _, i := range list {
			switch {
			case i.Refused == m.Revision:
				refused = errors.Join(refused, fmt.Errorf("%s refuses revision %d and goes on with %d: %s", printable(i.Instance), m.Revision, i.Revision, printable(i.Error)))
			case i.Revision != m.Revision:
				open++
			}
		}
		switch {
		case open == 0 && len(list) > 0 || refused != nil:
			return list, refused
		case time.Now().After(end):
			return list, fmt.Errorf("revision %d is stored, but %d of %d instances do not run it yet (`vagus content log`)", m.Revision, open, len(list))
		}
		select {
		case <-ctx.Done():
			return list, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *publisher) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the rules of the revision in force, and which instances run it", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, store, err := p.open(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			m, err := store.Current(cmd.Context())
			if errors.Is(err, bus.ErrNotFound) {
				return p.nothing(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			rules, _, err := p.rulesOf(cmd.Context(), store, m)
			if err != nil {
				return err
			}
			state, err := store.Instances(cmd.Context())
			if err != nil {
				return err
			}
			lines := []pushedRule{}
			for _, r := range rules {
				lines = append(lines, pushedRule{r.ID, string(r.Level), string(r.Lane), r.Version, r.Title, r.File})
			}
			if p.json {
				return printJSON(cmd.OutOrStdout(), struct {
					snapshot.Manifest
					Rules     []pushedRule       `json:"rules"`
					Instances []snapshot.Applied `json:"instances"`
				}{m, lines, state})
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "revision %d, hash %s, %s by %s: %s\n", m.Revision, m.Hash[:min(12, len(m.Hash))], m.At.Format(time.RFC3339), printable(m.Author), printable(m.Message))
			fmt.Fprintln(w, "ID\tLEVEL\tLANE\tVERSION\tTITLE")
			for _, l := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.ID, l.Level, l.Lane, l.Version, printable(l.Title))
			}
			writeInstances(w, state, m.Revision)
			return w.Flush()
		},
	}
}

// pushedRule is a line of `content list`.
type pushedRule struct {
	ID      string `json:"id"`
	Level   string `json:"level"`
	Lane    string `json:"lane"`
	Version string `json:"version"`
	Title   string `json:"title"`
	File    string `json:"file"`
}

func (p *publisher) nothing(w io.Writer) error {
	if p.json {
		return printJSON(w, struct{}{})
	}
	fmt.Fprintln(w, "nothing was pushed: the hub runs the built-in rules and those of its folder")
	return nil
}

func writeInstances(w io.Writer, state []snapshot.Applied, revision uint64) {
	for _, i := range state {
		switch {
		case i.Refused > 0:
			fmt.Fprintf(w, "%s runs revision %d and refuses %d: %s\n", printable(i.Instance), i.Revision, i.Refused, printable(i.Error))
		case i.Revision == revision:
			fmt.Fprintf(w, "%s runs it since %s\n", printable(i.Instance), i.At.Format(time.RFC3339))
		default:
			fmt.Fprintf(w, "%s runs revision %d\n", printable(i.Instance), i.Revision)
		}
	}
}

// rulesOf loads the rules of a revision.
func (p *publisher) rulesOf(ctx context.Context, store *snapshot.Store, m snapshot.Manifest) ([]*rule.Rule, map[string][]byte, error) {
	if m.Revision == 0 {
		return nil, nil, nil
	}
	files, err := store.Load(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	rules, _, err := rule.LoadFS(snapshot.FS(files), ".", "", formats()...)
	return rules, files, err
}

func (p *publisher) log() *cobra.Command {
	return &cobra.Command{
		Use: "log", Short: "List the revisions, the newest first", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, store, err := p.open(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			list, err := store.Log(cmd.Context())
			if err != nil {
				return err
			}
			if p.json {
				return printJSON(cmd.OutOrStdout(), append([]snapshot.Manifest{}, list...))
			}
			if len(list) == 0 {
				return p.nothing(cmd.OutOrStdout())
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "REVISION\tAT\tBY\tFILES\tHASH\tMESSAGE")
			for i, m := range list {
				note := ""
				if i == 0 {
					note = "  (in force)"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s%s\n", m.Revision, m.At.Format(time.RFC3339), printable(m.Author), m.Files, m.Hash[:min(12, len(m.Hash))], printable(m.Message), note)
			}
			return w.Flush()
		},
	}
}

func (p *publisher) rollback() *cobra.Command {
	var message, by string
	c := &cobra.Command{
		Use: "rollback REVISION", Short: "Push the files of an earlier revision again", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Pushes the files of an earlier revision again, as a new one. They are checked and tested as any\npush is. The files of the last 20 revisions are kept.",
	}
	c.Flags().StringVarP(&message, "message", "m", "", "why, for the log")
	c.Flags().StringVar(&by, "by", "", "who you are (default: the login name)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		files, m, err := p.revision(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if _, err := p.verify(cmd.ErrOrStderr(), files, fmt.Sprintf("content@%d/", m.Revision)); err != nil {
			return fmt.Errorf("nothing was rolled back: %w", err)
		}
		text := fmt.Sprintf("rollback to %d: %s", m.Revision, m.Message)
		if message != "" {
			text = fmt.Sprintf("rollback to %d: %s", m.Revision, message)
		}
		return p.put(cmd, files, snapshot.Manifest{Message: text, Author: login(by), At: time.Now().UTC(), Of: m.Revision})
	}
	return c
}

// revision loads the files of a revision that was named by its number.
func (p *publisher) revision(ctx context.Context, text string) (map[string][]byte, snapshot.Manifest, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return nil, snapshot.Manifest{}, fmt.Errorf("content: %q is no revision (`vagus content log` lists them)", text)
	}
	b, store, err := p.open(ctx)
	if err != nil {
		return nil, snapshot.Manifest{}, err
	}
	defer b.Close()
	m, err := store.Get(ctx, n)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, m, fmt.Errorf("content: there is no revision %d (`vagus content log` lists them)", n)
	}
	if err != nil {
		return nil, m, err
	}
	files, err := store.Load(ctx, m)
	return files, m, err
}

func (p *publisher) pull() *cobra.Command {
	var rev string
	c := &cobra.Command{Use: "pull DIR", Short: "Write the files of a revision into a new folder", Args: cobra.ExactArgs(1), SilenceUsage: true}
	c.Flags().StringVar(&rev, "revision", "", "which one (default: the one in force)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if rev == "" {
			b, store, err := p.open(cmd.Context())
			if err != nil {
				return err
			}
			m, err := store.Current(cmd.Context())
			b.Close()
			if errors.Is(err, bus.ErrNotFound) {
				return errors.New("content: nothing was pushed")
			}
			if err != nil {
				return err
			}
			rev = strconv.FormatUint(m.Revision, 10)
		}
		files, m, err := p.revision(cmd.Context(), rev)
		if err != nil {
			return err
		}
		if err := writeFiles(args[0], files); err != nil {
			return err
		}
		if p.json {
			return printJSON(cmd.OutOrStdout(), m)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "revision %d: %d files in %s\n", m.Revision, m.Files, args[0])
		return nil
	}
	return c
}

// writeFiles makes a folder of the files; one that holds something is refused.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if have, err := os.ReadDir(dir); err != nil || len(have) > 0 {
		return errors.Join(err, fmt.Errorf("content: %s is not empty (give a new folder)", dir))
	}
	root, err := os.OpenRoot(dir) // names come from the bucket: none leaves the folder
	if err != nil {
		return err
	}
	defer root.Close()
	for name, data := range files {
		if !fs.ValidPath(name) {
			return fmt.Errorf("content: file name %q", name)
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
