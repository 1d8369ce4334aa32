package detect

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// regressCommand is `rules regress`: the samples that sets of rules bring.
func (a *author) regressCommand() *cobra.Command {
	var rules []string
	var wazuh, all bool
	c := &cobra.Command{
		Use: "regress DIR", Short: "Run the samples of a repository of Sigma or Wazuh: each rule must fire on its own", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "DIR is the folder regression_data of a Sigma repository: info.yml files that name rules, and events beside them as JSON.\n" +
			"The events go through the mappings, the rules through the compiler and the index, as in the running hub. Rules are\n" +
			"looked for in the folders rules* beside DIR.\n\n" +
			"With --wazuh DIR is the folder ruleset of a Wazuh repository: rules/*.xml are converted, and the logs of\n" +
			"testing/tests/*.ini go through the mappings. It tells how many fire the rule that they are for, and why others\n" +
			"say nothing; it fails only if it cannot run.",
		Example: "  vagus rules regress sigma/regression_data\n  vagus rules regress my/regression_data --rules my/rules --json\n  vagus rules regress --wazuh wazuh/ruleset --all",
	}
	c.Flags().StringSliceVar(&rules, "rules", nil, "folders of the rules (default: rules* beside DIR)")
	c.Flags().BoolVar(&wazuh, "wazuh", false, "DIR is the ruleset of a Wazuh repository")
	c.Flags().BoolVar(&all, "all", false, "with --wazuh: list every sample that does not fire its rule")
	c.RunE = func(c *cobra.Command, args []string) error {
		if wazuh {
			return a.regressWazuh(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0], all)
		}
		return a.regress(c.OutOrStdout(), c.ErrOrStderr(), args[0], rules)
	}
	return c
}

// regressed is the outcome of one sample.
type regressed struct {
	sigma.Sample
	Events int    `json:"events"`
	Fired  int    `json:"fired"` // events that the rule matched
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

func (a *author) regress(w, progress io.Writer, dir string, folders []string) error {
	if a.Normalize == nil {
		return errors.New("regress: the mappings of sources are not at hand in this program; use vagus rules regress")
	}
	if len(folders) == 0 {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "rules*"))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("regress: there is no folder rules beside %s; name it with --rules", dir)
		}
		folders = found
	}
	samples, err := sigma.Samples(dir)
	if err != nil {
		return err
	}
	files, unread, err := readFiles(folders, ".yml", ".yaml")
	if err != nil {
		return fmt.Errorf("regress: %w", err)
	}
	writeProblems(progress, unread)
	bar := newCounter(progress, "reading rules", len(files))
	loaded := sigma.LoadWith(files, nil, bar.add)
	bar.clear()
	reasons := map[string]string{}
	for _, r := range loaded.Reports {
		if r.Loaded {
			reasons[r.SigmaID] = ""
		} else if r.SigmaID != "" {
			reasons[r.SigmaID] = r.Reason
		}
	}
	m := match.New(rule.Matched(loaded.Rules))
	out := []regressed{}
	failed := 0
	for _, s := range samples {
		r := a.sample(m, s, reasons)
		if !r.OK {
			failed++
		}
		out = append(out, r)
	}
	if a.json {
		if err := a.print(w, out); err != nil {
			return err
		}
	} else {
		for _, r := range out {
			if !r.OK {
				fmt.Fprintf(w, "FAIL %s %s: %s\n", r.Info, r.Title, r.Reason)
			}
		}
		fmt.Fprintf(w, "%d of %d samples fire their rule\n", len(out)-failed, len(out))
	}
	if failed > 0 {
		return errProblems
	}
	return nil
}

// sample runs one sample through mappings and matcher.
func (a *author) sample(m *match.Matcher, s sigma.Sample, reasons map[string]string) regressed {
	out := regressed{Sample: s}
	why, known := reasons[s.RuleID]
	switch {
	case !known:
		out.Reason = "rule " + s.RuleID + " is not in the folders of rules"
		return out
	case why != "":
		out.Reason = "the rule does not load: " + why
		return out
	}
	id := "sigma." + s.RuleID
	var others []string
	var b block.Block
	err := a.Normalize("auto", s.Events, time.Now().UnixMilli(), func(payload []byte) error {
		if err := block.Decode(payload, &b); err != nil {
			return err
		}
		out.Events += b.Rows()
		m.Match(&b, func(r *rule.Rule, _ int) {
			if r.ID == id {
				out.Fired++
			} else if len(others) < 3 {
				others = append(others, r.Title)
			}
		})
		return nil
	})
	switch {
	case err != nil:
		out.Reason = err.Error()
	case out.Fired == 0:
		out.Reason = fmt.Sprintf("no match in %d events", out.Events)
		if len(others) > 0 {
			out.Reason += " (others match: " + strings.Join(others, "; ") + ")"
		}
	case out.Fired < s.Matches:
		out.Reason = fmt.Sprintf("%d events match, %d were expected", out.Fired, s.Matches)
	default:
		out.OK = true
	}
	return out
}
