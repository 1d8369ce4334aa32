package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/wazuh"
)

// importWazuh is `rules import wazuh`.
func (a *author) importWazuh() *cobra.Command {
	var o importFlags
	c := &cobra.Command{
		Use: "wazuh PATH…", Short: "Import Wazuh's XML rules", Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		Long: "Reads rule files of Wazuh 3 and 4 (folders are searched for .xml) as one set, tells what can be\nconverted and what not and why, and writes each rule as a native one to DIR/wazuh/<id>.yml.\nChains along if_sid become conjunctions, frequency and timeframe correlations. Give all files a\nchain needs: Wazuh's ruleset together with your own rules. A file that is there and differs is left\nas it is, unless --force is given. What is left out ends with exit code 1; the rest is written.",
		Example: "  vagus rules import wazuh ruleset/rules etc/rules/local_rules.xml --check\n" +
			"  vagus rules import wazuh ruleset/rules --only 100000-120000 etc/rules --out rules",
	}
	var only string
	c.Flags().StringVar(&only, "only", "", "only rules with these ids: 5710 or 100000-120000")
	o.add(c, "list every rule that cannot be converted, not only an example of each reason")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.valid("wazuh"); err != nil {
			return err
		}
		from, to, err := idRange(only)
		if err != nil {
			return err
		}
		files, unread, err := readXML(args)
		if err != nil {
			return fmt.Errorf("import wazuh: %w", err)
		}
		list, problems := wazuh.Convert(files)
		for _, p := range unread {
			problems = append(problems, errors.New(p.String()))
		}
		found := len(list)
		list = slices.DeleteFunc(list, func(c wazuh.Converted) bool { return c.ID < from || c.ID > to })
		if len(list) == 0 && found > 0 {
			return fmt.Errorf("import wazuh: none of %s has an id of --only %s", count(found, "rule"), only)
		}
		return a.reportWazuh(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), list, problems, o)
	}
	return c
}

var rangeForm = regexp.MustCompile(`^(\d{1,9})(?:-(\d{1,9}))?$`)

func idRange(s string) (from, to int, err error) {
	if s == "" {
		return 0, 1 << 30, nil
	}
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, fmt.Errorf("import wazuh: --only %s is neither an id nor a range such as 100000-120000", s)
	}
	from, _ = strconv.Atoi(m[1])
	if to = from; m[2] != "" {
		to, _ = strconv.Atoi(m[2])
	}
	return from, to, nil
}

// readXML reads the files of paths and folders as readFiles does.
func readXML(paths []string) ([]wazuh.File, []rule.Problem, error) {
	files, problems, err := readFiles(paths, ".xml")
	out := make([]wazuh.File, len(files))
	for i, f := range files {
		out[i] = wazuh.File(f)
	}
	return out, problems, err
}

// importedWazuh is what `rules import wazuh --json` prints.
type importedWazuh struct {
	Rules    int               `json:"rules"`
	Base     int               `json:"base"`    // of level 0 or noalert: others refine them
	Loaded   int               `json:"loaded"`  // of the rest
	Guessed  int               `json:"guessed"` // of these, with a field or decoder that the hub has no column or source for
	Problems []string          `json:"problems"`
	Reports  []wazuh.Converted `json:"reports"`
	Written  int               `json:"written"`
	Kept     []string          `json:"kept,omitempty"` // files that were there and differ
	// Tests are those of the rules that were written.
	Tests *derivedTests `json:"tests,omitempty"`
}

func (a *author) reportWazuh(ctx context.Context, w, progress io.Writer, list []wazuh.Converted, problems []error, o importFlags) error {
	sum := importedWazuh{Rules: len(list), Reports: list, Problems: []string{}}
	for _, p := range problems {
		sum.Problems = append(sum.Problems, p.Error())
	}
	type reason struct {
		text, example string
		count         int
	}
	var reasons []*reason
	native := newNatives(ctx, o, nil, progress, len(list))
	for i := range list {
		c := &list[i]
		switch {
		case c.Base:
			sum.Base++
		case c.Loaded:
			sum.Loaded++
			if len(c.Guessed) > 0 {
				sum.Guessed++
			}
			if o.out != "" {
				r, _ := rule.Load("wazuh/"+strconv.Itoa(c.ID)+".yml", []byte(c.Text))
				if r == nil {
					return fmt.Errorf("import wazuh: rule %d does not load as it is written", c.ID)
				}
				if err := native.write(r, []byte(c.Text)); err != nil {
					return err
				}
				sum.Written, sum.Kept, sum.Tests = native.written, native.kept, &native.tests
			}
		default:
			text := c.Cause()
			i := slices.IndexFunc(reasons, func(r *reason) bool { return r.text == text })
			if i < 0 || o.all {
				i = len(reasons)
				reasons = append(reasons, &reason{text: text, example: fmt.Sprintf("%s:%d: rule %d", c.File, c.Line, c.ID)})
			}
			reasons[i].count++
		}
	}
	native.bar.clear()
	alerting := sum.Rules - sum.Base
	left := incomplete{len(problems), alerting - sum.Loaded, "rule", len(sum.Kept)}.err("wazuh")
	if sum.Rules == 0 {
		left = errors.Join(errors.New("import wazuh: the files hold no rule of Wazuh (<rule> in <group>)"), left)
	}
	if a.json {
		return errors.Join(a.print(w, sum), left)
	}
	for _, p := range sum.Problems {
		fmt.Fprintln(w, p)
	}
	slices.SortStableFunc(reasons, func(x, y *reason) int { return y.count - x.count })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range reasons {
		fmt.Fprintf(t, "%d\t%s\t%s\n", r.count, r.text, r.example)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if sum.Rules == 0 {
		return left
	}
	fmt.Fprintf(w, "%d of %d rules that alert are converted (%.1f %%); %d more only group others\n", sum.Loaded, alerting, share(sum.Loaded, alerting), sum.Base)
	if sum.Guessed > 0 {
		fmt.Fprintf(w, "%d of them read a field or a decoder that no column or source of the hub stands for: look at these before you rely on them (--json lists them as guessed)\n", sum.Guessed)
	}
	if o.out != "" {
		native.report(w, "wazuh")
	}
	return left
}
