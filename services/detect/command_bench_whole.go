package detect

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/author/price"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// wholeSet are the flags of bench that price a set of rules as one.
type wholeSet struct {
	on     bool
	learn  bool
	copies int
}

func (w *wholeSet) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.on, "whole", false, "price all rules of the paths as one set (default: the built-in rules)")
	c.Flags().BoolVar(&w.learn, "learn", false, "with --whole: after the set has seen the events once, as in a hub that has run")
	c.Flags().IntVar(&w.copies, "copies", 1, "with --whole: that many variants of each rule, to see how the cost grows")
}

// wholePrice is what bench --whole tells.
type wholePrice struct {
	price.SetPrice
	Problems    int     `json:"problems"` // rules that do not load
	LoadSeconds float64 `json:"load_seconds"`
}

func (a *author) benchWhole(c *cobra.Command, o benchOptions, args []string) error {
	if o.whole.copies < 1 || o.whole.copies > 100 {
		return errors.New("bench: --copies must be between 1 and 100")
	}
	start := time.Now()
	set, problems, err := a.read(args)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	out := wholePrice{LoadSeconds: time.Since(start).Seconds()}
	for _, p := range problems {
		if !p.Warning {
			out.Problems++
		}
	}
	blocks, err := a.benchBlocks(c, o)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if len(blocks) == 0 {
		return errors.New("bench: there are no events")
	}
	// Rules of the lane hunt, which are off in some packs, count as well.
	on := make([]*rule.Rule, len(set))
	for i, r := range set {
		own := *r
		own.Disabled = false
		on[i] = &own
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	out.SetPrice = price.OfSet(price.Copies(on, o.whole.copies), blocks, o.rounds, o.whole.learn)
	if a.json {
		return a.print(c.OutOrStdout(), out)
	}
	fmt.Fprintf(c.OutOrStdout(), "%d rules, loaded in %.2f s and compiled in %.2f s; %d problems\n"+
		"%d events: %.0f ns an event on one core, %.0f events/s\n"+
		"%.2f of %.0f applicable rules are evaluated for an event (%.3f %%), %.4f match, %.4f allocations\n",
		out.Rules, out.LoadSeconds, out.CompileSeconds, out.Problems, out.Events, out.NsPerEvent, out.EventsPerSecond,
		out.Candidates, out.Applicable, 100*out.CandidateShare, out.Matches, out.Allocs)
	return nil
}
