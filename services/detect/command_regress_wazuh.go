package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/wazuh"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// The outcomes of a sample of Wazuh.
const (
	regressFires     = "fires"
	regressSilent    = "silent"        // the rule is there, the event too, and it does not match
	regressUnmapped  = "not mapped"    // no mapping recognises the log
	regressUnlike    = "not converted" // the rule is a base of others, or cannot be converted
	regressElsewhere = "other source"  // the log is mapped as a source that the rule is not about
)

// wazuhRegressed is the outcome of one sample.
type wazuhRegressed struct {
	wazuh.Sample
	Outcome string   `json:"outcome"`
	Reason  string   `json:"reason,omitempty"`
	Sources []string `json:"sources,omitempty"`
	Guessed []string `json:"guessed,omitempty"`
	// Others are rules that match the last log instead or besides.
	Others []string `json:"others,omitempty"`
}

// wazuhRegression is what `rules regress --wazuh --json` prints.
type wazuhRegression struct {
	Samples  int              `json:"samples"`
	Outcomes map[string]int   `json:"outcomes"`
	Cases    []wazuhRegressed `json:"cases"`
}

// regressWazuh runs the samples of a ruleset of Wazuh: each through the mappings,
// and the converted rules on what comes out.
func (a *author) regressWazuh(ctx context.Context, w, progress io.Writer, dir string, all bool) error {
	if a.Normalize == nil {
		return errors.New("regress: the mappings of sources are not at hand in this program; use vagus rules regress")
	}
	samples, err := wazuhSamples(filepath.Join(dir, "testing", "tests"))
	if err != nil {
		return err
	}
	files, unread, err := readXML([]string{filepath.Join(dir, "rules")})
	if err != nil {
		return fmt.Errorf("regress: %w", err)
	}
	writeProblems(progress, unread)
	list, problems := wazuh.Convert(files)
	for _, p := range problems {
		fmt.Fprintln(progress, p)
	}
	run := wazuhRun{author: a, byID: map[int]*wazuh.Converted{}}
	for i := range list {
		run.byID[list[i].ID] = &list[i]
		if list[i].Loaded {
			run.rules = append(run.rules, list[i].Rule)
		}
	}
	run.matcher = match.New(rule.Matched(run.rules))
	sum := wazuhRegression{Outcomes: map[string]int{}, Cases: []wazuhRegressed{}}
	bar := newCounter(progress, "running samples", len(samples))
	for _, s := range samples {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := run.sample(s)
		sum.Samples++
		sum.Outcomes[r.Outcome]++
		sum.Cases = append(sum.Cases, r)
		bar.add(1)
	}
	bar.clear()
	if a.json {
		return a.print(w, sum)
	}
	return sum.write(w, all)
}

func (s *wazuhRegression) write(w io.Writer, all bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range s.Cases {
		if all && c.Outcome != regressFires {
			fmt.Fprintf(t, "%s:%d\t%d\t%s\t%s\n", c.File, c.Line, c.Rule, c.Outcome, c.Reason)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	o := s.Outcomes
	ran := o[regressFires] + o[regressSilent]
	fmt.Fprintf(w, "%d of %d samples fire their rule (%.1f %%)\n", o[regressFires], ran, share(o[regressFires], ran))
	_, err := fmt.Fprintf(w, "%d more samples say nothing: of %d no mapping recognises the log, of %d another than the rule's does, of %d the rule is not converted\n",
		s.Samples-ran, o[regressUnmapped], o[regressElsewhere], o[regressUnlike])
	return err
}

func wazuhSamples(dir string) ([]wazuh.Sample, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.ini"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("regress: there are no samples (*.ini) in %s", dir)
	}
	var out []wazuh.Sample
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("regress: %w", err)
		}
		list, err := wazuh.Samples(filepath.Base(name), data)
		if err != nil {
			return nil, fmt.Errorf("regress: %w", err)
		}
		out = append(out, list...)
	}
	return out, nil
}

type wazuhRun struct {
	*author
	byID    map[int]*wazuh.Converted
	rules   []*rule.Rule
	matcher *match.Matcher
}

// sample runs a log. Of a rule that counts, what is asked is whether its condition
// holds: one log is not enough for more.
func (w *wazuhRun) sample(s wazuh.Sample) wazuhRegressed {
	out := wazuhRegressed{Sample: s}
	c := w.byID[s.Rule]
	switch {
	case c == nil:
		out.Outcome, out.Reason = regressUnlike, "the ruleset has no such rule"
		return out
	case c.Base:
		out.Outcome, out.Reason = regressUnlike, "it never alerts: others refine it"
		return out
	case !c.Loaded:
		out.Outcome, out.Reason = regressUnlike, c.Cause()
		return out
	}
	out.Guessed = c.Guessed
	matched := false
	var b block.Block
	err := w.Normalize("auto", []byte(s.Log+"\n"), time.Now().UnixMilli(), func(payload []byte) error {
		if err := block.Decode(payload, &b); err != nil {
			return err
		}
		for row := range b.Rows() {
			if src := match.Source(&b, row); !slices.Contains(out.Sources, src) {
				out.Sources = append(out.Sources, src)
			}
		}
		w.matcher.Match(&b, func(r *rule.Rule, _ int) {
			if r == c.Rule {
				matched = true
			} else if len(out.Others) < 8 {
				out.Others = append(out.Others, r.ID+" "+r.Title)
			}
		})
		return nil
	})
	products := c.Rule.Source.Products
	switch {
	case err != nil:
		out.Outcome, out.Reason = regressUnmapped, err.Error()
	case matched:
		out.Outcome = regressFires
	case len(products) > 0 && !slices.ContainsFunc(out.Sources, func(s string) bool { return slices.Contains(products, s) }):
		out.Outcome, out.Reason = regressElsewhere, "mapped as "+strings.Join(out.Sources, ", ")+", the rule is about "+strings.Join(products, ", ")
	default:
		out.Outcome, out.Reason = regressSilent, "rule wazuh."+strconv.Itoa(s.Rule)+" does not match ("+strings.Join(out.Sources, ", ")+")"
	}
	return out
}
