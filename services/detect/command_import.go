package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

// importCommand is `rules import`: rules of other products as native ones.
func (a *author) importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Turn rules of other formats into native ones"}
	var o importFlags
	var given []string
	s := &cobra.Command{
		Use: "sigma PATH…", Short: "Import Sigma rules, correlations and filters", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		Long: "Reads Sigma files (folders are searched for .yml and .yaml) as one set, tells what loads and what does not and why,\n" +
			"and writes each rule as a native one to DIR/sigma/<id>.yml, with a test that fires and one that nearly does, both made\n" +
			"from its condition and run. Sigma files also load as they are from any folder of\n" +
			"rules; importing is for those who want to change them. A file that is there and differs is left as it is, unless\n" +
			"--force is given. What is left out ends with exit code 1; the rest is written.\n\n" +
			"Placeholders (modifier expand) take their values from YAML files with vars, as pipelines of pySigma have them,\n" +
			"among the files, or from --placeholder; a value may have wildcards. A rule whose placeholder has no values is\n" +
			"listed as not loaded.",
		Example: "  vagus rules import sigma sigma/rules --check\n  vagus rules import sigma sigma/rules/windows --out rules\n  vagus rules import sigma sigma/rules --check --json | jq '.reports[] | select(.loaded | not)'\n" +
			"  vagus rules import sigma sigma/rules-placeholder --out rules --placeholder 'Workstations=ws-*,desk-*' --placeholder DomainControllers=@dc.txt",
	}
	o.add(s, "list every document that does not load, not only the first of each reason")
	s.Flags().StringArrayVar(&given, "placeholder", nil, "NAME=value,value or NAME=@FILE (a value a line): values of %NAME%; can be repeated")
	s.RunE = func(c *cobra.Command, args []string) error {
		if err := o.valid("sigma"); err != nil {
			return err
		}
		values, err := placeholders(given)
		if err != nil {
			return err
		}
		files, unread, err := readFiles(args, ".yml", ".yaml")
		if err != nil {
			return fmt.Errorf("import sigma: %w", err)
		}
		return a.importSigma(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), files, unread, values, o)
	}
	c.AddCommand(s, a.importATR(), a.importWazuh())
	return c
}

// placeholders reads the values that --placeholder gives.
func placeholders(given []string) (sigma.Placeholders, error) {
	out := sigma.Placeholders{}
	for _, g := range given {
		name, text, ok := strings.Cut(g, "=")
		name = strings.Trim(strings.TrimSpace(name), "%")
		if !ok || name == "" {
			return nil, fmt.Errorf("--placeholder %s: give NAME=value,value or NAME=@FILE", g)
		}
		parts := strings.Split(text, ",")
		if file, ok := strings.CutPrefix(text, "@"); ok {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("--placeholder %s: %w", name, err)
			}
			parts = strings.Split(string(data), "\n")
		}
		for _, v := range parts {
			if v = strings.TrimSpace(v); v != "" {
				out[name] = append(out[name], v)
			}
		}
		if len(out[name]) == 0 {
			return nil, fmt.Errorf("--placeholder %s: there is no value", name)
		}
	}
	return out, nil
}

// imported is what `rules import sigma --json` prints.
type imported struct {
	Documents int            `json:"documents"`
	Loaded    int            `json:"loaded"`
	Reasons   []reason       `json:"reasons"`
	Reports   []sigma.Report `json:"reports"`
	Warnings  []rule.Problem `json:"warnings"`
	Unread    []rule.Problem `json:"unread,omitempty"` // files that cannot be read
	Written   int            `json:"written"`
	Kept      []string       `json:"kept,omitempty"` // files that were there and differ
	Tests     *derivedTests  `json:"tests,omitempty"`
}

type reason struct {
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"` // file:line:column
}

func (a *author) importSigma(ctx context.Context, w, progress io.Writer, read []rule.File, unread []rule.Problem, values sigma.Placeholders, o importFlags) error {
	bar := newCounter(progress, "reading rules", len(read))
	res := sigma.LoadWith(read, values, bar.add)
	bar.clear()
	sum := imported{Unread: unread, Reports: res.Reports, Documents: len(res.Reports), Reasons: reasons(res.Reports)}
	for _, r := range res.Reports {
		if r.Loaded {
			sum.Loaded++
		}
	}
	for _, p := range res.Problems {
		if p.Warning {
			sum.Warnings = append(sum.Warnings, p)
		}
	}
	var files *natives
	if o.out != "" {
		files = newNatives(ctx, o, res.Rules, progress, len(res.Rules))
		for _, r := range res.Rules {
			if err := files.write(r, nil); err != nil {
				return err
			}
		}
		files.bar.clear()
		sum.Written, sum.Kept, sum.Tests = files.written, files.kept, &files.tests
	}
	left := incomplete{len(unread), sum.Documents - sum.Loaded, "document", len(sum.Kept)}.err("sigma")
	if a.json {
		return errors.Join(a.print(w, sum), left)
	}
	writeProblems(w, unread)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range sum.Reasons {
		fmt.Fprintf(tw, "%d\t%s\t%s\n", r.Count, plain(r.Reason, 300), r.Example)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if o.all {
		for _, r := range res.Reports {
			if !r.Loaded {
				fmt.Fprintf(w, "%s:%d:%d: error: %s: %s\n", r.File, r.Line, r.Column, cmp.Or(r.Title, "without a title"), r.Reason)
			}
		}
	}
	fmt.Fprintf(w, "%d of %d documents load, %d do not; %d warnings\n", sum.Loaded, sum.Documents, sum.Documents-sum.Loaded, len(sum.Warnings))
	if files != nil {
		files.report(w, "sigma")
	}
	return left
}

// reasons counts why documents do not load, the most frequent first.
func reasons(reports []sigma.Report) []reason {
	out := []reason{}
	for _, r := range reports {
		if r.Loaded {
			continue
		}
		i := slices.IndexFunc(out, func(x reason) bool { return x.Reason == r.Reason })
		if i < 0 {
			i = len(out)
			out = append(out, reason{Reason: r.Reason, Example: fmt.Sprintf("%s:%d:%d", r.File, r.Line, r.Column)})
		}
		out[i].Count++
	}
	slices.SortStableFunc(out, func(a, b reason) int { return b.Count - a.Count })
	return out
}
